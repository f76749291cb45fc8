//! The sweep for what no deletion tells of.
//!
//! It walks over everything, so it goes slowly: a page of a repository's blobs or a 256th of all content at a time, and
//! then it rests. Whatever it finds is old, is needed by no manifest and by no deletion that can be undone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use larder_meta::Page;
use larder_oci::{Algorithm, Digest, RepoName};
use tokio_util::sync::CancellationToken;

use crate::collect::{Collected, FIRST_SWEEP, Run, SWEEP_EVERY, final_before};
use crate::error::RegistryError;
use crate::registry::{Inner, Registry};

/// The share of the time in which a sweep in the background works; the rest it rests.
pub(super) const SHARE: f64 = 0.1;

/// Blobs of a repository that are looked at in one go.
const PAGE: usize = 1000;

/// A part of a sweep.
#[derive(Clone, Debug)]
enum Part {
    Repository(RepoName, Option<Digest>),
    Content(Algorithm, u8),
}

impl Registry {
    /// Sweeps everything; with a share, resting in between.
    pub(super) async fn sweep(
        &self,
        run: Run,
        stop: &CancellationToken,
        share: Option<f64>,
    ) -> Result<Collected, RegistryError> {
        let mut collected = Collected::default();
        if !run.now && self.inner.collector.fence.all_promised_until().is_some() {
            return Ok(collected);
        }
        // Another program may have worked on the directory: everything is compared with its files again.
        let names = self.stoppable(stop, |inner, stop| inner.look_at_everything_again(stop)).await?;
        let mut parts: Vec<Part> = Algorithm::ALL
            .into_iter()
            .flat_map(|algorithm| (0..=u8::MAX).map(move |byte| Part::Content(algorithm, byte)))
            .collect();
        // Taken from the end: links first, then what they no longer hold.
        parts.extend(names.unwrap_or_default().into_iter().map(|name| Part::Repository(name, None)));
        while let Some(part) = parts.pop() {
            let began = Instant::now();
            let (done, rest) =
                self.stoppable(stop, move |inner, stop| inner.sweep_part(part, run, stop)).await?;
            self.inner.collector.went(done);
            collected += done;
            parts.extend(rest);
            if stop.is_cancelled() {
                break;
            }
            if let Some(share) = share {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(began.elapsed().mul_f64(1.0 / share - 1.0)) => {}
                }
            }
        }
        Ok(collected)
    }

    /// What is left of a sweep where the collector is off: when things were last pulled that are gone. A deletion is final
    /// there at once, but a pull just before it is written down just after it.
    pub(super) async fn forget_gone_regularly(&self, stop: &CancellationToken) {
        let mut wait = FIRST_SWEEP;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = SWEEP_EVERY;
            if let Err(error) = self.stoppable(stop, Inner::forget_gone).await {
                tracing::warn!(%error, "when what is gone was last asked for could not be forgotten");
            }
        }
    }
}

impl Inner {
    fn forget_gone(&self, stop: &AtomicBool) -> Result<(), RegistryError> {
        for name in self.look_at_everything_again(stop)?.unwrap_or_default() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(_change) = self.begin_change() else { break };
            self.forget_accesses_of_gone(&name, None);
        }
        Ok(())
    }

    /// Every repository's name; `None` when it was stopped.
    fn look_at_everything_again(&self, stop: &AtomicBool) -> Result<Option<Vec<RepoName>>, RegistryError> {
        self.meta.doubt_everything();
        if !self.meta.know_every_reference(stop)? {
            return Ok(None);
        }
        Ok(Some(self.meta.known_repositories()?))
    }

    fn sweep_part(
        &self,
        part: Part,
        run: Run,
        stop: &AtomicBool,
    ) -> Result<(Collected, Option<Part>), RegistryError> {
        let mut done = Collected::default();
        // What is left of it comes with the next sweep.
        let Some(_change) = self.begin_change() else { return Ok((done, None)) };
        if stop.load(Ordering::Relaxed) || !self.meta.know_every_reference(stop)? {
            return Ok((done, None));
        }
        let rest = match part {
            Part::Repository(name, after) => self.sweep_repository(name, after, run, &mut done)?,
            Part::Content(algorithm, byte) => {
                for digest in self.blobs.list(algorithm, byte)? {
                    self.sweep_content(&digest, &mut done)?;
                }
                None
            }
        };
        Ok((done, rest))
    }

    fn sweep_repository(
        &self,
        name: RepoName,
        after: Option<Digest>,
        run: Run,
        done: &mut Collected,
    ) -> Result<Option<Part>, RegistryError> {
        let page = self.meta.blobs_and_use(&name, &Page { after, limit: PAGE })?;
        let mut unused = Vec::new();
        for (digest, is_unused) in &page.items {
            if *is_unused
                && let Some(linked) = self.meta.blob_linked_at(&name, digest)?
                && self.is_older_than(linked, self.settings.collection.unreferenced)
            {
                unused.push(*digest);
            }
        }
        if !unused.is_empty() {
            let released = self.release(&name, &[], &unused, run, done)?;
            for digest in &released.blobs {
                self.remove_content(digest, done)?;
            }
        }
        if !page.more {
            self.forget_accesses_of_gone(&name, None);
            // Another program may have emptied it, and may be about to use it.
            let now = (self.environment.now)();
            self.take_away_if_empty(
                &name,
                Some(final_before(now, run, self.settings.collection.grace)),
                done,
            )?;
        }
        let last = page.items.last().map(|(digest, _)| *digest);
        Ok(last.filter(|_| page.more).map(|last| Part::Repository(name, Some(last))))
    }

    fn sweep_content(&self, digest: &Digest, done: &mut Collected) -> Result<(), RegistryError> {
        if self.meta.is_referred_to(digest)? != Some(false) {
            return Ok(());
        }
        let Some(stat) = self.blobs.stat(digest)? else { return Ok(()) };
        if self.is_older_than(stat.modified_nanoseconds, self.settings.collection.unreferenced) {
            self.remove_content(digest, done)?;
        }
        Ok(())
    }
}
