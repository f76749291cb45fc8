//! Making the index equal to the files.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use larder_oci::{Algorithm, Digest, Manifest, RepoName, Tag};
use larder_storage::StorageError;

use crate::error::MetaError;
use crate::index::{Changes, ManifestRow, TagRow};
use crate::layout;
use crate::locks::Repository;
use crate::origin::Origin;
use crate::store::{MetaStore, TagTarget};

/// The longest stored manifest that is read into the index. Twice what may be pushed: other
/// registries may have taken in larger ones.
const LONGEST_MANIFEST: u64 = 8 << 20;

/// Components in a repository name: names have at most 255 bytes, so at most 128 parts. Bounds the
/// walk where symbolic links make a ring.
const DEEPEST_NAME: usize = 128;

/// What a walk over the directories finds.
#[derive(Default)]
struct NamesOnDisk {
    /// Repositories; `true` beside one that has, or has had, a manifest.
    found: Vec<(RepoName, bool)>,
    /// Directories that look like repositories and have names that are none.
    strange: Vec<PathBuf>,
    /// Symbolic links that lead nowhere: repositories may lie on a disk that isn't mounted.
    lost: Vec<PathBuf>,
}

impl MetaStore {
    /// Makes one repository's index rows equal to its files, if this process hasn't done so yet.
    pub fn reconcile(&self, name: &RepoName) -> Result<(), MetaError> {
        let state = self.repositories.get(name);
        if state.is_reconciled() {
            return Ok(());
        }
        // The long part, reading every manifest of a repository that is new to the index, needs no lock:
        // what a digest names doesn't change. So pushes don't wait for it.
        let read_ahead = self.read_unknown_manifests(name)?;
        let _excluded = state.exclude();
        self.reconcile_with(name, &state, read_ahead)
    }

    /// As [`reconcile`](MetaStore::reconcile), for a caller who holds the repository's exclusive lock.
    pub(crate) fn reconcile_excluded(&self, name: &RepoName, state: &Repository) -> Result<(), MetaError> {
        self.reconcile_with(name, state, HashMap::new())
    }

    fn reconcile_with(
        &self,
        name: &RepoName,
        state: &Repository,
        read_ahead: HashMap<Digest, ManifestRow>,
    ) -> Result<(), MetaError> {
        if state.is_reconciled() {
            return Ok(());
        }
        if !self.is_repository(name)? {
            // Asked for by a client who guessed, or removed by another program.
            return self.index.remove_repository(name);
        }
        let doubts = state.doubts();
        self.compare_all(name, read_ahead)?;
        state.believe(doubts);
        Ok(())
    }

    fn compare_all(
        &self,
        name: &RepoName,
        read_ahead: HashMap<Digest, ManifestRow>,
    ) -> Result<(), MetaError> {
        let mut changes = Changes::default();
        self.compare_tags(name, &mut changes)?;
        self.compare_manifests(name, read_ahead, &mut changes)?;
        self.compare_blobs(name, &mut changes)?;
        self.compare_sizes(name, &mut changes)?;
        let listed = self.disk.stat(&layout::manifests(name))?.is_some()
            || self.disk.stat(&layout::all_layers(name))?.is_some();
        self.index.apply(name, listed, &changes)?;
        if !changes.is_empty() {
            tracing::info!(
                repository = %name, tags = changes.tags.len(), manifests = changes.manifests.len(),
                blobs = changes.blobs.len(), removed = changes.removals(),
                "read a repository's changes into the index"
            );
        }
        Ok(())
    }

    /// Finds every repository's name, if this process hasn't done so yet. Reads directories only.
    pub fn walk_names(&self) -> Result<(), MetaError> {
        self.names_walked.once(|| self.walk_names_again())
    }

    fn walk_names_again(&self) -> Result<(), MetaError> {
        let mut names = NamesOnDisk::default();
        self.collect_names(Path::new(layout::REPOSITORIES), "", 0, &mut names)?;
        let NamesOnDisk { found, strange, lost } = names;
        self.held_elsewhere.replace(self.digests_below(&strange)?, lost);
        self.index.add_names(&found)?;
        let found: HashSet<RepoName> = found.into_iter().map(|(name, _)| name).collect();
        for name in self.index.all_names()? {
            if !found.contains(&name) {
                let state = self.repositories.get(&name);
                let _excluded = state.exclude();
                if !self.is_repository(&name)? {
                    self.index.remove_repository(&name)?;
                    // It may come back as it was: a disk that was not mounted.
                    state.doubt();
                }
            }
        }
        Ok(())
    }

    /// Reconciles every repository; ends early when `stop` is set. A repository that can't be read
    /// is logged and passed over: it is tried again when it is asked for.
    pub fn reconcile_all(&self, stop: &AtomicBool) -> Result<(), MetaError> {
        self.walk_names()?;
        for name in self.index.all_names()? {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if let Err(error) = self.reconcile(&name) {
                tracing::warn!(
                    repository = %name, error = %error, cause = ?std::error::Error::source(&error),
                    "a repository could not be read into the index; it can still be pulled from"
                );
            }
        }
        Ok(())
    }

    /// Every repository in the directory; `true` beside a name means that it has, or has had, a manifest.
    pub(crate) fn names_on_disk(&self) -> Result<Vec<(RepoName, bool)>, MetaError> {
        let mut names = NamesOnDisk::default();
        self.collect_names(Path::new(layout::REPOSITORIES), "", 0, &mut names)?;
        Ok(names.found)
    }

    /// Whether the directory is a repository's, and not only on the way to another one's.
    pub(crate) fn is_repository(&self, name: &RepoName) -> Result<bool, MetaError> {
        for part in layout::OF_A_REPOSITORY {
            if self.disk.stat(&layout::repository(name).join(part))?.is_some_and(|stat| stat.is_directory) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn collect_names(
        &self,
        directory: &Path,
        name: &str,
        depth: usize,
        names: &mut NamesOnDisk,
    ) -> Result<(), MetaError> {
        if depth > DEEPEST_NAME {
            return Ok(());
        }
        let entries = self.disk.list(directory)?.unwrap_or_default();
        let has = |wanted: &str| entries.iter().any(|entry| entry.is_directory && entry.name == wanted);
        if layout::OF_A_REPOSITORY.into_iter().any(has) {
            match name.parse::<RepoName>() {
                Ok(parsed) => names.found.push((parsed, has("_manifests") || has("_layers"))),
                Err(error) => {
                    tracing::warn!(
                        directory = %directory.display(), %error,
                        "this directory looks like a repository but no client can ask for it"
                    );
                    names.strange.push(directory.to_owned());
                }
            }
        }
        for entry in entries.iter().filter(|entry| !entry.name.starts_with('_')) {
            if entry.leads_nowhere {
                names.lost.push(directory.join(&entry.name));
            }
            if !entry.is_directory {
                continue;
            }
            let child = if name.is_empty() { entry.name.clone() } else { format!("{name}/{}", entry.name) };
            self.collect_names(&directory.join(&entry.name), &child, depth + 1, names)?;
        }
        Ok(())
    }

    fn compare_tags(&self, name: &RepoName, changes: &mut Changes) -> Result<(), MetaError> {
        let mut rows: HashMap<Tag, TagRow> =
            self.index.tag_rows(name)?.into_iter().map(|row| (row.tag.clone(), row)).collect();
        let marked = self.names_in(&layout::tag_marks(name))?;
        for entry in self.disk.list(&layout::tags(name))?.unwrap_or_default() {
            let Ok(tag) = entry.name.parse::<Tag>() else { continue };
            let Some(stat) = self.disk.stat(&layout::tag_current(name, &tag))? else { continue };
            let row = rows.remove(&tag);
            let copied = marked.contains(&entry.name) && is_copy(self.tag_origin(name, &tag)?);
            if row.as_ref().is_some_and(|row| row.is_of(&stat) && row.copied == copied) {
                continue;
            }
            match self.resolve_tag(name, &tag) {
                Ok(Some(TagTarget::Linked(digest))) => {
                    changes.tags.push(TagRow::new(tag, digest, &stat, copied));
                }
                Ok(Some(TagTarget::Healed(digest))) => changes.tags.push(TagRow::of_no_file(tag, digest)),
                Ok(None) => changes.removed_tags.extend(row.map(|row| row.tag)),
                Err(error @ MetaError::DamagedLink { .. }) => {
                    tracing::warn!(repository = %name, %tag, %error, "a tag can't be read; push it again");
                    changes.removed_tags.extend(row.map(|row| row.tag));
                }
                Err(error) => return Err(error),
            }
        }
        changes.removed_tags.extend(rows.into_keys());
        Ok(())
    }

    fn read_unknown_manifests(&self, name: &RepoName) -> Result<HashMap<Digest, ManifestRow>, MetaError> {
        let known = self.index.manifest_digests(name)?;
        let mut rows = HashMap::new();
        for digest in self.links_below(|algorithm| layout::revisions(name, algorithm))? {
            if !known.contains_key(&digest)
                && let Some(row) = self.read_manifest_row(name, &digest)?
            {
                rows.insert(digest, row);
            }
        }
        Ok(rows)
    }

    fn compare_manifests(
        &self,
        name: &RepoName,
        mut read_ahead: HashMap<Digest, ManifestRow>,
        changes: &mut Changes,
    ) -> Result<(), MetaError> {
        let mut rows = self.index.manifest_digests(name)?;
        let marked: HashSet<Digest> =
            self.marked(|algorithm| layout::manifest_marks_of(name, algorithm))?.into_iter().collect();
        for digest in self.links_below(|algorithm| layout::revisions(name, algorithm))? {
            let is_there = self.blobs.find(&digest)?.is_some();
            let copied = marked.contains(&digest) && is_copy(self.manifest_origin(name, &digest)?);
            if is_there && rows.get(&digest) == Some(&copied) {
                rows.remove(&digest);
                continue;
            }
            let row = match read_ahead.remove(&digest).filter(|_| is_there) {
                Some(row) => Some(row),
                None => self.read_manifest_row(name, &digest)?,
            };
            if let Some(row) = row {
                rows.remove(&digest);
                changes.manifests.push(ManifestRow { copied, ..row });
            }
        }
        changes.removed_manifests.extend(rows.into_keys());
        Ok(())
    }

    /// What the repository holds may have been taken away or brought back since, by whatever program.
    fn compare_sizes(&self, name: &RepoName, changes: &mut Changes) -> Result<(), MetaError> {
        let mut known = self.index.sizes_held(name)?;
        for digest in changes.blobs.iter().flat_map(|(digest, target)| [Some(*digest), *target]).flatten() {
            known.entry(digest).or_default();
        }
        for row in &changes.manifests {
            row.edges.iter().for_each(|(_, digest)| {
                known.entry(*digest).or_default();
            });
            known.remove(&row.digest);
        }
        for (digest, known) in known {
            let size = self.blobs.stat(&digest)?.map_or(0, |stat| stat.size);
            if size != known {
                changes.sizes.push((digest, size));
            }
        }
        Ok(())
    }

    fn compare_blobs(&self, name: &RepoName, changes: &mut Changes) -> Result<(), MetaError> {
        let mut rows = self.index.blob_targets(name)?;
        for digest in self.links_below(|algorithm| layout::layers(name, algorithm))? {
            let target = self.alias_target(name, &digest)?;
            if rows.remove(&digest) != Some(target) {
                changes.blobs.push((digest, target));
            }
        }
        changes.removed_blobs.extend(rows.into_keys());
        Ok(())
    }

    /// The digest of a blob's content where it isn't the blob's own. Only registry:2 makes such links, and only for what
    /// isn't named by a sha256: the others needn't be read.
    fn alias_target(&self, name: &RepoName, digest: &Digest) -> Result<Option<Digest>, MetaError> {
        if digest.algorithm() == Algorithm::Sha256 {
            return Ok(None);
        }
        Ok(self.blob(name, digest)?.filter(|target| target != digest))
    }

    /// The digests for which there is a link file below a directory per algorithm.
    fn links_below(&self, directory: impl Fn(Algorithm) -> PathBuf) -> Result<Vec<Digest>, MetaError> {
        let mut digests = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = directory(algorithm);
            for entry in self.disk.list(&directory)?.unwrap_or_default() {
                let Some(digest) = layout::digest_of_directory(algorithm, &entry.name) else { continue };
                // registry:2 deletes the link and leaves its directory.
                if self.disk.stat(&directory.join(&entry.name).join("link"))?.is_some() {
                    digests.push(digest);
                }
            }
        }
        Ok(digests)
    }

    /// A stored manifest as the index keeps it. `None` when its bytes are gone or damaged: then it
    /// can't be served either, until somebody pushes them again.
    fn read_manifest_row(&self, name: &RepoName, digest: &Digest) -> Result<Option<ManifestRow>, MetaError> {
        if let Some(row) = self.try_to_read_manifest_row(name, digest)? {
            return Ok(Some(row));
        }
        // Noted before the second look: who brings the bytes back either comes before it, or sees the note.
        self.unreadable.note(digest, name);
        self.try_to_read_manifest_row(name, digest)
    }

    fn try_to_read_manifest_row(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<ManifestRow>, MetaError> {
        let Some(content) = self.manifest(name, digest)? else { return Ok(None) };
        let read = self.blobs.read(&content, LONGEST_MANIFEST);
        self.unreadable.note_damage(name, digest, read.is_err());
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                tracing::warn!(repository = %name, %digest, "a manifest's content is missing from the store");
                return Ok(None);
            }
            Err(error @ (StorageError::Corrupt { .. } | StorageError::TooLarge { .. })) => {
                tracing::error!(repository = %name, %digest, %error, "a manifest can't be read");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some(match Manifest::parse_stored(&bytes) {
            Ok(manifest) => ManifestRow::new(*digest, bytes.len() as u64, Some(&manifest)),
            Err(error) => {
                tracing::debug!(repository = %name, %digest, %error, "a stored manifest is of an old kind");
                ManifestRow::of_unknown_kind(*digest, &bytes)
            }
        }))
    }
}

fn is_copy(origin: Option<Origin>) -> bool {
    matches!(origin, Some(Origin::Cached { .. }))
}
