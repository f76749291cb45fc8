use super::*;

#[test]
fn buckets_end_where_distributions_do() {
    for (bytes, bucket) in [
        (0, 0),
        (1024, 0),
        (1025, 1),
        (2048, 1),
        (2049, 2),
        (1 << 31, 21),
        ((1 << 31) + 1, 22),
        (u64::MAX, 22),
    ] {
        assert_eq!(size_bucket(bytes), bucket, "{bytes}");
    }
    for (nanoseconds, bucket) in
        [(0, 0), (5_000_000, 0), (5_000_001, 1), (60_000_000_000, 12), (60_000_000_001, 13), (u64::MAX, 13)]
    {
        assert_eq!(duration_bucket(nanoseconds), bucket, "{nanoseconds}");
    }
}

#[test]
fn every_route_has_its_place() {
    let metrics = Arc::new(Metrics::new("1.2.3"));
    let upload = "6b3c9a93-af5d-473f-a4ce-9710022185cd";
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (path, handler) in [
        ("/v2/".to_owned(), Some("base")),
        ("/v2/_catalog".to_owned(), Some("catalog")),
        ("/v2/a/tags/list".to_owned(), Some("tags")),
        ("/v2/a/manifests/x".to_owned(), Some("manifest")),
        (format!("/v2/a/blobs/{digest}"), Some("blob")),
        (format!("/v2/a/referrers/{digest}"), Some("referrers")),
        ("/v2/a/blobs/uploads/".to_owned(), Some("blob_upload")),
        (format!("/v2/a/blobs/uploads/{upload}"), Some("blob_upload_chunk")),
        ("/auth/token".to_owned(), Some("token")),
        ("/healthz".to_owned(), None),
        ("/".to_owned(), None),
    ] {
        let route = Route::parse(&path).unwrap();
        let (parts, ()) = http::Request::builder().uri(&path).body(()).unwrap().into_parts();
        let running = metrics.begin(&route, &parts);
        assert_eq!(running.is_some(), handler.is_some(), "{path}");
        let Some(running) = running else { continue };
        let in_flight = format!("registry_http_in_flight_requests{{handler=\"{}\"}}", handler.unwrap());
        assert!(metrics.text().unwrap().contains(&format!("{in_flight} 1\n")), "{path}");
        running.end(StatusCode::OK, 2000);
        let text = metrics.text().unwrap();
        assert!(text.contains(&format!("{in_flight} 0\n")), "{text}");
        let total = format!(
            "registry_http_requests_total{{code=\"200\",handler=\"{}\",method=\"get\"}} 1\n",
            handler.unwrap()
        );
        assert!(text.contains(&total), "{text}");
        let size = format!(
            "registry_http_response_size_bytes_bucket{{le=\"2048.0\",handler=\"{}\"}} 1\n",
            handler.unwrap()
        );
        assert!(text.contains(&size), "{text}");
    }
}

#[test]
fn an_unusual_status_and_method_are_counted_too() {
    let metrics = Arc::new(Metrics::new("1.2.3"));
    let (parts, ()) = http::Request::builder().method("TRACE").uri("/v2/").body(()).unwrap().into_parts();
    metrics.begin(&Route::Base, &parts).unwrap().end(StatusCode::IM_A_TEAPOT, 0);
    let text = metrics.text().unwrap();
    assert!(
        text.contains("registry_http_requests_total{code=\"other\",handler=\"base\",method=\"other\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("larder_build_info{version=\"1.2.3\"} 1\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let value = line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        // The kernel counts time in hundredths of a second, and this process may not have used one yet.
        assert!(value > 0.0 || (value == 0.0 && name == "process_cpu_seconds_total"), "{line}");
    }
}
