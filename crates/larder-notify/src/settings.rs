use std::fmt;
use std::time::Duration;

use http::HeaderMap;

use crate::event::Action;

/// What the operator decides about notifications.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who is told.
    pub endpoints: Vec<EndpointSettings>,
    /// What the messages look like.
    pub generation: Generation,
    /// Whether a manifest's events list what the manifest refers to.
    pub include_references: bool,
    /// `host:port` of this registry, as the events' source.
    pub source: String,
    /// The most events that wait for one endpoint.
    pub queue_events: usize,
    /// The most bytes that they may take on the disk.
    pub queue_bytes: u64,
}

/// One endpoint.
#[derive(Clone)]
pub struct EndpointSettings {
    /// Its name, which also names its queue's directory.
    pub name: String,
    /// Where events are posted. May hold a password: it is never shown.
    pub url: String,
    /// Added to each request.
    pub headers: HeaderMap,
    /// How long a request may take.
    pub timeout: Duration,
    /// How often a failed request is repeated at once.
    pub threshold: u32,
    /// The first pause after that; each further one is twice as long.
    pub backoff: Duration,
    /// Events about content of these types aren't sent.
    pub ignored_media_types: Vec<String>,
    /// Events with these actions aren't sent.
    pub ignored_actions: Vec<Action>,
}

/// Which distribution's messages are spoken. They differ in the `Content-Type` of the request, in the order of the
/// target's fields, and in whether empty ones are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// registry:2.
    V1,
    /// registry:3.
    V2,
}

impl fmt::Debug for EndpointSettings {
    /// Without the URL and the headers, which hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointSettings").field("name", &self.name).finish_non_exhaustive()
    }
}
