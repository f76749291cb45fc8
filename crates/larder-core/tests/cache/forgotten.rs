//! When something was last pulled is remembered as long as it is there, or may come back, and no longer.

use std::time::Duration;

use larder_core::{Collection, Environment, Registry, Run, Settings};
use larder_oci::{Actor, AdminAccess, Digest, Reference, Tag};

use tokio_util::sync::CancellationToken;

use super::fake::Fake;
use super::world::{World, access, image, registry_settings};

const TEAM: &str = "team/app";

fn admin() -> AdminAccess {
    AdminAccess::granted_by_policy(Actor::Anonymous)
}

/// SplitMix64.
fn chance(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % limit
}

#[tokio::test]
async fn nothing_is_remembered_of_what_was_collected_whatever_happened_before() {
    for seed in 0..25 {
        let (world, mut state) = (World::new(), seed);
        let tag = |number: u64| -> Tag { format!("t{number}").parse().unwrap() };
        for _ in 0..40 {
            let number = chance(&mut state, 6);
            let reference = match chance(&mut state, 3) {
                0 => Reference::Digest(image(number, 100).digest),
                _ => Reference::Tag(tag(number)),
            };
            match chance(&mut state, 10) {
                0..3 => world.push(TEAM, tag(number).as_str(), &image(chance(&mut state, 6), 100)).await,
                3..6 => drop(world.registry.manifest(&access(TEAM), &reference).await.unwrap()),
                6..8 => drop(world.registry.delete_manifest(&access(TEAM), &reference).await),
                8 => {
                    if let Some(removed) = world.registry.removed(&admin()).first() {
                        world.registry.undo(&access(TEAM), removed.id).await.unwrap();
                    }
                }
                _ => {
                    // Written down, as it is twice a minute.
                    world.registry.plan_retention(&admin(), None).await.unwrap();
                }
            }
        }
        world.registry.collect(&admin(), Run { now: true, sweep: true }).await.unwrap();
        assert_eq!(world.registry.meta().accesses_of_gone().unwrap(), 0, "seed {seed}");
    }
}

#[tokio::test]
async fn one_deletion_takes_its_own_memory_along_and_what_is_undone_keeps_it() {
    let world = World::new();
    for number in 1..=2 {
        world.push(TEAM, &format!("t{number}"), &image(number, 100)).await;
    }
    let ages = || {
        let pulls = world.registry.meta().ages(&TEAM.parse().unwrap()).unwrap().pulls;
        let mut digests: Vec<Digest> = pulls.keys().copied().collect();
        digests.sort_unstable();
        digests
    };
    let [one, two] = [image(1, 100).digest, image(2, 100).digest];
    for digest in [one, two] {
        world.registry.manifest(&access(TEAM), &Reference::Digest(digest)).await.unwrap().unwrap();
    }
    world.registry.plan_retention(&admin(), None).await.unwrap();
    let mut both = vec![one, two];
    both.sort_unstable();
    assert_eq!(ages(), both);
    world.registry.delete_manifest(&access(TEAM), &Reference::Digest(one)).await.unwrap();
    let removed = world.registry.removed(&admin());
    world.registry.undo(&access(TEAM), removed[0].id).await.unwrap();
    assert_eq!(ages(), both, "it was pulled before it was deleted");
    world.registry.delete_manifest(&access(TEAM), &Reference::Digest(one)).await.unwrap();
    world.registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
    assert_eq!(ages(), vec![two]);
}

#[tokio::test(start_paused = true)]
async fn with_the_collector_off_what_is_gone_is_forgotten_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let collection = Collection { enabled: false, ..registry_settings().collection };
    let settings = Settings { collection, ..registry_settings() };
    let registry = Registry::open(root.path(), settings, Environment::system()).unwrap();
    let world = World { root, registry, fake: Fake::new(), image: image(1, 100) };
    let [kept, gone] = [1, 2].map(|number| image(number, 100));
    for (tag, image) in [("kept", &kept), ("gone", &gone)] {
        world.push(TEAM, tag, image).await;
        world.registry.manifest(&access(TEAM), &Reference::Digest(image.digest)).await.unwrap().unwrap();
    }
    world.registry.delete_manifest(&access(TEAM), &Reference::Digest(gone.digest)).await.unwrap();
    // Written down, as it is twice a minute: after the deletion.
    world.registry.plan_retention(&admin(), None).await.unwrap();
    let pulls = || world.registry.meta().ages(&TEAM.parse().unwrap()).unwrap().pulls;
    assert_eq!((pulls().len(), world.registry.meta().accesses_of_gone().unwrap()), (2, 1));
    let stop = CancellationToken::new();
    let maintaining = tokio::spawn({
        let (registry, stop) = (world.registry.clone(), stop.clone());
        async move { registry.maintain(stop).await }
    });
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    world.until(|| world.registry.meta().accesses_of_gone().unwrap() == 0).await;
    assert_eq!(pulls().into_keys().collect::<Vec<_>>(), [kept.digest]);
    stop.cancel();
    maintaining.await.unwrap();
}
