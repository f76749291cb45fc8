use std::time::Duration;

use crate::traffic::{Kind, Outcome};

/// What is known of an upstream right now, for people and metrics. Holds no secret.
#[derive(Clone, Debug)]
pub struct UpstreamSnapshot {
    /// Its name.
    pub name: String,
    /// Its URLs, in the order in which they would be asked.
    pub urls: Vec<UrlSnapshot>,
    /// What was asked and what came of it: the counters that aren't zero.
    pub requests: Vec<(Kind, Outcome, u64)>,
    /// Bytes of manifests and blobs that came.
    pub received_bytes: u64,
}

/// What was measured of one URL.
#[derive(Clone, Debug)]
pub struct UrlSnapshot {
    /// As the operator wrote it.
    pub url: String,
    /// It has failed, and goes last for so long.
    pub resting: Option<Duration>,
    /// Until the headers of an answer, smoothed.
    pub first_byte: Option<Duration>,
    /// Smoothed over large transfers.
    pub bytes_per_second: Option<f64>,
    /// The last failure, in words.
    pub last_failure: Option<String>,
    /// How its accounts stand.
    pub accounts: Vec<AccountSnapshot>,
}

/// How one account stands at one URL.
#[derive(Clone, Debug)]
pub struct AccountSnapshot {
    /// The user, or where it is written.
    pub label: String,
    /// Pulls that the upstream allows in a window.
    pub limit: Option<u64>,
    /// Pulls left.
    pub remaining: Option<u64>,
    /// How long the window is.
    pub window: Option<Duration>,
    /// Nothing that counts is asked for so long.
    pub renews_in: Option<Duration>,
    /// Its password isn't believed.
    pub login_refused: bool,
}
