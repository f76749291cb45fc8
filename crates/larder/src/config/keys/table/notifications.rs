//! `notifications`: who is told of pushes, pulls and deletions.

use super::super::{Key, Kind::*, Status::Works};
use super::{key, own};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("notifications", Section, Works, "", "Who is told of pushes, pulls and deletions."),
    key("notifications.events", Section, Works, "", "What messages hold."),
    key("notifications.events.includereferences", Boolean, Works, "false", "Whether a manifest's events list what it refers to."),
    own("notifications.events.generation", Words(&["v1", "v2"]), "v1", "Whose messages are sent: registry:2's (`v1`) or registry:3's (`v2`)."),
    own("notifications.queue", Section, "", "Where events wait for an endpoint that is down."),
    own("notifications.queue.maxevents", Integer, "100000", "The most events that wait for one endpoint."),
    own("notifications.queue.maxbytes", Size, "256MiB", "The most bytes that they take on the disk."),
    key("notifications.endpoints", Sections, Works, "", "Who is told."),
    key("notifications.endpoints[].name", Text, Works, "", "Required. The endpoint's name, each its own; its queue has it too."),
    key("notifications.endpoints[].disabled", Boolean, Works, "false", "Whether it is left out."),
    key("notifications.endpoints[].url", Url, Works, "", "Required. Where events are posted."),
    key("notifications.endpoints[].headers", SecretHeaders, Works, "", "Headers of these requests, such as `Authorization`."),
    key("notifications.endpoints[].timeout", Duration, Works, "1s", "How long a request may take."),
    key("notifications.endpoints[].threshold", Integer, Works, "10", "How many attempts follow at once on each other."),
    key("notifications.endpoints[].backoff", Duration, Works, "1s", "The first pause after them; each further one is twice as long, up to 5 minutes."),
    key("notifications.endpoints[].ignoredmediatypes", Texts, Works, "", "Media types of which nothing is told; the old name of `ignore.mediatypes`."),
    key("notifications.endpoints[].ignore", Section, Works, "", "Of what nothing is told."),
    key("notifications.endpoints[].ignore.mediatypes", Texts, Works, "", "Media types."),
    key("notifications.endpoints[].ignore.actions", Texts, Works, "", "Actions: `pull`, `push`, `mount`, `delete`."),
];
