//! Which upstream stands behind which repository. A closed list: what isn't in it is never asked of anybody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_oci::{RepoName, RepositoryPattern, Tag};

use crate::upstream::Upstream;

/// The upstreams that the operator wrote down. Cheap to clone.
#[derive(Clone, Default)]
pub struct Upstreams {
    places: Arc<[UpstreamPlace]>,
}

/// Where an upstream's repositories stand among the names of this registry.
#[derive(Clone)]
pub struct UpstreamPlace {
    /// What its names begin with here, such as `ghcr.io`: `ghcr.io/owner/app` is then the upstream's `owner/app`.
    /// `None`: it owns the root, which is every name that no prefix claims.
    pub prefix: Option<RepoName>,
    /// Whether a name of one part means `library/<name>` upstream: Docker Hub.
    pub has_library: bool,
    /// Whom to ask.
    pub upstream: Arc<dyn Upstream>,
    /// How.
    pub settings: Arc<UpstreamSettings>,
}

/// How an upstream is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// How long the answer to "what does this tag mean" counts: the first rule that fits.
    pub freshness: Vec<FreshnessRule>,
    /// The same for tags that no rule is about.
    pub fresh_for: Freshness,
    /// How long a client waits for the answer about a tag of which there is a copy.
    pub tag_budget: Duration,
    /// How long a client waits for the first word about what isn't at hand.
    pub miss_budget: Duration,
    /// How long it is remembered that the upstream lacks something.
    pub missing_for: Duration,
    /// Whether the copy is served of a tag that the upstream no longer has.
    pub keeps_removed_tags: bool,
    /// Whether a repository into which somebody has pushed still asks for tags that it lacks.
    pub asks_for_pushed: bool,
    /// Nothing is asked at all.
    pub offline: bool,
}

/// How long the answer about some tags counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshnessRule {
    /// The repositories, by their names here; `None`: all.
    pub repositories: Option<RepositoryPattern>,
    /// The tags.
    pub tags: TagPattern,
    /// How long.
    pub fresh_for: Freshness,
}

/// Which tags a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPattern {
    /// Those that name one version down to its third number, such as `1.27.3` and `v1.27.3-alpine`.
    ExactVersion,
    /// Those that a text with `*` for any characters fits, such as `nightly-*`.
    Like(String),
}

/// How long an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// So long; zero asks at every pull.
    For(Duration),
    /// The tag is asked for once and never again.
    ForEver,
}

/// A repository's upstream, and what it is called there.
#[derive(Clone)]
pub struct UpstreamRepository {
    /// Whom to ask.
    pub upstream: Arc<dyn Upstream>,
    /// The name there.
    pub repository: RepoName,
    /// How.
    pub settings: Arc<UpstreamSettings>,
}

impl Default for UpstreamSettings {
    fn default() -> UpstreamSettings {
        UpstreamSettings {
            freshness: vec![FreshnessRule {
                repositories: None,
                tags: TagPattern::ExactVersion,
                fresh_for: Freshness::For(Duration::from_secs(24 * 3600)),
            }],
            fresh_for: Freshness::For(Duration::from_secs(60)),
            tag_budget: Duration::from_secs(2),
            miss_budget: Duration::from_secs(20),
            missing_for: Duration::from_secs(10),
            keeps_removed_tags: true,
            asks_for_pushed: false,
            offline: false,
        }
    }
}

impl Upstreams {
    /// These, of which the longest prefix counts.
    pub fn new(places: impl IntoIterator<Item = UpstreamPlace>) -> Upstreams {
        Upstreams { places: places.into_iter().collect() }
    }

    /// Every place, in the operator's order.
    pub fn places(&self) -> &[UpstreamPlace] {
        &self.places
    }

    /// The name that an image has here which people call by this one: `nginx` and `docker.io/nginx` are
    /// `docker.io/library/nginx`. `None` if no upstream stands behind it.
    pub fn name_here(&self, name: &RepoName) -> Option<RepoName> {
        let place = self.places.iter().filter(|place| place.name_below(name).is_some());
        if let Some(place) = place.max_by_key(|place| place.prefix_length()) {
            return place.whole_name(place.name_below(name)?);
        }
        let hub = self.places.iter().find(|place| place.has_library)?;
        // The first part is a registry's if it has a dot, as for docker.
        let is_elsewhere = name.as_str().split_once('/').is_some_and(|(registry, _)| registry.contains('.'));
        if is_elsewhere { None } else { hub.whole_name(name.as_str()) }
    }

    /// Who is asked for what this repository lacks, if anybody is.
    pub fn of(&self, repository: &RepoName) -> Option<UpstreamRepository> {
        let fits = |place: &&UpstreamPlace| place.name_below(repository).is_some();
        let place = self.places.iter().filter(fits).max_by_key(|place| place.prefix_length())?;
        let below = place.name_below(repository)?;
        let there = if place.has_library && !below.contains('/') {
            format!("library/{below}").parse()
        } else {
            below.parse()
        };
        let (upstream, settings) = (Arc::clone(&place.upstream), Arc::clone(&place.settings));
        Some(UpstreamRepository { upstream, repository: there.ok()?, settings })
    }
}

impl UpstreamPlace {
    fn prefix_length(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.as_str().len())
    }

    /// The whole name of an image that is called so below the prefix.
    fn whole_name(&self, below: &str) -> Option<RepoName> {
        let prefix = self.prefix.as_ref().map_or(String::new(), |prefix| format!("{prefix}/"));
        let library = if self.has_library && !below.contains('/') { "library/" } else { "" };
        format!("{prefix}{library}{below}").parse().ok()
    }

    /// The rest of a name behind the prefix.
    fn name_below<'a>(&self, repository: &'a RepoName) -> Option<&'a str> {
        match &self.prefix {
            None => Some(repository.as_str()),
            Some(prefix) => repository.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/'),
        }
    }
}

impl UpstreamSettings {
    /// How long the answer about this tag counts.
    pub fn freshness(&self, repository: &RepoName, tag: &Tag) -> Freshness {
        let fits = |rule: &&FreshnessRule| {
            rule.repositories.as_ref().is_none_or(|pattern| pattern.matches(repository))
                && rule.tags.matches(tag)
        };
        self.freshness.iter().find(fits).map_or(self.fresh_for, |rule| rule.fresh_for)
    }
}

impl TagPattern {
    /// Whether the tag is meant.
    pub fn matches(&self, tag: &Tag) -> bool {
        match self {
            TagPattern::ExactVersion => is_exact_version(tag.as_str()),
            TagPattern::Like(pattern) => is_like(pattern.as_bytes(), tag.as_str().as_bytes()),
        }
    }

    /// The pattern as it is written in a configuration.
    pub fn as_str(&self) -> &str {
        match self {
            TagPattern::ExactVersion => EXACT_VERSION,
            TagPattern::Like(pattern) => pattern,
        }
    }
}

/// How a configuration writes [`TagPattern::ExactVersion`].
const EXACT_VERSION: &str = "X.Y.Z";

impl From<&str> for TagPattern {
    fn from(text: &str) -> TagPattern {
        if text == EXACT_VERSION { TagPattern::ExactVersion } else { TagPattern::Like(text.to_owned()) }
    }
}

/// `1.2.3`, with or without a `v` before it and more behind it: `1.2.3-alpine`.
fn is_exact_version(tag: &str) -> bool {
    let version = tag.strip_prefix('v').unwrap_or(tag);
    let mut numbers = version.splitn(3, '.');
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.next().is_some_and(is_number)
        && numbers.next().is_some_and(is_number)
        && numbers.next().is_some_and(|patch| patch.starts_with(|first: char| first.is_ascii_digit()))
}

/// Only the last `*` ever has to take more than it did.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut next, mut at) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(at) {
        match (pattern.get(next), last_star) {
            (Some(b'*'), _) => {
                next += 1;
                last_star = Some((next, at));
            }
            (Some(wanted), _) if wanted == byte => (next, at) = (next + 1, at + 1),
            (_, Some((after, taken))) => {
                (next, at) = (after, taken + 1);
                last_star = Some((next, at));
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(next).all(|byte| *byte == b'*')
}

/// As it is written in the configuration.
impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TagPattern::ExactVersion => f.write_str("X.Y.Z"),
            TagPattern::Like(pattern) => f.write_str(pattern),
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.iter().map(|place| place.upstream.name())).finish()
    }
}

#[cfg(test)]
mod tests;
