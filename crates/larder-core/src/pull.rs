use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use larder_oci::{Access, Digest, MediaType, Pull, Reference, RepoName, stored_media_type};
use larder_storage::StorageError;

use crate::cache::{Growing, ServedCopy};
use crate::error::RegistryError;
use crate::recent::{Answered, Asked, LONGEST_KEPT};
use crate::registry::{Inner, Registry};

/// The longest stored manifest that is served. Twice what may be pushed here: another registry may
/// have taken in larger ones.
const LONGEST_STORED_MANIFEST: u64 = 8 << 20;

/// A manifest as it is served: byte for byte what was pushed.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// The digest it was asked for by, or that its tag points at.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// Its bytes; they hash to the digest.
    pub bytes: Bytes,
    /// Of a long one the file that holds these bytes from its beginning on, for whoever sends them: a client that takes
    /// them slowly then holds no memory.
    pub file: Option<Arc<File>>,
}

/// A manifest, and what must be said with it.
#[derive(Clone, Debug)]
pub struct PulledManifest {
    /// The manifest.
    pub manifest: Arc<StoredManifest>,
    /// If it is a copy of which nobody knows whether it still is what its upstream has.
    pub copy: Option<ServedCopy>,
}

/// A blob as it is served.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The digest it was asked for by.
    pub digest: Digest,
    /// Where its bytes are.
    pub content: BlobContent,
}

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub enum BlobContent {
    /// A small one: in memory, and they hash to the digest.
    Memory(Bytes),
    /// A file, until the socket.
    File {
        /// Its first `size` bytes are the content. Others read the same open file: read it at offsets.
        file: Arc<File>,
        /// Its length in bytes.
        size: u64,
    },
    /// A file that is still arriving from an upstream.
    Growing(Arc<Growing>),
    /// Not here: its upstream holds it. Only in answer to [`Registry::blob_head`].
    Upstream {
        /// Its length in bytes.
        size: u64,
    },
}

impl PulledManifest {
    pub(crate) fn current(manifest: Arc<StoredManifest>) -> PulledManifest {
        PulledManifest { manifest, copy: None }
    }
}

impl Deref for PulledManifest {
    type Target = StoredManifest;

    fn deref(&self) -> &StoredManifest {
        &self.manifest
    }
}

impl BlobContent {
    /// The content's length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            BlobContent::Memory(bytes) => bytes.len() as u64,
            BlobContent::File { size, .. } | BlobContent::Upstream { size } => *size,
            BlobContent::Growing(growing) => growing.size(),
        }
    }
}

impl Registry {
    /// The manifest that a tag or digest names, or `None`. One that isn't here is fetched from the repository's upstream,
    /// if it has one; about a tag the upstream is asked from time to time what it means now.
    pub async fn manifest(
        &self,
        access: &Access<Pull>,
        reference: &Reference,
    ) -> Result<Option<PulledManifest>, RegistryError> {
        let repository = access.repository();
        match self.upstream_of(repository) {
            Some(source) => Box::pin(self.manifest_or_fetch(&source, repository, reference)).await,
            None => {
                let Some(stored) = self.stored_manifest(repository, reference).await? else {
                    return self.absent().await;
                };
                self.note_access(repository, &stored.digest);
                Ok(Some(PulledManifest::current(stored)))
            }
        }
    }

    /// The blob with this digest, or `None` if the repository doesn't hold it. One that isn't here is fetched from the
    /// repository's upstream, if it has one, and can be read while it arrives.
    pub async fn blob(&self, access: &Access<Pull>, digest: &Digest) -> Result<Option<Blob>, RegistryError> {
        let repository = access.repository();
        match self.upstream_of(repository) {
            Some(source) => Box::pin(self.blob_or_fetch(&source, repository, digest)).await,
            None => match self.stored_blob(repository, digest).await? {
                Some(stored) => Ok(Some(stored)),
                None => self.absent().await,
            },
        }
    }

    /// As [`blob`](Registry::blob), for whoever wants to know only whether there is one and how long it is: nothing is
    /// fetched.
    pub async fn blob_head(
        &self,
        access: &Access<Pull>,
        digest: &Digest,
    ) -> Result<Option<Blob>, RegistryError> {
        let repository = access.repository();
        match self.upstream_of(repository) {
            Some(source) => Box::pin(self.blob_or_ask(&source, repository, digest)).await,
            None => match self.stored_blob(repository, digest).await? {
                Some(stored) => Ok(Some(stored)),
                None => self.absent().await,
            },
        }
    }

    /// `None`, unless the data directory has gone: then nobody knows what there is. What an upstream has is fetched all
    /// the same.
    async fn absent<T: Send + 'static>(&self) -> Result<Option<T>, RegistryError> {
        self.blocking(|inner| Ok(inner.disk.confirm().map(|()| None)?)).await
    }

    pub(crate) async fn stored_manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<Arc<StoredManifest>>, RegistryError> {
        let asked = Asked::Manifest(reference);
        let state = self.inner.meta.state(repository);
        if let Some(Answered::Manifest(manifest)) = self.inner.recent.get(repository, asked, state) {
            return Ok(Some(manifest));
        }
        // Never closed. Held by the work, as its memory is.
        let turn = Arc::clone(&self.inner.manifest_reads).acquire_owned().await.ok();
        let (repository, reference) = (repository.clone(), reference.clone());
        self.blocking(move |inner| {
            let _turn = turn;
            let (read, state) = (Instant::now(), inner.meta.state(&repository));
            let Some(manifest) = inner.manifest(&repository, &reference)? else { return Ok(None) };
            let manifest = Arc::new(manifest);
            if manifest.bytes.len() as u64 <= LONGEST_KEPT {
                let answered = Answered::Manifest(Arc::clone(&manifest));
                inner.recent.put(&repository, Asked::Manifest(&reference), answered, read, state);
            }
            Ok(Some(manifest))
        })
        .await
    }

    pub(crate) async fn stored_blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Blob>, RegistryError> {
        let asked = Asked::Blob(digest);
        let state = self.inner.meta.state(repository);
        if let Some(content) = self.inner.recent.get(repository, asked, state).and_then(Answered::into_blob) {
            return Ok(Some(Blob { digest: *digest, content }));
        }
        let (repository, digest) = (repository.clone(), *digest);
        self.blocking(move |inner| {
            let (read, state) = (Instant::now(), inner.meta.state(&repository));
            let Some(content) = inner.blob(&repository, &digest)? else { return Ok(None) };
            let answered = match &content {
                BlobContent::Memory(bytes) => Some(Answered::Blob(bytes.clone())),
                BlobContent::File { file, size } => {
                    Some(Answered::File { file: Arc::clone(file), size: *size })
                }
                BlobContent::Growing(_) | BlobContent::Upstream { .. } => None,
            };
            if let Some(answered) = answered {
                inner.recent.put(&repository, Asked::Blob(&digest), answered, read, state);
            }
            Ok(Some(Blob { digest, content }))
        })
        .await
    }
}

impl Inner {
    pub(crate) fn manifest(
        &self,
        repository: &RepoName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let digest = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => match self.meta.tag(repository, tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let Some(content) = self.meta.manifest(repository, &digest)? else { return Ok(None) };
        let Some((bytes, file)) = self.blobs.read_and_keep_open(&content, LONGEST_STORED_MANIFEST)? else {
            tracing::warn!(%repository, %digest, "a manifest's content is missing from the store");
            return Ok(None);
        };
        let Some(media_type) = stored_media_type(&bytes) else {
            tracing::warn!(%repository, %digest, "what is stored as a manifest is none");
            return Ok(None);
        };
        let file = (bytes.len() as u64 > LONGEST_KEPT).then(|| Arc::new(file));
        Ok(Some(StoredManifest { digest, media_type, bytes: bytes.into(), file }))
    }

    pub(crate) fn blob(
        &self,
        repository: &RepoName,
        digest: &Digest,
    ) -> Result<Option<BlobContent>, RegistryError> {
        let Some(content) = self.meta.blob(repository, digest)? else { return Ok(None) };
        let Some(opened) = self.blobs.open(&content)? else {
            tracing::warn!(%repository, %digest, "a blob's content is missing from the store; push it again");
            return Ok(None);
        };
        if opened.size > LONGEST_KEPT {
            return Ok(Some(BlobContent::File { file: Arc::new(opened.file), size: opened.size }));
        }
        match self.blobs.read(&content, LONGEST_KEPT) {
            Ok(bytes) => Ok(bytes.map(|bytes| BlobContent::Memory(bytes.into()))),
            // To a client that is about to push, what can't be served isn't there: its push mends it.
            Err(error @ StorageError::Corrupt { .. }) => {
                tracing::error!(%repository, %digest, %error, "a blob is damaged and not served; push it again");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
