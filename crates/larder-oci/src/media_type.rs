use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::shorten;

/// The longest media type: RFC 6838 section 4.2 allows 127 characters before and after the slash.
const LONGEST_MEDIA_TYPE: usize = 255;

/// A media type without parameters, such as `application/vnd.oci.image.manifest.v1+json`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaType(Arc<str>);

/// The text is not a media type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a media type: write type/subtype, at most {LONGEST_MEDIA_TYPE} characters")]
pub struct MediaTypeError(String);

impl MediaType {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image manifest, schema 1, as old registries stored it. Served, never taken in.
    pub const DOCKER_SCHEMA1: &'static str = "application/vnd.docker.distribution.manifest.v1+json";
    /// The four types that a manifest may be pushed as.
    pub const MANIFESTS: [&'static str; 4] =
        [Self::OCI_MANIFEST, Self::OCI_INDEX, Self::DOCKER_MANIFEST, Self::DOCKER_LIST];

    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A layer that its maker forbids to be distributed; its bytes may be elsewhere only
    /// (OCI Image Specification, layer.md, "Non-Distributable Layers"; Docker's foreign layers).
    pub fn is_non_distributable(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    /// Parameters such as `; charset=utf-8` are dropped (OCI Distribution Specification, "Pushing Manifests").
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || MediaTypeError(shorten(text));
        let essence = text.split(';').next().unwrap_or_default().trim();
        let (kind, subtype) = essence.split_once('/').ok_or_else(refused)?;
        // RFC 6838 section 4.2, restricted-name-chars.
        let name = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        if essence.len() > LONGEST_MEDIA_TYPE || !name(kind) || !name(subtype) {
            return Err(refused());
        }
        Ok(MediaType(essence.into()))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for MediaType {
    type Error = MediaTypeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> String {
        media_type.0.as_ref().to_owned()
    }
}

impl PartialEq<str> for MediaType {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for MediaType {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests;
