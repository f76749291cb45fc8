//! The pass that a server makes beside its work.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use larder_oci::RepoName;
use tokio_util::sync::CancellationToken;

use super::pass::{Pass, Place, Stage};
use super::report::VerifyReport;
use super::{PASS_FILE, REQUEST_FILE};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// How long after the start the first look is, so that it doesn't compete with the first requests.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// How often somebody is looked for who wants a pass now.
const LOOK_FOR_REQUESTS: Duration = Duration::from_secs(1);

/// How often it is written down how far the pass is; a crash repeats so much.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// As long as somebody waits for the pass.
const SAVE_EVERY_IN_A_HURRY: Duration = Duration::from_secs(1);

/// How long nothing is tried after the disk failed.
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

/// How often everything is looked at, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifySchedule {
    /// The time that one pass takes; zero makes none unless it is asked for.
    pub every: Duration,
    /// The most bytes that are read in a second.
    pub most_per_second: u64,
}

/// What was looked at and found since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyCounters {
    /// Blobs that were hashed.
    pub blobs: u64,
    /// How many bytes that were.
    pub bytes: u64,
    /// Blobs that were found damaged.
    pub damaged: u64,
    /// Those that were moved away.
    pub set_aside: u64,
    /// Those that were fetched again from an upstream.
    pub healed: u64,
    /// Faults of links.
    pub faults: u64,
    /// Those that were mended.
    pub mended: u64,
    /// Passes that came to their end.
    pub passes: u64,
}

/// What a registry keeps of its passes.
#[derive(Default)]
pub(crate) struct Verification {
    blobs: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
    set_aside: AtomicU64,
    healed: AtomicU64,
    faults: AtomicU64,
    mended: AtomicU64,
    passes: AtomicU64,
}

/// Where the passes of a running registry are.
struct Rounds {
    schedule: VerifySchedule,
    pass: Option<Pass>,
    /// Somebody waits for the pass.
    in_a_hurry: bool,
    not_before: Instant,
    saved: Instant,
    looked_for_requests: Instant,
}

impl Verification {
    /// Counts something damaged that has come again.
    pub(crate) fn was_healed(&self) {
        self.healed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Registry {
    /// Makes passes until `stop` is cancelled: as the schedule says, and whenever one is asked for by a file.
    pub async fn verify_regularly(&self, schedule: VerifySchedule, stop: CancellationToken) {
        let pass = self.blocking(|inner| Pass::last(&inner.disk)).await.unwrap_or_else(|error| {
            log("what was verified before can't be read", &error);
            None
        });
        let now = Instant::now();
        let mut rounds = Rounds {
            schedule,
            pass,
            in_a_hurry: false,
            not_before: now + FIRST_LOOK,
            saved: now,
            looked_for_requests: now,
        };
        while !stop.is_cancelled() {
            if rounds.looked_for_requests.elapsed() >= LOOK_FOR_REQUESTS {
                rounds.looked_for_requests = Instant::now();
                if self.is_asked_for_a_pass().await {
                    tracing::info!("a pass over all that is stored was asked for, and begins");
                    (rounds.pass, rounds.in_a_hurry) = (Some(Pass::new(self.now(), true)), true);
                    rounds.not_before = Instant::now();
                    self.save(&rounds.pass).await;
                    // Only now: who asked reads the account of this pass when his request is gone.
                    self.take_request().await;
                }
            }
            let wait = rounds.wait(self.now());
            if wait.is_zero() {
                self.advance(&mut rounds, &stop).await;
            } else {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(wait.min(LOOK_FOR_REQUESTS)) => {}
                }
            }
        }
        if rounds.pass.as_ref().is_some_and(|pass| pass.finished.is_none()) {
            self.save(&rounds.pass).await;
        }
    }

    /// Does the next piece of the pass at hand, or of a new one.
    async fn advance(&self, rounds: &mut Rounds, stop: &CancellationToken) {
        // It writes down how far it is, and moves what is damaged.
        let Some(change) = self.inner.begin_change() else {
            rounds.not_before = Instant::now() + LOOK_FOR_REQUESTS;
            return;
        };
        let at_hand = rounds.pass.take().filter(|pass| pass.finished.is_none());
        let mut at_hand = at_hand.unwrap_or_else(|| Pass::new(self.now(), false));
        let rate = if rounds.in_a_hurry { u64::MAX } else { rounds.schedule.most_per_second.max(1) };
        let (stop, seen) = (stop.clone(), Seen::of(&at_hand.report));
        let stepped = self
            .blocking(move |inner| {
                let stage = inner.step(&mut at_hand, &mut |bytes| pause(bytes, rate, &stop));
                drop(change);
                Ok((at_hand, stage))
            })
            .await;
        let failure = match stepped {
            Ok((pass, stage)) => {
                let found_something = self.tell(seen, &pass.report);
                let is_through = pass.finished.is_some();
                if is_through {
                    self.tell_of_the_end(&pass);
                    rounds.in_a_hurry = false;
                }
                rounds.pass = Some(pass);
                let save_every = if rounds.in_a_hurry { SAVE_EVERY_IN_A_HURRY } else { SAVE_EVERY };
                if is_through || found_something || rounds.saved.elapsed() >= save_every {
                    rounds.saved = Instant::now();
                    self.save(&rounds.pass).await;
                }
                stage.err()
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failure {
            log("what is stored can't be looked at; it is tried again in a minute", &error);
            rounds.not_before = Instant::now() + AFTER_A_FAILURE;
        }
    }

    /// What was looked at and found since the start.
    pub fn verify_counters(&self) -> VerifyCounters {
        let Verification { blobs, bytes, damaged, set_aside, healed, faults, mended, passes } =
            &self.inner.verification;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VerifyCounters {
            blobs: read(blobs),
            bytes: read(bytes),
            damaged: read(damaged),
            set_aside: read(set_aside),
            healed: read(healed),
            faults: read(faults),
            mended: read(mended),
            passes: read(passes),
        }
    }

    fn now(&self) -> SystemTime {
        (self.inner.environment.now)()
    }

    async fn is_asked_for_a_pass(&self) -> bool {
        let asked = self.blocking(|inner| Ok(inner.disk.stat(Path::new(REQUEST_FILE))?.is_some())).await;
        asked.unwrap_or_else(|error| {
            log("whether somebody asked for a pass can't be told", &error);
            false
        })
    }

    async fn take_request(&self) {
        let taken = self.blocking(|inner| Ok(inner.disk.remove_file(Path::new(REQUEST_FILE))?)).await;
        if let Err(error) = taken {
            log("a request for a pass can't be removed, and will be taken for another one", &error);
        }
    }

    async fn save(&self, pass: &Option<Pass>) {
        let Some(pass) = pass.clone() else { return };
        if let Err(error) = self.blocking(move |inner| pass.save(&inner.disk)).await {
            tracing::warn!(%error, path = PASS_FILE, "how far the pass is can't be written down; a restart repeats some of it");
        }
    }

    /// Counts and logs what is new in a report, and has fetched again what upstreams have. Whether there was anything.
    fn tell(&self, seen: Seen, after: &VerifyReport) -> bool {
        let verification = &self.inner.verification;
        let add = |counter: &AtomicU64, more: usize| counter.fetch_add(more as u64, Ordering::Relaxed);
        verification.blobs.fetch_add(after.blobs - seen.blobs, Ordering::Relaxed);
        verification.bytes.fetch_add(after.bytes - seen.bytes, Ordering::Relaxed);
        let damaged = after.damaged.get(seen.damaged..).unwrap_or_default();
        let faults = after.faults.get(seen.faults..).unwrap_or_default();
        let broken = after.broken.get(seen.broken..).unwrap_or_default();
        add(&verification.damaged, damaged.len());
        add(&verification.set_aside, damaged.iter().filter(|blob| blob.moved_to.is_some()).count());
        add(&verification.faults, faults.len());
        add(&verification.mended, faults.iter().filter(|fault| fault.mended).count());
        for blob in damaged {
            let repositories: Vec<&str> = blob.repositories.iter().map(RepoName::as_str).collect();
            tracing::error!(
                digest = %blob.digest, repositories = repositories.join(", "),
                moved_to = blob.moved_to.as_ref().map_or_else(String::new, |path| path.display().to_string()),
                "a blob is damaged and not served any more: {}; what was pushed, push again to mend it; what was fetched is fetched again", blob.problem
            );
        }
        for fault in faults {
            let repository = fault.repository.as_ref().map_or("", |name| name.as_str());
            tracing::warn!(repository, mended = fault.mended, "{}", fault.problem);
        }
        for image in broken {
            tracing::error!(
                repository = %image.repository, digest = %image.digest, lacks = image.lacks.len(),
                "an image can't be pulled whole: {}", image.names()
            );
        }
        for blob in damaged.iter().filter(|blob| blob.moved_to.is_some()) {
            self.fetch_again(blob.digest, &blob.repositories);
        }
        !(damaged.is_empty() && faults.is_empty() && broken.is_empty())
    }

    fn tell_of_the_end(&self, pass: &Pass) {
        self.inner.verification.passes.fetch_add(1, Ordering::Relaxed);
        let VerifyReport { blobs, bytes, repositories, links, damaged, faults, broken } = &pass.report;
        tracing::info!(
            blobs,
            bytes,
            repositories,
            links,
            damaged = damaged.len(),
            faults = faults.len(),
            broken_images = broken.len(),
            "all that is stored was looked at"
        );
    }
}

impl Rounds {
    /// How long there is nothing to do.
    fn wait(&self, now: SystemTime) -> Duration {
        let blocked = self.not_before.saturating_duration_since(Instant::now());
        let Some(pass) = &self.pass else {
            return if self.schedule.every.is_zero() { LOOK_FOR_REQUESTS } else { blocked };
        };
        if self.in_a_hurry {
            return blocked;
        }
        if self.schedule.every.is_zero() {
            return LOOK_FOR_REQUESTS;
        }
        let part = match (pass.finished, pass.part_done()) {
            (Some(_), _) => 1.0,
            // The walk over the repositories follows the last blob at once.
            (None, part) if part >= 1.0 => 0.0,
            (None, part) => part,
        };
        let due = UNIX_EPOCH + Duration::from_secs(pass.started) + self.schedule.every.mul_f64(part);
        blocked.max(due.duration_since(now).unwrap_or_default())
    }
}

/// How much of a report has been told of.
struct Seen {
    blobs: u64,
    bytes: u64,
    damaged: usize,
    faults: usize,
    broken: usize,
}

impl Seen {
    fn of(report: &VerifyReport) -> Seen {
        Seen {
            blobs: report.blobs,
            bytes: report.bytes,
            damaged: report.damaged.len(),
            faults: report.faults.len(),
            broken: report.broken.len(),
        }
    }
}

impl Inner {
    fn step(
        &self,
        pass: &mut Pass,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Stage, RegistryError> {
        let place = Place { disk: &self.disk, blobs: &self.blobs, meta: Some(&self.meta) };
        pass.step(place, (self.environment.now)(), pace)
    }
}

/// Waits as long as reading so many bytes may take.
fn pause(bytes: u64, rate: u64, stop: &CancellationToken) -> ControlFlow<()> {
    if stop.is_cancelled() {
        return ControlFlow::Break(());
    }
    // At most a mebibyte comes at a time, so that a stop is never waited for long unless the rate is tiny.
    let wait = Duration::from_secs_f64(bytes as f64 / rate as f64).min(Duration::from_secs(1));
    if wait > Duration::from_millis(1) {
        std::thread::sleep(wait);
    }
    ControlFlow::Continue(())
}

fn log(message: &str, error: &RegistryError) {
    tracing::error!(error = %error, cause = ?std::error::Error::source(error), "{message}");
}
