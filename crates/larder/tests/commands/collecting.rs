use crate::support::{World, larder, ok, refused};

fn config(world: &World) -> String {
    let path = world.path("config.yml");
    let root = world.data.display();
    std::fs::write(&path, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: \"{root}\"}}}}\n"))
        .unwrap();
    path.display().to_string()
}

/// registry:2 fails there, too: a nightly job must not go well for months while the volume isn't mounted.
#[test]
fn nothing_is_collected_where_no_registry_has_been() {
    let world = World::new();
    let config = config(&world);
    for place in ["absent", "empty"] {
        if place == "empty" {
            std::fs::create_dir(&world.data).unwrap();
        }
        let words = refused(larder(&["garbage-collect", &config]));
        assert!(words.contains("no registry has ever kept anything in"), "{place}: {words}");
        let files = std::fs::read_dir(&world.data).map_or(0, Iterator::count);
        assert_eq!(files, 0, "{place}");
    }
}

#[test]
fn a_quiet_collection_prints_nothing() {
    let world = World::new();
    let config = config(&world);
    world.import(&world.archive("app", 1, 1000));
    let words = ok(larder(&["garbage-collect", "--dry-run", &config]));
    assert_eq!(words, "\n3 blobs marked, 0 blobs and 0 manifests eligible for deletion\n");
    assert_eq!(ok(larder(&["garbage-collect", "-q", &config])), "");
}
