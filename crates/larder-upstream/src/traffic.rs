//! What was asked of an upstream and what came of it, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `HEAD` of a manifest.
    ManifestHead,
    /// `GET` of a manifest.
    Manifest,
    /// `HEAD` of a blob.
    BlobHead,
    /// `GET` of a blob.
    Blob,
    /// A page of tags or referrers.
    List,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It is there.
    Found,
    /// The upstream has no such thing.
    Missing,
    /// A login is wanted, or not believed, or not enough.
    Refused,
    /// Too many requests.
    RateLimited,
    /// No answer, or one that is of no use.
    Failed,
}

impl Kind {
    /// Every one.
    pub const ALL: [Kind; 5] = [Kind::ManifestHead, Kind::Manifest, Kind::BlobHead, Kind::Blob, Kind::List];

    /// As it stands in a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ManifestHead => "manifest_head",
            Kind::Manifest => "manifest",
            Kind::BlobHead => "blob_head",
            Kind::Blob => "blob",
            Kind::List => "list",
        }
    }
}

impl Outcome {
    /// Every one.
    pub const ALL: [Outcome; 5] =
        [Outcome::Found, Outcome::Missing, Outcome::Refused, Outcome::RateLimited, Outcome::Failed];

    /// As it stands in a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Found => "found",
            Outcome::Missing => "missing",
            Outcome::Refused => "refused",
            Outcome::RateLimited => "rate_limited",
            Outcome::Failed => "failed",
        }
    }
}

#[derive(Default)]
pub(crate) struct Traffic {
    requests: [[AtomicU64; Outcome::ALL.len()]; Kind::ALL.len()],
    bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn count(&self, kind: Kind, outcome: Outcome) {
        if let Some(counter) = self.requests.get(kind as usize).and_then(|row| row.get(outcome as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Every counter that isn't zero.
    pub(crate) fn requests(&self) -> Vec<(Kind, Outcome, u64)> {
        let rows = Kind::ALL.iter().zip(&self.requests);
        let all = rows.flat_map(|(kind, row)| {
            Outcome::ALL
                .iter()
                .zip(row)
                .map(|(outcome, count)| (*kind, *outcome, count.load(Ordering::Relaxed)))
        });
        all.filter(|(_, _, count)| *count > 0).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
