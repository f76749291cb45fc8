//! Random histories of pushes, mounts, deletions, undoing, collections and crashes, against a model that knows only
//! sets.
//!
//! Each history is made from its number. More of them: `LARDER_HISTORIES=1000000 LARDER_SEED=7 cargo test -p
//! larder-core --test model histories`; one again: `LARDER_HISTORIES=1 LARDER_SEED=<its number>`.

mod ideal;
mod losses;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_core::{Environment, ManifestPush, Precondition, Registry, RegistryError, Run};
use larder_oci::{Digest, Reference};
use larder_storage::Disk;
use larder_storage::hook::DiskHook;

use crate::support::chance::Chance;
use crate::support::check::check_index;
use crate::support::hooks::Stop;
use crate::support::script::{APP, OTHER, Universe, image, index};
use crate::support::world::{access, admin, bytes_of, runtime, scratch, settings, upload};
use ideal::{Ideal, Things};

const IN_A_BUILD: u64 = 1000;
const STEPS: usize = 18;
const REPOSITORIES: [&str; 2] = [APP, OTHER];
const TAGS: [&str; 3] = ["v1", "v2", "latest"];

#[derive(Clone, Debug)]
enum Step {
    Upload(&'static str, usize),
    Mount(usize),
    Put(&'static str, usize, Option<&'static str>),
    DeleteTag(&'static str, &'static str),
    DeleteManifest(&'static str, usize),
    DeleteBlob(&'static str, usize),
    /// The deletion so many before the newest.
    Undo(usize),
    Collect,
    /// Of the deletions, only so many of the oldest are old enough.
    CollectSome(usize),
    CollectNothing,
    Restart,
}

/// Milliseconds since 1970, one second more with each step.
static CLOCK: AtomicU64 = AtomicU64::new(1_700_000_000_000);

/// Held by the history that the clock runs for.
static CLOCK_IN_USE: Mutex<()> = Mutex::new(());

fn environment() -> Environment {
    let now = || SystemTime::UNIX_EPOCH + Duration::from_millis(CLOCK.load(Ordering::SeqCst));
    Environment { now, ..Environment::system() }
}

fn open(root: &Path) -> Registry {
    Registry::open(root, settings(), environment()).unwrap()
}

fn open_with(root: &Path, hook: Arc<dyn DiskHook>) -> Registry {
    let disk = Arc::new(Disk::open_with(root, Some(hook)).unwrap());
    Registry::on(disk, settings(), environment()).unwrap()
}

fn things() -> Things {
    let blobs: Vec<Bytes> =
        ["{}", "base", "one", "two"].map(|text| Bytes::from_static(text.as_bytes())).to_vec();
    let one = image(&blobs[0], &[&blobs[1], &blobs[2]], None);
    let two = image(&blobs[0], &[&blobs[1], &blobs[3]], None);
    let both = index(&[&one, &two]);
    let signature = image(&blobs[0], &[], Some(&one));
    let of_signature = image(&blobs[0], &[&blobs[2]], Some(&signature));
    let nested = index(&[&both]);
    Things::new(blobs, vec![one, two, both, signature, of_signature, nested])
}

fn step(chance: &mut Chance, things: &Things) -> Step {
    let repository = chance.of(&REPOSITORIES);
    let (blob, manifest) = (chance.below(things.blobs.len()), chance.below(things.manifests.len()));
    match chance.below(30) {
        0..=2 => Step::Upload(repository, blob),
        3 => Step::Mount(blob),
        4..=9 => {
            let tag = (chance.below(3) > 0).then(|| chance.of(&TAGS));
            Step::Put(repository, manifest, tag)
        }
        10..=13 => Step::DeleteTag(repository, chance.of(&TAGS)),
        14..=17 => Step::DeleteManifest(repository, manifest),
        18 => Step::DeleteBlob(repository, blob),
        19..=22 => Step::Undo(chance.below(3)),
        23 => Step::Collect,
        24..=27 => Step::CollectSome(1 + chance.below(2)),
        28 => Step::CollectNothing,
        _ => Step::Restart,
    }
}

/// What there is before things begin to go: most of the blobs, and images under tags.
fn beginning(chance: &mut Chance, things: &Things) -> Vec<Step> {
    let mut steps = Vec::new();
    for repository in REPOSITORIES {
        steps.extend((0..things.blobs.len()).map(|blob| Step::Upload(repository, blob)));
        for manifest in 0..things.manifests.len() {
            let tag = (chance.below(3) > 0).then(|| chance.of(&TAGS));
            steps.push(Step::Put(repository, manifest, tag));
        }
    }
    steps.retain(|_| chance.below(6) > 0);
    // Taken from its end.
    steps.reverse();
    steps
}

/// Does it for real. `Ok(false)` when it was refused.
async fn real(registry: &Registry, step: &Step, things: &Things) -> Result<bool, RegistryError> {
    let outcome = match step {
        Step::Upload(repository, blob) => {
            let blob = &things.blobs[*blob];
            upload(registry, repository, blob, &Digest::sha256(blob)).await
        }
        Step::Mount(blob) => {
            let digest = Digest::sha256(&things.blobs[*blob]);
            return registry.mount(&access(OTHER), &access(APP), &digest).await;
        }
        Step::Put(repository, manifest, tag) => {
            let bytes = things.manifests[*manifest].clone();
            let push = ManifestPush {
                reference: Reference::Digest(Digest::sha256(&bytes)),
                tags: tag.iter().map(|tag| tag.parse().unwrap()).collect(),
                media_type: None,
                bytes,
                precondition: Precondition::Always,
            };
            registry.push_manifest(&access(repository), push).await.map(|_| ())
        }
        Step::DeleteTag(repository, tag) => {
            registry.delete_manifest(&access(repository), &tag.parse().unwrap()).await
        }
        Step::DeleteManifest(repository, manifest) => {
            let reference = Reference::Digest(Digest::sha256(&things.manifests[*manifest]));
            registry.delete_manifest(&access(repository), &reference).await
        }
        Step::DeleteBlob(repository, blob) => {
            registry.delete_blob(&access(repository), &Digest::sha256(&things.blobs[*blob])).await
        }
        Step::Undo(back) => {
            let removed = registry.removed(&admin());
            let Some(removed) = removed.get(*back) else { return Ok(false) };
            registry.undo(&access(removed.repository.as_str()), removed.id).await.map(|_| ())
        }
        Step::Collect => registry.collect(&admin(), Run { now: true, sweep: false }).await.map(|_| ()),
        Step::CollectSome(count) => {
            let mut removed = registry.removed(&admin());
            removed.reverse();
            let Some(last) = removed.get(*count - 1).or(removed.last()) else { return Ok(true) };
            let time = CLOCK.swap(last.at, Ordering::SeqCst);
            let outcome = registry.collect(&admin(), Run { now: true, sweep: false }).await;
            CLOCK.store(time, Ordering::SeqCst);
            outcome.map(|_| ())
        }
        Step::CollectNothing => {
            let collected = registry.collect(&admin(), Run::default()).await?;
            assert_eq!(collected, larder_core::Collected::default(), "its grace time isn't over");
            Ok(())
        }
        Step::Restart => Ok(()),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(
            RegistryError::ManifestUnknown { .. }
            | RegistryError::BlobUnknown { .. }
            | RegistryError::ReferencesUnknown { .. }
            | RegistryError::UndoTooLate { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

fn ideal(ideal: &mut Ideal, step: &Step, things: &Things) -> bool {
    let blob = |blob: &usize| Digest::sha256(&things.blobs[*blob]);
    let manifest = |manifest: &usize| Digest::sha256(&things.manifests[*manifest]);
    match step {
        Step::Upload(repository, number) => ideal.upload(repository, blob(number)),
        Step::Mount(number) => ideal.mount(APP, OTHER, blob(number)),
        Step::Put(repository, number, tag) => ideal.put(things, repository, manifest(number), *tag),
        Step::DeleteTag(repository, tag) => ideal.delete_tag(things, repository, tag),
        Step::DeleteManifest(repository, number) => {
            ideal.delete_manifest(things, repository, manifest(number))
        }
        Step::DeleteBlob(repository, number) => ideal.delete_blob(repository, blob(number)),
        Step::Undo(back) => ideal.undo(*back),
        Step::Collect => ideal.collect(things, usize::MAX),
        Step::CollectSome(count) => ideal.collect(things, *count),
        Step::CollectNothing | Step::Restart => true,
    }
}

/// What is served is what the model says, and no content is there that it has taken away.
async fn compare(registry: &Registry, ideal: &Ideal, things: &Things, about: &str) {
    for repository in REPOSITORIES {
        for bytes in &things.manifests {
            let digest = Digest::sha256(bytes);
            let found = registry.manifest(&access(repository), &Reference::Digest(digest)).await.unwrap();
            assert_eq!(
                found.is_some(),
                ideal.has_manifest(repository, &digest),
                "{about}: {repository}@{digest}"
            );
            found.iter().for_each(|found| assert_eq!(found.bytes, bytes));
        }
        for bytes in &things.blobs {
            let digest = Digest::sha256(bytes);
            let found = registry.blob(&access(repository), &digest).await.unwrap();
            assert_eq!(
                found.is_some(),
                ideal.has_blob(repository, &digest),
                "{about}: {repository} {bytes:?}"
            );
            found.iter().for_each(|found| assert_eq!(&bytes_of(found), bytes));
        }
        for tag in TAGS {
            let target = registry.meta().tag(&repository.parse().unwrap(), &tag.parse().unwrap()).unwrap();
            assert_eq!(target, ideal.tag(repository, tag), "{about}: {repository}:{tag}");
        }
    }
}

fn one_history(number: u64, things: &Things) {
    let mut chance = Chance(number);
    let root = scratch();
    let mut ideal_registry = Ideal::default();
    let mut first = beginning(&mut chance, things);
    let mut steps = STEPS + first.len();
    // From one start to the next.
    while steps > 0 {
        let crash = chance.below(3) == 0;
        let stop = Arc::new(Stop::at(if crash { 1 + chance.below(400) } else { usize::MAX }));
        let stopped_in = runtime().block_on(async {
            let registry = if crash { open_with(root.path(), stop.clone()) } else { open(root.path()) };
            while steps > 0 {
                steps -= 1;
                CLOCK.fetch_add(1000, Ordering::SeqCst);
                let step = first.pop().unwrap_or_else(|| step(&mut chance, things));
                let about = format!("history {number}, {} steps before its end, {step:?}", steps);
                if std::env::var_os("LARDER_TRACE").is_some() {
                    eprintln!("{about}");
                }
                let outcome = real(&registry, &step, things).await;
                if stop.stopped() {
                    return Some(step);
                }
                let outcome = outcome.unwrap_or_else(|error| panic!("{about}: {error:?}"));
                let expected = ideal(&mut ideal_registry, &step, things);
                assert_eq!(outcome, expected, "{about}: done (left) and should be (right)");
                compare(&registry, &ideal_registry, things, &about).await;
                if matches!(step, Step::Restart) {
                    return None;
                }
            }
            None
        });
        if let Some(step) = stopped_in {
            // Done again after the crash it must come to the same; deletions that may be noted twice become final.
            ideal(&mut ideal_registry, &step, things);
            ideal_registry.collect(things, usize::MAX);
            runtime().block_on(async {
                let registry = open(root.path());
                real(&registry, &step, things).await.unwrap();
                real(&registry, &Step::Collect, things).await.unwrap();
                let about = format!("history {number}, after a crash in {step:?}");
                compare(&registry, &ideal_registry, things, &about).await;
            });
        }
    }
    ideal_registry.collect(things, usize::MAX);
    runtime().block_on(async {
        let registry = open(root.path());
        real(&registry, &Step::Collect, things).await.unwrap();
        compare(&registry, &ideal_registry, things, &format!("history {number}, at its end")).await;
        check_index(&registry, &Universe::new());
    });
}

#[test]
fn whatever_happens_is_what_the_model_says() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, count) = (number("LARDER_SEED", 1), number("LARDER_HISTORIES", IN_A_BUILD));
    let things = things();
    for history in first..first + count {
        let _clock = CLOCK_IN_USE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        one_history(history, &things);
    }
}
