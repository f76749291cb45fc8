//! What `docker save` and `podman save` have always written: a list of images, each with its config and its layers.
//!
//! Nobody has said the layers' digests, but the config says what each hashes to when it is unpacked, and the config's file
//! is named by its own hash. So nothing damaged passes. The bytes stay as they are, which mostly is unpacked; an OCI
//! manifest is made that names them. The image's id, which is the config's digest, stays.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use larder_oci::{Algorithm, Digest, Hasher, MediaType};
use serde_json::{Value, json};

use super::ImagesError;
use super::json::{at, parsed};
use super::names::Name;
use super::read::{Found, FoundManifest};
use super::source::Source;

/// An image of the list.
pub(super) struct Listed {
    pub(super) names: Vec<Name>,
    config: String,
    layers: Vec<String>,
}

/// A layer's file.
#[derive(Clone, Copy)]
struct Layer {
    digest: Digest,
    size: u64,
    kind: &'static str,
    /// What it hashes to unpacked; `None` for what can't be unpacked here.
    unpacked: Option<Digest>,
}

impl Listed {
    /// The config's digest, if its file is named by it.
    pub(super) fn config_digest(&self) -> Option<Digest> {
        let name = self.config.rsplit('/').next().unwrap_or_default();
        format!("sha256:{}", name.strip_suffix(".json").unwrap_or(name)).parse().ok()
    }
}

/// The images of a `manifest.json`.
pub(super) fn listed(list: &[u8]) -> Result<Vec<Listed>, ImagesError> {
    let list: Value = parsed("manifest.json", list)?;
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let one = |image: &Value| {
        let Some(config) = at(image, &["Config"]).as_str() else {
            let problem = "an image in it has no Config".to_owned();
            return Err(ImagesError::Content { what: "manifest.json".to_owned(), problem });
        };
        let names = strings(at(image, &["RepoTags"])).into_iter().map(Name::Theirs).collect();
        Ok(Listed { names, config: config.to_owned(), layers: strings(at(image, &["Layers"])) })
    };
    list.as_array().into_iter().flatten().map(one).collect()
}

/// The images that the list names, each with a manifest that is made for it.
pub(super) fn images(source: &Source, list: &[u8]) -> Result<Vec<Found>, ImagesError> {
    let mut known = BTreeMap::new();
    listed(list)?.into_iter().map(|image| take(source, image, &mut known)).collect()
}

fn take(source: &Source, image: Listed, known: &mut BTreeMap<String, Layer>) -> Result<Found, ImagesError> {
    let what = image.config.clone();
    let wrong = |what: &str, problem: String| ImagesError::Content { what: what.to_owned(), problem };
    let Some(config) = source.small_file(&what)? else { return Err(ImagesError::Missing { what }) };
    let digest = Digest::sha256(&config);
    if image.config_digest().is_some_and(|named| named != digest) {
        return Err(wrong(&what, format!("it is damaged: its bytes hash to {digest}")));
    }
    let size = config.len() as u64;
    let says: Value = parsed(&what, &config)?;
    let hashes: Vec<Option<Digest>> = match at(&says, &["rootfs", "diff_ids"]).as_array() {
        Some(hashes) => hashes.iter().map(|hash| hash.as_str().and_then(|hash| hash.parse().ok())).collect(),
        None => vec![None; image.layers.len()],
    };
    if hashes.len() != image.layers.len() {
        let problem =
            format!("it tells of {} layers, and manifest.json of {}", hashes.len(), image.layers.len());
        return Err(wrong(&what, problem));
    }
    let mut found = Found { names: image.names, ..Found::default() };
    found.blobs.insert(digest, (what.clone(), size));
    let mut layers = Vec::new();
    for (name, expected) in image.layers.into_iter().zip(hashes) {
        let layer = layer(source, &name, known)?;
        if let (Some(expected), Some(unpacked)) = (expected, layer.unpacked)
            && expected != unpacked
        {
            let problem = format!("it is damaged: it hashes to {unpacked}, and {what} says {expected}");
            return Err(wrong(&name, problem));
        }
        layers.push(json!({
            "mediaType": format!("application/vnd.oci.image.layer.v1.{}", layer.kind),
            "digest": layer.digest.to_string(), "size": layer.size,
        }));
        found.blobs.insert(layer.digest, (name, layer.size));
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "layers": layers,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest.to_string(), "size": size,
        },
    });
    found.manifests.push(FoundManifest::parse("manifest.json", manifest.to_string().into_bytes())?.0);
    Ok(found)
}

/// What a layer's file holds. Each is read once, however many images share it.
fn layer(source: &Source, name: &str, known: &mut BTreeMap<String, Layer>) -> Result<Layer, ImagesError> {
    if let Some(known) = known.get(name) {
        return Ok(*known);
    }
    let failed = |source| ImagesError::Read { what: name.to_owned(), source };
    let open = || source.file(name)?.ok_or_else(|| ImagesError::Missing { what: name.to_owned() });
    let (mut reader, size) = open()?;
    let mut beginning = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut beginning).map_err(failed)?;
    let kind = match beginning.as_slice() {
        [0x1f, 0x8b, ..] => "tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "tar+zstd",
        _ => "tar",
    };
    let digest = hash(beginning.as_slice().chain(reader)).map_err(failed)?;
    let unpacked = match kind {
        "tar" => Some(digest),
        "tar+gzip" => Some(hash(MultiGzDecoder::new(open()?.0)).map_err(failed)?),
        _ => None,
    };
    let layer = Layer { digest, size, kind, unpacked };
    known.insert(name.to_owned(), layer);
    Ok(layer)
}

fn hash(mut reader: impl Read) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (Hasher::new(Algorithm::Sha256), vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}
