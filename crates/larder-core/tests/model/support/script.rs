//! A script of pushes and deletes, and what it must leave behind.

use std::collections::BTreeMap;

use bytes::Bytes;
use larder_core::{ManifestPush, Precondition, Registry, RegistryError};
use larder_oci::{Algorithm, Digest, MediaType, Reference, UploadId};

use super::world::access;

/// What the repositories hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) repositories: BTreeMap<&'static str, Contents>,
}

/// What one repository holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) manifests: BTreeMap<Digest, Bytes>,
    pub(crate) tags: BTreeMap<&'static str, Digest>,
}

/// One thing that a client does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Upload {
        repository: &'static str,
        content: Bytes,
        digest: Digest,
    },
    /// By tag if there are tags, else by digest.
    Manifest {
        repository: &'static str,
        bytes: Bytes,
        tags: &'static [&'static str],
    },
    Mount {
        from: &'static str,
        to: &'static str,
        content: Bytes,
    },
    DeleteTag {
        repository: &'static str,
        tag: &'static str,
    },
    DeleteManifest {
        repository: &'static str,
        digest: Digest,
    },
    DeleteBlob {
        repository: &'static str,
        digest: Digest,
    },
}

impl Step {
    /// Does it. An upload that was begun already goes on from where the registry says it stands.
    pub(crate) async fn run(
        &self,
        registry: &Registry,
        session: &mut Option<UploadId>,
    ) -> Result<(), RegistryError> {
        match self {
            Step::Upload { repository, content, digest } => {
                upload_resumably(registry, repository, content, digest, session).await
            }
            Step::Manifest { repository, bytes, tags } => {
                let reference = match tags.first() {
                    Some(tag) => Reference::Tag(tag.parse().unwrap()),
                    None => Reference::Digest(Digest::sha256(bytes)),
                };
                let tags = tags.iter().skip(1).map(|tag| tag.parse().unwrap()).collect();
                let push = ManifestPush {
                    reference,
                    tags,
                    media_type: None,
                    bytes: bytes.clone(),
                    precondition: Precondition::Always,
                };
                registry.push_manifest(&access(repository), push).await.map(|_| ())
            }
            Step::Mount { from, to, content } => {
                let mounted = registry.mount(&access(to), &access(from), &Digest::sha256(content)).await?;
                assert!(mounted, "a blob that is there could not be mounted");
                Ok(())
            }
            Step::DeleteTag { repository, tag } => {
                let reference = Reference::Tag(tag.parse().unwrap());
                registry.delete_manifest(&access(repository), &reference).await
            }
            Step::DeleteManifest { repository, digest } => {
                registry.delete_manifest(&access(repository), &Reference::Digest(*digest)).await
            }
            Step::DeleteBlob { repository, digest } => {
                registry.delete_blob(&access(repository), digest).await
            }
        }
    }

    /// Does again what may have been done already, in part or as a whole.
    pub(crate) async fn repeat(
        &self,
        registry: &Registry,
        session: &mut Option<UploadId>,
    ) -> Result<(), RegistryError> {
        match self.run(registry, session).await {
            Err(RegistryError::ManifestUnknown { .. })
                if matches!(self, Step::DeleteTag { .. } | Step::DeleteManifest { .. }) =>
            {
                Ok(())
            }
            Err(RegistryError::BlobUnknown { .. }) if matches!(self, Step::DeleteBlob { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    pub(crate) fn is_delete(&self) -> bool {
        matches!(self, Step::DeleteTag { .. } | Step::DeleteManifest { .. } | Step::DeleteBlob { .. })
    }

    /// What it changes when it succeeds.
    pub(crate) fn apply(&self, expected: &mut Expected) {
        let repositories = &mut expected.repositories;
        match self {
            Step::Upload { repository, content, digest } => {
                repositories.entry(repository).or_default().blobs.insert(*digest, content.clone());
            }
            Step::Manifest { repository, bytes, tags } => {
                let contents = repositories.entry(repository).or_default();
                let digest = Digest::sha256(bytes);
                contents.manifests.insert(digest, bytes.clone());
                contents.tags.extend(tags.iter().map(|tag| (*tag, digest)));
            }
            Step::Mount { to, content, .. } => {
                let contents = repositories.entry(to).or_default();
                contents.blobs.insert(Digest::sha256(content), content.clone());
            }
            Step::DeleteTag { repository, tag } => {
                repositories.entry(repository).or_default().tags.remove(tag);
            }
            Step::DeleteManifest { repository, digest } => {
                let contents = repositories.entry(repository).or_default();
                contents.manifests.remove(digest);
                contents.tags.retain(|_, target| target != digest);
            }
            Step::DeleteBlob { repository, digest } => {
                repositories.entry(repository).or_default().blobs.remove(digest);
            }
        }
    }
}

/// In two requests, the first of two pieces; or from wherever an earlier attempt stopped.
async fn upload_resumably(
    registry: &Registry,
    repository: &str,
    content: &Bytes,
    digest: &Digest,
    session: &mut Option<UploadId>,
) -> Result<(), RegistryError> {
    let push = access(repository);
    let known = match *session {
        Some(id) => match registry.upload_progress(&push, id).await {
            Ok(progress) => Some(progress),
            Err(RegistryError::UploadUnknown { .. }) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let progress = match known {
        Some(progress) => progress,
        None => registry.start_upload(&push, None).await?,
    };
    *session = Some(progress.id);
    let rest = content.slice(usize::try_from(progress.length).unwrap()..);
    let (first, second) = (rest.slice(..rest.len() / 2), rest.slice(rest.len() / 2..));
    let mut writer = registry.write_upload(&push, progress.id, None).await?;
    writer.write(first.slice(..first.len() / 2)).await?;
    writer.write(first.slice(first.len() / 2..)).await?;
    let paused = writer.pause().await?;
    assert_eq!(paused.length, progress.length + first.len() as u64);
    let mut writer = registry.write_upload(&push, progress.id, None).await?;
    writer.write(second).await?;
    writer.finish(digest).await
}

pub(crate) const APP: &str = "team/app";
pub(crate) const OTHER: &str = "team/app/nested";

/// Everything that a script may speak of.
pub(crate) struct Universe {
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) manifests: BTreeMap<Digest, Bytes>,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) repositories: Vec<&'static str>,
    pub(crate) script: Vec<Step>,
}

pub(crate) fn image(config: &Bytes, layers: &[&Bytes], subject: Option<&Bytes>) -> Bytes {
    let blob = |kind: &str, bytes: &Bytes| serde_json::json!({ "mediaType": kind, "digest": Digest::sha256(bytes), "size": bytes.len() });
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": blob("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(|layer| blob("application/vnd.oci.image.layer.v1.tar", layer)).collect::<Vec<_>>(),
    });
    if let Some(subject) = subject {
        manifest["subject"] = blob(MediaType::OCI_MANIFEST, subject);
        manifest["artifactType"] = "application/vnd.example.signature".into();
    }
    serde_json::to_vec(&manifest).unwrap().into()
}

pub(crate) fn index(children: &[&Bytes]) -> Bytes {
    let children: Vec<_> = children
        .iter()
        .map(|child| {
            serde_json::json!({
                "mediaType": MediaType::OCI_MANIFEST, "digest": Digest::sha256(child), "size": child.len(),
            })
        })
        .collect();
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": children });
    serde_json::to_vec(&index).unwrap().into()
}

impl Universe {
    pub(crate) fn new() -> Universe {
        let config = Bytes::from_static(b"{}");
        let layer = Bytes::from(vec![7; 3000]);
        let second = Bytes::from_static(b"the second layer");
        let (one, two) = (image(&config, &[&layer], None), image(&config, &[&layer, &second], None));
        let both = index(&[&one, &two]);
        let signature = image(&config, &[], Some(&one));
        let upload = |content: &Bytes, algorithm| Step::Upload {
            repository: APP,
            content: content.clone(),
            digest: Digest::of(algorithm, content),
        };
        let put = |repository, bytes: &Bytes, tags| Step::Manifest { repository, bytes: bytes.clone(), tags };
        let mount = |content: &Bytes| Step::Mount { from: APP, to: OTHER, content: content.clone() };
        let script = vec![
            upload(&config, Algorithm::Sha256),
            upload(&layer, Algorithm::Sha256),
            upload(&second, Algorithm::Sha256),
            put(APP, &one, &["v1", "latest"]),
            put(APP, &two, &["latest"]),
            put(APP, &both, &["multi"]),
            put(APP, &signature, &[]),
            mount(&config),
            mount(&layer),
            put(OTHER, &one, &["v1"]),
            Step::DeleteTag { repository: APP, tag: "v1" },
            put(APP, &one, &["v1", "v2"]),
            Step::DeleteManifest { repository: APP, digest: Digest::sha256(&one) },
            Step::DeleteBlob { repository: APP, digest: Digest::sha256(&second) },
            upload(&second, Algorithm::Sha512),
            put(APP, &one, &["v1"]),
        ];
        let mut blobs: BTreeMap<Digest, Bytes> = BTreeMap::new();
        for content in [&config, &layer, &second] {
            for algorithm in Algorithm::ALL {
                blobs.insert(Digest::of(algorithm, content), content.clone());
            }
        }
        let manifests = [one, two, both, signature].into_iter().map(|bytes| (Digest::sha256(&bytes), bytes));
        Universe {
            blobs,
            manifests: manifests.collect(),
            tags: vec!["v1", "v2", "latest", "multi"],
            repositories: vec![APP, OTHER],
            script,
        }
    }
}

/// How far a script came.
pub(crate) struct Progress {
    /// What was acknowledged.
    pub(crate) acknowledged: Expected,
    /// The step that failed, why, and the upload session that it was in.
    pub(crate) failed: Option<(usize, RegistryError, Option<UploadId>)>,
}

/// Runs a script up to its first failure. `before_each` is called before each step.
pub(crate) async fn run(registry: &Registry, script: &[Step], mut before_each: impl FnMut()) -> Progress {
    let mut acknowledged = Expected::default();
    for (number, step) in script.iter().enumerate() {
        before_each();
        let mut session = None;
        if let Err(error) = step.run(registry, &mut session).await {
            return Progress { acknowledged, failed: Some((number, error, session)) };
        }
        step.apply(&mut acknowledged);
    }
    Progress { acknowledged, failed: None }
}
