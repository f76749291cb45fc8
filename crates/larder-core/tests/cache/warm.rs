use std::sync::Mutex;

use bytes::Bytes;
use larder_core::{Platform, WarmProgress};
use larder_oci::{Digest, MediaType, Reference};

use super::fake::Fault;
use super::world::{APP, World, access, image};

#[tokio::test]
async fn an_image_is_fetched_ahead_for_the_platforms_asked_for_and_nothing_else() {
    let world = World::new();
    let (amd64, arm64) = (image(2, 20_000), image(3, 20_000));
    world.publish(APP, None, &amd64);
    world.publish(APP, None, &arm64);
    let child = |image: &super::world::Image, architecture: &str| {
        serde_json::json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": image.digest, "size": image.manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX,
        "manifests": [child(&amd64, "amd64"), child(&arm64, "arm64")],
    });
    world.fake.put_manifest(APP, Some("multi"), &Bytes::from(serde_json::to_vec(&index).unwrap()));
    let tag = Reference::Tag("multi".parse().unwrap());
    let wanted = Platform { os: "linux".to_owned(), architecture: "arm64".to_owned(), variant: None };
    let told = Mutex::new(Vec::new());
    let progress = |far: WarmProgress| told.lock().unwrap().push(far);
    let done = world.registry.warm(&access(APP), &tag, &[wanted], &progress).await.unwrap().unwrap();
    assert_eq!(done, WarmProgress { manifests: 2, blobs: 2, blobs_named: 2 });
    assert_eq!(told.lock().unwrap().last(), Some(&done));
    let asked = world.fake.asked();
    assert!(asked.blobs.contains_key(&arm64.layer_digest) && !asked.blobs.contains_key(&amd64.layer_digest));
    // All of it is here now.
    world.fake.set(Fault::Down);
    for digest in [arm64.layer_digest, Digest::sha256(&arm64.config)] {
        assert!(world.registry.blob(&access(APP), &digest).await.unwrap().is_some());
    }
    assert!(
        world
            .registry
            .warm(&access(APP), &Reference::Tag("none".parse().unwrap()), &[], &progress)
            .await
            .is_err()
    );
}
