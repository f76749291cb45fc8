//! Content to push. `{}` is the config, `hello world` the layer: their digests are known by heart.

use larder_oci::Digest;

use super::{Reply, Server, post, put};

pub(crate) const CONFIG: &[u8] = b"{}";
pub(crate) const CONFIG_DIGEST: &str =
    "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
pub(crate) const LAYER: &[u8] = b"hello world";
pub(crate) const LAYER_DIGEST: &str =
    "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
/// Of content that nobody ever pushes.
pub(crate) const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The image of [`CONFIG`] and [`LAYER`], with these fields in front.
fn image_with(fields: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,{fields}"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{CONFIG_DIGEST}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{LAYER_DIGEST}","size":11}}]}}"#
    )
}

pub(crate) fn image(media_type: &str) -> String {
    image_with(&format!(r#""mediaType":"{media_type}","#))
}

/// An OCI image that doesn't say its type.
pub(crate) fn image_without_type() -> String {
    image_with("")
}

/// An OCI image about another manifest, with an annotation that tells it from others.
pub(crate) fn referrer(subject: &str, artifact_type: &str, note: &str) -> String {
    image_with(&format!(
        r#""mediaType":"{OCI_MANIFEST}","artifactType":"{artifact_type}","subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":7}},"annotations":{{"note":"{note}"}},"#
    ))
}

/// An image that differs from all others by a note.
pub(crate) fn image_noted(note: &str) -> String {
    image_with(&format!(r#""mediaType":"{OCI_MANIFEST}","annotations":{{"note":"{note}"}},"#))
}

/// An index of these, all said to be of one type.
pub(crate) fn index(media_type: &str, child_type: &str, children: &[&str]) -> String {
    let children: Vec<String> = children
        .iter()
        .map(|digest| format!(r#"{{"mediaType":"{child_type}","digest":"{digest}","size":7}}"#))
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, children.join(","))
}

pub(crate) fn digest_of(bytes: impl AsRef<[u8]>) -> String {
    Digest::sha256(bytes.as_ref()).to_string()
}

impl Server {
    pub(crate) async fn push_blob(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let digest = digest_of(&bytes);
        let target = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let reply = self.ask(post(target, bytes.as_ref())).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        manifest: impl Into<Vec<u8>>,
    ) -> Reply {
        let target = format!("/v2/{name}/manifests/{reference}");
        self.ask(put(target, manifest).with("Content-Type", media_type)).await
    }

    /// The blobs of [`image`].
    pub(crate) async fn push_blobs(&self, name: &str) {
        self.push_blob(name, CONFIG).await;
        self.push_blob(name, LAYER).await;
    }

    /// An OCI image under a tag; gives its digest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str) -> String {
        self.push_blobs(name).await;
        self.push_manifest(name, tag, &image(OCI_MANIFEST)).await
    }

    /// An OCI manifest whose content is there; gives its digest.
    pub(crate) async fn push_manifest(&self, name: &str, reference: &str, manifest: &str) -> String {
        let kind = if manifest.contains(r#""manifests""#) { OCI_INDEX } else { OCI_MANIFEST };
        let reply = self.put_manifest(name, reference, kind, manifest).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        digest_of(manifest)
    }
}
