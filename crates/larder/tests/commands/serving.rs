use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{Server, World, larder, ok, refused};

#[test]
fn a_running_server_moves_damaged_blobs_away_when_it_is_asked() {
    let world = World::new();
    let server = world.serve();
    ok(larder(&["import", world.archive("app", 2, 100_000).to_str().unwrap(), "--to", &server.host]));
    let data = world.data.to_str().unwrap();
    ok(larder(&["verify", "--data", data]));
    let layer = crate::support::noise(app_seed(1), 100_000);
    let digest = larder_oci::Digest::sha256(&layer);
    let hex = digest.hex();
    let path = world.data.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data");
    let mut damaged = layer.clone();
    damaged[77_777] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let said = refused(larder(&["verify", "--data", data]));
    assert!(said.contains(&digest.to_string()) && said.contains("app:1"), "{said}");
    assert!(path.try_exists().unwrap(), "looking changes nothing");
    let said = refused(larder(&["verify", "--repair", "--data", data]));
    assert!(said.contains("it was moved to larder/quarantine/"), "{said}");
    assert_eq!(server.ask("GET", &format!("/v2/app/blobs/{digest}"), b"").0, 404);
    // Pushed again, it is whole.
    ok(larder(&["import", world.path("app.tar").to_str().unwrap(), "--to", &server.host]));
    ok(larder(&["verify", "--data", data]));
    assert_eq!(server.ask("HEAD", &format!("/v2/app/blobs/{digest}"), b"").0, 200);
}

fn app_seed(image: u64) -> u64 {
    "app".bytes().map(u64::from).sum::<u64>() * 1000 + image
}

/// Each command of a day, with the configuration that the server was started with and without a password, though clients
/// need one.
#[test]
fn whoever_may_read_the_directory_is_answered_by_every_command_without_a_password() {
    let world = World::new();
    let (config, users, secret) = (world.path("config.yml"), world.path("users"), world.path("secret"));
    let auth = format!("auth:\n  htpasswd:\n    realm: lab\n    path: {}\n", users.display());
    std::fs::write(&config, format!("version: 0.1\nstorage: filesystem\n{auth}")).unwrap();
    std::fs::write(&secret, "a long password").unwrap();
    let with_config = |words: &[&str]| {
        let mut command = larder(words);
        command.arg("--config").arg(&config);
        command
    };
    ok(with_config(&["user", "add", "ada", "--password-file", secret.to_str().unwrap()]));
    assert!(std::fs::read_to_string(&users).unwrap().starts_with("ada:"), "where the configuration says");
    let server = Server::start_with(&world.data, &config, &auth);
    assert_eq!(server.ask("GET", "/api/v1/problems", b"").0, 401);

    let daily: [&[&str]; 9] = [
        &["status"],
        &["problems", "--clients"],
        &["problems", "--json"],
        &["cache", "status"],
        &["du"],
        &["undo"],
        &["gc"],
        &["maintenance", "status"],
        &["key", "list"],
    ];
    daily.iter().for_each(|words| drop(ok(with_config(words))));
    let mut stream = TcpStream::connect(&server.host).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.0\r\nHost: a\r\nAuthorization: Basic YWRhOndyb25n\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    // The exit code tells of problems.
    let said = refused(with_config(&["problems"]));
    assert!(said.contains("wrong password for user \"ada\""), "{said}");
    let mut by_variable = larder(&["problems", "--clients"]);
    by_variable.env("REGISTRY_CONFIGURATION_PATH", &config);
    assert!(ok(by_variable).starts_with("last pull"));

    drop(server);
    for words in [&["status"][..], &["problems"], &["cache", "status"], &["undo"], &["maintenance", "status"]]
    {
        let said = refused(with_config(words));
        let expected =
            format!("no Larder runs on {}: start it with larder serve, or name", world.data.display());
        assert!(said.contains(&expected), "{words:?}: {said}");
    }
}
