use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use larder_oci::{Access, Digest, MediaType, Pull, Reference, RepoName, stored_media_type};

use crate::error::RegistryError;
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
}

/// A blob as it is served: a file, until the socket.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The digest it was asked for by.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The file; its first `size` bytes are the content.
    pub file: Arc<File>,
}

impl Registry {
    /// The manifest that a tag or digest names, or `None`.
    pub async fn manifest(
        &self,
        access: &Access<Pull>,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let (repository, reference) = (access.repository().clone(), reference.clone());
        self.blocking(move |inner| inner.manifest(&repository, &reference)).await
    }

    /// The blob with this digest, or `None` if the repository doesn't hold it.
    pub async fn blob(&self, access: &Access<Pull>, digest: &Digest) -> Result<Option<Blob>, RegistryError> {
        let (repository, digest) = (access.repository().clone(), *digest);
        self.blocking(move |inner| {
            let Some(content) = inner.meta.blob(&repository, &digest)? else { return Ok(None) };
            let opened = inner.blobs.open(&content)?;
            if opened.is_none() {
                tracing::warn!(%repository, %digest, "a blob's content is missing from the store; push it again");
            }
            Ok(opened.map(|blob| Blob { digest, size: blob.size, file: Arc::new(blob.file) }))
        })
        .await
    }
}

impl Inner {
    fn manifest(
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
        let Some(bytes) = self.blobs.read(&content, LONGEST_STORED_MANIFEST)? else {
            tracing::warn!(%repository, %digest, "a manifest's content is missing from the store");
            return Ok(None);
        };
        let Some(media_type) = stored_media_type(&bytes) else {
            tracing::warn!(%repository, %digest, "what is stored as a manifest is none");
            return Ok(None);
        };
        Ok(Some(StoredManifest { digest, media_type, bytes: bytes.into() }))
    }
}
