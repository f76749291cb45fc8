use http::{Method, StatusCode};
use larder_core::{BlobContent, Event, RegistryError};
use larder_oci::{Digest, RepoName};

use crate::content::{Content, ContentBytes};
use crate::request::{Answer, Call};
use crate::respond;

impl Call {
    pub(crate) async fn get_blob(&self, name: &RepoName, digest: &Digest) -> Answer {
        let access = self.may_pull(name).await?;
        let found = if self.parts.method == Method::HEAD {
            // Whoever hears "it is here" won't upload it, and names it in a manifest later.
            self.app.registry.promise(&access, digest).await?;
            self.app.registry.blob_head(&access, digest).await?
        } else {
            self.app.registry.blob(&access, digest).await?
        };
        let Some(blob) = found else {
            return Err(RegistryError::BlobUnknown { repository: name.clone(), digest: *digest }.into());
        };
        let bytes = match blob.content {
            BlobContent::Memory(bytes) => ContentBytes::Memory(bytes),
            BlobContent::File { file, size } => ContentBytes::File { file, size },
            BlobContent::Growing(growing) => ContentBytes::Growing(growing),
            BlobContent::Upstream { size } => ContentBytes::Elsewhere { size },
        };
        let size = bytes.size();
        let content =
            Content { digest: blob.digest, media_type: "application/octet-stream", bytes, immutable: true };
        let response = content.respond(&self.parts.headers);
        self.report_pull(&access, &Event::BlobPulled { digest: blob.digest, size }, &response);
        Ok(response)
    }

    pub(crate) async fn delete_blob(&self, name: &RepoName, digest: &Digest) -> Answer {
        let access = self.may_delete(name).await?;
        self.registry().delete_blob(&access, digest).await?;
        Ok(respond::empty(StatusCode::ACCEPTED))
    }
}
