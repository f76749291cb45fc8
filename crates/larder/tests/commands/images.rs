use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::support::{World, larder, ok, refused};

#[test]
fn images_are_pushed_to_a_running_registry_and_only_what_it_lacks() {
    let world = World::new();
    let server = world.serve();
    let archive = world.archive("app", 3, 20_000_000);
    let archive = archive.to_str().unwrap();
    let said = ok(larder(&["import", archive, "--to", &server.host, "--prefix", "team"]));
    assert!(said.contains("team/app:2  (19 MiB new)"), "{said}");
    let said = ok(larder(&["import", archive, "--to", &format!("http://{}/team", server.host)]));
    assert!(said.ends_with("3 images, 0 bytes new\n"), "{said}");
    // Into another repository without moving a byte: the registry has them.
    let out = world.path("out.tar");
    let out = out.to_str().unwrap();
    ok(larder(&["export", "team/app:1", out, "--data", world.data.to_str().unwrap()]));
    ok(larder(&["import", out, "--to", &server.host, "--as", "copy:1"]));
    assert_eq!(server.ask("GET", "/v2/copy/manifests/1", b"").0, 200);
    let said = refused(larder(&["import", archive, "--data", world.data.to_str().unwrap()]));
    assert!(said.contains("--to"), "{said}");
}

#[test]
fn an_archive_comes_by_pipe_packed_or_not() {
    let world = World::new();
    let archive = std::fs::read(world.archive("app", 2, 10_000)).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&archive).unwrap();
    for (bytes, prefix) in [(archive, "plain"), (packed.finish().unwrap(), "packed")] {
        let mut command =
            larder(&["import", "-", "--prefix", prefix, "--data", world.data.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("{prefix}/app:1 ")));
    }
    ok(larder(&["verify", "--data", world.data.to_str().unwrap()]));
}

/// An engine that knows one image and answers in chunks, as docker's does.
#[test]
fn all_images_of_an_engine_are_one_command() {
    let world = World::new();
    let archive = std::fs::read(world.archive("app", 1, 50_000)).unwrap();
    let socket = world.path("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let engine = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let list =
                br#"[{"RepoTags":["app:0","docker.io/library/app:latest"]},{"RepoTags":["<none>:<none>"]}]"#;
            let body: &[u8] = if first.contains("/images/json") { list } else { &archive };
            let mut stream = &stream;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
                .unwrap();
            for piece in body.chunks(7000) {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
                stream.write_all(piece).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
            asked.push(first);
        }
        asked
    });
    let mut command = larder(&["import", "--docker", "--data", world.data.to_str().unwrap()]);
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let said = ok(command);
    assert!(said.contains("app:0  (") && said.ends_with("1 image, 49 KiB new\n"), "{said}");
    let asked = engine.join().unwrap();
    assert!(asked[1].contains("names=app%3A0&names="), "{asked:?}");
}
