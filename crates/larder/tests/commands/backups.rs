use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{World, larder, ok, refused};

/// What `larder restore` says of a directory that holds a registry already.
const HAS_ONE: &str = "a restore goes into a new directory only";

/// Runs a command again and again, killed a little later each time, until it gets through. Gives how often it was killed.
fn until_it_survives(arguments: &[&str], step: Duration) -> u32 {
    for killed in 0..200 {
        let mut command = larder(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + step * killed;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if status.success() {
            return killed;
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        // Killed after all was done and before it could say so.
        if said.contains(HAS_ONE) {
            return killed;
        }
        assert_eq!(status.signal(), Some(9), "{arguments:?} failed on its own: {said}");
    }
    panic!("it never gets through");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn backup_and_restore_that_are_killed_again_and_again_get_through_and_lose_nothing() {
    let world = World::new();
    world.import(&world.archive("app", 40, 300_000));
    let (to, restored) = (world.path("backup"), world.path("restored"));
    let step = Duration::from_millis(3);
    let killed = until_it_survives(&["backup", text(&to), "--data", text(&world.data)], step);
    assert!(killed > 3, "killed only {killed} times");
    ok(larder(&["backup", "verify", text(&to)]));
    // Two, if one was killed after all was done and before it could say so.
    assert!(matches!(ok(larder(&["backup", "list", text(&to)])).lines().count(), 1 | 2));
    let killed = until_it_survives(&["restore", text(&to), text(&restored)], step);
    assert!(killed > 3, "killed only {killed} times");
    ok(larder(&["verify", "--data", text(&restored)]));
    let (one, other) = (world.path("one.tar"), world.path("other.tar"));
    ok(larder(&["export", "app", text(&one), "--data", text(&world.data)]));
    ok(larder(&["export", "app", text(&other), "--data", text(&restored)]));
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
}

#[test]
fn a_directory_whose_restore_has_not_ended_is_not_served() {
    let world = World::new();
    world.import(&world.archive("app", 1, 1000));
    std::fs::write(world.data.join("larder/restoring"), b"").unwrap();
    let said = refused(larder(&["serve", "--data", text(&world.data)]));
    assert!(said.contains("has not ended"), "{said}");
}

#[test]
fn a_running_registry_is_backed_up_and_a_lost_directory_comes_back() {
    let world = World::new();
    let server = world.serve();
    let archive = world.archive("team", 3, 100_000);
    ok(larder(&["import", text(&archive), "--to", &server.host]));
    let to = world.path("backup");
    ok(larder(&["backup", text(&to), "--data", text(&world.data)]));
    // Moved tags and new images: only they are copied.
    ok(larder(&["import", text(&world.archive("more", 1, 5000)), "--to", &server.host]));
    let said = ok(larder(&["backup", text(&to), "--data", text(&world.data)]));
    assert!(said.contains("of which 3 "), "{said}");
    let stream = world.path("stream.tar");
    let mut command = larder(&["backup", "-", "--data", text(&world.data)]);
    command.stdout(std::fs::File::create(&stream).unwrap());
    ok(command);
    drop(server);
    for (source, data) in [(&to, "again"), (&stream, "from-stream")] {
        let data = world.path(data);
        ok(larder(&["restore", text(source), text(&data)]));
        let server = crate::support::Server::start(&data, &world.path("again.yml"));
        for path in ["team/manifests/2", "more/manifests/0"] {
            let (status, answer) = server.ask("GET", &format!("/v2/{path}"), b"");
            assert_eq!(status, 200, "{path}: {answer}");
        }
    }
}

#[test]
fn an_archive_that_tar_makes_of_a_running_registry_serves_again() {
    let world = World::new();
    let server = world.serve();
    ok(larder(&["import", text(&world.archive("app", 3, 50_000)), "--to", &server.host]));
    let archive = world.path("registry.tgz");
    let packed = std::process::Command::new("tar")
        .args(["czf", text(&archive), "-C", text(world.work.path()), "data"])
        .status()
        .unwrap();
    assert!(packed.success());
    drop(server);
    let by_larder = world.path("by-larder");
    ok(larder(&["restore", text(&archive), text(&by_larder)]));
    let by_tar = world.path("by-tar");
    std::fs::create_dir(&by_tar).unwrap();
    let unpacked = std::process::Command::new("tar")
        .args(["xzf", text(&archive), "-C", text(&by_tar), "--strip-components=1"])
        .status()
        .unwrap();
    assert!(unpacked.success());
    for data in [by_larder, by_tar] {
        ok(larder(&["verify", "--data", text(&data)]));
        let server = crate::support::Server::start(&data, &world.path("again.yml"));
        assert_eq!(server.ask("GET", "/v2/app/manifests/2", b"").0, 200);
    }
}
