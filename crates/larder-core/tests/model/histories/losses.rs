//! Loss of power in the middle of histories: what was done is recorded, and replayed up to any moment, with what was not
//! synced by then dropped, torn, zeroed or kept by chance.
//!
//! After each loss everything that was acknowledged is there and whole, nothing wrong is served, the index says what the
//! files say, and the collector takes nothing that is needed. More of them: `LARDER_LOSSES=1000000 LARDER_SEED=7 cargo test
//! -p larder-core --test model losses`; those of one history again: `LARDER_LOSSES=50 LARDER_SEED=<its number>`.

use std::path::PathBuf;

use larder_oci::{Manifest, UploadId};
use tempfile::TempDir;

use super::*;
use crate::support::journal::{Journal, Left};

/// In a build.
const LOSSES: u64 = 2000;

/// Losses of one history.
const OF_ONE: u64 = 50;

/// An upload that is never finished.
const ABANDONED: &[u8] = &[b'a'; 3000];

/// A step that has ended.
struct Moment {
    /// Mutations until then.
    mutations: usize,
    step: Option<Step>,
    state: Ideal,
    /// The index's files as they were.
    index: PathBuf,
}

/// A history that was recorded.
struct Recorded {
    journal: Arc<Journal>,
    /// The first one is before everything.
    moments: Vec<Moment>,
    abandoned: UploadId,
    _places: (TempDir, TempDir),
}

fn record(number: u64, things: &Things) -> Recorded {
    let (root, saved) = (scratch(), scratch());
    let journal = Arc::new(Journal::new(root.path()));
    let mut chance = Chance(number);
    let mut state = Ideal::default();
    let save = |count: usize| {
        let place = saved.path().join(count.to_string());
        crate::crashes::copy_index(root.path(), &place);
        place
    };
    let mut moments = vec![Moment { mutations: 0, step: None, state: state.clone(), index: save(0) }];
    let mut abandoned = None;
    let mut first = beginning(&mut chance, things);
    let mut steps = STEPS + first.len();
    while steps > 0 {
        runtime().block_on(async {
            let registry = open_with(root.path(), journal.clone());
            if abandoned.is_none() {
                abandoned = Some(abandon(&registry).await);
            }
            while steps > 0 {
                steps -= 1;
                CLOCK.fetch_add(1000, Ordering::SeqCst);
                let step = first.pop().unwrap_or_else(|| step(&mut chance, things));
                real(&registry, &step, things).await.unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
                ideal(&mut state, &step, things);
                let is_restart = matches!(step, Step::Restart);
                let (mutations, index) = (journal.length(), save(moments.len()));
                moments.push(Moment { mutations, step: Some(step), state: state.clone(), index });
                if is_restart {
                    return;
                }
            }
        });
    }
    let abandoned = abandoned.unwrap();
    Recorded { journal, moments, abandoned, _places: (root, saved) }
}

async fn abandon(registry: &Registry) -> UploadId {
    let push = access(APP);
    let id = registry.start_upload(&push, None).await.unwrap().id;
    for piece in ABANDONED[..2000].chunks(1000) {
        let mut writer = registry.write_upload(&push, id, None).await.unwrap();
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        writer.pause().await.unwrap();
    }
    id
}

/// Everything after a loss of power behind the first `count` mutations.
fn lose(recorded: &Recorded, things: &Things, count: usize, left: Left, chance: &mut Chance, about: &str) {
    let root = scratch();
    recorded.journal.lose_power(count, left, chance, root.path());
    let ended = recorded.moments.iter().rposition(|moment| moment.mutations <= count).unwrap();
    let (before, after) = (&recorded.moments[ended], recorded.moments.get(ended + 1));
    // The step that follows may have begun. Where it hasn't, it doesn't count.
    let after = after.filter(|_| count > before.mutations).unwrap_or(before);
    // Of the index anything may be left: it is not synced.
    if chance.below(2) == 0 {
        let older = ended - chance.below(ended.min(3) + 1);
        crate::crashes::copy_index(&recorded.moments[older].index, root.path());
    }
    let about = format!("{about}, {left:?} left, power lost after mutation {count} in {:?}", after.step);
    runtime().block_on(async {
        let registry = open(root.path());
        check(&registry, &before.state, &after.state, things, &about).await;
        check_index(&registry, &Universe::new());
        resume(&registry, recorded.abandoned, &about).await;
        registry.collect(&admin(), Run { now: true, sweep: true }).await.unwrap();
        live_is_whole(&registry, &before.state, &after.state, things, &format!("{about}, collected")).await;
        check_index(&registry, &Universe::new());
    });
}

/// What both states have is there and right; what neither has isn't; what one has may be.
async fn check(registry: &Registry, before: &Ideal, after: &Ideal, things: &Things, about: &str) {
    for repository in REPOSITORIES {
        for bytes in &things.manifests {
            let digest = Digest::sha256(bytes);
            let found = registry.manifest(&access(repository), &Reference::Digest(digest)).await.unwrap();
            let may = [before, after].map(|state| state.has_manifest(repository, &digest));
            assert!(
                may.contains(&found.is_some()),
                "{about}: {repository}@{digest} found={}",
                found.is_some()
            );
            found.iter().for_each(|found| assert_eq!(found.bytes, bytes, "{about}"));
        }
        for bytes in &things.blobs {
            let digest = Digest::sha256(bytes);
            let found = registry.blob(&access(repository), &digest).await.unwrap();
            let may = [before, after].map(|state| state.has_blob(repository, &digest));
            assert!(
                may.contains(&found.is_some()),
                "{about}: {repository} {bytes:?} found={}",
                found.is_some()
            );
            found.iter().for_each(|found| assert_eq!(&bytes_of(found), bytes, "{about}"));
        }
        for tag in TAGS {
            let target = registry.meta().tag(&repository.parse().unwrap(), &tag.parse().unwrap()).unwrap();
            let may = [before, after].map(|state| state.tag(repository, tag));
            assert!(
                may.contains(&target),
                "{about}: {repository}:{tag} points at {target:?}, not at one of {may:?}"
            );
        }
    }
    live_is_whole(registry, before, after, things, about).await;
}

/// Every image that was there before and is after, and every tag's, is served with all that it is made of, as far as it ever was.
async fn live_is_whole(registry: &Registry, before: &Ideal, after: &Ideal, things: &Things, about: &str) {
    for repository in REPOSITORIES {
        let tagged = TAGS.iter().filter_map(|tag| {
            registry.meta().tag(&repository.parse().unwrap(), &tag.parse().unwrap()).unwrap()
        });
        let tagged: Vec<Digest> = tagged.collect();
        for bytes in &things.manifests {
            let digest = Digest::sha256(bytes);
            let is_live = [before, after].iter().all(|state| {
                state.has_manifest(repository, &digest) && state.is_needed(things, repository, &digest)
            });
            if !is_live && !tagged.contains(&digest) {
                continue;
            }
            let reference = Reference::Digest(digest);
            let found = registry.manifest(&access(repository), &reference).await.unwrap();
            assert!(found.is_some(), "{about}: {repository}@{digest} is lost");
            for (_, part) in Manifest::parse(bytes, None).unwrap().references() {
                let was_there = [before, after].iter().all(|state| {
                    state.has_blob(repository, &part.digest) || state.has_manifest(repository, &part.digest)
                });
                let blob = registry.blob(&access(repository), &part.digest).await.unwrap();
                let manifest = Reference::Digest(part.digest);
                let manifest = registry.manifest(&access(repository), &manifest).await.unwrap();
                let is_there = blob.is_some() || manifest.is_some();
                assert!(is_there || !was_there, "{about}: {repository}@{digest} lacks {}", part.digest);
            }
        }
    }
}

/// An upload that nobody was told is safe may be gone or torn; it never becomes a blob of other bytes.
async fn resume(registry: &Registry, id: UploadId, about: &str) {
    let push = access(APP);
    let progress = match registry.upload_progress(&push, id).await {
        Ok(progress) => progress,
        Err(RegistryError::UploadUnknown { .. }) => return,
        Err(error) => panic!("{about}: {error:?}"),
    };
    let at = usize::try_from(progress.length).unwrap();
    assert!(at <= 2000, "{about}: {at} bytes of 2000");
    let mut writer = registry.write_upload(&push, id, None).await.unwrap();
    writer.write(Bytes::copy_from_slice(&ABANDONED[at..])).await.unwrap();
    let digest = Digest::sha256(ABANDONED);
    match writer.finish(&digest).await {
        Ok(()) => {
            let blob = registry.blob(&access(APP), &digest).await.unwrap().unwrap();
            assert_eq!(bytes_of(&blob), ABANDONED, "{about}");
        }
        Err(RegistryError::DigestMismatch { .. }) => {
            assert!(registry.blob(&access(APP), &digest).await.unwrap().is_none(), "{about}");
        }
        Err(error) => panic!("{about}: {error:?}"),
    }
}

#[test]
fn a_loss_of_power_after_any_mutation_of_a_history_loses_nothing_acknowledged() {
    let _clock = CLOCK_IN_USE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let things = things();
    let recorded = record(1, &things);
    let count = recorded.journal.length();
    assert!(count > 200, "only {count} mutations: the history or the hook is broken");
    let mut chance = Chance(1);
    for at in 1..=count {
        let left = Left::ALL[at % Left::ALL.len()];
        lose(&recorded, &things, at, left, &mut chance, "history 1");
    }
}

#[test]
fn losses_of_power_in_many_histories_lose_nothing_acknowledged() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (first, losses) = (number("LARDER_SEED", 2), number("LARDER_LOSSES", LOSSES));
    let things = things();
    for history in first..first + losses.div_ceil(OF_ONE) {
        let _clock = CLOCK_IN_USE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let recorded = record(history, &things);
        let mut chance = Chance(history);
        for _ in 0..OF_ONE {
            let count = 1 + chance.below(recorded.journal.length());
            let left = chance.of(&Left::ALL);
            lose(&recorded, &things, count, left, &mut chance, &format!("history {history}"));
        }
    }
}
