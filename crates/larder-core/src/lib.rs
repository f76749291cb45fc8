//! The rules of the registry: pull, push, mount, delete, discover.
//!
//! This crate knows no HTTP and no configuration file, and takes no decision about who may do what:
//! every operation demands an [`Access`](larder_oci::Access), the proof that the policy has allowed it.
//!
//! # Blocking and cancellation
//!
//! Storage and metadata block, so each operation here runs as one closure on a blocking thread. Such a
//! closure runs to its end even if the future that waits for it is dropped: a client that leaves can't
//! leave a mutation half done. Functions are cancel-safe in this sense unless they say otherwise.
//!
//! What was pulled a moment ago is the exception: it is answered from memory, without a thread (`recent.rs`).
//!
//! # The pull-through cache
//!
//! Where a lookup finds nothing, and the repository has an [`Upstream`], [`Registry::manifest`] and [`Registry::blob`]
//! ask it (`cache.rs`). What is fetched runs in tasks of its own, which nobody who leaves can stop.

mod registry;
mod pull;
mod recent;
mod push;
mod upload;
mod delete;
mod collect;
mod retention;
mod usage;
mod quota;
mod discover;
mod maintenance;
mod pause;
mod status;
mod verify;
pub mod backup;
mod upstream;
mod upstreams;
mod cache;
mod events;
mod error;

pub use cache::{
    Arrived, ArrivedFuture, CacheCounts, CacheLimits, CacheStatus, CacheStock, Candidate,
    DEFAULT_BACKGROUND_BANDWIDTH, Evicted, Growing, Keep, KeptImages, Listed, NoImage, NoPlatform, Platform,
    ServedCopy, WarmEntry, WarmError, WarmImage, WarmJob, WarmProgress, WarmState, WhyCopy, WhyEvicted,
    parse_image,
};
pub use collect::{
    Collected, Collection, HistoryEntry, LastCollection, Plan, Planning, Removed, Rewinding, Rewound, Run,
    Undone,
};
pub use discover::CatalogPage;
pub use error::{MissingReference, RegistryError};
pub use events::{Event, EventSink};
pub use larder_meta::{
    Counts, Exceeded, Inspector, Limited, Listing, MetaError, Page, Precondition, QuotaRule, QuotaUsage,
    Removal, RemovedTag,
};
pub use maintenance::UploadPurging;
pub use pause::MaintenanceState;
pub use pull::{Blob, BlobContent, PulledManifest, StoredManifest};
pub use push::{LONGEST_MANIFEST, ManifestPush, PushedManifest};
pub use quota::NEARLY_FULL;
pub use registry::{Environment, Registry, Settings};
pub use retention::{
    Go, ImmutableRule, Keeping, ManifestFacts, ManifestVerdict, RepositoryFacts, RepositoryVerdicts,
    Retained, RetentionPlan, RetentionReports, RetentionRule, RetentionRules, RetentionState, RetentionTrail,
    Retired, Stay, TagFacts, TagVerdict, Verdict,
};
pub use status::{Content, Mode, RegistryStatus};
pub use upload::{UploadProgress, UploadWriter};
pub use upstream::{
    Allowance, BlobChunks, BlobStream, FetchedManifest, ManifestHead, Upstream, UpstreamError,
    UpstreamFailure, UpstreamFuture,
};
pub use upstreams::{
    Freshness, FreshnessRule, TagPattern, UpstreamPlace, UpstreamRepository, UpstreamSettings, Upstreams,
};
pub use usage::{MOST_LISTED_USAGES, Usage, UsageOf};
pub use verify::{
    BrokenFound, DamagedBlob, FaultFound, LackFound, OfflinePass, PASS_FILE, Pass, Place, REQUEST_FILE,
    Stage, VerifyCounters, VerifyReport, VerifySchedule,
};
