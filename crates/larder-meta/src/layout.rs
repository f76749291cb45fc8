//! Where distribution keeps what, below the data directory.
//!
//! Two rules of this layout are easy to break: a link holds a digest without a newline, and no
//! *file* whose name begins with `_` may ever lie below `repositories/`: registry:2's walk stops
//! there, and its garbage collection then deletes what it no longer sees.

use std::path::{Path, PathBuf};

use larder_oci::{Algorithm, Digest, RepoName, Tag, UploadId};

pub(crate) const BLOBS: &str = "docker/registry/v2/blobs";
pub(crate) const REPOSITORIES: &str = "docker/registry/v2/repositories";
pub(crate) const INDEX: &str = "larder/index.db";

/// A directory that holds one of these is a repository.
pub(crate) const OF_A_REPOSITORY: [&str; 3] = ["_manifests", "_layers", "_uploads"];

/// What a repository's directory has of a repository, in the order in which it goes: while any of [`OF_A_REPOSITORY`] is
/// left, a walk finds the rest.
pub(crate) const PARTS_OF_A_REPOSITORY: [&str; 4] = ["_larder", "_manifests", "_layers", "_uploads"];

/// Longest link that is read: a sha512 digest has 135 bytes; a newline or two are forgiven.
pub(crate) const LONGEST_LINK: u64 = 256;

pub(crate) fn repository(name: &RepoName) -> PathBuf {
    Path::new(REPOSITORIES).join(name.as_str())
}

pub(crate) fn manifests(name: &RepoName) -> PathBuf {
    repository(name).join("_manifests")
}

pub(crate) fn tags(name: &RepoName) -> PathBuf {
    manifests(name).join("tags")
}

pub(crate) fn tag(name: &RepoName, tag: &Tag) -> PathBuf {
    tags(name).join(tag.as_str())
}

/// What the tag points at now.
pub(crate) fn tag_current(name: &RepoName, of: &Tag) -> PathBuf {
    tag(name, of).join("current/link")
}

/// One directory per algorithm, in it one per digest that the tag ever had.
pub(crate) fn tag_history(name: &RepoName, of: &Tag, algorithm: Algorithm) -> PathBuf {
    tag(name, of).join("index").join(algorithm.as_str())
}

pub(crate) fn tag_history_link(name: &RepoName, of: &Tag, digest: &Digest) -> PathBuf {
    tag_history(name, of, digest.algorithm()).join(digest.hex()).join("link")
}

pub(crate) fn revisions(name: &RepoName, algorithm: Algorithm) -> PathBuf {
    manifests(name).join("revisions").join(algorithm.as_str())
}

pub(crate) fn revision_link(name: &RepoName, digest: &Digest) -> PathBuf {
    revisions(name, digest.algorithm()).join(digest.hex()).join("link")
}

pub(crate) fn all_layers(name: &RepoName) -> PathBuf {
    repository(name).join("_layers")
}

pub(crate) fn layers(name: &RepoName, algorithm: Algorithm) -> PathBuf {
    all_layers(name).join(algorithm.as_str())
}

pub(crate) fn layer_link(name: &RepoName, digest: &Digest) -> PathBuf {
    layers(name, digest.algorithm()).join(digest.hex()).join("link")
}

pub(crate) fn uploads(name: &RepoName) -> PathBuf {
    repository(name).join("_uploads")
}

pub(crate) fn upload(name: &RepoName, id: UploadId) -> PathBuf {
    uploads(name).join(id.to_string())
}

/// What is ours in a repository: registry:2 passes over directories that begin with `_` and aren't its own.
fn marks(name: &RepoName) -> PathBuf {
    repository(name).join("_larder/cached")
}

pub(crate) fn tag_marks(name: &RepoName) -> PathBuf {
    marks(name).join("tags")
}

/// Says that the tag's current link is a copy of an upstream's.
pub(crate) fn tag_mark(name: &RepoName, tag: &Tag) -> PathBuf {
    tag_marks(name).join(tag.as_str())
}

pub(crate) fn manifest_marks(name: &RepoName) -> PathBuf {
    marks(name).join("manifests")
}

pub(crate) fn manifest_marks_of(name: &RepoName, algorithm: Algorithm) -> PathBuf {
    manifest_marks(name).join(algorithm.as_str())
}

pub(crate) fn manifest_mark(name: &RepoName, digest: &Digest) -> PathBuf {
    manifest_marks_of(name, digest.algorithm()).join(digest.hex())
}

pub(crate) fn blob_marks_of(name: &RepoName, algorithm: Algorithm) -> PathBuf {
    marks(name).join("blobs").join(algorithm.as_str())
}

pub(crate) fn blob_mark(name: &RepoName, digest: &Digest) -> PathBuf {
    blob_marks_of(name, digest.algorithm()).join(digest.hex())
}

/// The digest that a directory named by a hash stands for.
pub(crate) fn digest_of_directory(algorithm: Algorithm, name: &str) -> Option<Digest> {
    format!("{algorithm}:{name}").parse().ok()
}
