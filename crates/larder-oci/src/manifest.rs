//! Manifests: what a repository's tags and digests name.
//!
//! A manifest is stored and served as the bytes that were pushed. This module only *reads* it, to
//! know its type, what it refers to and what refers to it; nothing here writes one.

use std::collections::BTreeMap;

use crate::descriptor::{Descriptor, null_is_default};
use crate::digest::shorten;
use crate::{Digest, MediaType};

/// What Larder knows of a manifest, apart from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The type it is served as.
    pub media_type: MediaType,
    /// What it is made of.
    pub content: ManifestContent,
    /// The manifest that this one is about, if any.
    pub subject: Option<Descriptor>,
    /// The type by which referrers are filtered: the manifest's own `artifactType`, for an image
    /// else its config's media type (OCI Distribution Specification, "Listing Referrers").
    pub artifact_type: Option<String>,
    /// The manifest's own annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The two shapes of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestContent {
    /// A config and layers: an image or an artifact.
    Image {
        /// The config blob.
        config: Descriptor,
        /// The layer blobs, lowest first.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests, one per platform; or of blobs, as BuildKit's cache has it.
    Index {
        /// The children in their order.
        manifests: Vec<Descriptor>,
    },
}

/// What a manifest refers to a descriptor as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The config of an image.
    Config,
    /// A layer of an image.
    Layer,
    /// A child of an index.
    Child,
}

const ACCEPTED: &str = "send an OCI image manifest or index, or Docker's schema 2 manifest or manifest list";

/// Why bytes are not a manifest that may be pushed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of a manifest's shape.
    #[error("the manifest can't be read: {0}")]
    Json(serde_json::Error),
    /// Neither the header nor the manifest says what it is.
    #[error("the manifest has no `mediaType` and the request no Content-Type; {ACCEPTED}")]
    NoMediaType,
    /// A type that is not a manifest's.
    #[error("manifests of type `{0}` are not accepted; {ACCEPTED}")]
    Unsupported(MediaType),
    /// Header and field disagree.
    #[error("the request's Content-Type is `{declared}` but the manifest's own `mediaType` is `{inside}`")]
    MediaTypeMismatch {
        /// The Content-Type of the request.
        declared: MediaType,
        /// The field in the manifest.
        inside: MediaType,
    },
    /// Docker's types must carry the field.
    #[error("a manifest of Docker's type `{0}` must carry that `mediaType` inside")]
    DockerWithoutMediaType(MediaType),
    /// Not schema version 2.
    #[error("`schemaVersion` must be 2, it is {0}")]
    SchemaVersion(u64),
    /// A field that differs from one that counts only by case: Go's JSON reader takes one for the other.
    #[error("`{found}` would be read as `{meant}` by clients that don't tell case apart: rename it")]
    CaseTwin {
        /// The field.
        found: String,
        /// The one it would be taken for.
        meant: &'static str,
    },
    /// An image without config, or an index without manifests.
    #[error("a manifest of type `{media_type}` needs `{field}`")]
    Missing {
        /// The type it claims.
        media_type: MediaType,
        /// The field that it lacks.
        field: &'static str,
    },
    /// Fields of the other shape: such a document would be read as two different things
    /// (OCI Image Specification, CVE-2021-41190).
    #[error("a manifest of type `{media_type}` can't have `{field}`")]
    Ambiguous {
        /// The type it claims.
        media_type: MediaType,
        /// The field of the other shape.
        field: &'static str,
    },
}

/// The document as far as Larder reads it. Unknown fields are allowed: they are kept in the bytes.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<MediaType>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest that is being pushed; `declared` is the request's Content-Type.
    pub fn parse(bytes: &[u8], declared: Option<&MediaType>) -> Result<Manifest, ManifestError> {
        let document: Document = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        refuse_case_twins(bytes)?;
        let media_type = match (declared, &document.media_type) {
            (Some(declared), Some(inside)) if declared != inside => {
                return Err(ManifestError::MediaTypeMismatch {
                    declared: declared.clone(),
                    inside: inside.clone(),
                });
            }
            (_, Some(inside)) => inside.clone(),
            (Some(declared), None) => declared.clone(),
            (None, None) => return Err(ManifestError::NoMediaType),
        };
        let docker = media_type == MediaType::DOCKER_MANIFEST || media_type == MediaType::DOCKER_LIST;
        if docker && document.media_type.is_none() {
            return Err(ManifestError::DockerWithoutMediaType(media_type));
        }
        Manifest::from_document(document, media_type)
    }

    /// Reads a manifest that lies in the store already, under the type that it is served as.
    pub fn parse_stored(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let document: Document = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let media_type = document.media_type.clone().or_else(|| stored_media_type(bytes));
        Manifest::from_document(document, media_type.ok_or(ManifestError::NoMediaType)?)
    }

    fn from_document(document: Document, media_type: MediaType) -> Result<Manifest, ManifestError> {
        if document.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(document.schema_version));
        }
        let missing = |field| ManifestError::Missing { media_type: media_type.clone(), field };
        let ambiguous = |field| ManifestError::Ambiguous { media_type: media_type.clone(), field };
        let content = match media_type.as_str() {
            MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST => {
                if document.manifests.is_some() {
                    return Err(ambiguous("manifests"));
                }
                ManifestContent::Image {
                    config: document.config.ok_or_else(|| missing("config"))?,
                    layers: document.layers.unwrap_or_default(),
                }
            }
            MediaType::OCI_INDEX | MediaType::DOCKER_LIST => {
                if document.config.is_some() {
                    return Err(ambiguous("config"));
                }
                if document.layers.is_some() {
                    return Err(ambiguous("layers"));
                }
                ManifestContent::Index { manifests: document.manifests.ok_or_else(|| missing("manifests"))? }
            }
            _ => return Err(ManifestError::Unsupported(media_type)),
        };
        let own_type = document.artifact_type.filter(|text| !text.is_empty());
        let artifact_type = match &content {
            ManifestContent::Image { config, .. } => {
                Some(own_type.unwrap_or_else(|| config.media_type.to_string()))
            }
            ManifestContent::Index { .. } => own_type,
        };
        Ok(Manifest {
            media_type,
            content,
            subject: document.subject,
            artifact_type,
            annotations: document.annotations,
        })
    }

    /// Everything the manifest is made of, with its role: config first, then layers or children in order.
    pub fn references(&self) -> impl Iterator<Item = (Role, &Descriptor)> {
        let (config, rest, role) = match &self.content {
            ManifestContent::Image { config, layers } => (Some(config), layers, Role::Layer),
            ManifestContent::Index { manifests } => (None, manifests, Role::Child),
        };
        config
            .map(|config| (Role::Config, config))
            .into_iter()
            .chain(rest.iter().map(move |each| (role, each)))
    }

    /// The descriptor by which this manifest appears in a referrers list.
    pub fn as_referrer(&self, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest,
            size,
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            urls: Vec::new(),
        }
    }
}

/// Refuses a manifest that says two things: one to Larder, and another to a client whose JSON reader
/// doesn't tell `config` from `Config`. Go's doesn't.
fn refuse_case_twins(bytes: &[u8]) -> Result<(), ManifestError> {
    const FIELDS: [&str; 7] =
        ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject"];
    let keys: BTreeMap<String, serde::de::IgnoredAny> =
        serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
    for found in keys.into_keys() {
        let twin = FIELDS.into_iter().find(|field| found != *field && found.eq_ignore_ascii_case(field));
        if let Some(meant) = twin {
            return Err(ManifestError::CaseTwin { found: shorten(&found), meant });
        }
    }
    Ok(())
}

/// The type that stored manifest bytes are served as: their `mediaType`, else the one that their
/// shape implies, as distribution decides it. `None` when the bytes are no manifest of any kind.
pub fn stored_media_type(bytes: &[u8]) -> Option<MediaType> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        #[serde(default)]
        schema_version: u64,
        media_type: Option<MediaType>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
    }
    let probe: Probe = serde_json::from_slice(bytes).ok()?;
    if probe.media_type.is_some() {
        return probe.media_type;
    }
    let implied = if probe.schema_version == 1 {
        MediaType::DOCKER_SCHEMA1
    } else if probe.manifests.is_some() {
        MediaType::OCI_INDEX
    } else if probe.config.is_some() || probe.layers.is_some() {
        MediaType::OCI_MANIFEST
    } else {
        return None;
    };
    implied.parse().ok()
}

#[cfg(test)]
mod tests;
