//! What an export is made of: read from the data directory's files, which a server may work on.

use std::collections::BTreeMap;
use std::error::Error;

use larder_core::Inspector;
use larder_oci::{Descriptor, Digest, Manifest, ManifestContent, MediaType, Reference, RepoName, Role, Tag};
use larder_storage::Blobs;
use serde_json::{Value, json};

use super::ImagesError;
use super::json::{at, set};
use super::read::{IMAGE_NAME, OUR_NAME, REF_NAME, blob_name};

/// The longest manifest that is read, in bytes.
const LONGEST_MANIFEST: u64 = 8 << 20;

/// What is to be written.
#[derive(Default)]
pub(super) struct Gathered {
    /// Every blob and manifest with its length.
    pub(super) content: BTreeMap<Digest, u64>,
    /// The entries of the layout's index.
    pub(super) entries: Vec<Value>,
    /// What `docker save` would say.
    pub(super) docker: Vec<Value>,
}

/// Gathers what images are made of.
pub(super) struct Gatherer<'a> {
    inspector: Inspector<'a>,
    blobs: &'a Blobs,
    gathered: Gathered,
    /// Whether entries are named by their tags alone: there is one repository.
    by_tag: bool,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(inspector: Inspector<'a>, blobs: &'a Blobs, by_tag: bool) -> Gatherer<'a> {
        Gatherer { inspector, blobs, gathered: Gathered::default(), by_tag }
    }

    pub(super) fn finish(self) -> Gathered {
        self.gathered
    }

    /// Takes an image along, or all tags of a repository with what is about them.
    pub(super) fn image(
        &mut self,
        name: &RepoName,
        reference: Option<&Reference>,
    ) -> Result<(), Box<dyn Error>> {
        let tags = self.inspector.tag_list(name)?;
        let wanted: Vec<(Option<Tag>, Digest)> = match reference {
            Some(Reference::Digest(digest)) => vec![(None, *digest)],
            Some(Reference::Tag(tag)) => {
                let found = tags.iter().find(|(known, _)| known == tag);
                let Some((tag, digest)) = found else {
                    return Err(format!("{name} has no tag {tag}").into());
                };
                vec![(Some(tag.clone()), *digest)]
            }
            None if tags.is_empty() => return Err(format!("there is no repository {name} with tags").into()),
            None => tags.into_iter().map(|(tag, digest)| (Some(tag), digest)).collect(),
        };
        for (tag, digest) in wanted {
            let manifest = self.manifest(name, &digest)?;
            self.entry(name, tag.as_ref(), &digest, &manifest)?;
        }
        if reference.is_none() {
            self.referrers(name)?;
        }
        Ok(())
    }

    /// What is about something that goes along, such as signatures without a tag.
    fn referrers(&mut self, name: &RepoName) -> Result<(), Box<dyn Error>> {
        let mut left = self.inspector.manifest_list(name)?;
        left.retain(|digest| !self.gathered.content.contains_key(digest));
        loop {
            let before = left.len();
            for digest in std::mem::take(&mut left) {
                let subject = self.read(name, &digest)?.0.subject.map(|subject| subject.digest);
                if subject.is_some_and(|subject| self.gathered.content.contains_key(&subject)) {
                    let manifest = self.manifest(name, &digest)?;
                    self.entry(name, None, &digest, &manifest)?;
                } else {
                    left.push(digest);
                }
            }
            if left.len() == before {
                return Ok(());
            }
        }
    }

    /// Takes a manifest along, with all that it is made of.
    fn manifest(&mut self, name: &RepoName, digest: &Digest) -> Result<Manifest, Box<dyn Error>> {
        let (manifest, length) = self.read(name, digest)?;
        if self.gathered.content.insert(*digest, length).is_some() {
            return Ok(manifest);
        }
        for (role, descriptor) in manifest.references() {
            let is_manifest = MediaType::MANIFESTS.contains(&descriptor.media_type.as_str());
            if role == Role::Child && is_manifest {
                self.manifest(name, &descriptor.digest)?;
                continue;
            }
            match self.blobs.find(&descriptor.digest)? {
                Some(content) => {
                    self.gathered.content.insert(descriptor.digest, content.size());
                }
                None if descriptor.media_type.is_non_distributable() => {}
                None => return Err(lacks(name, &descriptor.digest).into()),
            }
        }
        Ok(manifest)
    }

    fn read(&self, name: &RepoName, digest: &Digest) -> Result<(Manifest, u64), Box<dyn Error>> {
        let held = self.inspector.holds_content(name, digest)?;
        let bytes = if held { self.blobs.read(digest, LONGEST_MANIFEST)? } else { None };
        let Some(bytes) = bytes else { return Err(lacks(name, digest).into()) };
        Ok((Manifest::parse_stored(&bytes)?, bytes.len() as u64))
    }

    fn entry(
        &mut self,
        name: &RepoName,
        tag: Option<&Tag>,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(), Box<dyn Error>> {
        let ours = tag.map_or_else(|| format!("{name}@{digest}"), |tag| format!("{name}:{tag}"));
        if self.gathered.entries.iter().any(|entry| *at(entry, &["annotations", OUR_NAME]) == ours.as_str()) {
            return Ok(());
        }
        let mut annotations = json!({ OUR_NAME: ours });
        if let Some(tag) = tag {
            let short = if self.by_tag { tag.to_string() } else { ours };
            set(&mut annotations, REF_NAME, Value::from(short));
            set(&mut annotations, IMAGE_NAME, Value::from(format!("{}:{tag}", dockers(name))));
        }
        let length = self.gathered.content.get(digest).copied().unwrap_or_default();
        self.gathered.entries.push(json!({
            "mediaType": manifest.media_type.to_string(), "digest": digest.to_string(), "size": length,
            "annotations": annotations,
        }));
        let Some(tag) = tag else { return Ok(()) };
        let image = match &manifest.content {
            ManifestContent::Image { .. } => manifest.clone(),
            ManifestContent::Index { manifests } => match self.platform(manifests)? {
                Some(child) => self.read(name, &child)?.0,
                None => return Ok(()),
            },
        };
        let ManifestContent::Image { config, layers } = &image.content else { return Ok(()) };
        // What only looks like an image (a chart, a signature) has no config that docker understands.
        if !matches!(config.media_type.as_str(), IMAGE_CONFIG | DOCKER_CONFIG) {
            return Ok(());
        }
        let layers: Vec<String> = layers.iter().map(|layer| blob_name(&layer.digest)).collect();
        self.gathered.docker.push(json!({
            "Config": blob_name(&config.digest), "RepoTags": [format!("{name}:{tag}")], "Layers": layers,
        }));
        Ok(())
    }

    /// The child of an index that a docker which knows no index loads: of this machine's kind, or the first.
    fn platform(&self, children: &[Descriptor]) -> Result<Option<Digest>, Box<dyn Error>> {
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mut first = None;
        for child in children {
            let Some(bytes) = self.blobs.read(&child.digest, LONGEST_MANIFEST)? else { continue };
            let Ok(Manifest { content: ManifestContent::Image { config, .. }, .. }) =
                Manifest::parse_stored(&bytes)
            else {
                continue;
            };
            let Some(config) = self.blobs.read(&config.digest, LONGEST_MANIFEST)? else { continue };
            let config: Value = serde_json::from_slice(&config).unwrap_or_default();
            if *at(&config, &["architecture"]) == here && *at(&config, &["os"]) == "linux" {
                return Ok(Some(child.digest));
            }
            // An attestation is no image, though it looks like one.
            first = first.or_else(|| (*at(&config, &["os"]) != "unknown").then_some(child.digest));
        }
        Ok(first)
    }
}

const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What docker calls a repository of this name, written out: containerd knows images by that alone.
fn dockers(name: &RepoName) -> String {
    match name.as_str().split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_string(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

fn lacks(name: &RepoName, digest: &Digest) -> ImagesError {
    ImagesError::Content {
        what: name.to_string(),
        problem: format!(
            "{digest} isn't here. Of what was fetched from another registry only that is here which somebody asked for: \
             larder warm fetches the rest"
        ),
    }
}
