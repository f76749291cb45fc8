use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use crate::support::{Server, World, larder, ok, refused};

/// Longer than a notification takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes messages and hands on their bodies.
fn endpoint() -> (String, Receiver<serde_json::Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut reader = BufReader::new(&stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            (&stream)
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
            let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for event in message["events"].as_array().unwrap() {
                if sender.send(event.clone()).is_err() {
                    return;
                }
            }
        }
    });
    (url, receiver)
}

#[test]
fn an_undo_by_command_is_told_as_one_by_http() {
    let world = World::new();
    let (url, events) = endpoint();
    let sections = format!(
        "  host: https://registry.lab\nnotifications:\n  endpoints:\n  - name: hook\n    url: {url}\n    timeout: 5s\n    threshold: 3\n    backoff: 1s\n"
    );
    let server = Server::start_with(&world.data, &world.path("config.yml"), &sections);
    ok(larder(&["import", world.archive("app", 1, 1000).to_str().unwrap(), "--to", &server.host]));
    let data = world.data.to_str().unwrap();
    let mut told = Vec::new();
    let removals = || {
        let (_, said) = server.ask("GET", "/api/v1/removals", b"");
        let body = said.split_once("\r\n\r\n").unwrap().1;
        let removals: serde_json::Value = serde_json::from_str(body).unwrap();
        removals["removals"][0]["id"].as_u64().unwrap()
    };
    for by_command in [false, true] {
        assert_eq!(server.ask("DELETE", "/v2/app/manifests/0", b"").0, 202);
        if by_command {
            ok(larder(&["undo", "app:0", "--data", data]));
        } else {
            let undo = format!("/api/v1/undo?repository=app&id={}", removals());
            assert_eq!(server.ask("POST", &undo, b"").0, 200);
        }
        // What comes after the deletion.
        while events.recv_timeout(PATIENCE).unwrap()["action"] != "delete" {}
        let event = events.recv_timeout(PATIENCE).unwrap();
        assert_eq!(event["action"], "push", "{event}");
        let target = &event["target"];
        told.push((target["tag"].clone(), target["digest"].clone(), target["url"].clone()));
    }
    assert_eq!(told[0].0, "0");
    assert!(told[0].2.as_str().unwrap().starts_with("https://registry.lab/v2/app/manifests/sha256:"));
    assert_eq!(told[0], told[1]);
}

#[test]
fn what_is_immutable_is_named_and_left_when_all_goes_back_to_a_moment() {
    let world = World::new();
    let server = world.serve();
    let push = |server: &Server, seed: &str| {
        let archive = world.archive(seed, 1, 1000);
        let archive = archive.to_str().unwrap();
        for tag in ["v1", "latest"] {
            ok(larder(&["import", archive, "--to", &server.host, "--as", &format!("team/app:{tag}")]));
        }
    };
    push(&server, "one");
    // The clock of a file system goes in steps of some milliseconds.
    let step = Duration::from_millis(50);
    std::thread::sleep(step);
    let moment = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
    std::thread::sleep(step);
    push(&server, "two");
    drop(server);
    let rules = "retention:\n  immutable:\n  - tags: v*\n";
    let server = Server::start_with(&world.data, &world.path("config.yml"), rules);
    let data = world.data.to_str().unwrap();
    let said = refused(larder(&["undo", "--to", &moment, "--data", data]));
    assert!(said.contains("team/app:latest is back to sha256:"), "{said}");
    assert!(
        said.contains("team/app:v1 stays at sha256:") && said.contains("it is immutable by config.yml:"),
        "{said}"
    );
    assert!(said.contains("1 tag is not as then"), "{said}");
    let digest = |tag: &str| {
        let (status, answer) = server.ask("HEAD", &format!("/v2/team/app/manifests/{tag}"), b"");
        assert_eq!(status, 200);
        let line =
            answer.lines().find(|line| line.to_lowercase().starts_with("docker-content-digest")).unwrap();
        line.to_owned()
    };
    assert_ne!(digest("v1"), digest("latest"));
}

#[test]
fn the_audit_log_tells_who_ran_a_command_that_changed_something() {
    let world = World::new();
    let path = world.path("audit.jsonl");
    let sections = format!("audit: {{path: {}, pulls: false}}\n", path.display());
    let server = Server::start_with(&world.data, &world.path("config.yml"), &sections);
    ok(larder(&["import", world.archive("app", 1, 1000).to_str().unwrap(), "--to", &server.host]));
    assert_eq!(server.ask("DELETE", "/v2/app/manifests/0", b"").0, 202);
    assert_eq!(server.ask("POST", "/api/v1/gc?now=true&dry_run=true", b"").0, 200);
    let data = world.data.to_str().unwrap();
    let config = world.path("config.yml");
    ok(larder(&["undo", "app:0", "--data", data]));
    ok(larder(&["gc", "--data", data]));
    ok(larder(&["maintenance", "on", "--reason", "a new disk", "--config", config.to_str().unwrap()]));
    let lines = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| !line["api"].is_null())
        .collect();
    let begins = |line: &serde_json::Value, with: &str| line["api"].as_str().unwrap().starts_with(with);
    let [by_http, undo, gc, maintenance] = &lines[..] else { panic!("{lines:#?}") };
    assert!(begins(by_http, "POST /api/v1/gc?now=true") && by_http["by"] == "none", "{by_http}");
    assert!(by_http["from"] == "127.0.0.1" && by_http["user"].is_null(), "{by_http}");
    assert!(begins(undo, "POST /api/v1/undo?repository=app&id="), "{undo}");
    assert!(
        undo["repository"] == "app" && undo["action"] == "push" && undo["reference"].is_string(),
        "{undo}"
    );
    assert!(begins(gc, "POST /api/v1/gc") && gc["action"] == "delete", "{gc}");
    assert!(
        begins(maintenance, "PUT /api/v1/maintenance?")
            && maintenance["api"].as_str().unwrap().ends_with("on=true&reason=a+new+disk"),
        "{maintenance}"
    );
    let uid = std::fs::metadata(&path).unwrap().uid();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_this_test = users.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    let user = of_this_test.and_then(|line| line.split(':').next()).map_or(uid.to_string(), str::to_owned);
    for line in [undo, gc, maintenance] {
        assert!(line["user"] == format!("unix:{user}") && line["by"] == "socket", "{line}");
        assert!(line["from"].is_null() && line["allowed"] == true && line["status"] == 200, "{line}");
    }
}
