//! What is remembered of retention: the rules that somebody has seen the consequences of, and the last run.
//!
//! Rules that nobody has seen applied delete nothing: a slip in a pattern is to be noticed before it has cost a release.

use std::path::Path;
use std::time::{Duration, SystemTime};

use larder_oci::Digest;
use larder_storage::Disk;
use serde::{Deserialize, Serialize};

use crate::error::RegistryError;

const FILE: &str = "larder/retention.json";

/// Far more than is ever written there.
const LONGEST_FILE: u64 = 1 << 16;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The rules whose preview was shown, or that were applied with a word of consent.
    pub(super) approved: Option<Digest>,
    /// When that was, in seconds since 1970.
    #[serde(default)]
    pub(super) approved_at: Option<u64>,
    /// When they were last applied, in seconds since 1970.
    pub(super) last_run: Option<u64>,
    /// What went then.
    pub(super) tags: u64,
    /// The same of manifests.
    pub(super) manifests: u64,
}

impl Remembered {
    /// Reads it. What can't be understood is as if nothing had been seen.
    pub(super) fn read(disk: &Disk) -> Result<Remembered, RegistryError> {
        let Some(bytes) = disk.read(Path::new(FILE), LONGEST_FILE)? else { return Ok(Remembered::default()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(path = FILE, %error, "what was seen of the retention rules can't be read; show them again");
            Remembered::default()
        }))
    }

    /// Writes it; durable when this returns.
    pub(super) fn write(&self, disk: &Disk) -> Result<(), RegistryError> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        disk.put(Path::new(FILE), &text)?;
        Ok(())
    }

    pub(super) fn last_run(&self) -> Option<SystemTime> {
        self.last_run.map(at)
    }

    pub(super) fn approved_at(&self) -> Option<SystemTime> {
        self.approved_at.map(at)
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
