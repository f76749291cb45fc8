//! Repositories that hold nothing any more.

use std::path::Path;
use std::time::SystemTime;

use larder_oci::RepoName;

use crate::error::MetaError;
use crate::layout;
use crate::store::MetaStore;

impl MetaStore {
    /// Takes away a repository that holds no tag, manifest or blob and in which nobody uploads: its directories, with those
    /// that only led to it, and its name in the catalog. `false` if it holds something, isn't there, or something in it
    /// has changed at or after `unchanged_since`.
    ///
    /// Whoever pushes meanwhile comes before, and it stays, or after, and makes it anew. registry:2 makes the directories
    /// of a push in the same way.
    pub fn remove_if_empty(
        &self,
        name: &RepoName,
        unchanged_since: Option<SystemTime>,
    ) -> Result<bool, MetaError> {
        self.reconcile(name)?;
        if !self.is_repository(name)? || self.index.holds_anything(name)? {
            return Ok(false);
        }
        let since = unchanged_since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok());
        let since = since.map(|since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        self.names_walked.between_walks(|| {
            let state = self.repositories.get(name);
            // Links come and go under this lock, each with its row.
            let _excluded = state.exclude();
            let (directory, top) = (layout::repository(name), Path::new(layout::REPOSITORIES));
            let removed = self.change_files(name, &state, || {
                let parts = layout::PARTS_OF_A_REPOSITORY;
                Ok(self.disk.remove_if_empty(&directory, &parts, top, since)?)
            })?;
            if removed {
                self.note_in_index(name, &state, |index| index.remove_repository(name));
            }
            Ok(removed)
        })
    }
}
