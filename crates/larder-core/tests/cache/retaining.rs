//! What retention rules take away from a registry, and what they leave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_core::{
    Environment, Event, EventSink, ImmutableRule, Keeping, ManifestPush, Precondition, Registry,
    RetentionReports, RetentionRule, RetentionRules, Run, TagPattern,
};
use larder_oci::{Actor, AdminAccess, Digest, Reference, RepoName};
use larder_storage::StorageError;
use tokio_util::sync::CancellationToken;

use super::evict::{HOUR, now, pass, world};
use super::world::{APP, World, access, image, open_in};

const TEAM: &str = "team/app";

fn admin() -> AdminAccess {
    AdminAccess::granted_by_policy(Actor::Anonymous)
}

fn rule(keep: &[Keeping]) -> RetentionRule {
    RetentionRule {
        place: "config.yml:3, retention rule 1".into(),
        repositories: Vec::new(),
        tags: Vec::new(),
        keep: keep.to_vec(),
        untagged: None,
        immutable_too: false,
    }
}

fn rules(rule: RetentionRule) -> RetentionRules {
    RetentionRules { rules: vec![rule], every: HOUR, immutable: Vec::new() }
}

fn newest(count: u64) -> Keeping {
    Keeping { newest: Some(count), ..Keeping::default() }
}

fn used(hours: u32) -> Keeping {
    Keeping { used: Some(HOUR * hours), ..Keeping::default() }
}

/// What went, with its reason.
async fn retain(registry: &Registry) -> Vec<String> {
    let done = registry.retain(&admin(), true).await.unwrap().unwrap();
    assert_eq!(done.failed, 0);
    done.gone.iter().map(|gone| format!("{}:{} {}", gone.repository, gone.reference, gone.why)).collect()
}

async fn has_tag(registry: &Registry, repository: &str, tag: &str) -> bool {
    let repository: RepoName = repository.parse().unwrap();
    let meta = registry.meta();
    meta.tag(&repository, &tag.parse().unwrap()).unwrap().is_some()
}

fn content(world: &World, digest: &Digest) -> bool {
    let hex = digest.hex();
    world.root.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])).exists()
}

#[tokio::test]
async fn the_newest_stay_the_rest_goes_comes_back_when_undone_and_frees_its_bytes() {
    let (_clock, world) = world().await;
    for number in 1..=4 {
        world.push(TEAM, &format!("build-{number}"), &image(number, 3000)).await;
    }
    world.registry.set_retention(rules(rule(&[newest(2)])));
    let gone = retain(&world.registry).await;
    let why = "not newest 2 (config.yml:3, retention rule 1)";
    assert_eq!(gone, [format!("{TEAM}:build-1 {why}"), format!("{TEAM}:build-2 {why}")]);
    assert!(
        has_tag(&world.registry, TEAM, "build-3").await && has_tag(&world.registry, TEAM, "build-4").await
    );

    let removed = world.registry.removed(&admin());
    assert!(removed.iter().all(|each| each.by == "larder:retention"), "{removed:?}");
    let undone = removed.iter().find(|each| each.what.tags[0].tag.as_str() == "build-2").unwrap();
    world.registry.undo(&access(TEAM), undone.id).await.unwrap();
    assert!(has_tag(&world.registry, TEAM, "build-2").await);
    world.registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
    assert!(!content(&world, &image(1, 3000).layer_digest), "the bytes of build-1 came back");
    assert!(content(&world, &image(2, 3000).layer_digest));
}

#[tokio::test]
async fn rules_that_nobody_has_seen_applied_delete_nothing() {
    let (_clock, world) = world().await;
    world.push(TEAM, "v1", &image(1, 100)).await;
    world.push(TEAM, "v2", &image(2, 100)).await;
    world.registry.set_retention(rules(rule(&[newest(1)])));
    assert_eq!(world.registry.retain(&admin(), false).await.unwrap(), None);
    let plan = world.registry.plan_retention(&admin(), None).await.unwrap();
    assert_eq!(plan.going(), (1, 0));
    assert!(!world.registry.retention_state(&admin()).await.unwrap().approved);

    assert!(world.registry.retention_was_shown(&admin(), plan.fingerprint).await.unwrap());
    world
        .registry
        .set_retention(rules(rule(&[newest(1), Keeping { pushed: Some(HOUR), ..Keeping::default() }])));
    assert_eq!(world.registry.retain(&admin(), false).await.unwrap(), None, "these are other rules");
    assert!(!world.registry.retention_was_shown(&admin(), plan.fingerprint).await.unwrap());
    assert!(has_tag(&world.registry, TEAM, "v1").await);

    world.registry.set_retention(rules(rule(&[newest(1)])));
    let done = world.registry.retain(&admin(), false).await.unwrap().unwrap();
    assert_eq!(done.gone.len(), 1);
    let state = world.registry.retention_state(&admin()).await.unwrap();
    assert_eq!((state.approved, state.tags, state.manifests), (true, 1, 0));
}

#[tokio::test]
async fn a_pull_keeps_what_was_pushed_also_over_a_restart_and_without_a_write_at_the_pull() {
    let (_clock, world) = world().await;
    world.push(TEAM, "used", &image(1, 100)).await;
    world.push(TEAM, "unused", &image(2, 100)).await;
    let placeholder = tempfile::tempdir().unwrap();
    let restart = async |mut world: World| {
        world.registry.stop_fetching().await;
        drop(std::mem::replace(&mut world.registry, super::world::open(placeholder.path())));
        world.registry = open_in(world.root.path(), Environment { now, ..Environment::system() });
        world.registry.set_retention(rules(rule(&[used(100)])));
        world
    };
    world.registry.set_retention(rules(rule(&[used(100)])));
    // From here on pulls are known.
    assert_eq!(retain(&world.registry).await, Vec::<String>::new());
    pass(90);
    world.registry.manifest(&access(TEAM), &Reference::Tag("used".parse().unwrap())).await.unwrap().unwrap();
    let world = restart(world).await;
    pass(90);
    let gone = retain(&world.registry).await;
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].starts_with("team/app:unused not used within 4days 4h"), "{gone:?}");
    assert!(has_tag(&world.registry, TEAM, "used").await);
}

#[tokio::test]
async fn without_the_index_nothing_is_known_of_pulls_so_nothing_goes_for_lack_of_them() {
    let (_clock, mut world) = world().await;
    world.push(TEAM, "v1", &image(1, 100)).await;
    pass(500);
    let placeholder = tempfile::tempdir().unwrap();
    drop(std::mem::replace(&mut world.registry, super::world::open(placeholder.path())));
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(world.root.path().join("larder").join(name));
    }
    world.registry = open_in(world.root.path(), Environment { now, ..Environment::system() });
    world.registry.set_retention(rules(rule(&[used(100)])));
    assert_eq!(retain(&world.registry).await, Vec::<String>::new());
    pass(101);
    assert_eq!(retain(&world.registry).await.len(), 1);
}

#[tokio::test]
async fn untagged_manifests_go_after_they_lost_their_tag_and_not_while_they_are_pulled() {
    let (_clock, world) = world().await;
    let (first, second) = (image(1, 100), image(2, 100));
    world.push(TEAM, "latest", &first).await;
    world.push(TEAM, "latest", &second).await;
    world.registry.set_retention(rules(RetentionRule { untagged: Some(HOUR * 24), ..rule(&[]) }));
    assert_eq!(retain(&world.registry).await, Vec::<String>::new());
    pass(23);
    let by_digest = Reference::Digest(first.digest);
    world.registry.manifest(&access(TEAM), &by_digest).await.unwrap().unwrap();
    pass(23);
    assert_eq!(retain(&world.registry).await, Vec::<String>::new());
    pass(2);
    let gone = retain(&world.registry).await;
    let why = "neither tagged nor pulled for 1day (config.yml:3, retention rule 1)";
    assert_eq!(gone, [format!("{TEAM}:{} {why}", first.digest)]);
    world.registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
    assert!(!content(&world, &first.layer_digest) && content(&world, &second.layer_digest));
}

#[tokio::test]
async fn copies_of_upstreams_and_pushed_tags_beside_them_are_told_apart() {
    let (_clock, world) = world().await;
    world.pull().await;
    world.push(APP, "mine", &image(5, 100)).await;
    pass(1000);
    world.registry.set_retention(rules(rule(&[used(1)])));
    retain(&world.registry).await;
    pass(2);
    let gone = retain(&world.registry).await;
    assert!(gone.iter().all(|gone| gone.starts_with(&format!("{APP}:mine "))), "{gone:?}");
    assert!(has_tag(&world.registry, APP, "latest").await);
}

#[tokio::test]
async fn a_rule_about_some_tags_leaves_others_of_the_same_manifest() {
    let (_clock, world) = world().await;
    let both = image(1, 100);
    world.push(TEAM, "build-1", &both).await;
    world.push(TEAM, "v1", &both).await;
    pass(50);
    let builds = RetentionRule {
        tags: vec![TagPattern::from("build-*")],
        ..rule(&[Keeping { pushed: Some(HOUR), ..Keeping::default() }])
    };
    world.registry.set_retention(rules(builds));
    assert_eq!(retain(&world.registry).await.len(), 1);
    world.registry.collect(&admin(), Run { now: true, sweep: false }).await.unwrap();
    let v1 = Reference::Tag("v1".parse().unwrap());
    assert_eq!(world.registry.manifest(&access(TEAM), &v1).await.unwrap().unwrap().digest, both.digest);
    assert!(content(&world, &both.layer_digest));
}

/// What is reported, as text.
#[derive(Default)]
struct Reported(Mutex<Vec<String>>);

impl EventSink for Reported {
    fn changed(
        &self,
        actor: &Actor,
        repository: &RepoName,
        events: &[Event<'_>],
    ) -> Result<(), StorageError> {
        for event in events {
            if let Event::TagDeleted { tag } = event {
                self.0.lock().unwrap().push(format!("{actor} {repository}:{tag}"));
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_goes_is_reported_as_any_deletion_and_with_its_rule() {
    let (_clock, world) = world().await;
    world.push(TEAM, "v1", &image(1, 100)).await;
    world.push(TEAM, "v2", &image(2, 100)).await;
    let (reported, trail) = (Arc::new(Reported::default()), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&trail);
    world.registry.report_retention_to(RetentionReports {
        events: Some(Arc::clone(&reported) as _),
        trail: Some(Arc::new(move |gone| noted.lock().unwrap().push(gone.why.clone()))),
    });
    world.registry.set_retention(rules(rule(&[newest(1)])));
    assert_eq!(retain(&world.registry).await.len(), 1);
    assert_eq!(*reported.0.lock().unwrap(), ["larder:retention team/app:v1"]);
    assert_eq!(*trail.lock().unwrap(), ["not newest 1 (config.yml:3, retention rule 1)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_again_while_the_rules_are_applied_is_never_lost() {
    let (_clock, world) = world().await;
    let world = Arc::new(world);
    world.registry.set_retention(rules(rule(&[newest(1)])));
    for round in 0..30 {
        for number in 0..3 {
            world.push(TEAM, &format!("t{number}"), &image(number, 100)).await;
        }
        let pushing = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.push(TEAM, "t1", &image(100 + round, 100)).await }
        });
        let done = world.registry.retain(&admin(), true).await.unwrap().unwrap();
        pushing.await.unwrap();
        // Pushed before the rules were applied it was the newest; pushed after, it made the tag anew.
        let t1 = Reference::Tag("t1".parse().unwrap());
        let there = world.registry.manifest(&access(TEAM), &t1).await.unwrap();
        assert_eq!(there.map(|there| there.digest), Some(image(100 + round, 100).digest), "{done:?}");
    }
}

#[tokio::test]
async fn an_immutable_tag_is_made_once_and_neither_moved_nor_deleted() {
    let (_clock, world) = world().await;
    let (first, second) = (image(1, 100), image(2, 100));
    let immutable = ImmutableRule {
        place: "config.yml:3, immutable rule 1".into(),
        repositories: Vec::new(),
        tags: vec![TagPattern::from("v*")],
    };
    world.registry.set_retention(RetentionRules { immutable: vec![immutable], ..RetentionRules::default() });
    world.push(TEAM, "v1", &first).await;
    world.push(TEAM, "v1", &first).await;
    world.push(TEAM, "latest", &first).await;
    world.push(TEAM, "latest", &second).await;
    let v1: Reference = "v1".parse().unwrap();
    let push = ManifestPush {
        reference: v1.clone(),
        tags: Vec::new(),
        media_type: None,
        bytes: second.manifest.clone(),
        precondition: Precondition::Always,
    };
    let refused = world.registry.push_manifest(&access(TEAM), push).await.unwrap_err().to_string();
    let words = format!(
        "the tag v1 of team/app is immutable by config.yml:3, immutable rule 1, and points at {}",
        first.digest
    );
    assert_eq!(refused, words);
    for reference in [v1, Reference::Digest(first.digest)] {
        let refused = world.registry.delete_manifest(&access(TEAM), &reference).await.unwrap_err();
        assert_eq!(refused.to_string(), words);
    }
    assert!(world.registry.removed(&admin()).is_empty(), "nothing was noted that didn't happen");
    let meta = world.registry.meta();
    let now = meta.tag(&TEAM.parse().unwrap(), &"v1".parse().unwrap()).unwrap();
    assert_eq!(now, Some(first.digest));
}

/// The server's own loop, on a clock that jumps to where the next thing is to be done.
#[tokio::test(start_paused = true)]
async fn the_server_applies_seen_rules_when_they_are_due_and_others_never() {
    let (_clock, world) = world().await;
    let (registry, stop) = (world.registry.clone(), CancellationToken::new());
    let keeping = tokio::spawn({
        let (registry, stop) = (registry.clone(), stop.clone());
        async move { registry.maintain(stop).await }
    });
    // Twice as long as it takes to look again: the clock stands still while the registry works.
    let look = async || tokio::time::sleep(Duration::from_secs(125)).await;
    let count = async || {
        let mut count = 0;
        for number in 1..=4 {
            count += u32::from(has_tag(&registry, TEAM, &format!("v{number}")).await);
        }
        count
    };
    for number in 1..=3 {
        world.push(TEAM, &format!("v{number}"), &image(number, 100)).await;
    }
    world.registry.set_retention(rules(rule(&[newest(2)])));
    pass(1000);
    look().await;
    assert_eq!(count().await, 3, "nobody has seen these rules");

    let plan = registry.plan_retention(&admin(), None).await.unwrap();
    assert!(registry.retention_was_shown(&admin(), plan.fingerprint).await.unwrap());
    look().await;
    assert_eq!(count().await, 3, "there is an hour to think better of them");
    pass(2);
    look().await;
    assert_eq!(count().await, 2);

    world.push(TEAM, "v4", &image(4, 100)).await;
    look().await;
    assert_eq!(count().await, 3, "an hour hasn't passed since they were applied");
    pass(2);
    look().await;
    assert_eq!(count().await, 2);

    // Other rules, which nobody has seen, whatever time passes.
    world.registry.set_retention(rules(rule(&[newest(1)])));
    pass(1000);
    look().await;
    assert_eq!(count().await, 2);
    let never = RetentionRules { every: Duration::ZERO, ..rules(rule(&[newest(1)])) };
    world.registry.set_retention(never);
    let plan = registry.plan_retention(&admin(), None).await.unwrap();
    assert!(registry.retention_was_shown(&admin(), plan.fingerprint).await.unwrap());
    pass(1000);
    look().await;
    assert_eq!(count().await, 2, "it is never to be done by itself");
    stop.cancel();
    keeping.await.unwrap();
}
