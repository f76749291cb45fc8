//! What the status says is kept are the files themselves, although the index is asked for most of their lengths.

use std::path::Path;

use bytes::Bytes;
use larder_oci::{Actor, AdminAccess, Digest, Reference};

use super::world::{World, access, image};

/// All files of content below here: how many, and their bytes.
fn walked(directory: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (more, length) = match entry.file_type().unwrap().is_dir() {
            true => walked(&entry.path()),
            false => (1, entry.metadata().unwrap().len()),
        };
        (files, bytes) = (files + more, bytes + length);
    }
    (files, bytes)
}

#[tokio::test]
async fn what_is_counted_is_what_lies_on_the_disk_whoever_refers_to_it() {
    let world = World::new();
    let admin = AdminAccess::granted_by_policy(Actor::Anonymous);
    let [one, two, gone] = [(1, 1000), (2, 70_000), (3, 300)].map(|(seed, length)| image(seed, length));
    world.push("team/app", "one", &one).await;
    world.push("team/app", "again", &one).await;
    world.push("team/other", "one", &one).await;
    world.push("team/other", "two", &two).await;
    // A layer that no manifest names, and an empty one.
    world.upload("team/app", &Bytes::from_static(b"of no manifest")).await;
    world.upload("team/app", &Bytes::new()).await;
    world.push("team/app", "gone", &gone).await;
    let of_gone = Reference::Digest(gone.digest);
    world.registry.delete_manifest(&access("team/app"), &of_gone).await.unwrap();
    // Content to which no repository has a link.
    let stray = Digest::sha256(b"stray").hex().to_string();
    let blobs = world.root.path().join("docker/registry/v2/blobs");
    let directory = blobs.join(format!("sha256/{}/{stray}", &stray[..2]));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("data"), b"stray").unwrap();
    let content = world.registry.status(&admin).await.unwrap().content.unwrap();
    assert_eq!((content.files, content.bytes), walked(&blobs));
    let taken =
        |image: &super::world::Image| (image.layer.len() + image.config.len() + image.manifest.len()) as u64;
    assert_eq!(content.named_bytes, 2 * taken(&one) + taken(&two));
}
