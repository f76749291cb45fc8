//! An event as it is queued: all that either generation of messages says of it.

use std::time::SystemTime;

use larder_core::Event;
use larder_oci::{Actor, Descriptor, Manifest, RepoName};
use serde::{Deserialize, Serialize};

/// What distribution says of a blob's type, which it doesn't keep.
const BLOB: &str = "application/octet-stream";

/// The request that made something happen, as the events tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What names it in the log.
    pub id: String,
    /// The client's `address:port`.
    pub address: String,
    /// The host that it asked.
    pub host: String,
    /// GET, HEAD, PUT, POST or DELETE.
    pub method: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// Scheme and host by which the client reaches the registry, and the prefix: what stands before `/v2/`.
    pub base_url: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Content was read.
    Pull,
    /// Content was added.
    Push,
    /// A blob was taken over from another repository.
    Mount,
    /// Something was removed.
    Delete,
}

impl Action {
    /// All of them, with their names in configuration and messages.
    pub const NAMES: [(&'static str, Action); 4] = [
        ("pull", Action::Pull),
        ("push", Action::Push),
        ("mount", Action::Mount),
        ("delete", Action::Delete),
    ];
}

/// An event in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Queued {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) action: Action,
    pub(crate) target: Target,
    pub(crate) request: RequestRecord,
    pub(crate) actor: ActorRecord,
    pub(crate) source: Source,
}

/// What it happened to. Absent fields are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content>,
    pub(crate) repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from_repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<Descriptor>,
}

/// The content it happened to. Of what was deleted only the digest is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RequestRecord {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) addr: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    pub(crate) method: String,
    pub(crate) useragent: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActorRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) addr: String,
    #[serde(rename = "instanceID")]
    pub(crate) instance_id: String,
}

/// What an event is made of beside what happened.
pub(crate) struct Circumstances<'a> {
    pub(crate) request: &'a Request,
    pub(crate) actor: &'a Actor,
    pub(crate) repository: &'a RepoName,
    pub(crate) source: &'a Source,
    pub(crate) now: SystemTime,
    pub(crate) random: [u8; 16],
    pub(crate) include_references: bool,
}

impl Queued {
    pub(crate) fn new(event: &Event<'_>, around: &Circumstances<'_>) -> Queued {
        let (action, target) = target(event, around);
        let request = around.request;
        Queued {
            id: uuid::Builder::from_random_bytes(around.random).into_uuid().to_string(),
            timestamp: humantime::format_rfc3339_nanos(around.now).to_string(),
            action,
            target,
            request: RequestRecord {
                id: request.id.clone(),
                addr: request.address.clone(),
                host: request.host.clone(),
                method: request.method.clone(),
                useragent: request.user_agent.clone(),
            },
            actor: ActorRecord {
                name: match around.actor {
                    Actor::Anonymous => None,
                    actor @ Actor::User(_) => Some(actor.to_string()),
                },
            },
            source: around.source.clone(),
        }
    }

    pub(crate) fn media_type(&self) -> &str {
        self.target.content.as_ref().map_or("", |content| content.media_type.as_str())
    }
}

fn target(event: &Event<'_>, around: &Circumstances<'_>) -> (Action, Target) {
    let here = Target { repository: around.repository.to_string(), ..Target::default() };
    let at = |kind: &str, digest: &str| {
        Some(format!("{}/v2/{}/{kind}/{digest}", around.request.base_url, around.repository))
    };
    let blob = |digest: &larder_oci::Digest, size: u64| {
        let digest = digest.to_string();
        Target {
            url: at("blobs", &digest),
            content: Some(Content { media_type: BLOB.to_owned(), digest, size }),
            ..here.clone()
        }
    };
    let manifest =
        |media_type: &str, digest: &larder_oci::Digest, size: u64, tag: Option<&larder_oci::Tag>| {
            let digest = digest.to_string();
            Target {
                url: at("manifests", &digest),
                content: Some(Content { media_type: media_type.to_owned(), digest, size }),
                tag: tag.map(ToString::to_string),
                ..here.clone()
            }
        };
    let deleted = |digest: &larder_oci::Digest| Target {
        content: Some(Content { media_type: String::new(), digest: digest.to_string(), size: 0 }),
        ..here.clone()
    };
    match event {
        Event::ManifestPushed { manifest: content, digest, size, tag } => {
            let mut target = manifest(content.media_type.as_str(), digest, *size, *tag);
            if around.include_references {
                target.references = references(content);
            }
            (Action::Push, target)
        }
        Event::ManifestPulled { manifest: stored, tag } => {
            let size = stored.bytes.len() as u64;
            let mut target = manifest(stored.media_type.as_str(), &stored.digest, size, *tag);
            // What can't be read as a manifest (Docker's schema 1) is served, and refers to nothing we know.
            if around.include_references
                && let Ok(content) = Manifest::parse_stored(&stored.bytes)
            {
                target.references = references(&content);
            }
            (Action::Pull, target)
        }
        Event::ManifestDeleted { digest } | Event::BlobDeleted { digest } => {
            (Action::Delete, deleted(digest))
        }
        Event::TagDeleted { tag } => (Action::Delete, Target { tag: Some(tag.to_string()), ..here }),
        Event::BlobPushed { digest, size } => (Action::Push, blob(digest, *size)),
        Event::BlobPulled { digest, size } => (Action::Pull, blob(digest, *size)),
        Event::BlobMounted { from, digest, size } => {
            let from_repository = Some(from.to_string());
            (Action::Mount, Target { from_repository, ..blob(digest, *size) })
        }
    }
}

fn references(manifest: &Manifest) -> Vec<Descriptor> {
    manifest.references().map(|(_, descriptor)| descriptor.clone()).collect()
}
