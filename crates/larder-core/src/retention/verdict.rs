use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use larder_oci::{Digest, RepoName};

use super::facts::TagFacts;

/// What becomes of something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Stays(Stay),
    /// It goes.
    Goes(Go),
}

/// Why something stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// No rule is about it.
    NoRule,
    /// A rule keeps it, for this reason.
    Kept {
        /// The rule.
        rule: Arc<str>,
        /// What of the rule holds.
        why: String,
    },
    /// It was fetched from an upstream.
    Copy,
    /// This rule says that it may not be deleted.
    Immutable(Arc<str>),
    /// Its age can't be told.
    AgeUnknown,
    /// It is attached to this manifest, which stays.
    AttachedTo(Digest),
    /// This index is made of it.
    PartOf(Digest),
    /// This manifest of the repository can't be read, so what it needs isn't known.
    Unreadable(Digest),
}

/// Why something goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Go {
    /// These rules are about it, and none of them keeps it.
    NotKept {
        /// The rules.
        rules: Vec<Arc<str>>,
        /// What would have kept it.
        why: String,
    },
    /// What it is attached to goes.
    With(Digest),
}

/// What becomes of a tag.
#[derive(Clone, Debug)]
pub struct TagVerdict {
    /// The tag.
    pub facts: TagFacts,
    /// When what it points at, or a part of that, was last pulled.
    pub pulled: Option<SystemTime>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a manifest that no tag points at.
#[derive(Clone, Debug)]
pub struct ManifestVerdict {
    /// Its digest.
    pub digest: Digest,
    /// When it was pushed, or lost a tag, whichever is later.
    pub since: Option<SystemTime>,
    /// When it, or a part of it, was last pulled.
    pub pulled: Option<SystemTime>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a repository.
#[derive(Clone, Debug)]
pub struct RepositoryVerdicts {
    /// Its name.
    pub repository: RepoName,
    /// Its tags, by name.
    pub tags: Vec<TagVerdict>,
    /// Its manifests without a tag, by digest.
    pub untagged: Vec<ManifestVerdict>,
}

impl Verdict {
    /// Whether it goes.
    pub fn goes(&self) -> bool {
        matches!(self, Verdict::Goes(_))
    }

    /// Whether it goes because what it hangs on does.
    pub fn goes_with_another(&self) -> bool {
        matches!(self, Verdict::Goes(Go::With(_)))
    }

    /// The rules that decided it.
    pub fn rules(&self) -> Vec<Arc<str>> {
        match self {
            Verdict::Stays(Stay::Kept { rule, .. } | Stay::Immutable(rule)) => vec![Arc::clone(rule)],
            Verdict::Goes(Go::NotKept { rules, .. }) => rules.clone(),
            Verdict::Stays(_) | Verdict::Goes(Go::With(_)) => Vec::new(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Stays(Stay::NoRule) => f.write_str("no rule is about it"),
            Verdict::Stays(Stay::Kept { rule, why }) => write!(f, "{why} ({rule})"),
            Verdict::Stays(Stay::Copy) => {
                f.write_str("fetched from an upstream: it goes by the cache's bounds")
            }
            Verdict::Stays(Stay::Immutable(rule)) => write!(f, "immutable ({rule})"),
            Verdict::Stays(Stay::AgeUnknown) => f.write_str("it can't be told when it was pushed"),
            Verdict::Stays(Stay::AttachedTo(digest)) => write!(f, "attached to {digest}, which stays"),
            Verdict::Stays(Stay::PartOf(digest)) => write!(f, "part of {digest}"),
            Verdict::Stays(Stay::Unreadable(digest)) => {
                write!(f, "{digest} in this repository can't be read, so what it needs isn't known")
            }
            Verdict::Goes(Go::NotKept { rules, why }) => write!(f, "{why} ({})", rules.join("; ")),
            Verdict::Goes(Go::With(digest)) => write!(f, "attached to {digest}, which goes"),
        }
    }
}
