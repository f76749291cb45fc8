//! Looking at everything that is stored: whether blobs still hash to their names, and links say what they must.
//!
//! A *pass* goes over all blobs in the order of their digests, then over all repositories. Where it is is written down
//! as it goes, so that one that was interrupted goes on from there. A pass can run without the directory's lock, beside
//! a server: then it changes nothing and writes nothing down. With the lock it moves damaged blobs away, so that nobody
//! is given them, and on request mends links.
//!
//! The server makes such a pass in the background, at a pace at which all is looked at once in a given time.

mod background;
mod offline;
mod pass;
mod report;

pub use background::{VerifyCounters, VerifySchedule};
pub use offline::OfflinePass;
pub use pass::{Pass, Place, Stage};
pub use report::{BrokenFound, DamagedBlob, FaultFound, LackFound, VerifyReport};

pub(crate) use background::Verification;

/// Where a pass writes down where it is, below the data directory.
pub const PASS_FILE: &str = "larder/verify.json";

/// What asks a running server to make a pass now, and to mend links as it goes.
pub const REQUEST_FILE: &str = "larder/verify.request";

#[cfg(test)]
pub(crate) mod tests;
