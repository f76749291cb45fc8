//! The binary as the machine sees it: its process, its sockets, its files.

#[cfg(test)]
mod larder;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::time::Duration;

    use crate::larder::*;

    /// By the names that those who read registry:2's log by program look for.
    #[test]
    fn in_json_each_request_is_an_entry_with_the_fields_of_registry_2() {
        let directory = tempfile::tempdir().unwrap();
        for (formatter, message) in [("json", "msg"), ("logstash", "message")] {
            let log = format!("log: {{formatter: {formatter}, accesslog: {{disabled: true}}}}\n");
            let larder = Larder::start(&directory.path().join(formatter), "", &log, &[]);
            assert_eq!(get_tcp(larder.address(), "/v2/").unwrap().status, 200);
            assert_eq!(get_tcp(larder.address(), "/v2/team/app/manifests/v1").unwrap().status, 404);
            let entries = eventually(|| {
                let output = larder.output();
                let entries = output.lines().filter_map(|line| serde_json::from_str(line).ok());
                let entries: Vec<serde_json::Value> = entries
                    .filter(|entry: &serde_json::Value| {
                        entry[message].as_str().is_some_and(|words| words.starts_with("response completed"))
                    })
                    .collect();
                (entries.len() == 2).then_some(entries)
            });
            let is = |entry: usize, name: &str, value: serde_json::Value| {
                assert_eq!(entries[entry][name], value, "{name} in {}", entries[entry]);
            };
            is(0, message, "response completed".into());
            is(0, "http.request.method", "GET".into());
            is(0, "http.request.uri", "/v2/".into());
            is(0, "http.request.host", "lab".into());
            is(0, "http.response.status", 200.into());
            is(0, "http.response.written", 2.into());
            is(0, "http.response.contenttype", "application/json; charset=utf-8".into());
            let remote = entries[0]["http.request.remoteaddr"].as_str().unwrap();
            assert!(remote.starts_with("127.0.0.1:"), "{remote}");
            is(0, "err.code", serde_json::Value::Null);
            is(1, message, "response completed with error".into());
            is(1, "level", "info".into());
            is(1, "vars.name", "team/app".into());
            is(1, "vars.reference", "v1".into());
            is(1, "err.code", "manifest unknown".into());
            is(1, "err.message", "manifest unknown".into());
            is(1, "http.response.status", 404.into());
        }
    }

    /// As systemd starts what a socket unit belongs to: descriptor 3 is the socket.
    #[test]
    fn a_port_that_systemd_passes_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let larder = Larder::with_socket(directory.path(), &listener);
        drop(listener);
        assert_eq!(eventually(|| get_tcp(address, "/v2/").ok()).status, 200);
        assert!(larder.stop().success());
        assert!(get_tcp(address, "/v2/").is_err(), "nobody listens any more");
    }

    #[test]
    fn a_socket_file_that_systemd_passes_is_taken_and_left_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("larder.socket");
        let listener = UnixListener::bind(&path).unwrap();
        let larder = Larder::with_socket(directory.path(), &listener);
        assert_eq!(eventually(|| get_unix(&path, "/v2/").ok()).status, 200);
        assert!(larder.stop().success());
        assert!(path.try_exists().unwrap(), "it is systemd's");
        // Who connects before the next start waits in the kernel, and is answered then.
        let early = std::thread::spawn({
            let path = path.clone();
            move || get_unix(&path, "/v2/")
        });
        let larder = Larder::with_socket(directory.path(), &listener);
        assert_eq!(early.join().unwrap().unwrap().status, 200);
        assert!(larder.stop().success());
    }

    /// The other registry is a Larder with TLS.
    #[test]
    fn a_check_over_https_believes_whom_the_machine_believes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        write(&at("cert.pem"), &pair.cert.pem());
        write(&at("key.pem"), &pair.signing_key.serialize_pem());
        let tls =
            format!("tls: {{certificate: {}, key: {}}}", at("cert.pem").display(), at("key.pem").display());
        let other = Larder::start(&at("other"), &tls, "", &[]);
        let checked = |name: &str, status: u16, authorities: &Path| {
            let health = format!(
                "health: {{http: [{{uri: 'https://localhost:{}/healthz', statuscode: {status}, interval: 1s}}]}}\n",
                other.address().port()
            );
            let authorities = authorities.to_str().unwrap();
            Larder::start(&at(name), "", &health, &[("SSL_CERT_FILE", authorities)])
        };
        let well = checked("well", 200, &at("cert.pem"));
        let asked = |count: usize| other.output().matches("\"HEAD /healthz HTTP/1.1\" 200").count() >= count;
        eventually(|| asked(2).then_some(()));
        assert_eq!(get_tcp(well.address(), "/v2/").unwrap().status, 200);
        let ill = checked("ill", 204, &at("cert.pem"));
        assert_eq!(eventually(|| answers(&ill, 503)).status, 503);
        assert_eq!(get_tcp(ill.address(), "/healthz").unwrap().status, 200, "the process lives");
        // Without its authority nobody knows who answers.
        let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        write(&at("stranger.pem"), &stranger.cert.pem());
        let fooled = checked("fooled", 200, &at("stranger.pem"));
        assert_eq!(eventually(|| answers(&fooled, 503)).status, 503);
    }

    /// Through the socket in the data directory, which shows what the port's own pages do: also what is wrong with the certificate.
    #[test]
    fn a_status_comes_from_the_data_directory_and_has_the_problems_of_the_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut parameters = rcgen::CertificateParams::new(vec!["r.lan".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        write(&at("cert.pem"), &parameters.self_signed(&key).unwrap().pem());
        write(&at("key.pem"), &key.serialize_pem());
        let tls =
            format!("tls: {{certificate: {}, key: {}}}", at("cert.pem").display(), at("key.pem").display());
        let larder = Larder::start(&at("home"), &tls, "", &[]);
        let status = |more: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
            command.arg("status").arg("--data").arg(at("home/data")).args(more);
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let (code, screen) = status(&[]);
        let line =
            |what: &str| screen.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_default().trim();
        let address = larder.address();
        assert_eq!((code, line("mode")), (Some(0), "read and write"), "{screen}");
        assert!(
            line("registry")
                .starts_with(&format!("larder {} at https://{address}, up for", env!("CARGO_PKG_VERSION"))),
            "{screen}"
        );
        assert_eq!(line("certificate"), "ENDED at 2021-01-01T00:00:00Z; for r.lan");
        assert_eq!(line("problems"), "1");
        assert!(screen.lines().last().unwrap().trim().starts_with("this registry: "), "{screen}");
        let (_, json) = status(&["--json"]);
        assert!(json.contains("\"kind\": \"certificate-ended\""), "{json}");
        assert!(larder.stop().success());
        let (code, screen) = status(&[]);
        assert_eq!((code, screen.as_str()), (Some(1), ""), "none runs there any more");
    }

    /// The authority is the same after a restart, and whoever trusts it believes the server.
    #[test]
    fn an_authority_of_its_own_is_made_once_and_given_to_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("registry");
        let authority = home.join("data/larder/tls/ca.crt");
        let started = || Larder::start(&home, "tls: {auto: true}", "", &[]);
        let first = started();
        assert!(first.output().contains("a certificate was made by this registry's own authority"));
        let pem = read(&authority);
        let health = |registry: &Larder| {
            let uri = format!("https://localhost:{}/setup/ca.crt", registry.address().port());
            format!("health: {{http: [{{uri: '{uri}', interval: 1s}}]}}\n")
        };
        let trusting = |name: &str, registry: &Larder| {
            let trusted = [("SSL_CERT_FILE", authority.to_str().unwrap())];
            Larder::start(&directory.path().join(name), "", &health(registry), &trusted)
        };
        let checked = |registry: &Larder| registry.output().contains("\"HEAD /setup/ca.crt HTTP/1.1\" 200");
        let one = trusting("one", &first);
        eventually(|| checked(&first).then_some(()));
        assert_eq!(get_tcp(one.address(), "/v2/").unwrap().status, 200);
        assert!(first.stop().success());
        let second = started();
        assert!(!second.output().contains("a certificate was made"), "{}", second.output());
        assert_eq!(read(&authority), pem);
        let _two = trusting("two", &second);
        eventually(|| checked(&second).then_some(()));
    }

    #[test]
    fn upstreams_are_asked_through_the_proxy_that_the_environment_names() {
        let directory = tempfile::tempdir().unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", proxy.local_addr().unwrap());
        let upstreams = "upstreams:\n- {name: lab, prefix: /, urls: [\"http://registry.invalid\"]}\n";
        let larder =
            Larder::start(directory.path(), "", upstreams, &[("http_proxy", &url), ("NO_PROXY", "x.y")]);
        let (sender, asked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in proxy.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.extend(byte);
                }
                let line = String::from_utf8(head).unwrap().lines().next().unwrap_or_default().to_owned();
                // Whoever listens may have what he needs.
                let _ = sender.send(line);
                stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        });
        assert_eq!(get_tcp(larder.address(), "/v2/app/manifests/latest").unwrap().status, 404);
        let line = asked.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(line.ends_with(" http://registry.invalid/v2/app/manifests/latest HTTP/1.1"), "{line}");
    }

    /// The program is most of what is in memory at rest, and larger here than it ever is when it is shipped.
    #[test]
    fn at_rest_the_program_is_let_go_and_what_is_needed_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let larder = Larder::start(directory.path(), "", "", &[]);
        assert_eq!(get_tcp(larder.address(), "/v2/").unwrap().status, 200);
        let of_files = || larder.kibibytes("status", "RssFile:");
        let mut most = 0;
        eventually(|| {
            let now = of_files();
            most = most.max(now);
            (now < most / 2).then_some(())
        });
        let at_rest = of_files();
        assert_eq!(get_tcp(larder.address(), "/v2/").unwrap().status, 200);
        assert!(of_files() > at_rest);
        assert!(larder.stop().success());
    }

    #[test]
    fn nothing_is_kept_in_huge_pages() {
        let directory = tempfile::tempdir().unwrap();
        let larder = Larder::start(directory.path(), "", "", &[]);
        assert_eq!(larder.kibibytes("smaps", "AnonHugePages:"), 0);
    }

    fn answers(larder: &Larder, status: u16) -> Option<Reply> {
        get_tcp(larder.address(), "/v2/").ok().filter(|reply| reply.status == status)
    }

    #[test]
    fn what_was_acknowledged_is_in_the_audit_log_also_after_a_kill() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let audit = format!("audit: {{path: {}, maxbytes: 2000, maxfiles: 2}}\n", path.display());
        let home = directory.path().join("home");
        let larder = Larder::start(&home, "", &audit, &[]);
        const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let push = |larder: &Larder, number: usize| {
            let target = format!("/v2/lab/app-{number}/blobs/uploads/?digest={HELLO}");
            assert_eq!(post_tcp(larder.address(), &target, "hello").unwrap().status, 201);
        };
        push(&larder, 0);
        larder.kill();
        let line = |number: usize| format!("\"repository\":\"lab/app-{number}\",\"reference\":\"{HELLO}\"");
        assert!(read(&path).contains(&line(0)), "{}", read(&path));
        let larder = Larder::start(&home, "", &audit, &[]);
        (1..30).for_each(|number| push(&larder, number));
        assert!(larder.stop().success());
        // The newest lines are in the file of that name, and only so many full ones are left.
        let last = read(&path);
        assert!(last.contains(&line(29)) && last.contains("\"action\":\"stop\""), "{last}");
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let numbered: Vec<_> =
            names.filter(|name| name.to_str().unwrap().starts_with("audit.jsonl.")).collect();
        assert_eq!(numbered.len(), 2, "{numbered:?}");
        for file in numbered {
            let text = read(&directory.path().join(file));
            assert!(text.len() <= 2000, "{}", text.len());
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}
