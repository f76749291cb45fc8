use std::collections::BTreeMap;

use crate::{Digest, MediaType};

/// A descriptor: type, digest and size of some content, as manifests hold them
/// (OCI Image Specification, descriptor.md).
///
/// Read tolerantly: fields that Larder has no use for (platform, data) are not kept, because the
/// manifest's own bytes are what is served.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// Which content it is.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The artifact's type, when the content is a manifest of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free key-value pairs.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where else the content can be had; only non-distributable layers rely on it.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// Reads `null` as the empty value: Go writes nil lists and maps that way.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    use serde::Deserialize as _;
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
