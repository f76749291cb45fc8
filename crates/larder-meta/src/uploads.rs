use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_oci::{Algorithm, RepoName, UploadId};
use larder_storage::Staged;

use crate::error::MetaError;
use crate::layout;
use crate::store::MetaStore;

/// An upload session that nobody has touched for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleUpload {
    /// The repository it belongs to.
    pub repository: RepoName,
    /// The session.
    pub id: UploadId,
    /// When something last happened in it.
    pub last_used: SystemTime,
}

/// The last second that RFC 3339 has digits for.
const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

impl MetaStore {
    /// Starts an upload session: an empty file, and when it was started, as registry:2 writes it.
    pub fn create_upload(
        &self,
        repository: &RepoName,
        id: UploadId,
        algorithm: Algorithm,
        now: SystemTime,
    ) -> Result<Staged, MetaError> {
        let directory = layout::upload(repository, id);
        // A clock that stands outside of what the format can say is no reason to refuse an upload.
        let sayable = now.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + END_OF_9999);
        let started = humantime::format_rfc3339_seconds(sayable).to_string();
        self.disk.put_volatile(&directory.join("startedat"), started.as_bytes())?;
        Ok(Staged::create(&self.disk, &directory.join("data"), algorithm)?)
    }

    /// Takes up a session again, reading what it holds once; `None` if there is no such session.
    pub fn reopen_upload(
        &self,
        repository: &RepoName,
        id: UploadId,
        algorithm: Algorithm,
    ) -> Result<Option<Staged>, MetaError> {
        let directory = layout::upload(repository, id);
        let data = directory.join("data");
        if let Some(staged) = Staged::reopen(&self.disk, &data, algorithm)? {
            return Ok(Some(staged));
        }
        // registry:2 may have stopped before it wrote the first byte.
        if self.disk.stat(&directory.join("startedat"))?.is_none() {
            return Ok(None);
        }
        Ok(Some(Staged::create(&self.disk, &data, algorithm)?))
    }

    /// Bytes that a session holds; `None` if there is no such session.
    pub fn upload_length(&self, repository: &RepoName, id: UploadId) -> Result<Option<u64>, MetaError> {
        let directory = layout::upload(repository, id);
        if let Some(stat) = self.disk.stat(&directory.join("data"))? {
            return Ok(Some(stat.size));
        }
        Ok(self.disk.stat(&directory.join("startedat"))?.map(|_| 0))
    }

    /// Forgets a session and its bytes. `false` if there was none.
    pub fn remove_upload(&self, repository: &RepoName, id: UploadId) -> Result<bool, MetaError> {
        Ok(self.disk.remove_tree_volatile(&layout::upload(repository, id))?)
    }

    /// Sessions in which nothing has happened since `before`, in all repositories.
    ///
    /// A session counts from its last byte, not from its start: a slow upload is not a stale one.
    pub fn stale_uploads(&self, before: SystemTime) -> Result<Vec<StaleUpload>, MetaError> {
        let mut stale = Vec::new();
        // Not from the index: it knows a repository from its first blob on, and an upload comes before.
        for (repository, _) in self.names_on_disk()? {
            for entry in self.disk.list(&layout::uploads(&repository))?.unwrap_or_default() {
                let Ok(id) = entry.name.parse::<UploadId>() else { continue };
                let last_used = self.upload_last_used(&repository, id)?;
                if last_used < before {
                    stale.push(StaleUpload { repository: repository.clone(), id, last_used });
                }
            }
        }
        Ok(stale)
    }

    /// When something last happened in a session: its start, its last byte, whichever is later.
    pub fn upload_last_used(&self, repository: &RepoName, id: UploadId) -> Result<SystemTime, MetaError> {
        let directory = layout::upload(repository, id);
        let mut last = SystemTime::UNIX_EPOCH;
        if let Some(bytes) = self.disk.read(&directory.join("startedat"), layout::LONGEST_LINK)?
            && let Ok(started) = humantime::parse_rfc3339(String::from_utf8_lossy(&bytes).trim())
        {
            last = started;
        }
        for path in [directory.join("data"), directory] {
            if let Some(stat) = self.disk.stat(&path)? {
                let nanoseconds = u64::try_from(stat.modified_nanoseconds).unwrap_or_default();
                last = last.max(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds));
            }
        }
        Ok(last)
    }

    /// The data directory's root, for messages.
    pub fn root(&self) -> &std::path::Path {
        Arc::as_ref(&self.disk).root()
    }
}
