use std::path::PathBuf;

use larder_meta::{BrokenImage, Fault, Lack};
use larder_oci::{Digest, RepoName, Role, Tag};
use serde::{Deserialize, Serialize};

/// What a pass has found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Blobs whose bytes were hashed.
    pub blobs: u64,
    /// How many bytes that were.
    pub bytes: u64,
    /// Repositories whose files were looked at.
    pub repositories: u64,
    /// How many links that were.
    pub links: u64,
    /// Blobs that don't hash to their names, or can't be read.
    pub damaged: Vec<DamagedBlob>,
    /// What is wrong with links and other small files.
    pub faults: Vec<FaultFound>,
    /// Images that can't be pulled whole.
    pub broken: Vec<BrokenFound>,
}

/// A blob that can't be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedBlob {
    /// What it should hash to.
    pub digest: Digest,
    /// What is wrong, as a sentence.
    pub problem: String,
    /// Where it was moved to, below the data directory; `None` if it still lies where it lay.
    pub moved_to: Option<PathBuf>,
    /// The repositories that hold it.
    pub repositories: Vec<RepoName>,
}

/// Something that is wrong with a small file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultFound {
    /// The repository; `None` for what lies between them.
    pub repository: Option<RepoName>,
    /// What is wrong, as a sentence.
    pub problem: String,
    /// Whether the files themselves say how to mend it.
    pub mendable: bool,
    /// Whether it was mended.
    pub mended: bool,
}

/// An image that can't be pulled whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenFound {
    /// The repository.
    pub repository: RepoName,
    /// Its manifest.
    pub digest: Digest,
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// What of it can't be served.
    pub lacks: Vec<LackFound>,
}

/// A piece of an image that can't be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LackFound {
    /// The piece.
    pub digest: Digest,
    /// Why: damaged, missing, unreadable or not linked.
    pub why: String,
}

impl VerifyReport {
    /// Whether nothing is left that somebody has to do something about.
    pub fn is_clean(&self) -> bool {
        self.damaged.is_empty() && self.broken.is_empty() && self.faults.iter().all(|fault| fault.mended)
    }
}

impl FaultFound {
    pub(super) fn of(repository: &RepoName, fault: &Fault) -> FaultFound {
        let (problem, mendable) = match fault {
            Fault::Link { path, holds, meant } => {
                let meant_too = match meant {
                    Some(digest) => format!("it should be {digest}"),
                    None => "what it should be can't be told; push it again".to_owned(),
                };
                (format!("{} holds {holds:?}; {meant_too}", path.display()), meant.is_some())
            }
            Fault::TagWithoutManifest { tag, digest, content_is_there } => {
                let advice = if *content_is_there {
                    "its content is in the store, and only a link is missing"
                } else {
                    "its content is not in the store either; push it again, or delete the tag"
                };
                (
                    format!(
                        "{repository}:{tag} points at {digest}, which {repository} doesn't hold; {advice}"
                    ),
                    *content_is_there,
                )
            }
            Fault::NotLinked { manifest, role, digest } => {
                let role = match role {
                    Role::Config => "config",
                    Role::Layer => "layer",
                    Role::Child => "manifest",
                };
                (
                    format!(
                        "{repository}@{manifest} names the {role} {digest}, which is in the store and not in {repository}"
                    ),
                    true,
                )
            }
            Fault::Upload { path, problem } => (format!("{}: {problem}", path.display()), false),
        };
        FaultFound { repository: Some(repository.clone()), problem, mendable, mended: false }
    }
}

impl BrokenFound {
    pub(super) fn of(repository: &RepoName, image: BrokenImage) -> BrokenFound {
        let why = |lack| match lack {
            Lack::Damaged => "damaged",
            Lack::Missing => "missing",
            Lack::Unreadable => "unreadable",
            Lack::NotLinked => "not linked",
        };
        let lacks =
            image.lacks.into_iter().map(|(digest, lack)| LackFound { digest, why: why(lack).to_owned() });
        BrokenFound {
            repository: repository.clone(),
            digest: image.digest,
            tags: image.tags,
            lacks: lacks.collect(),
        }
    }

    /// Its tags and its digest, for a person.
    pub fn names(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|tag| format!("{}:{tag}", self.repository)).collect();
        if tags.is_empty() {
            format!("{}@{}", self.repository, self.digest)
        } else {
            format!("{} ({})", tags.join(", "), self.digest)
        }
    }
}
