//! `notifications`: who is told of pushes, pulls and deletions.

use super::Reader;
use crate::config::{
    report::Mistake,
    scalar,
    typed::{NotificationEndpoint, Notifications},
    value::{Origin, Value},
};
use http::Uri;
use std::time::Duration;

/// registry:2's defaults; it takes them for zero and less, too.
const TIMEOUT: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_secs(1);
const THRESHOLD: u32 = 10;

/// What waits for an endpoint that is down, at most: with a kilobyte each, a busy day of pushes.
const QUEUE_EVENTS: usize = 100_000;
const QUEUE_BYTES: u64 = 256 << 20;

/// A smaller queue would be full at once.
const FEWEST_EVENTS: i64 = 1000;
const FEWEST_BYTES: i64 = 1 << 20;

/// The name is a directory's, too, in which each character may take three.
const LONGEST_NAME: usize = 80;

const ACTIONS: [&str; 4] = ["pull", "push", "mount", "delete"];

impl Reader<'_> {
    pub(super) fn notifications(&mut self) -> Option<Notifications> {
        const EVENTS: &str = "notifications.queue.maxevents";
        const BYTES: &str = "notifications.queue.maxbytes";
        let mut endpoints: Vec<NotificationEndpoint> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let items = self.set_value("notifications.endpoints").map(Value::items).unwrap_or_default();
        for item in items {
            let name = self.endpoint_name(item, &names);
            names.extend(name);
            let disabled = text_of(item, "disabled").and_then(|(text, _)| scalar::boolean(text));
            if disabled != Some(true) {
                endpoints.extend(self.endpoint(name.unwrap_or_default(), item));
            }
        }
        let queue_events = self.at_least(EVENTS, self.integer(EVENTS), FEWEST_EVENTS);
        let queue_bytes = self.at_least(BYTES, self.size(BYTES), FEWEST_BYTES);
        if endpoints.is_empty() {
            return None;
        }
        let generations = [("v1", false), ("v2", true)];
        Some(Notifications {
            endpoints,
            second_generation: self.word("notifications.events.generation", &generations).unwrap_or(false),
            include_references: self.boolean("notifications.events.includereferences", false),
            queue_events: queue_events
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(QUEUE_EVENTS),
            queue_bytes: queue_bytes.and_then(|number| u64::try_from(number).ok()).unwrap_or(QUEUE_BYTES),
        })
    }

    fn at_least(&mut self, key: &str, found: Option<(i64, &Origin)>, fewest: i64) -> Option<i64> {
        let (number, origin) = found?;
        if number < fewest {
            self.invalid(key, origin, format!("must be {fewest} at least"));
            return None;
        }
        Some(number)
    }

    /// registry:2 takes endpoints without a name; but each has a queue here, which needs one.
    fn endpoint_name<'b>(&mut self, item: &'b Value, others: &[&str]) -> Option<&'b str> {
        const KEY: &str = "notifications.endpoints[].name";
        let Some((name, origin)) = text_of(item, "name") else {
            // A value of the wrong kind is there and has been reported.
            if item.entry("name").is_none_or(|entry| entry.value.is_unset()) {
                let why = "it names the queue in which the endpoint's events wait";
                self.report.error(&item.origin, Mistake::Missing { key: KEY, why });
            }
            return None;
        };
        if others.contains(&name) {
            self.invalid(
                KEY,
                origin,
                format!("is {name:?} a second time; each endpoint has a queue of its own"),
            );
        }
        if name.len() > LONGEST_NAME {
            self.invalid(KEY, origin, format!("must not be longer than {LONGEST_NAME} bytes"));
        }
        Some(name)
    }

    fn endpoint(&mut self, name: &str, item: &Value) -> Option<NotificationEndpoint> {
        let headers = self.header_list(
            "notifications.endpoints[].headers",
            item.entry_at("headers").map(|entry| &entry.value),
        );
        let duration = |key: &str, default: Duration| {
            let text = text_of(item, key).and_then(|(text, _)| scalar::duration_nanoseconds(text));
            let nanoseconds = text.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
            nanoseconds.map_or(default, Duration::from_nanos)
        };
        let threshold = text_of(item, "threshold").and_then(|(text, _)| scalar::integer(text));
        let mut ignored_media_types = texts_of(item, "ignoredmediatypes");
        ignored_media_types.extend(texts_of(item, "ignore.mediatypes"));
        Some(NotificationEndpoint {
            name: name.to_owned(),
            url: self.endpoint_url(item)?,
            headers,
            timeout: duration("timeout", TIMEOUT),
            threshold: threshold
                .filter(|number| *number > 0)
                .map_or(THRESHOLD, |number| u32::try_from(number).unwrap_or(u32::MAX)),
            backoff: duration("backoff", BACKOFF),
            ignored_media_types: ignored_media_types.into_iter().map(|(text, _)| text.to_owned()).collect(),
            ignored_actions: self.ignored_actions(item),
        })
    }

    /// The mistake doesn't repeat the URL: it may hold a password.
    fn endpoint_url(&mut self, item: &Value) -> Option<String> {
        const KEY: &str = "notifications.endpoints[].url";
        let Some((text, origin)) = text_of(item, "url") else {
            if item.entry("url").is_none_or(|entry| entry.value.is_unset()) {
                let why =
                    "it is where the events are posted; set disabled: true to keep the endpoint without it";
                self.report.error(&item.origin, Mistake::Missing { key: KEY, why });
            }
            return None;
        };
        let is_web = text.parse::<Uri>().is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        if !is_web {
            self.invalid(KEY, origin, "must be a URL that begins with http:// or https:// and a host");
            return None;
        }
        Some(text.to_owned())
    }

    /// registry:2 passes over a word that is no action, so this is a warning: a start that worked must go on working.
    fn ignored_actions(&mut self, item: &Value) -> Vec<String> {
        let mut actions = Vec::new();
        for (text, origin) in texts_of(item, "ignore.actions") {
            if ACTIONS.contains(&text) {
                actions.push(text.to_owned());
            } else {
                let sentence = format!(
                    "\"notifications.endpoints[].ignore.actions\" names {text:?}, which never happens; the actions are {}.",
                    ACTIONS.join(", ")
                );
                self.report.warn(origin, sentence);
            }
        }
        actions
    }
}

fn text_of<'a>(item: &'a Value, path: &str) -> Option<(&'a str, &'a Origin)> {
    let value = item.entry_at(path).map(|entry| &entry.value).filter(|value| !value.is_unset())?;
    value.scalar().map(|text| (text, &value.origin))
}

fn texts_of<'a>(item: &'a Value, path: &str) -> Vec<(&'a str, &'a Origin)> {
    let items = item.entry_at(path).map(|entry| entry.value.items()).unwrap_or_default();
    items.iter().filter_map(|item| item.scalar().map(|text| (text, &item.origin))).collect()
}

#[cfg(test)]
pub(super) mod tests;
