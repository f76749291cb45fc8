//! `storage.maintenance.verify`: the look at everything that is stored.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("storage.maintenance.verify", Section, "", "Reading all blobs again, to see whether they still hash to their names, and all links."),
    own("storage.maintenance.verify.every", Duration, "720h", "The time in which everything is looked at once; `0` for never."),
    own("storage.maintenance.verify.bytespersecond", Size, "32MiB", "The most bytes that are read for it in a second."),
];
