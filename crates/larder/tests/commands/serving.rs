use crate::support::{World, larder, ok, refused};

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
