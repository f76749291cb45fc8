use std::collections::BTreeSet;

use larder_oci::{Algorithm, Descriptor, Digest, Manifest, Role, Tag};
use larder_storage::Stat;
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};

/// A tag, and the link file that said so.
#[derive(Clone, Debug)]
pub(crate) struct TagRow {
    pub(crate) tag: Tag,
    pub(crate) digest: Digest,
    pub(crate) modified: i64,
    pub(crate) inode: i64,
    /// Whether it was fetched from an upstream.
    pub(crate) copied: bool,
}

impl TagRow {
    pub(crate) fn new(tag: Tag, digest: Digest, link: &Stat, copied: bool) -> TagRow {
        TagRow { tag, digest, modified: link.modified_nanoseconds, inode: link.inode.cast_signed(), copied }
    }

    /// A tag whose link file is damaged. What it points at depends on more than that file, so it is
    /// read again whenever files and rows are compared: no file is number 0.
    pub(crate) fn of_no_file(tag: Tag, digest: Digest) -> TagRow {
        TagRow { tag, digest, modified: 0, inode: 0, copied: false }
    }

    /// Whether the row was read from this very file.
    pub(crate) fn is_of(&self, link: &Stat) -> bool {
        self.modified == link.modified_nanoseconds && self.inode == link.inode.cast_signed()
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<TagRow> {
        let name: String = row.get(0)?;
        let tag = name.parse().map_err(|error| unreadable(0, Type::Text, error))?;
        let digest = digest_column(row, 1)?;
        Ok(TagRow { tag, digest, modified: row.get(2)?, inode: row.get(3)?, copied: row.get(4)? })
    }
}

/// A manifest and what it refers to.
#[derive(Clone, Debug)]
pub(crate) struct ManifestRow {
    pub(crate) digest: Digest,
    pub(crate) size: i64,
    pub(crate) subject: Option<Digest>,
    pub(crate) artifact_type: Option<String>,
    /// JSON of the descriptor that a referrers list shows.
    pub(crate) descriptor: Option<String>,
    /// Role and digest of everything that it is made of.
    pub(crate) edges: Vec<(i64, Digest)>,
    /// Whether it was fetched from an upstream.
    pub(crate) copied: bool,
}

impl ManifestRow {
    /// A stored manifest of a kind that Larder only passes on. It is made of every digest that it mentions: what it is
    /// made of must never look as if nothing referred to it.
    pub(crate) fn of_unknown_kind(digest: Digest, bytes: &[u8]) -> ManifestRow {
        let edges =
            digests_mentioned(bytes).into_iter().map(|each| (role_number(Role::Layer), each)).collect();
        ManifestRow { edges, ..ManifestRow::new(digest, bytes.len() as u64, None) }
    }

    /// `manifest` is `None` for a stored manifest of a kind that Larder only passes on.
    pub(crate) fn new(digest: Digest, size: u64, manifest: Option<&Manifest>) -> ManifestRow {
        let subject = manifest.and_then(|manifest| manifest.subject.as_ref());
        let about = manifest.filter(|_| subject.is_some());
        ManifestRow {
            digest,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            subject: subject.map(|subject| subject.digest),
            artifact_type: about.and_then(|manifest| manifest.artifact_type.clone()),
            descriptor: about
                .and_then(|manifest| serde_json::to_string(&manifest.as_referrer(digest, size)).ok()),
            edges: manifest
                .iter()
                .flat_map(|manifest| manifest.references())
                .map(|(role, descriptor)| (role_number(role), descriptor.digest))
                .collect(),
            copied: false,
        }
    }
}

/// What reconciling found to differ.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) tags: Vec<TagRow>,
    pub(crate) removed_tags: Vec<Tag>,
    pub(crate) manifests: Vec<ManifestRow>,
    pub(crate) removed_manifests: Vec<Digest>,
    /// With the content's digest where that is another one.
    pub(crate) blobs: Vec<(Digest, Option<Digest>)>,
    pub(crate) removed_blobs: Vec<Digest>,
    /// The lengths of content of which the rows know another one, or none.
    pub(crate) sizes: Vec<(Digest, u64)>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.tags.len() + self.manifests.len() + self.blobs.len() + self.removals() + self.sizes.len() == 0
    }

    pub(crate) fn removals(&self) -> usize {
        self.removed_tags.len() + self.removed_manifests.len() + self.removed_blobs.len()
    }
}

fn role_number(role: Role) -> i64 {
    match role {
        Role::Config => 0,
        Role::Layer => 1,
        Role::Child => 2,
    }
}

/// A digest as the index keeps it: a byte for the algorithm, then the hash.
pub(super) fn blob_of(digest: &Digest) -> Vec<u8> {
    let mut bytes = vec![byte_of(digest.algorithm())];
    bytes.extend_from_slice(digest.hash());
    bytes
}

/// The digests of this algorithm whose hash begins with this byte stand from the first of these on, and before the second.
pub(super) fn blobs_between(algorithm: Algorithm, first_byte: u8) -> (Vec<u8>, Vec<u8>) {
    let algorithm = byte_of(algorithm);
    let end = match first_byte.checked_add(1) {
        Some(next) => vec![algorithm, next],
        None => vec![algorithm + 1],
    };
    (vec![algorithm, first_byte], end)
}

fn byte_of(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 0,
        Algorithm::Sha512 => 1,
    }
}

pub(super) fn digest_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let bytes: Vec<u8> = row.get(column)?;
    let digest = bytes.split_first().and_then(|(algorithm, hash)| match algorithm {
        0 => Digest::from_hash(Algorithm::Sha256, hash),
        1 => Digest::from_hash(Algorithm::Sha512, hash),
        _ => None,
    });
    digest.ok_or_else(|| unreadable(column, Type::Blob, std::io::Error::other("not a digest")))
}

pub(super) fn optional_digest_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => digest_column(row, column).map(Some),
    }
}

/// Every digest that stands somewhere in a text.
fn digests_mentioned(bytes: &[u8]) -> BTreeSet<Digest> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = BTreeSet::new();
    for algorithm in Algorithm::ALL {
        let beginning = format!("{algorithm}:");
        for (at, _) in text.match_indices(&beginning) {
            let rest = text.get(at + beginning.len()..).unwrap_or_default();
            let end = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
            found.extend(rest.get(..end).and_then(|hex| format!("{beginning}{hex}").parse::<Digest>().ok()));
        }
    }
    found
}

pub(super) fn descriptor(row: &Row<'_>) -> rusqlite::Result<Option<Descriptor>> {
    let Some(text) = row.get::<_, Option<String>>(0)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| unreadable(0, Type::Text, error))
}

fn unreadable(
    column: usize,
    kind: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
