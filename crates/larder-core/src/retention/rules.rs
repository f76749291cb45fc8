use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_oci::{Digest, RepoName, RepositoryPattern, Tag};

use crate::upstreams::TagPattern;

/// What the operator says of how long pushed content is kept. Without rules everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionRules {
    /// In whatever order: it makes no difference.
    pub rules: Vec<RetentionRule>,
    /// How often the server applies them; zero for never by itself.
    pub every: Duration,
    /// Tags that may be made and neither moved nor deleted.
    pub immutable: Vec<ImmutableRule>,
}

/// A rule about tags that may be made and neither moved nor deleted, whether by a request or by retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmutableRule {
    /// What it is called wherever a refusal names it: its place in the configuration.
    pub place: Arc<str>,
    /// The repositories; empty: all.
    pub repositories: Vec<RepositoryPattern>,
    /// The tags; empty: all.
    pub tags: Vec<TagPattern>,
}

/// A rule about some tags of some repositories.
///
/// A tag that rules are about goes when none of them keeps it; one that no rule is about stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// What it is called wherever a decision names it: its place in the configuration.
    pub place: Arc<str>,
    /// The repositories; empty: all.
    pub repositories: Vec<RepositoryPattern>,
    /// The tags that it is about; empty: all.
    pub tags: Vec<TagPattern>,
    /// A tag stays if one of these holds. Empty: the rule is about no tag, but about untagged manifests.
    pub keep: Vec<Keeping>,
    /// How long a manifest stays that nothing needs: no tag, no index, and no image that it is about. `None`: the rule
    /// says nothing of such.
    pub untagged: Option<Duration>,
    /// Whether tags may go by it that are immutable.
    pub immutable_too: bool,
}

/// Reasons to keep a tag, all of which must hold together. One that says nothing holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// It is among so many that were pushed last, of those in its repository that the rule is about.
    pub newest: Option<u64>,
    /// It was pushed so lately.
    pub pushed: Option<Duration>,
    /// It was pulled so lately.
    pub pulled: Option<Duration>,
    /// It was pushed or pulled so lately: the later of the two counts.
    pub used: Option<Duration>,
    /// It fits one of these; empty: it need not.
    pub tags: Vec<TagPattern>,
}

impl RetentionRules {
    /// Names what the rules say, whatever they are called and in whatever order they stand: rules that keep the same
    /// have the same one.
    pub fn fingerprint(&self) -> Digest {
        let mut rules: BTreeSet<String> = self.rules.iter().map(RetentionRule::canonical).collect();
        // Without one of these more may go.
        rules.extend(self.immutable.iter().map(ImmutableRule::canonical));
        let text: Vec<String> = rules.into_iter().collect();
        Digest::sha256(text.join("\n").as_bytes())
    }

    /// The rule that says that this tag may neither be moved nor deleted, if one does.
    pub fn immutable_by(&self, repository: &RepoName, tag: &Tag) -> Option<Arc<str>> {
        let fits = |rule: &&ImmutableRule| {
            (rule.repositories.is_empty() || rule.repositories.iter().any(|each| each.matches(repository)))
                && (rule.tags.is_empty() || any_matches(&rule.tags, tag))
        };
        self.immutable.iter().find(fits).map(|rule| Arc::clone(&rule.place))
    }

    /// Whether any rule is about this repository.
    pub fn mention(&self, repository: &RepoName) -> bool {
        self.rules.iter().any(|rule| rule.is_about(repository))
    }
}

impl RetentionRule {
    /// Whether it is about something in this repository.
    pub fn is_about(&self, repository: &RepoName) -> bool {
        self.repositories.is_empty() || self.repositories.iter().any(|pattern| pattern.matches(repository))
    }

    /// Whether it is about this tag, in a repository that it is about.
    pub fn is_about_tag(&self, tag: &Tag) -> bool {
        !self.keep.is_empty() && (self.tags.is_empty() || any_matches(&self.tags, tag))
    }

    fn canonical(&self) -> String {
        let repositories: BTreeSet<&str> = self.repositories.iter().map(RepositoryPattern::as_str).collect();
        let tags: BTreeSet<&str> = self.tags.iter().map(TagPattern::as_str).collect();
        let keep: BTreeSet<String> = self.keep.iter().map(ToString::to_string).collect();
        let untagged = self.untagged.map(|time| time.as_nanos());
        format!("{repositories:?} {tags:?} {keep:?} {untagged:?} {}", self.immutable_too)
    }
}

impl ImmutableRule {
    fn canonical(&self) -> String {
        let repositories: BTreeSet<&str> = self.repositories.iter().map(RepositoryPattern::as_str).collect();
        let tags: BTreeSet<&str> = self.tags.iter().map(TagPattern::as_str).collect();
        format!("immutable {repositories:?} {tags:?}")
    }
}

impl Keeping {
    /// Whether it says anything.
    pub fn says_something(&self) -> bool {
        *self != Keeping::default()
    }
}

/// Whether one of the patterns fits.
pub(super) fn any_matches(patterns: &[TagPattern], tag: &Tag) -> bool {
    patterns.iter().any(|pattern| pattern.matches(tag))
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |word: &str, time: &Option<Duration>| {
            time.map(|time| format!("{word} within {}", humantime::format_duration(time)))
        };
        let patterns: BTreeSet<&str> = self.tags.iter().map(TagPattern::as_str).collect();
        let patterns: Vec<&str> = patterns.into_iter().collect();
        let parts: Vec<String> = [
            self.newest.map(|count| format!("newest {count}")),
            time("pushed", &self.pushed),
            time("pulled", &self.pulled),
            time("used", &self.used),
            (!patterns.is_empty()).then(|| format!("named {}", patterns.join(" or "))),
        ]
        .into_iter()
        .flatten()
        .collect();
        f.write_str(&parts.join(" and "))
    }
}
