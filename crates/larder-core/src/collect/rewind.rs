//! Putting tags back to what they pointed at, at some moment.
//!
//! distribution keeps a link for every manifest that a tag has ever pointed at, and its time is when the tag last began to.
//! So what it pointed at at a moment is the newest of those that had begun by then. A tag that has come back to a
//! manifest since then has forgotten that it pointed there before; what it pointed at then can't be told, and it is left.

use std::sync::Arc;
use std::time::SystemTime;

use larder_meta::{Origin, Page, Precondition};
use larder_oci::{Access, Digest, Push, Reference, RepoName, Tag};

use crate::collect::Thing;
use crate::error::RegistryError;
use crate::events::Reporting;
use crate::push::ManifestPush;
use crate::registry::{Inner, Registry};

/// Tags that are looked at at a time.
const PAGE: usize = 1000;

/// A tag that doesn't point at what it pointed at at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The tag.
    pub tag: Tag,
    /// What it pointed at when it was looked at.
    pub from: Digest,
    /// What came of it.
    pub outcome: Rewinding,
}

/// What came of a tag that was to be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewinding {
    /// It points there again, or would.
    Back(Digest),
    /// It pointed there, and that manifest is gone or lacks a part.
    Gone(Digest),
    /// It pointed there, and this rule keeps it from moving.
    Immutable(Digest, Arc<str>),
    /// It isn't known to have pointed anywhere then: it was made since, or has come back since.
    Unknown,
}

impl Registry {
    /// Puts the repository's tags, or one of them, back to what they pointed at, at that moment; durable when this
    /// returns. Gives those that point elsewhere now, moved or not. Copies of an upstream's tags are not looked at, nor are deleted
    /// tags: [`undo`](Registry::undo) brings these back. With `dry_run` nothing is changed.
    pub async fn rewind(
        &self,
        access: &Access<Push>,
        moment: SystemTime,
        only: Option<Tag>,
        dry_run: bool,
    ) -> Result<Vec<Rewound>, RegistryError> {
        let (repository, reporting) = (access.repository().clone(), self.reporting(access));
        self.asking_the_index(move |inner| {
            let _change = if dry_run { None } else { Some(inner.require_writable()?) };
            let mut rewound = Vec::new();
            for tag in inner.tags_to_rewind(&repository, only)? {
                if let Some((from, outcome)) = inner.then_and_now(&repository, &tag, moment)? {
                    let outcome = match outcome {
                        Rewinding::Back(to) if !dry_run => {
                            inner.put_back(&repository, &tag, from, to, &reporting)?
                        }
                        outcome => outcome,
                    };
                    rewound.push(Rewound { tag, from, outcome });
                }
            }
            Ok(rewound)
        })
        .await
    }
}

impl Inner {
    fn tags_to_rewind(&self, repository: &RepoName, only: Option<Tag>) -> Result<Vec<Tag>, RegistryError> {
        if let Some(only) = only {
            return Ok(vec![only]);
        }
        let (mut tags, mut after) = (Vec::new(), None);
        loop {
            let page = Page { after: after.take(), limit: PAGE };
            let Some(listing) = self.meta.tags(repository, &page)? else { return Ok(tags) };
            tags.extend(listing.items.iter().filter_map(|name| name.parse().ok()));
            match listing.items.into_iter().next_back() {
                Some(last) if listing.more => after = Some(last),
                _ => return Ok(tags),
            }
        }
    }

    /// What the tag points at, and what would become of it; `None` if it is as it was, or isn't ours to move.
    fn then_and_now(
        &self,
        repository: &RepoName,
        tag: &Tag,
        moment: SystemTime,
    ) -> Result<Option<(Digest, Rewinding)>, RegistryError> {
        let Some(now) = self.meta.tag(repository, tag)? else { return Ok(None) };
        if !matches!(self.meta.tag_origin(repository, tag)?, Some(Origin::Pushed)) {
            return Ok(None);
        }
        let since_1970 = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let entries = self.meta.history_entries(repository, tag)?;
        let then =
            entries.into_iter().find(|(_, since)| u128::try_from(*since).is_ok_and(|at| at <= since_1970));
        let outcome = match then {
            Some((then, _)) if then == now => return Ok(None),
            None => Rewinding::Unknown,
            Some((then, _)) => match self.manifest(repository, &Reference::Digest(then))? {
                None => Rewinding::Gone(then),
                Some(_) => match self.retention_rules().immutable_by(repository, tag) {
                    Some(rule) => Rewinding::Immutable(then, rule),
                    None => Rewinding::Back(then),
                },
            },
        };
        Ok(Some((now, outcome)))
    }

    /// Pushes the manifest again under the tag, unless that has moved since it was looked at.
    fn put_back(
        &self,
        repository: &RepoName,
        tag: &Tag,
        from: Digest,
        to: Digest,
        reporting: &Reporting,
    ) -> Result<Rewinding, RegistryError> {
        let _hold = self.collector.fence.hold(vec![Thing::Link(repository.clone(), to), Thing::Content(to)]);
        let Some(stored) = self.manifest(repository, &Reference::Digest(to))? else {
            return Ok(Rewinding::Gone(to));
        };
        let push = ManifestPush {
            reference: Reference::Digest(to),
            tags: vec![tag.clone()],
            media_type: None,
            bytes: stored.bytes,
            precondition: Precondition::PointsAtOneOf(vec![from]),
        };
        match self.push_manifest(repository, push, reporting) {
            Ok(_) => Ok(Rewinding::Back(to)),
            Err(RegistryError::ReferencesUnknown { .. } | RegistryError::ManifestInvalid(_)) => {
                Ok(Rewinding::Gone(to))
            }
            // The rules have changed at this very moment.
            Err(RegistryError::TagImmutable { rule, .. }) => Ok(Rewinding::Immutable(to, rule)),
            // It moves at this very moment: whoever moves it knows better.
            Err(RegistryError::PreconditionFailed { .. }) => Ok(Rewinding::Unknown),
            Err(error) => Err(error),
        }
    }
}
