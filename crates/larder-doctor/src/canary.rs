//! What is written to a registry to be read back: small things with a name of their own.

use bytes::Bytes;
use larder_oci::{Digest, NameError, RepoName};
use serde_json::{Value, json};

use crate::net::pattern;
use crate::target::Target;

/// Where a canary goes when no repository was named.
const HOME: &str = "larder-doctor";

/// A layer, a config, and the repository that they go to.
pub(crate) struct Canary {
    pub(crate) repository: RepoName,
    pub(crate) seed: u64,
    pub(crate) layer: Blob,
    pub(crate) config: Blob,
}

/// Bytes with their digest.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

impl Blob {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Blob {
        let bytes = bytes.into();
        Blob { digest: Digest::sha256(&bytes), bytes }
    }
}

/// A manifest on its way: its type, its bytes, and what it is for.
pub(crate) struct Sent {
    /// In words: "a Docker image", "an OCI index", …
    pub(crate) kind: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) blob: Blob,
    /// The tag under which it is pushed; its digest otherwise.
    pub(crate) tag: Option<String>,
}

/// OCI's and Docker's manifest types (OCI Image Specification, media-types.md; distribution's schema 2).
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";

/// The repository whose rights are looked at: the one that was named, else one that nobody else has.
pub(crate) fn repository_of(target: &Target, seed: u64) -> Result<RepoName, NameError> {
    match &target.repository {
        Some(named) => Ok(named.clone()),
        None => format!("{HOME}/canary-{:08x}", seed >> 32).parse(),
    }
}

impl Canary {
    pub(crate) fn new(repository: RepoName, seed: u64) -> Canary {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [] }, "created": "1970-01-01T00:00:00Z",
            "author": format!("larder doctor {seed:016x}"),
        });
        Canary {
            repository,
            seed,
            layer: Blob::new(pattern(seed, 256 << 10)),
            config: Blob::new(config.to_string()),
        }
    }

    pub(crate) fn tag(&self, kind: &str) -> String {
        format!("larder-doctor-{:08x}-{kind}", self.seed >> 32)
    }

    fn image(&self, media_type: &str, config_type: &str, layer_type: &str) -> Blob {
        Blob::new(
            json!({
                "schemaVersion": 2, "mediaType": media_type,
                "config": descriptor(config_type, &self.config),
                "layers": [descriptor(layer_type, &self.layer)],
            })
            .to_string(),
        )
    }

    /// The five kinds of manifest that clients push, those that others name first.
    pub(crate) fn manifests(&self) -> Vec<Sent> {
        let docker = self.image(
            DOCKER_MANIFEST,
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        );
        let oci = self.image(
            OCI_MANIFEST,
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+gzip",
        );
        let attestation = self.image(
            OCI_MANIFEST,
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.in-toto+json",
        );
        let platform = json!({ "architecture": "amd64", "os": "linux" });
        let mut child = descriptor(OCI_MANIFEST, &oci);
        set(&mut child, "platform", platform);
        let index = Blob::new(
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] }).to_string(),
        );
        let mut attached = descriptor(OCI_MANIFEST, &attestation);
        set(&mut attached, "platform", json!({ "architecture": "unknown", "os": "unknown" }));
        set(
            &mut attached,
            "annotations",
            json!({
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": oci.digest.to_string(),
            }),
        );
        let attested = Blob::new(
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child, attached] }).to_string(),
        );
        let artifact = Blob::new(
            json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "artifactType": "application/vnd.larder.doctor",
                "config": descriptor(EMPTY_JSON, &self.empty()),
                "layers": [descriptor(EMPTY_JSON, &self.empty())],
                "subject": descriptor(OCI_MANIFEST, &oci),
            })
            .to_string(),
        );
        let sent = |kind, media_type, blob, tag: Option<&str>| Sent {
            kind,
            media_type,
            blob,
            tag: tag.map(|tag| self.tag(tag)),
        };
        vec![
            sent("a Docker image", DOCKER_MANIFEST, docker, Some("docker")),
            sent("an OCI image", OCI_MANIFEST, oci, Some("oci")),
            sent("an attestation", OCI_MANIFEST, attestation, None),
            sent("an OCI index", OCI_INDEX, index, Some("index")),
            sent(
                "an index with an attestation, as docker build pushes it",
                OCI_INDEX,
                attested,
                Some("attested"),
            ),
            sent("an artifact with a subject, such as a signature", OCI_MANIFEST, artifact, None),
        ]
    }

    /// The empty object that artifacts name (OCI Image Specification, manifest.md, "Guidance for an empty descriptor").
    pub(crate) fn empty(&self) -> Blob {
        Blob::new(Bytes::from_static(b"{}"))
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.bytes.len() })
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}
