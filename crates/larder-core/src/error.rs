use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_meta::{Exceeded, MetaError};
use larder_oci::{Digest, ManifestError, Reference, RepoName, Role, Tag, UploadId};
use larder_storage::{Shortage, StorageError};

use crate::upstream::{UpstreamError, UpstreamFailure};

/// When to come back to a registry that is under maintenance; nobody knows how long that takes.
const AFTER_MAINTENANCE: Duration = Duration::from_secs(60);

/// Why the registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such repository.
    #[error("the repository {repository} does not exist here; push an image to create it")]
    RepositoryUnknown {
        /// Its name.
        repository: RepoName,
    },
    /// No such manifest.
    #[error("{repository} has no manifest {reference}")]
    ManifestUnknown {
        /// The repository asked.
        repository: RepoName,
        /// The tag or digest asked for.
        reference: Reference,
    },
    /// No such blob.
    #[error("{repository} has no blob {digest}")]
    BlobUnknown {
        /// The repository asked.
        repository: RepoName,
        /// The digest asked for.
        digest: Digest,
    },
    /// No such upload session.
    #[error(
        "{repository} has no upload session {id}: it was finished, cancelled or purged; start a new one with POST"
    )]
    UploadUnknown {
        /// The repository asked.
        repository: RepoName,
        /// The session asked for.
        id: UploadId,
    },
    /// A newer request works on the session.
    #[error("another request went on with the upload session {id}; this one was stopped")]
    UploadTakenOver {
        /// The session.
        id: UploadId,
    },
    /// A chunk that doesn't begin where the session ends.
    #[error(
        "the chunk begins at byte {first} but the session holds {length} bytes; send from byte {length} on"
    )]
    ChunkOutOfOrder {
        /// The session.
        id: UploadId,
        /// Where the chunk begins.
        first: u64,
        /// What the session holds.
        length: u64,
    },
    /// A chunk of another length than it claims.
    #[error("the chunk has {received} bytes, its Content-Range or Content-Length claims {claimed}")]
    ChunkLength {
        /// Bytes that came.
        received: u64,
        /// Bytes that were claimed.
        claimed: u64,
    },
    /// Content that doesn't hash to the digest that the client gave.
    #[error("the content hashes to {found}, not to {expected}; send it again")]
    DigestMismatch {
        /// The digest that the client gave.
        expected: Digest,
        /// The digest of what arrived.
        found: Digest,
    },
    /// A manifest that can't be taken in.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// A manifest over the limit.
    #[error("the manifest has more than {limit} bytes, the most that a manifest may have here")]
    ManifestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A manifest that names content which the repository lacks.
    #[error("{repository} lacks content that the manifest names; push it first")]
    ReferencesUnknown {
        /// The repository.
        repository: RepoName,
        /// Everything that is missing, in the manifest's order.
        missing: Vec<MissingReference>,
    },
    /// A tag that doesn't point where the client's precondition says.
    #[error("the precondition does not hold: {tag} points at {}", current.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string()))]
    PreconditionFailed {
        /// The tag.
        tag: Tag,
        /// What it points at.
        current: Option<Digest>,
    },
    /// A tag that may not be moved or deleted.
    #[error("the tag {tag} of {repository} is immutable by {rule}, and points at {current}")]
    TagImmutable {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: Tag,
        /// What it points at.
        current: Digest,
        /// The rule's place.
        rule: Arc<str>,
    },
    /// There would be more than a quota allows.
    #[error("{exceeded}")]
    QuotaExceeded {
        /// The repository.
        repository: RepoName,
        /// The quota, and its numbers.
        exceeded: Box<Exceeded>,
    },
    /// No such deletion can be undone.
    #[error(
        "there is no deletion {id} in {repository} that can be undone: its grace time is over, or it was undone already"
    )]
    UndoTooLate {
        /// The repository asked.
        repository: RepoName,
        /// The deletion's number.
        id: u64,
    },
    /// Deleting is switched off.
    #[error(
        "deleting is switched off on this registry; its operator can allow it with storage.delete.enabled: true"
    )]
    DeletesDisabled,
    /// Changing anything is switched off.
    #[error("this registry is read-only at the moment (storage.maintenance.readonly)")]
    ReadOnly,
    /// Nothing is changed for now; whoever administers the registry is at work.
    #[error("{}", maintenance(reason, *pulling))]
    Maintenance {
        /// Why, in the words of who began it; may be empty.
        reason: Arc<str>,
        /// It is what isn't here and can't be fetched for now.
        pulling: bool,
    },
    /// The disk is full.
    #[error("the registry's disk is full: {}; its operator must free space or enlarge it", in_words(.0))]
    NoSpace(#[source] StorageError),
    /// Stored content is damaged.
    #[error("the stored content of {digest} is damaged and is not served; push it again to mend it")]
    Corrupt {
        /// Its digest.
        digest: Digest,
        /// The file.
        path: PathBuf,
    },
    /// The disk or the index failed; the source says how.
    #[error("the registry could not read or write its data")]
    Meta(#[source] MetaError),
    /// What was asked for isn't here, and its upstream gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Several waited for the same thing, which failed; the cause is what each of them is to be told.
    #[error(transparent)]
    Shared(Arc<RegistryError>),
    /// A defect in Larder: a task that must not fail did.
    #[error("an internal task failed")]
    Internal(#[source] tokio::task::JoinError),
}

impl RegistryError {
    /// When to come back, if an upstream said so of its rate limit.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::Upstream(error) => match error.failure {
                UpstreamFailure::RateLimited { retry_after } => retry_after,
                _ => None,
            },
            RegistryError::Maintenance { .. } => Some(AFTER_MAINTENANCE),
            RegistryError::Shared(error) => error.retry_after(),
            _ => None,
        }
    }

    /// What is missing, if the disk is full.
    pub fn shortage(&self) -> Option<&Shortage> {
        match self {
            RegistryError::NoSpace(StorageError::NoSpace { shortage, .. }) => Some(shortage),
            RegistryError::Shared(error) => error.shortage(),
            _ => None,
        }
    }

    /// Whether nothing can be kept for now, though all else goes on: the disk is full, or there is maintenance.
    pub(crate) fn keeps_from_writing(&self) -> bool {
        match self {
            RegistryError::Maintenance { .. } => true,
            RegistryError::Shared(error) => error.keeps_from_writing(),
            other => other.shortage().is_some(),
        }
    }

    /// Whether it is an upstream that is to blame.
    pub fn is_upstream(&self) -> bool {
        match self {
            RegistryError::Upstream(_) => true,
            RegistryError::Shared(error) => error.is_upstream(),
            _ => false,
        }
    }
}

fn maintenance(reason: &str, pulling: bool) -> String {
    let what = if pulling {
        "this is not at hand, and nothing is fetched during maintenance"
    } else {
        "this registry takes nothing in during maintenance"
    };
    let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{what}{because}; what is here can be pulled, try the rest again later")
}

/// What a full disk lacks: bytes and where, without the file that was to be written.
fn in_words(error: &StorageError) -> String {
    match error {
        StorageError::NoSpace { shortage, .. } => shortage.to_string(),
        other => other.to_string(),
    }
}

/// Content that a manifest names and its repository lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingReference {
    /// What the manifest names it as.
    pub role: Role,
    /// Its digest.
    pub digest: Digest,
}

impl From<StorageError> for RegistryError {
    fn from(error: StorageError) -> RegistryError {
        match error {
            StorageError::DigestMismatch { expected, found } => {
                RegistryError::DigestMismatch { expected, found }
            }
            StorageError::Corrupt { digest, path } => RegistryError::Corrupt { digest, path },
            error @ StorageError::NoSpace { .. } => RegistryError::NoSpace(error),
            error @ (StorageError::Io { .. }
            | StorageError::TooLarge { .. }
            | StorageError::Locked { .. }) => RegistryError::Meta(MetaError::Storage(error)),
        }
    }
}

impl From<MetaError> for RegistryError {
    fn from(error: MetaError) -> RegistryError {
        match error {
            MetaError::Storage(error) => error.into(),
            error @ (MetaError::Index { .. }
            | MetaError::DamagedLink { .. }
            | MetaError::OutOfSight { .. }) => RegistryError::Meta(error),
        }
    }
}
