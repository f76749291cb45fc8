//! What a directory or an archive holds: an OCI layout, or what `docker save` writes, or both at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use larder_oci::{Digest, Manifest, ManifestContent, MediaType, Role};
use serde_json::Value;

use super::ImagesError;
use super::docker_archive;
use super::json::{at, parsed, set};
use super::names::Name;
use super::source::Source;

/// An index in an index in an index: nobody nests deeper.
const DEEPEST: usize = 4;

/// The name that skopeo, podman and buildx give a manifest in a layout: a tag, or all of a name.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The whole name, as containerd, docker and nerdctl write it.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// The name in the registry that it was exported from.
pub(super) const OUR_NAME: &str = "larder.image.name";

/// An image or an index with all that it is made of, children before what names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it is called where it comes from.
    pub(crate) names: Vec<Name>,
    /// The blobs: the file of each, and its length.
    pub(crate) blobs: BTreeMap<Digest, (String, u64)>,
    /// The manifests, the outermost last.
    pub(crate) manifests: Vec<FoundManifest>,
    /// What whoever imports it should know.
    pub(crate) note: Option<String>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) bytes: Vec<u8>,
    /// What it is about.
    pub(crate) subject: Option<Digest>,
    /// The config, if it is an image's.
    pub(crate) config: Option<Digest>,
}

impl FoundManifest {
    /// A manifest by its bytes.
    pub(super) fn parse(what: &str, bytes: Vec<u8>) -> Result<(FoundManifest, Manifest), ImagesError> {
        let parsed = Manifest::parse_stored(&bytes)
            .map_err(|error| ImagesError::Content { what: what.to_owned(), problem: error.to_string() })?;
        let config = match &parsed.content {
            ManifestContent::Image { config, .. } => Some(config.digest),
            ManifestContent::Index { .. } => None,
        };
        let subject = parsed.subject.as_ref().map(|subject| subject.digest);
        let (digest, media_type) = (Digest::sha256(&bytes), parsed.media_type.clone());
        Ok((FoundManifest { digest, media_type, bytes, subject, config }, parsed))
    }
}

/// Every image of a source.
pub(crate) fn images(source: &Source) -> Result<Vec<Found>, ImagesError> {
    let index = source.small_file("index.json")?;
    let list = source.small_file("manifest.json")?;
    let of_index = match &index {
        Some(bytes) => of_layout(source, bytes),
        None => Ok(Vec::new()),
    };
    match (of_index, list) {
        (Ok(found), None) if !found.is_empty() => Ok(found),
        (Ok(mut found), Some(list)) if !found.is_empty() => {
            name_by_list(&mut found, &list)?;
            Ok(found)
        }
        // docker's archives are both. Only where the layout's own manifest isn't there does the list count: it is made of
        // files without digests.
        (Ok(_) | Err(ImagesError::Missing { .. }), Some(list)) => docker_archive::images(source, &list),
        (Err(error), _) => Err(error),
        (Ok(_), None) => Err(ImagesError::Content {
            what: source.what().into_owned(),
            problem: "it has neither an index.json with images, as an OCI layout has, nor a manifest.json, as docker \
                      save writes. Is it whole?"
                .to_owned(),
        }),
    }
}

fn of_layout(source: &Source, index: &[u8]) -> Result<Vec<Found>, ImagesError> {
    let index: Value = parsed("index.json", index)?;
    let mut images: BTreeMap<Digest, Found> = BTreeMap::new();
    let mut order = Vec::new();
    for descriptor in at(&index, &["manifests"]).as_array().into_iter().flatten() {
        let digest = digest_in(descriptor, "index.json")?;
        let annotation = |name: &str| at(descriptor, &["annotations", name]).as_str().map(str::to_owned);
        let theirs = || annotation(IMAGE_NAME).or_else(|| annotation(REF_NAME)).map(Name::Theirs);
        let name = annotation(OUR_NAME).map(Name::Ours).or_else(theirs);
        let found = match images.entry(digest) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let mut found = Found::default();
                match take_manifest(source, &digest, 0, &mut found) {
                    Ok(()) => {}
                    Err(ImagesError::Missing { what }) => found = some_platforms(source, &digest, &what)?,
                    Err(error) => return Err(error),
                }
                order.push(digest);
                place.insert(found)
            }
        };
        found.names.extend(name);
    }
    Ok(order.iter().filter_map(|digest| images.remove(digest)).collect())
}

/// What an archive has of an index: docker writes the index with all its platforms, and the content of those only that
/// were pulled. One platform is taken as the image that it is, of several a smaller index is made.
fn some_platforms(source: &Source, digest: &Digest, lacks: &str) -> Result<Found, ImagesError> {
    let missing = || ImagesError::Missing { what: lacks.to_owned() };
    let index = source.small_file(&blob_name(digest))?.ok_or_else(missing)?;
    let mut index: Value = parsed(&blob_name(digest), &index)?;
    let children = at(&index, &["manifests"]).as_array().cloned().ok_or_else(missing)?;
    let (mut all, mut kept, mut images) = (Found::default(), Vec::new(), Vec::new());
    for child in &children {
        let mut found = Found::default();
        match take_manifest(source, &digest_in(child, &blob_name(digest))?, 1, &mut found) {
            Ok(()) => {}
            Err(ImagesError::Missing { .. }) => continue,
            Err(error) => return Err(error),
        }
        kept.push(child.clone());
        all.blobs.extend(found.blobs.clone());
        let new =
            |manifest: &&FoundManifest| !all.manifests.iter().any(|known| known.digest == manifest.digest);
        let new: Vec<FoundManifest> = found.manifests.iter().filter(new).cloned().collect();
        all.manifests.extend(new);
        // An attestation looks like an image of a platform that there isn't.
        if *at(child, &["platform", "os"]) != "unknown" {
            images.push((platform(child), found));
        }
    }
    let note = |platforms: &str| Some(format!("only {platforms} of {} platforms", children.len()));
    match images.as_mut_slice() {
        [] => Err(missing()),
        [(platform, only)] => {
            only.note = note(platform);
            Ok(std::mem::take(only))
        }
        several => {
            let platforms: Vec<&str> = several.iter().map(|(platform, _)| platform.as_str()).collect();
            all.note = note(&platforms.join(", "));
            set(&mut index, "manifests", Value::from(kept));
            all.manifests.push(FoundManifest::parse("the index", index.to_string().into_bytes())?.0);
            Ok(all)
        }
    }
}

fn platform(descriptor: &Value) -> String {
    let of = |part: &str| at(descriptor, &["platform", part]).as_str().map(str::to_owned);
    let parts = [of("os"), of("architecture"), of("variant")];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { "one".to_owned() } else { known.join("/") }
}

fn take_manifest(
    source: &Source,
    digest: &Digest,
    depth: usize,
    found: &mut Found,
) -> Result<(), ImagesError> {
    let what = blob_name(digest);
    let Some(bytes) = source.small_file(&what)? else { return Err(ImagesError::Missing { what }) };
    let hashed = Digest::of(digest.algorithm(), &bytes);
    if hashed != *digest {
        return Err(ImagesError::Content {
            what,
            problem: format!("it is damaged: its bytes hash to {hashed}"),
        });
    }
    let (manifest, parsed) = FoundManifest::parse(&what, bytes)?;
    for (role, descriptor) in parsed.references() {
        let name = blob_name(&descriptor.digest);
        // BuildKit's cache is an index of blobs.
        if role == Role::Child && MediaType::MANIFESTS.contains(&descriptor.media_type.as_str()) {
            if depth >= DEEPEST {
                let problem = format!("it is an index in more than {DEEPEST} others");
                return Err(ImagesError::Content { what, problem });
            }
            take_manifest(source, &descriptor.digest, depth + 1, found)?;
            continue;
        }
        match source.file(&name)? {
            Some((_, size)) => {
                found.blobs.insert(descriptor.digest, (name, size));
            }
            None if descriptor.media_type.is_non_distributable() => {}
            None => return Err(ImagesError::Missing { what: name }),
        }
    }
    if !found.manifests.iter().any(|known| known.digest == *digest) {
        found.manifests.push(FoundManifest { digest: *digest, ..manifest });
    }
    Ok(())
}

/// Names that stand only in docker's list, for the images that have this config.
fn name_by_list(found: &mut [Found], list: &[u8]) -> Result<(), ImagesError> {
    for listed in docker_archive::listed(list)? {
        let Some(config) = listed.config_digest() else { continue };
        let is_it = |image: &&mut Found| {
            image.manifests.iter().any(|manifest| manifest.config == Some(config))
                && !image.names.iter().any(Name::is_whole)
        };
        if let Some(image) = found.iter_mut().find(is_it).filter(|_| !listed.names.is_empty()) {
            image.names = listed.names;
        }
    }
    Ok(())
}

fn digest_in(descriptor: &Value, what: &str) -> Result<Digest, ImagesError> {
    let text = at(descriptor, &["digest"]).as_str().unwrap_or_default();
    text.parse().map_err(|error: larder_oci::DigestError| ImagesError::Content {
        what: what.to_owned(),
        problem: error.to_string(),
    })
}

/// Where a layout keeps content.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
