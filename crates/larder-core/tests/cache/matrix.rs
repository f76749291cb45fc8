//! Every way in which an upstream fails, times what is at hand, times what is asked: the answer and how long it may take.

use std::time::Duration;

use larder_core::{RegistryError, UpstreamFailure};
use tokio::time::Instant;

use super::fake::Fault;
use super::world::{World, access, read};

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// What the upstream has.
    Fresh,
    /// What is at hand, and the reason.
    Stale,
    /// The headers of the right answer, and then its connection is cut.
    CutOff,
    /// "There is no such thing."
    Absent,
    /// This failure.
    Failed(UpstreamFailure),
}

use Outcome::{Absent, CutOff, Failed, Fresh, Stale};
use UpstreamFailure::{Cut, Denied, Garbled, RateLimited, TimedOut, Unauthorized, Unreachable};

const LIMITED: UpstreamFailure = RateLimited { retry_after: Some(Duration::from_secs(90)) };
const BROKEN: UpstreamFailure = UpstreamFailure::Failed { status: 500 };
const SLOW: Duration = Duration::from_secs(30);

/// Fault; then what a pull gets: by a tag of which there is a copy that the upstream has since moved, of a manifest by
/// a digest and by a tag that aren't at hand, of a blob that isn't.
const MATRIX: [(Fault, Outcome, Outcome, Outcome); 15] = [
    (Fault::None, Fresh, Fresh, Fresh),
    (Fault::Down, Stale, Failed(Unreachable), Failed(Unreachable)),
    (Fault::BlackHole, Stale, Failed(TimedOut), Failed(TimedOut)),
    (Fault::Slow(SLOW), Stale, Failed(TimedOut), Failed(TimedOut)),
    (Fault::Fails(UpstreamFailure::Tls), Stale, Failed(UpstreamFailure::Tls), Failed(UpstreamFailure::Tls)),
    (Fault::Fails(Unauthorized), Stale, Failed(Unauthorized), Failed(Unauthorized)),
    (Fault::Fails(Denied), Stale, Failed(Denied), Failed(Denied)),
    (Fault::Empty, Stale, Absent, Absent),
    (Fault::Fails(LIMITED), Stale, Failed(LIMITED), Failed(LIMITED)),
    (Fault::Fails(BROKEN), Stale, Failed(BROKEN), Failed(BROKEN)),
    (Fault::CutInHalf, Stale, Failed(Cut), Fresh),
    (Fault::CutAtOnce, Stale, Failed(Cut), CutOff),
    (Fault::Corrupt, Stale, Failed(Garbled), CutOff),
    (Fault::TooLong, Stale, Failed(Garbled), CutOff),
    (Fault::Stalls, Stale, Failed(TimedOut), CutOff),
];

/// Long enough for an upstream on another continent, short enough that a client that can fall back does.
const COPY_BUDGET: Duration = Duration::from_secs(2);
const MISS_BUDGET: Duration = Duration::from_secs(20);

/// A pull of the same kind again, right after: the failure is known.
const AT_ONCE: Duration = Duration::from_millis(1);

fn failure(error: &RegistryError) -> UpstreamFailure {
    match error {
        RegistryError::Upstream(error) => error.failure,
        RegistryError::Shared(error) => failure(error),
        other => panic!("not an upstream's failure: {other:?}"),
    }
}

async fn outcome_of_tag(world: &World, tag: &str, bytes: &[u8]) -> Outcome {
    match world.tag(tag).await {
        Ok(Some(pulled)) => {
            assert_eq!(pulled.bytes, bytes);
            match &pulled.copy {
                None => Fresh,
                Some(copy) => {
                    assert!(copy.why.reason.len() > 5, "{copy:?}");
                    assert_eq!(&*copy.upstream, "fake");
                    Stale
                }
            }
        }
        Ok(None) => Absent,
        Err(error) => Failed(failure(&error)),
    }
}

async fn outcome_of_layer(world: &World) -> Outcome {
    match world.layer().await {
        Ok(Some(blob)) => match read(&blob).await {
            Ok(bytes) => {
                assert_eq!(bytes, world.image.layer);
                Fresh
            }
            Err(_) => CutOff,
        },
        Ok(None) => Absent,
        Err(error) => Failed(failure(&error)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_at_hand_is_served_whatever_the_upstream_does() {
    for (fault, expected, ..) in MATRIX {
        let world = World::new();
        world.pull().await;
        let next = super::world::image(2, 1000);
        world.publish(super::world::APP, Some("latest"), &next);
        world.fake.set(fault);
        let begun = Instant::now();
        let bytes = if expected == Fresh { &next.manifest } else { &world.image.manifest };
        assert_eq!(outcome_of_tag(&world, "latest", bytes).await, expected, "{fault:?}");
        assert!(begun.elapsed() <= COPY_BUDGET + AT_ONCE, "{fault:?} took {:?}", begun.elapsed());
        // The next one needn't find out again.
        let begun = Instant::now();
        assert_eq!(outcome_of_tag(&world, "latest", bytes).await, expected, "{fault:?}, again");
        assert!(begun.elapsed() <= AT_ONCE, "{fault:?} took {:?} again", begun.elapsed());
        // And all of the image is there.
        assert_eq!(world.by_digest(world.image.digest).await.unwrap().unwrap().bytes, world.image.manifest);
        assert_eq!(outcome_of_layer(&world).await, Fresh, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_digest_at_hand_asks_nobody() {
    for (fault, ..) in MATRIX {
        let world = World::new();
        world.pull().await;
        world.fake.reset();
        world.fake.set(fault);
        let begun = Instant::now();
        let pulled = world.by_digest(world.image.digest).await.unwrap().unwrap();
        assert_eq!((pulled.bytes.clone(), pulled.copy.is_none()), (world.image.manifest.clone(), true));
        assert_eq!(outcome_of_layer(&world).await, Fresh);
        let head = world.registry.blob_head(&access(super::world::APP), &world.image.layer_digest).await;
        assert_eq!(head.unwrap().unwrap().content.size(), world.image.layer.len() as u64);
        assert!(begun.elapsed() <= AT_ONCE, "{fault:?}");
        assert_eq!(world.fake.asked(), super::fake::Asked::default(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_not_at_hand_fails_with_the_true_reason_in_time() {
    for (fault, _, expected, _) in MATRIX {
        for by_tag in [true, false] {
            let world = World::new();
            world.fake.set(fault);
            let begun = Instant::now();
            let outcome = if by_tag {
                outcome_of_tag(&world, "latest", &world.image.manifest).await
            } else {
                match world.by_digest(world.image.digest).await {
                    Ok(Some(pulled)) => {
                        assert_eq!(pulled.bytes, world.image.manifest);
                        Fresh
                    }
                    Ok(None) => Absent,
                    Err(error) => Failed(failure(&error)),
                }
            };
            assert_eq!(outcome, expected, "{fault:?}, by tag: {by_tag}");
            assert!(begun.elapsed() <= MISS_BUDGET + AT_ONCE, "{fault:?} took {:?}", begun.elapsed());
            let kept = world.registry.meta().manifest(&"library/app".parse().unwrap(), &world.image.digest);
            assert_eq!(kept.unwrap().is_some(), expected == Fresh, "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_not_at_hand_is_right_or_cut_off_and_never_kept_wrong() {
    for (fault, _, _, expected) in MATRIX {
        let world = World::new();
        world.fake.set(fault);
        let begun = Instant::now();
        let asked = world.layer().await;
        assert!(begun.elapsed() <= MISS_BUDGET + AT_ONCE, "{fault:?} took {:?}", begun.elapsed());
        let outcome = match asked {
            Ok(Some(blob)) => match read(&blob).await {
                Ok(bytes) => {
                    assert_eq!(bytes, world.image.layer);
                    Fresh
                }
                Err(_) => CutOff,
            },
            Ok(None) => Absent,
            Err(error) => Failed(failure(&error)),
        };
        assert_eq!(outcome, expected, "{fault:?}");
        if expected != Failed(TimedOut) {
            world.until(|| world.registry.cache_counts().fills == 0).await;
            let kept = world.registry.meta().blob(&"library/app".parse().unwrap(), &world.image.layer_digest);
            assert_eq!(kept.unwrap().is_some(), expected == Fresh, "{fault:?}");
        }
        // The upstream mends itself: the next pull gets everything, whatever was left behind.
        world.fake.set(Fault::None);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(outcome_of_layer(&world).await, Fresh, "after {fault:?}");
    }
}
