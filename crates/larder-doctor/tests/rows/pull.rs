use larder_doctor::Row;

use crate::support::*;

const REGISTRYS: &[(&str, &str)] =
    &[("content-type", "application/json"), ("docker-distribution-api-version", "registry/2.0")];

#[tokio::test]
async fn what_comes_back_wrong_is_named() {
    let cases: Vec<(&str, Fault, Row, &str, &str, &str)> = vec![
        ("a short blob", Fault::Short, Row::ShortBody, "registry", "unexpected EOF", "timeouts"),
        (
            "a redirect to an inner host",
            Fault::Redirect("http://minio.invalid:9000/bucket/x"),
            Row::RedirectUnreachable,
            "storage minio.invalid:9000",
            "only its own network knows",
            "storage.redirect.disable",
        ),
        ("no ranges", Fault::NoRanges, Row::RangeIgnored, "registry", "begins anew", "Range"),
    ];
    for (what, fault, row, hop, cause, fix) in cases {
        let registry = Registry::start(fault).await;
        visit(&registry.host(), writing()).await.found(what, row, hop, cause, fix);
    }
    let registry = Registry::start(Fault::NoLength).await;
    let visited = visit(&registry.host(), writing()).await;
    assert!(!visited.findings.is_empty());
    assert!(
        visited.findings.iter().all(|finding| finding.row == Row::HeadWithoutLength),
        "{:?}",
        visited.findings
    );
}

#[tokio::test]
async fn an_image_that_is_named_is_read_without_writing() {
    let cases: Vec<(&str, Fault, &str, Row, &str, &str, &str)> = vec![
        (
            "nothing there",
            Fault::None,
            "team/app:1",
            Row::RepositoryUnknown,
            "registry",
            "never pushed",
            "tags/list",
        ),
        (
            "Docker Hub's limit",
            Fault::At(
                "GET /v2/team/app/manifests/",
                429,
                REGISTRYS,
                r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#,
            ),
            "team/app:1",
            Row::TooManyRequests,
            "registry",
            "limit on pulls",
            "docker login",
        ),
        (
            "Docker Hub's other limit",
            Fault::At(
                "GET /v2/team/app/manifests/",
                429,
                REGISTRYS,
                r#"{"message":"Too Many Requests (HAP429)"}"#,
            ),
            "team/app:1",
            Row::TooManyRequests,
            "registry",
            "against abuse",
            "docker login",
        ),
        (
            "no right",
            Fault::At(
                "GET /v2/team/app/manifests/",
                403,
                REGISTRYS,
                r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#,
            ),
            "team/app:1",
            Row::Denied,
            "registry",
            "may not pull",
            "larder access explain",
        ),
        (
            "an image for others",
            Fault::At(
                "GET /v2/team/app/manifests/",
                200,
                REGISTRYS,
                r#"{"manifests":[{"digest":"sha256:0","platform":{"os":"linux","architecture":"s390x"}}]}"#,
            ),
            "team/app:1",
            Row::MethodRefused,
            "",
            "",
            "",
        ),
        (
            "an image that Docker Hub would have",
            Fault::At("GET /v2/library/nginx/manifests/", 200, REGISTRYS, "{}"),
            "nginx:1",
            Row::RepositoryUnknown,
            "registry",
            "library/",
            "/library/nginx:1",
        ),
    ];
    for (what, fault, image, row, hop, cause, fix) in cases {
        let registry = Registry::start(fault).await;
        let visited = visit(&format!("{}/{image}", registry.host()), reading()).await;
        if row == Row::MethodRefused {
            // HEAD is answered as if the image weren't there, which is a fault too.
            let rows: Vec<Row> = visited.findings.iter().map(|finding| finding.row).collect();
            assert_eq!(rows, [Row::MethodRefused, Row::PlatformMissing], "{what}");
            continue;
        }
        visited.found(what, row, hop, cause, fix);
    }
}
