use larder_core::RegistryError;
use larder_meta::Origin;
use larder_oci::Digest;

use super::fake::{Asked, Fault};
use super::world::{APP, World, access, image, read};

#[tokio::test(start_paused = true)]
async fn a_pushed_tag_is_never_asked_about_nor_overwritten() {
    let world = World::new();
    let mine = image(9, 1000);
    world.push(APP, "latest", &mine).await;
    world.fake.reset();
    for _ in 0..3 {
        let pulled = world.tag("latest").await.unwrap().unwrap();
        assert_eq!((pulled.digest, pulled.copy.is_none()), (mine.digest, true));
    }
    assert_eq!(world.fake.asked(), Asked::default());
}

#[tokio::test(start_paused = true)]
async fn a_push_over_a_copy_takes_the_tag_over() {
    let world = World::new();
    world.pull().await;
    let mine = image(9, 1000);
    world.push(APP, "latest", &mine).await;
    world.publish(APP, Some("latest"), &image(2, 1000));
    assert_eq!(world.tag("latest").await.unwrap().unwrap().digest, mine.digest);
}

#[tokio::test(start_paused = true)]
async fn nobody_can_answer_for_a_missing_tag_of_a_repository_that_people_push_to() {
    let world = World::new();
    world.push("team/private", "1", &image(9, 1000)).await;
    world.publish("team/private", Some("2"), &image(3, 1000));
    world.fake.reset();
    let ask = |tag: &str| {
        let reference = larder_oci::Reference::Tag(tag.parse().unwrap());
        let registry = world.registry.clone();
        async move { registry.manifest(&access("team/private"), &reference).await }
    };
    assert!(ask("2").await.unwrap().is_none());
    assert_eq!(world.fake.asked(), Asked::default());
    let told_to = larder_core::UpstreamSettings { asks_for_pushed: true, ..super::world::settings() };
    world.registry.set_upstreams(super::world::upstreams(&world.fake, told_to));
    assert!(ask("2").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_push_whose_layers_only_the_upstream_has_succeeds() {
    let world = World::new();
    // Something of this repository was pulled, so its pushers are told what the upstream has.
    let base = image(2, 1000);
    world.publish(APP, Some("base"), &base);
    world
        .registry
        .manifest(&access(APP), &larder_oci::Reference::Tag("base".parse().unwrap()))
        .await
        .unwrap();
    for bytes in [&world.image.layer, &world.image.config] {
        assert!(world.registry.blob_head(&access(APP), &Digest::sha256(bytes)).await.unwrap().is_some());
    }
    let push = larder_core::ManifestPush {
        reference: larder_oci::Reference::Tag("mine".parse().unwrap()),
        tags: Vec::new(),
        media_type: None,
        bytes: world.image.manifest.clone(),
        precondition: larder_core::Precondition::Always,
    };
    world.registry.push_manifest(&access(APP), push.clone()).await.unwrap();
    let blob = world.layer().await.unwrap().unwrap();
    assert_eq!(read(&blob).await.unwrap(), world.image.layer);
    // With the upstream down it is refused as ever, and not left hanging.
    world.fake.set(Fault::Empty);
    let refused = image(5, 10);
    let push = larder_core::ManifestPush { bytes: refused.manifest, ..push };
    let error = world.registry.push_manifest(&access(APP), push).await.unwrap_err();
    assert!(matches!(error, RegistryError::ReferencesUnknown { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn everything_that_was_fetched_is_known_as_a_copy() {
    let world = World::new();
    world.pull().await;
    let (meta, name) = (world.registry.meta(), APP.parse().unwrap());
    let is_copy = |origin: Option<Origin>| matches!(origin, Some(Origin::Cached { .. }));
    assert!(is_copy(meta.tag_origin(&name, &"latest".parse().unwrap()).unwrap()));
    assert!(is_copy(meta.manifest_origin(&name, &world.image.digest).unwrap()));
    assert!(is_copy(meta.blob_origin(&name, &world.image.layer_digest).unwrap()));
    assert!(is_copy(meta.blob_origin(&name, &Digest::sha256(&world.image.config)).unwrap()));
}
