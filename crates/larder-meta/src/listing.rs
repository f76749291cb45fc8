use std::collections::BTreeMap;

use larder_oci::{Descriptor, Digest, Manifest, ManifestContent, RepoName, Tag};

use crate::error::MetaError;
use crate::layout;
use crate::store::MetaStore;

/// Which part of a sorted list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Only what sorts after this.
    pub after: Option<T>,
    /// At most this many.
    pub limit: usize,
}

/// A part of a sorted list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items, sorted.
    pub items: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

impl<T> Listing<T> {
    /// Cuts a list that was fetched with one item too many.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize) -> Listing<T> {
        let more = items.len() > limit;
        items.truncate(limit);
        Listing { items, more }
    }
}

/// The longest manifest that is read as a referrers fallback list; the limit of pushed manifests.
const LONGEST_FALLBACK: u64 = 4 << 20;

impl MetaStore {
    /// The repository's tags in byte order, or `None` if there is no such repository. `after` need
    /// not be a tag.
    pub fn tags(
        &self,
        repository: &RepoName,
        page: &Page<String>,
    ) -> Result<Option<Listing<String>>, MetaError> {
        if !self.has_repository(repository)? {
            return Ok(None);
        }
        match self.reconcile(repository).and_then(|()| self.index.tags(repository, page)) {
            Err(error) if error.is_full_disk() => Ok(Some(self.tags_by_files(repository, page)?)),
            listed => listed.map(Some),
        }
    }

    /// While the index can't be written on a full disk: slower, and right.
    fn tags_by_files(
        &self,
        repository: &RepoName,
        page: &Page<String>,
    ) -> Result<Listing<String>, MetaError> {
        let mut tags = Vec::new();
        for entry in self.disk.list(&layout::tags(repository))?.unwrap_or_default() {
            let Ok(tag) = entry.name.parse::<Tag>() else { continue };
            let is_wanted = page.after.as_ref().is_none_or(|after| entry.name > *after);
            if is_wanted && self.tag(repository, &tag)?.is_some() {
                tags.push(entry.name);
            }
        }
        tags.sort_unstable();
        Ok(Listing::cut(tags, page.limit))
    }

    /// The repositories that hold or have held a blob or a manifest, in byte order.
    pub fn catalog(&self, page: &Page<String>) -> Result<Listing<String>, MetaError> {
        match self.walk_names().and_then(|()| self.index.catalog(page)) {
            Err(error) if error.is_full_disk() => {
                let listed = self.names_on_disk()?.into_iter().filter(|(_, listed)| *listed);
                let mut names: Vec<String> = listed.map(|(name, _)| name.to_string()).collect();
                names.retain(|name| page.after.as_ref().is_none_or(|after| name > after));
                names.sort_unstable();
                Ok(Listing::cut(names, page.limit))
            }
            listed => listed,
        }
    }

    /// Repositories that hold this blob, at most `limit`, in no particular order. A candidate may
    /// have lost the blob since: look before you rely on it.
    pub fn repositories_with_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>, MetaError> {
        self.index.repositories_with_blob(digest, limit)
    }

    /// Manifests of the repository that refer to `child`, as config, layer or index entry.
    pub fn parents(&self, repository: &RepoName, child: &Digest) -> Result<Vec<Digest>, MetaError> {
        self.reconcile(repository)?;
        self.index.parents(repository, child)
    }

    /// The manifests whose subject is `subject`, sorted by digest; empty if there are none.
    ///
    /// With types given, only those of one of them. A list that clients keep under the fallback tag,
    /// because the registry had no referrers API when they pushed, is merged in.
    pub fn referrers(
        &self,
        repository: &RepoName,
        subject: &Digest,
        artifact_types: &[String],
        page: &Page<Digest>,
    ) -> Result<Listing<Descriptor>, MetaError> {
        if !self.has_repository(repository)? {
            return Ok(Listing { items: Vec::new(), more: false });
        }
        self.reconcile(repository)?;
        let indexed = self.index.referrers(repository, subject, artifact_types, page)?;
        let mut listed: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for descriptor in self.fallback_list(repository, subject)? {
            let wanted = artifact_types.is_empty()
                || descriptor.artifact_type.as_ref().is_some_and(|kind| artifact_types.contains(kind));
            if wanted && page.after.is_none_or(|after| descriptor.digest > after) {
                listed.insert(descriptor.digest, descriptor);
            }
        }
        // A list can be long; only as much of it is looked up as this page can show.
        let end = indexed.items.last().filter(|_| indexed.more).map(|descriptor| descriptor.digest);
        let mut merged: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for (digest, descriptor) in listed {
            if merged.len() > page.limit || end.is_some_and(|end| digest > end) {
                break;
            }
            // The manifest itself says that it is a referrer: then it has been asked for its type, too.
            let decided =
                !artifact_types.is_empty() && self.index.is_referrer(repository, subject, &digest)?;
            if !decided && self.manifest(repository, &digest)?.is_some() {
                merged.insert(digest, descriptor);
            }
        }
        // What the manifests themselves say wins over what a client once wrote of them.
        merged.extend(indexed.items.into_iter().map(|descriptor| (descriptor.digest, descriptor)));
        let mut listing = Listing::cut(merged.into_values().collect(), page.limit);
        listing.more |= indexed.more;
        Ok(listing)
    }

    fn fallback_list(&self, repository: &RepoName, subject: &Digest) -> Result<Vec<Descriptor>, MetaError> {
        let tag = Tag::referrers_fallback(subject);
        let Some(digest) = self.tag(repository, &tag)? else { return Ok(Vec::new()) };
        let Some(content) = self.manifest(repository, &digest)? else { return Ok(Vec::new()) };
        let Some(bytes) = self.blobs.read(&content, LONGEST_FALLBACK)? else { return Ok(Vec::new()) };
        // The tag is only a convention: what is no index under it is somebody's image, not a list.
        Ok(match Manifest::parse_stored(&bytes).map(|manifest| manifest.content) {
            Ok(ManifestContent::Index { manifests }) => manifests,
            Ok(ManifestContent::Image { .. }) | Err(_) => Vec::new(),
        })
    }

    fn has_repository(&self, repository: &RepoName) -> Result<bool, MetaError> {
        Ok(self.disk.stat(&layout::manifests(repository))?.is_some())
    }
}
