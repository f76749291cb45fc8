//! The decision: from the facts of one repository to what stays and what goes, each with its reason. Pure: it asks no
//! clock, no file and no index.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_oci::{Digest, Tag};

use super::facts::{ManifestFacts, RepositoryFacts, TagFacts};
use super::rules::{RetentionRule, RetentionRules, any_matches};
use super::verdict::{Go, ManifestVerdict, RepositoryVerdicts, Stay, TagVerdict, Verdict};

impl RetentionRules {
    /// Decides what of a repository stays and what goes.
    pub fn decide(&self, facts: &RepositoryFacts) -> RepositoryVerdicts {
        let rules: Vec<&RetentionRule> =
            self.rules.iter().filter(|rule| rule.is_about(&facts.repository)).collect();
        let newest = rules.iter().map(|rule| pushes(rule, facts)).collect();
        Deciding { facts, all: self, rules, newest, pulls: HashMap::new() }.decide()
    }
}

struct Deciding<'a> {
    facts: &'a RepositoryFacts,
    all: &'a RetentionRules,
    /// Those that are about this repository.
    rules: Vec<&'a RetentionRule>,
    /// Beside each rule when the tags that it is about were pushed, newest first.
    newest: Vec<Vec<SystemTime>>,
    /// When each manifest or a part of it was last pulled.
    pulls: HashMap<Digest, Option<SystemTime>>,
}

impl Deciding<'_> {
    fn decide(mut self) -> RepositoryVerdicts {
        let facts = self.facts;
        self.pulls = facts.manifests.keys().map(|digest| (*digest, self.last_pull(digest))).collect();
        // Of what is attached by its name, nothing is known before it is known what becomes of what it is attached to.
        let mut verdicts: Vec<Option<Verdict>> =
            facts.tags.iter().map(|tag| subject_of_tag(&tag.tag).is_none().then(|| self.tag(tag))).collect();
        let parents = self.parents();
        let mut untagged = self.untagged(&parents);
        let going = self.going(&parents, &verdicts, &untagged);
        for (tag, verdict) in facts.tags.iter().zip(&mut verdicts) {
            if let (None, Some(subject)) = (&verdict, subject_of_tag(&tag.tag)) {
                *verdict = Some(self.attached_tag(tag, subject, &going));
            }
        }
        for each in &mut untagged {
            if let Verdict::Stays(Stay::PartOf(above) | Stay::AttachedTo(above)) = each.verdict
                && going.contains(&each.digest)
            {
                each.verdict = Verdict::Goes(Go::With(above));
            }
        }
        let pulled = |tag: &TagFacts| self.pulls.get(&tag.digest).copied().flatten();
        let mut tags: Vec<TagVerdict> = facts
            .tags
            .iter()
            .zip(verdicts)
            .filter_map(|(tag, verdict)| {
                Some(TagVerdict { facts: tag.clone(), pulled: pulled(tag), verdict: verdict? })
            })
            .collect();
        tags.sort_by(|left, right| left.facts.tag.cmp(&right.facts.tag));
        RepositoryVerdicts { repository: facts.repository.clone(), tags, untagged }
    }

    fn tag(&self, tag: &TagFacts) -> Verdict {
        if let Some(stay) = self.stays_anyway(tag.is_copy) {
            return Verdict::Stays(stay);
        }
        let about: Vec<(&RetentionRule, &[SystemTime])> = self
            .rules
            .iter()
            .zip(&self.newest)
            .filter(|(rule, _)| rule.is_about_tag(&tag.tag))
            .map(|(rule, pushes)| (*rule, pushes.as_slice()))
            .collect();
        if about.is_empty() {
            return Verdict::Stays(Stay::NoRule);
        }
        if !about.iter().any(|(rule, _)| rule.immutable_too)
            && let Some(rule) = self.all.immutable_by(&self.facts.repository, &tag.tag)
        {
            return Verdict::Stays(Stay::Immutable(rule));
        }
        let Some(pushed) = tag.pushed else { return Verdict::Stays(Stay::AgeUnknown) };
        for (rule, pushes) in &about {
            for keeping in &rule.keep {
                let holds = keeping.newest.is_none_or(|count| is_among_newest(pushes, pushed, count))
                    && keeping.pushed.is_none_or(|time| self.is_within(pushed, time))
                    && keeping.pulled.is_none_or(|time| self.was_pulled_within(&tag.digest, time))
                    && keeping.used.is_none_or(|time| {
                        self.is_within(pushed, time) || self.was_pulled_within(&tag.digest, time)
                    })
                    && (keeping.tags.is_empty() || any_matches(&keeping.tags, &tag.tag));
                if holds {
                    let (rule, why) = (Arc::clone(&rule.place), keeping.to_string());
                    return Verdict::Stays(Stay::Kept { rule, why });
                }
            }
        }
        let about: Vec<&RetentionRule> = about.into_iter().map(|(rule, _)| rule).collect();
        let reasons: Vec<String> =
            about.iter().flat_map(|rule| &rule.keep).map(|keeping| format!("not {keeping}")).collect();
        Verdict::Goes(Go::NotKept { rules: places(&about), why: reasons.join(", ") })
    }

    /// A time that lies ahead is no age.
    fn is_within(&self, at: SystemTime, time: Duration) -> bool {
        self.facts.now.duration_since(at).is_ok_and(|passed| passed < time)
            || self.facts.now.duration_since(at).is_err()
    }

    fn was_pulled_within(&self, digest: &Digest, time: Duration) -> bool {
        let pulled = self.pulls.get(digest).copied().flatten();
        self.is_within(self.facts.pulls_known_since.max(pulled.unwrap_or(SystemTime::UNIX_EPOCH)), time)
    }

    /// When a manifest, or one that it is made of, was last pulled.
    fn last_pull(&self, digest: &Digest) -> Option<SystemTime> {
        let (mut seen, mut open, mut last) = (HashSet::from([*digest]), vec![*digest], None);
        while let Some(each) = open.pop() {
            let Some(manifest) = self.facts.manifests.get(&each) else { continue };
            last = last.max(manifest.pulled);
            open.extend(manifest.children.iter().copied().filter(|child| seen.insert(*child)));
        }
        last
    }

    fn stays_anyway(&self, is_copy: bool) -> Option<Stay> {
        match self.facts.damaged {
            Some(damaged) => Some(Stay::Unreadable(damaged)),
            None => is_copy.then_some(Stay::Copy),
        }
    }

    /// The indexes of each manifest that is part of some, sorted: the reason is always the same.
    fn parents(&self) -> HashMap<Digest, Vec<Digest>> {
        let mut parents: HashMap<Digest, Vec<Digest>> = HashMap::new();
        for (parent, manifest) in &self.facts.manifests {
            for child in &manifest.children {
                parents.entry(*child).or_default().push(*parent);
            }
        }
        parents.values_mut().for_each(|each| each.sort_unstable());
        parents
    }

    fn untagged(&self, parents: &HashMap<Digest, Vec<Digest>>) -> Vec<ManifestVerdict> {
        let tagged: HashSet<&Digest> = self.facts.tags.iter().map(|tag| &tag.digest).collect();
        let mut untagged: Vec<ManifestVerdict> = self
            .facts
            .manifests
            .iter()
            .filter(|(digest, _)| !tagged.contains(digest))
            .map(|(digest, manifest)| ManifestVerdict {
                digest: *digest,
                since: manifest.since,
                pulled: self.pulls.get(digest).copied().flatten(),
                verdict: self.manifest(digest, manifest, parents.get(digest).and_then(|each| each.first())),
            })
            .collect();
        untagged.sort_by_key(|each| each.digest);
        untagged
    }

    fn manifest(&self, digest: &Digest, manifest: &ManifestFacts, parent: Option<&Digest>) -> Verdict {
        if let Some(stay) = self.stays_anyway(manifest.is_copy) {
            return Verdict::Stays(stay);
        }
        if let Some(parent) = parent {
            return Verdict::Stays(Stay::PartOf(*parent));
        }
        if let Some(subject) = manifest.subject.filter(|subject| self.facts.manifests.contains_key(subject)) {
            return Verdict::Stays(Stay::AttachedTo(subject));
        }
        self.unneeded(digest, manifest.since)
    }

    /// What nothing needs, by the rules about such: whichever of them keeps it keeps it.
    fn unneeded(&self, digest: &Digest, since: Option<SystemTime>) -> Verdict {
        let about: Vec<(&RetentionRule, Duration)> =
            self.rules.iter().filter_map(|rule| Some((*rule, rule.untagged?))).collect();
        if about.is_empty() {
            return Verdict::Stays(Stay::NoRule);
        }
        let Some(since) = since else { return Verdict::Stays(Stay::AgeUnknown) };
        for (rule, time) in &about {
            if self.is_within(since, *time) || self.was_pulled_within(digest, *time) {
                let why = format!("without a tag for less than {}", humantime::format_duration(*time));
                return Verdict::Stays(Stay::Kept { rule: Arc::clone(&rule.place), why });
            }
        }
        let longest = about.iter().map(|(_, time)| *time).max().unwrap_or_default();
        let why = format!("neither tagged nor pulled for {}", humantime::format_duration(longest));
        let rules: Vec<&RetentionRule> = about.into_iter().map(|(rule, _)| rule).collect();
        Verdict::Goes(Go::NotKept { rules: places(&rules), why })
    }

    /// The manifests that nothing needs any more once the verdicts are carried out. What is needed by what stays, stays.
    fn going(
        &self,
        parents: &HashMap<Digest, Vec<Digest>>,
        tags: &[Option<Verdict>],
        untagged: &[ManifestVerdict],
    ) -> HashSet<Digest> {
        let mut going: HashSet<Digest> = self.facts.manifests.keys().copied().collect();
        for (tag, verdict) in self.facts.tags.iter().zip(tags) {
            if !verdict.as_ref().is_some_and(Verdict::goes) {
                going.remove(&tag.digest);
            }
        }
        let is_root_that_stays = |each: &&ManifestVerdict| {
            let hangs = matches!(each.verdict, Verdict::Stays(Stay::PartOf(_) | Stay::AttachedTo(_)));
            !each.verdict.goes() && !hangs
        };
        for each in untagged.iter().filter(is_root_that_stays) {
            going.remove(&each.digest);
        }
        loop {
            let is_needed = |digest: &Digest| {
                let by_parent = parents.get(digest).into_iter().flatten().any(|each| !going.contains(each));
                let subject = self.facts.manifests.get(digest).and_then(|manifest| manifest.subject);
                let by_subject = subject.is_some_and(|subject| {
                    self.facts.manifests.contains_key(&subject) && !going.contains(&subject)
                });
                by_parent || by_subject
            };
            let needed: Vec<Digest> = going.iter().copied().filter(is_needed).collect();
            if needed.is_empty() {
                return going;
            }
            needed.iter().for_each(|digest| {
                going.remove(digest);
            });
        }
    }

    /// A tag by whose name clients attach something to a manifest follows that manifest.
    fn attached_tag(&self, tag: &TagFacts, subject: Digest, going: &HashSet<Digest>) -> Verdict {
        if let Some(stay) = self.stays_anyway(tag.is_copy) {
            return Verdict::Stays(stay);
        }
        let is_there = self.facts.manifests.contains_key(&subject);
        if !is_there && let Some(rule) = self.all.immutable_by(&self.facts.repository, &tag.tag) {
            return Verdict::Stays(Stay::Immutable(rule));
        }
        match is_there {
            true if going.contains(&subject) => Verdict::Goes(Go::With(subject)),
            true => Verdict::Stays(Stay::AttachedTo(subject)),
            // It may be pushed before what it is about.
            false => self.unneeded(&tag.digest, tag.pushed),
        }
    }
}

/// When the tags that a rule is about were pushed, newest first. What is attached to others doesn't count.
fn pushes(rule: &RetentionRule, facts: &RepositoryFacts) -> Vec<SystemTime> {
    let is_counted =
        |tag: &&TagFacts| !tag.is_copy && rule.is_about_tag(&tag.tag) && subject_of_tag(&tag.tag).is_none();
    let mut pushes: Vec<SystemTime> =
        facts.tags.iter().filter(is_counted).filter_map(|tag| tag.pushed).collect();
    pushes.sort_unstable_by(|left, right| right.cmp(left));
    pushes
}

/// Whether fewer than so many are newer. Of those that were pushed at the same moment none is newer, so that all of them
/// stay or none: where times were lost, nothing goes for its place in the order.
fn is_among_newest(pushes: &[SystemTime], pushed: SystemTime, count: u64) -> bool {
    let Some(last) = usize::try_from(count).ok().and_then(|count| count.checked_sub(1)) else {
        return count > 0;
    };
    pushes.get(last).is_none_or(|last| pushed >= *last)
}

/// What a tag is attached to by its name: `sha256-<hash>`, where clients keep a referrers list, and `sha256-<hash>.sig`,
/// `.att`, `.sbom`, which cosign makes.
fn subject_of_tag(tag: &Tag) -> Option<Digest> {
    let name = tag.as_str().split('.').next().unwrap_or_default();
    let hash = name.strip_prefix("sha256-")?;
    format!("sha256:{hash}").parse().ok()
}

fn places(rules: &[&RetentionRule]) -> Vec<Arc<str>> {
    rules.iter().map(|rule| Arc::clone(&rule.place)).collect()
}

#[cfg(test)]
mod tests;
