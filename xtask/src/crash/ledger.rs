//! What each worker knows: for every name, the states in which a registry that was killed may show it.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::{Context, Result, fail};
use crate::http::Body;
use crate::registry::{ACCEPT, Registry, Walked};
use crate::server::Program;

/// (repository, tag or digest)
pub(super) type Name = (String, String);

/// The digests, or absences, that a name may answer with. One when the last change was acknowledged; more while a
/// change is in flight.
pub(super) struct Fate {
    possible: Vec<Option<String>>,
    touched: bool,
    /// What it hung on was deleted: the collector may take it at any time, until it is pushed again.
    may_go: bool,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) tags: BTreeMap<Name, Fate>,
    pub(super) manifests: BTreeMap<Name, Fate>,
    pub(super) blobs: BTreeMap<Name, Fate>,
    /// What artifacts were attached to.
    pub(super) subjects: BTreeSet<Name>,
}

impl Fate {
    /// What it is for certain; outside of a change in flight there is just one state.
    pub(super) fn now(&self) -> Option<&String> {
        self.possible.first().and_then(Option::as_ref).filter(|_| !self.may_go)
    }

    fn allows(&self, digest: &Option<String>) -> bool {
        self.possible.contains(digest) || (self.may_go && digest.is_none())
    }

    /// Settles on what the registry said.
    fn is(&mut self, digest: Option<String>) {
        let may_go = self.may_go && digest.is_some();
        *self = Fate { possible: vec![digest], touched: false, may_go };
    }
}

/// Notes that a change to a name has been sent.
pub(super) fn sent(fates: &mut BTreeMap<Name, Fate>, name: &Name, to: Option<String>) {
    let fresh = || Fate { possible: vec![None], touched: true, may_go: false };
    let fate = fates.entry(name.clone()).or_insert_with(fresh);
    fate.possible.push(to);
    fate.touched = true;
}

/// Notes that the last change sent was acknowledged: from now on only it will do.
pub(super) fn acknowledged(fates: &mut BTreeMap<Name, Fate>, name: &Name) {
    if let Some(fate) = fates.get_mut(name) {
        fate.possible = fate.possible.pop().into_iter().collect();
        // Pushed, it stays; deleted, it is gone.
        fate.may_go = false;
    }
}

/// Notes that what a name hung on is being deleted.
pub(super) fn may_go(fates: &mut BTreeMap<Name, Fate>, name: &Name) {
    if let Some(fate) = fates.get_mut(name) {
        fate.may_go = true;
        fate.touched = true;
    }
}

/// Compares what the registry says with what it may say, and settles every fate on what it said.
pub(super) fn check(registry: &Registry, ledgers: &mut [&mut Ledger], full: bool) -> Result {
    let mut walked = Walked::default();
    let mut complaints = Vec::new();
    let mut served_tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ledger in ledgers.iter_mut() {
        for (name, fate) in &mut ledger.tags {
            if !full && !fate.touched {
                if fate.now().is_some() {
                    served_tags.entry(name.0.clone()).or_default().insert(name.1.clone());
                }
                continue;
            }
            let digest = registry.manifest(&name.0, &name.1)?.map(|served| served.digest);
            if digest.is_some() {
                served_tags.entry(name.0.clone()).or_default().insert(name.1.clone());
            }
            settle(registry, "tag", name, fate, digest, &mut walked, &mut complaints);
        }
        for (name, fate) in ledger.manifests.iter_mut().filter(|(_, fate)| full || fate.touched) {
            let digest = registry.manifest(&name.0, &name.1)?.map(|served| served.digest);
            settle(registry, "manifest", name, fate, digest, &mut walked, &mut complaints);
        }
        for (name, fate) in ledger.blobs.iter_mut().filter(|(_, fate)| full || fate.touched) {
            let digest = registry.blob(&name.0, &name.1)?.map(|_| name.1.clone());
            if !fate.allows(&digest) {
                complaints.push(format!("blob {name:?} is {digest:?}, but may only be {:?}", fate.possible));
            }
            fate.is(digest);
        }
    }
    let catalog = registry.repositories()?;
    let repositories: BTreeSet<&String> = catalog.iter().chain(served_tags.keys()).collect();
    for repository in repositories {
        let listed: BTreeSet<String> = registry.tags(repository)?.unwrap_or_default().into_iter().collect();
        let served = served_tags.get(repository).cloned().unwrap_or_default();
        if listed != served {
            let (lost, ghosts) = (served.difference(&listed), listed.difference(&served));
            let (lost, ghosts): (Vec<_>, Vec<_>) = (lost.collect(), ghosts.collect());
            complaints.push(format!(
                "{repository} serves but does not list {lost:?}; lists but does not serve {ghosts:?}"
            ));
        }
    }
    if !complaints.is_empty() {
        let shown: Vec<&str> = complaints.iter().take(10).map(String::as_str).collect();
        fail!("{} complaints:\n{}", complaints.len(), shown.join("\n"));
    }
    Ok(())
}

/// Whatever is served must be whole, acknowledged or not.
fn settle(
    registry: &Registry,
    kind: &str,
    name: &Name,
    fate: &mut Fate,
    digest: Option<String>,
    walked: &mut Walked,
    complaints: &mut Vec<String>,
) {
    if !fate.allows(&digest) {
        complaints.push(format!("{kind} {name:?} is {digest:?}, but may only be {:?}", fate.possible));
    }
    let mut digest = digest;
    if let Some(Err(failure)) = digest.as_ref().map(|digest| registry.walk(&name.0, digest, walked)) {
        // What may go may have been taken between the look at the manifest and the look at its blobs.
        let is_gone = fate.may_go && matches!(registry.manifest(&name.0, &name.1), Ok(None));
        if is_gone {
            digest = None;
        } else {
            complaints.push(format!("{kind} {name:?} is not whole: {failure}"));
        }
    }
    fate.is(digest);
}

/// Everything that an index answers for: the catalog, tags, what tags and digests stand for, referrers.
pub(super) fn listing(
    registry: &Registry,
    ledgers: &[&Ledger],
    program: Program,
) -> Result<BTreeMap<String, String>> {
    let mut answers = BTreeMap::new();
    answers.insert("/v2/_catalog".to_owned(), registry.repositories()?.join(" "));
    for repository in registry.repositories()? {
        answers.insert(format!("/v2/{repository}/tags/list"), format!("{:?}", registry.tags(&repository)?));
    }
    for ledger in ledgers {
        for (repository, reference) in ledger.tags.keys().chain(ledger.manifests.keys()) {
            let path = format!("/v2/{repository}/manifests/{reference}");
            let answer = registry.http.send("HEAD", &path, &[("Accept", ACCEPT)], Body::Whole(&[]))?;
            let text = ["content-type", "content-length", "docker-content-digest"]
                .map(|name| answer.header(name).filter(|_| answer.status == 200).unwrap_or("-").to_owned());
            answers.insert(path, format!("{} {}", answer.status, text.join(" ")));
        }
        for (repository, subject) in ledger.subjects.iter().filter(|_| program == Program::Larder) {
            let path = format!("/v2/{repository}/referrers/{subject}");
            let answer = registry.http.get(&path, &[])?.expect(&path, &[200])?;
            let mut list: serde_json::Value = serde_json::from_slice(&answer.body)?;
            let manifests = list.get_mut("manifests").and_then(serde_json::Value::as_array_mut);
            // The order of referrers says nothing.
            let manifests = manifests.context(format!("the manifests of {path}"))?;
            manifests.sort_by_key(ToString::to_string);
            answers.insert(path, list.to_string());
        }
    }
    Ok(answers)
}
