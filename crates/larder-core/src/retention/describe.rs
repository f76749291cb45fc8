//! The plan as JSON: what the API answers and the commands print.

use std::time::SystemTime;

use larder_oci::Digest;
use serde_json::{Value, json};

use super::run::Retained;
use super::verdict::Verdict;
use super::{RetentionPlan, RetentionState};

/// Tags and manifests that are listed; of what is beyond, only the number is told. About 60 MB of text.
const MOST_LISTED: usize = 200_000;

impl RetentionPlan {
    /// Everything that the plan says, for the API and the commands.
    pub fn described(&self, state: &RetentionState) -> Value {
        let mut room = MOST_LISTED;
        let mut all = 0;
        let mut repositories = Vec::new();
        for each in &self.repositories {
            all += each.tags.len() + each.untagged.len();
            let mut take = |wanted: usize| {
                let taken = wanted.min(room);
                room -= taken;
                taken
            };
            let (tags, untagged) = (take(each.tags.len()), take(each.untagged.len()));
            let tags: Vec<Value> = each
                .tags
                .iter()
                .take(tags)
                .map(|tag| {
                    let mut described = thing(&tag.facts.digest, tag.facts.pushed, tag.pulled, &tag.verdict);
                    if let Some(described) = described.as_object_mut() {
                        described.insert("tag".to_owned(), json!(tag.facts.tag));
                    }
                    described
                })
                .collect();
            let untagged: Vec<Value> = each
                .untagged
                .iter()
                .take(untagged)
                .map(|manifest| thing(&manifest.digest, manifest.since, manifest.pulled, &manifest.verdict))
                .collect();
            repositories.push(json!({ "repository": each.repository, "tags": tags, "untagged": untagged }));
        }
        let unread: Vec<Value> =
            self.unread.iter().map(|(name, why)| json!({ "repository": name, "why": why })).collect();
        let (tags, manifests) = self.going();
        json!({
            "fingerprint": self.fingerprint,
            "approved": state.approved,
            "rules": state.rules.rules.iter().map(|rule| &*rule.place).collect::<Vec<_>>(),
            "every_seconds": state.rules.every.as_secs(),
            "last_run": state.last_run.map(|at| json!({ "at": time(at), "tags": state.tags, "manifests": state.manifests })),
            "goes": { "tags": tags, "manifests": manifests },
            "repositories": repositories,
            "unread": unread,
            "not_listed": all.saturating_sub(MOST_LISTED),
        })
    }
}

impl Retained {
    /// What a run did, for the API and the commands.
    pub fn described(&self) -> Value {
        let gone: Vec<Value> = self
            .gone
            .iter()
            .take(MOST_LISTED)
            .map(|each| {
                json!({
                    "repository": each.repository,
                    "reference": each.reference.to_string(),
                    "digest": each.digest,
                    "why": each.why,
                })
            })
            .collect();
        json!({ "gone": self.gone.len(), "listed": gone, "changed": self.changed, "failed": self.failed })
    }
}

fn thing(
    digest: &Digest,
    pushed: Option<SystemTime>,
    pulled: Option<SystemTime>,
    verdict: &Verdict,
) -> Value {
    let rules: Vec<String> = verdict.rules().iter().map(ToString::to_string).collect();
    json!({
        "digest": digest,
        "pushed": pushed.map(time),
        "pulled": pulled.map(time),
        "goes": verdict.goes(),
        "why": verdict.to_string(),
        "rules": rules,
    })
}

/// A time beyond the year 9999 can't be said.
fn time(at: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(at.min(last)).to_string()
}
