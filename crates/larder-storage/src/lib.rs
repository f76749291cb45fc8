//! Bytes on disk: staged, hashed, verified, published.
//!
//! This crate is the only place in Larder that renames, syncs and unlinks. What goes through it is
//! durable when the call returns: a file is written beside its place, synced, renamed, and the
//! directory that names it is synced. `clippy.toml` keeps the other crates from going around it.
//!
//! Every function here blocks. `larder-core` calls them from blocking threads, a whole mutation in
//! one go, so that a client that leaves can't leave a mutation half done.
//!
//! Two things are deliberately not synced: upload sessions in progress (nobody was told that their
//! bytes are safe) and the index (it is derived from the files).

mod disk;
mod names;
mod volatile;
mod root;
mod directory_syncs;
mod blobs;
mod bulk;
mod scrub;
mod semantics;
mod staged;
mod arriving;
mod put_after;
mod room;
mod ownership;
mod replace;
mod appended;
mod remove;
mod log_file;
mod error;
pub mod hook;

pub use appended::{Appended, AppendedSync};
pub use arriving::Arriving;
pub use blobs::{BlobFile, Blobs, Verified};
pub use bulk::{Copied, NewFile};
pub use disk::{Disk, Entry, Stat};
pub use error::{DiskOperation, StorageError};
pub use log_file::{LogAppended, LogFile, LogRotation};
pub use ownership::Ownership;
pub use replace::replace_file;
pub use room::Shortage;
pub use scrub::{Checked, Damage, QUARANTINE};
pub use semantics::{FileSystem, Semantics, try_semantics};
pub use staged::{Staged, Unhashed};
