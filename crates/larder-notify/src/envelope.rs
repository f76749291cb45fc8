//! The body of a request: distribution's envelope with one event, in either generation's fields and their order.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{Action, ActorRecord, Content, Queued, RequestRecord, Source};
use crate::settings::Generation;

impl Generation {
    /// The request's `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Generation::V1 => "application/vnd.docker.distribution.events.v1+json",
            Generation::V2 => "application/vnd.docker.distribution.events.v2+json",
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    events: [Event<'a>; 1],
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    timestamp: &'a str,
    action: Action,
    target: Target<'a>,
    request: &'a RequestRecord,
    actor: &'a ActorRecord,
    source: &'a Source,
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(flatten)]
    content: AnyContent<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    length: u64,
    repository: &'a str,
    #[serde(rename = "fromRepository", skip_serializing_if = "Option::is_none")]
    from_repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference<'a>>,
}

#[derive(Serialize)]
struct Reference<'a> {
    #[serde(flatten)]
    content: AnyContent<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    urls: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// A descriptor in either generation's way.
#[derive(Serialize)]
#[serde(untagged)]
enum AnyContent<'a> {
    V1(ContentV1<'a>),
    V2(ContentV2<'a>),
}

/// registry:2 leaves out what is empty.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContentV1<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    media_type: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'a str,
}

/// registry:3 always writes all three.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContentV2<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<'a> AnyContent<'a> {
    fn new(generation: Generation, media_type: &'a str, digest: &'a str, size: u64) -> AnyContent<'a> {
        match generation {
            Generation::V1 => AnyContent::V1(ContentV1 { media_type, size, digest }),
            Generation::V2 => AnyContent::V2(ContentV2 { media_type, digest, size }),
        }
    }
}

impl Queued {
    /// The request's body: indented by three spaces, as distribution's.
    pub(crate) fn envelope(&self, generation: Generation) -> Result<Vec<u8>, serde_json::Error> {
        let (media_type, digest, size) = match &self.target.content {
            Some(Content { media_type, digest, size }) => (media_type.as_str(), digest.as_str(), *size),
            None => ("", "", 0),
        };
        let digests: Vec<String> =
            self.target.references.iter().map(|reference| reference.digest.to_string()).collect();
        let references = self
            .target
            .references
            .iter()
            .zip(&digests)
            .map(|(descriptor, digest)| Reference {
                content: AnyContent::new(generation, descriptor.media_type.as_str(), digest, descriptor.size),
                urls: &descriptor.urls,
                annotations: &descriptor.annotations,
            })
            .collect();
        let target = Target {
            content: AnyContent::new(generation, media_type, digest, size),
            length: size,
            repository: &self.target.repository,
            from_repository: self.target.from_repository.as_deref(),
            url: self.target.url.as_deref(),
            tag: self.target.tag.as_deref(),
            references,
        };
        let event = Event {
            id: &self.id,
            timestamp: &self.timestamp,
            action: self.action,
            target,
            request: &self.request,
            actor: &self.actor,
            source: &self.source,
        };
        let mut body = Vec::with_capacity(1024);
        let indented = serde_json::ser::PrettyFormatter::with_indent(b"   ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut body, indented);
        Envelope { events: [event] }.serialize(&mut serializer)?;
        Ok(body)
    }
}
