//! `retention`: how long what was pushed is kept.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{ImmutableRule, Keeping, RetentionRule, RetentionRules, TagPattern};
use larder_oci::RepositoryPattern;

use super::super::report::Mistake;
use super::super::scalar;
use super::super::value::{Content, Origin, Value};
use super::Reader;
use super::upstreams::Item;

/// Once a day, when nobody has said how often.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// No image is meant to be kept for less. A bare number means nanoseconds, which nobody means.
const SHORTEST: Duration = Duration::from_secs(1);

impl<'a> Reader<'a> {
    pub(super) fn retention(&mut self) -> RetentionRules {
        let every = self.duration("retention.every", EVERY);
        let items: &'a [Value] =
            self.set_value("retention.rules").map(|value| value.items()).unwrap_or_default();
        let mut rules = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let rule = Item { reader: self, item, path: "retention.rules[]" };
            rules.extend(rule.retention_rule(index + 1));
        }
        let items: &'a [Value] =
            self.set_value("retention.immutable").map(|value| value.items()).unwrap_or_default();
        let mut immutable = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let mut rule = Item { reader: self, item, path: "retention.immutable[]" };
            immutable.push(ImmutableRule {
                place: place_of_rule(&item.origin, "immutable rule", index + 1),
                repositories: rule.repository_patterns("in"),
                tags: rule.tag_patterns("tags"),
            });
        }
        RetentionRules { rules, every, immutable }
    }
}

impl<'a> Item<'_, 'a> {
    fn retention_rule(mut self, number: usize) -> Option<RetentionRule> {
        let rule = RetentionRule {
            place: place_of_rule(&self.item.origin, "retention rule", number),
            repositories: self.repository_patterns("in"),
            tags: self.tag_patterns("tags"),
            keep: self.keep(),
            untagged: self.age("untagged"),
            immutable_too: self.boolean("immutabletoo", false),
        };
        let says_keep = self.item.entry_at("keep").is_some_and(|entry| !entry.value.is_unset());
        if rule.keep.is_empty() && (rule.untagged.is_none() || says_keep || !rule.tags.is_empty()) {
            let why = "a rule says what it keeps, such as keep: [{newest: 10}, {used: 720h}]";
            let mistake = Mistake::Missing { key: "retention.rules[].keep", why };
            self.reader.report.error(&self.item.origin, mistake);
            return None;
        }
        Some(rule)
    }

    fn keep(&mut self) -> Vec<Keeping> {
        let mut keep = Vec::new();
        for item in self.items("keep") {
            let item = Item { reader: &mut *self.reader, item, path: "retention.rules[].keep[]" };
            keep.extend(item.keeping());
        }
        keep
    }

    fn keeping(mut self) -> Option<Keeping> {
        let keeping = Keeping {
            newest: self.newest(),
            pushed: self.age("pushed"),
            pulled: self.age("pulled"),
            used: self.age("used"),
            tags: self.tag_patterns("tags"),
        };
        if keeping.says_something() {
            return Some(keeping);
        }
        // It would keep everything, which nobody writes on purpose.
        self.reader.invalid(
            "retention.rules[].keep[]",
            &self.item.origin,
            "says nothing; add newest, pushed, pulled, used or tags",
        );
        None
    }

    fn newest(&mut self) -> Option<u64> {
        let (text, origin) = self.text("newest")?;
        match u64::try_from(scalar::integer(text)?) {
            Ok(count) if count > 0 => Some(count),
            _ => {
                self.invalid("newest", origin, "must be 1 or more");
                None
            }
        }
    }

    fn age(&mut self, key: &str) -> Option<Duration> {
        let age = self.duration(key)?;
        if age >= SHORTEST {
            return Some(age);
        }
        let (_, origin) = self.text(key)?;
        self.invalid(key, origin, "is less than a second; write a time with its unit, such as 720h");
        None
    }

    /// A text, or a list of them.
    fn one_or_more(&self, key: &str) -> Vec<(&'a str, &'a Origin)> {
        let value = self.item.entry_at(key).map(|entry| &entry.value);
        match value.map(|value| &value.content) {
            Some(Content::Scalar { .. }) => self.text(key).into_iter().collect(),
            _ => self.texts(key),
        }
    }

    pub(super) fn repository_patterns(&mut self, key: &str) -> Vec<RepositoryPattern> {
        let mut patterns = Vec::new();
        for (text, origin) in self.one_or_more(key) {
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.invalid(key, origin, format!("holds what is no pattern: {error}")),
            }
        }
        patterns
    }

    pub(super) fn tag_patterns(&mut self, key: &str) -> Vec<TagPattern> {
        let mut patterns = Vec::new();
        for (text, origin) in self.one_or_more(key) {
            let could_match = text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'*'));
            if could_match && !text.is_empty() {
                patterns.push(TagPattern::from(text));
            } else {
                self.invalid(
                    key,
                    origin,
                    format!("holds {text:?}, which no tag can be: only * has a meaning"),
                );
            }
        }
        patterns
    }
}

/// What a rule is called wherever a decision names it.
pub(super) fn place_of_rule(origin: &Origin, what: &str, number: usize) -> Arc<str> {
    match origin {
        Origin::File { path, line, .. } => {
            let name = Path::new(&**path).file_name().map_or("".into(), |name| name.to_string_lossy());
            format!("{name}:{line}, {what} {number}").into()
        }
        Origin::Variable(_) | Origin::Default => format!("{what} {number}").into(),
    }
}

#[cfg(test)]
pub(super) mod tests;
