//! Putting back what a deletion took away.

use std::path::PathBuf;

use larder_oci::{Digest, RepoName, Tag};

use crate::error::MetaError;
use crate::layout;
use crate::release::{Removal, RemovedTag};
use crate::store::MetaStore;

/// What came of an attempt to put something back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is there again, with these tags.
    Done {
        /// The tags that point where they did.
        tags: Vec<Tag>,
        /// Tags that exist again by now and point elsewhere; they were left alone.
        taken: Vec<(Tag, Digest)>,
    },
    /// The content is gone.
    Gone(Digest),
}

/// A link file to write: where, what it names, and when it was last written, if that matters.
type Link = (PathBuf, Digest, Option<i64>);

impl MetaStore {
    /// Puts back what was removed; durable when this returns. Tags that have come again meanwhile stay as they are.
    ///
    /// The caller sees to it that nobody takes the content away meanwhile.
    pub fn restore(&self, name: &RepoName, removal: &Removal) -> Result<Restored, MetaError> {
        let state = self.repositories.get(name);
        let _excluded = state.exclude();
        let mut links: Vec<Link> = Vec::new();
        if let Some(digest) = removal.manifest {
            links.push((layout::revision_link(name, &digest), digest, None));
        }
        if let Some(digest) = removal.blob {
            links.push((layout::layer_link(name, &digest), digest, None));
        }
        for (_, digest, _) in &links {
            if self.blobs.find(digest)?.is_none() {
                return Ok(Restored::Gone(*digest));
            }
        }
        // A manifest without its parts would be a lie.
        for part in &removal.parts {
            if !self.has(name, part)? {
                return Ok(Restored::Gone(*part));
            }
        }
        let (mut currents, mut tags, mut taken): (Vec<Link>, _, _) = (Vec::new(), Vec::new(), Vec::new());
        for removed in &removal.tags {
            // Where its link was damaged, its history says where it pointed.
            let newest = removed.history.first().map(|(digest, _)| *digest);
            let Some(digest) = removed.digest.or(newest) else { continue };
            match self.tag(name, &removed.tag)? {
                Some(now) if now != digest => {
                    taken.push((removed.tag.clone(), now));
                    continue;
                }
                Some(_) | None => {}
            }
            if removal.manifest != Some(digest)
                && (self.manifest(name, &digest)?.is_none() || self.blobs.find(&digest)?.is_none())
            {
                return Ok(Restored::Gone(digest));
            }
            links.extend(self.history_to_restore(name, removed, &digest));
            currents.push((layout::tag_current(name, &removed.tag), digest, None));
            tags.push(removed.tag.clone());
        }
        self.change_files(name, &state, || {
            self.put_dated_links(&links)?;
            self.put_dated_links(&currents)
        })?;
        // The rows are read from what was just written, so that there is one way of making them.
        self.doubt(&state);
        self.reconcile_excluded(name, &state)?;
        Ok(Restored::Done { tags, taken })
    }

    fn history_to_restore(&self, name: &RepoName, removed: &RemovedTag, current: &Digest) -> Vec<Link> {
        let mut links: Vec<Link> = removed
            .history
            .iter()
            .map(|(digest, at)| (layout::tag_history_link(name, &removed.tag, digest), *digest, Some(*at)))
            .collect();
        if !removed.history.iter().any(|(digest, _)| digest == current) {
            links.push((layout::tag_history_link(name, &removed.tag, current), *current, None));
        }
        links
    }

    fn put_dated_links(&self, links: &[Link]) -> Result<(), MetaError> {
        let texts: Vec<String> = links.iter().map(|(_, digest, _)| digest.to_string()).collect();
        let files: Vec<_> = links
            .iter()
            .zip(&texts)
            .map(|((path, _, at), text)| (path.as_path(), text.as_bytes(), *at))
            .collect();
        self.disk.put_all_dated(&files)?;
        Ok(())
    }
}
