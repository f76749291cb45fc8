//! Who points at what: repositories, tags and their history, manifests, blobs, referrers, uploads.
//!
//! The truth is distribution's layout: small link files below `docker/registry/v2/repositories`.
//! They alone answer every pull. Beside them lies an [`index`]: a SQLite file that makes listing,
//! referrers and reverse references cost a page and not the whole repository. It is derived and may
//! be deleted at any time.
//!
//! How the two stay equal:
//!
//! - Every change writes the files first, durably, then the index. The index itself is not synced: a
//!   loss of power may take its latest rows.
//! - So after a start no repository's rows are believed until they have been *reconciled* with the
//!   files: a comparison by directory listing and file times that reads only what differs. Before a
//!   question about a repository is answered from the index, that repository is reconciled; a
//!   background pass does the others. Whatever happened while Larder was down (a crash, registry:2
//!   on the same directory, a restored backup, no index at all) is repaired the same way.
//! - A change whose index rows could not be written marks its repository as not reconciled.
//!
//! Every function blocks; see `larder-storage` for why.

mod layout;
mod store;
mod manifests;
mod origin;
mod copies;
mod ages;
mod listing;
mod uploads;
mod reconcile;
mod everything;
mod contents;
mod counts;
mod usage;
mod quotas;
mod release;
mod emptied;
mod restore;
mod inspect;
mod mend;
mod index;
mod locks;
mod changes;
mod error;

pub use ages::{Ages, ManifestAge, TagAge};
pub use changes::FilesState;
pub use contents::RepositoryContents;
pub use copies::{AccessTime, Copied};
pub use counts::{Counts, KnownContent};
pub use error::MetaError;
pub use index::{IndexSnapshot, RepositoryUsage};
pub use inspect::{BrokenImage, Fault, Inspected, Inspector, Lack, Names};
pub use listing::{Listing, Page};
pub use manifests::{Precondition, PutManifest, PutOutcome};
pub use origin::{Adopted, CachedOutcome, Origin, PutCachedManifest};
pub use quotas::{Exceeded, Limited, QuotaRule, QuotaUsage};
pub use release::{Doomed, Kept, Release, Released, Removal, RemovedTag, Stamp};
pub use restore::Restored;
pub use store::MetaStore;
pub use uploads::StaleUpload;
pub use usage::{PrefixUsage, TagUsage, TagUsageExplained, TotalUsage};
