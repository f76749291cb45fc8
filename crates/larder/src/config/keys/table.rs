//! The table of keys itself: section 1.2 of distribution's contract, and Larder's own keys beside it.
//!
//! One key is one line, in the order of the reference page, in a file for each section:
//!
//! ```text
//! key("http.addr", Text, Works, ":5000", "Where clients are answered …."),      distribution's
//! own("http.limits.connections", Integer, "10000", "The most connections …."),  Larder's own
//! ```
//!
//! To add a section: a file `table/<section>.rs` with `pub(super) const KEYS: &[Key]` under `#[rustfmt::skip]`, a `mod` line
//! and a line of [`KEYS`] here. Then
//!
//! - a section stands before its keys, and each key below a section of the table;
//! - the default is what Larder does when nothing is written, in YAML as one would write it, and empty where nothing is
//!   what it is; `config::tests` writes every default out and expects the same configuration, so it can't go stale;
//! - the meaning is one sentence, or two, in Markdown; a key that must be there begins with "Required.";
//! - passwords, keys and tokens are `Secret`, and so may be written as `{file: PATH}` and set by `…_FILE`; addresses that
//!   may hold a password are `Url`; headers that may are `SecretHeaders`. All are masked wherever they are shown;
//! - a key that is not `Works` says in one sentence what that means for whoever has set it.
//!
//! `cargo run -q -p larder -- config reference > docs/configuration.md` writes the page anew; a test compares them.

use super::{
    Key, Kind,
    Status::{self, Works},
};

mod top;
mod storage;
mod verify;
mod auth;
mod access;
mod token_service;
mod audit;
mod middleware;
mod http;
mod notifications;
mod redis;
mod health;
mod proxy;
mod cache;
mod retention;
mod quotas;
mod upstreams;
mod rest;

/// Every section, in the order of the reference page.
pub(super) const KEYS: &[&[Key]] = &[
    top::KEYS,
    storage::KEYS,
    verify::KEYS,
    storage::DRIVERS,
    auth::KEYS,
    access::KEYS,
    token_service::KEYS,
    audit::KEYS,
    middleware::KEYS,
    http::KEYS,
    http::LIMITS,
    notifications::KEYS,
    redis::KEYS,
    health::KEYS,
    proxy::KEYS,
    upstreams::KEYS,
    cache::KEYS,
    retention::KEYS,
    quotas::KEYS,
    rest::KEYS,
];

/// A key that distribution has too.
const fn key(
    path: &'static str,
    kind: Kind,
    status: Status,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { path, kind, status, default, meaning, is_larders_own: false }
}

/// A key that only Larder has.
const fn own(path: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { path, kind, status: Works, default, meaning, is_larders_own: true }
}
