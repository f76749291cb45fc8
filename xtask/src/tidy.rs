//! `cargo xtask tidy`: what the compiler doesn't see. Which crate may know which, which files have grown too long,
//! and what may stand in no file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::arguments::Arguments;
use crate::dist;
use crate::failure::{Context, Result, fail};
use crate::places;
use crate::process::Run;
use crate::report::Report;

/// A crate of ours and those of ours that it may depend on.
const EDGES: &[(&str, &[&str])] = &[
    ("larder-oci", &[]),
    ("larder-storage", &["larder-oci"]),
    ("larder-meta", &["larder-oci", "larder-storage"]),
    ("larder-core", &["larder-oci", "larder-storage", "larder-meta"]),
    ("larder-upstream", &["larder-oci", "larder-core"]),
    ("larder-auth", &["larder-oci"]),
    ("larder-notify", &["larder-oci", "larder-storage", "larder-core"]),
    ("larder-doctor", &["larder-oci"]),
    ("larder-certificates", &["larder-storage"]),
    ("larder-server", &["larder-oci", "larder-core", "larder-auth", "larder-certificates", "larder-notify"]),
    (
        "larder",
        &[
            "larder-oci",
            "larder-storage",
            "larder-meta",
            "larder-core",
            "larder-upstream",
            "larder-auth",
            "larder-notify",
            "larder-doctor",
            "larder-certificates",
            "larder-server",
        ],
    ),
    ("xtask", &[]),
];

/// Crates of others that a crate of ours may not reach, however many steps away.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("larder-oci", &["tokio", "http", "hyper", "axum"]),
    ("larder-storage", &["http", "hyper", "axum"]),
    ("larder-meta", &["http", "hyper", "axum"]),
    ("larder-core", &["http", "hyper", "axum"]),
    ("larder-auth", &["http", "hyper", "axum"]),
];

/// Crates of others that only one crate of ours may name.
const OWNED: &[(&str, &str)] =
    &[("rusqlite", "larder-meta"), ("ldap3", "larder-auth"), ("aws-sdk-s3", "larder-storage")];

const MOST_LINES: usize = 500;
/// Files that are tables, and so may be long: (path, what it lists).
const TABLES: &[(&str, &str)] = &[];

/// Words that may stand in no Rust file. Split, so that this file does not hold them.
const FORBIDDEN_WORDS: &[(&str, &str)] = &[("#[igno", "re"), ("todo", "!("), ("unimplemented", "!(")];

/// Hosts of package registries, split likewise. Every client finds its registry by its own settings.
const PACKAGE_HOSTS: &[(&str, &str)] = &[
    ("crates", ".io"),
    ("proxy.golang", ".org"),
    ("sum.golang", ".org"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("registry.npmjs", ".org"),
    ("repo.maven.apache", ".org"),
    ("repo1.maven", ".org"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("archive.ubuntu", ".com"),
];

/// The one way past the access policy.
const POLICY_BYPASS: &str = "granted_by_policy";

pub(crate) fn ring(_arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("tidy");
    let metadata = dist::cargo().args(["metadata", "--format-version", "1", "--locked"]).ok();
    let metadata = metadata.context("is Cargo.lock up to date?")?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let graph = Graph::read(&metadata)?;
    report.case("edges", "our crates know only whom they may", || own_edges(&graph));
    report.case("edges", "no crate reaches what is forbidden to it", || forbidden(&graph));
    report.case("edges", "drivers are named by their owners only", || owned(&graph));
    let files = files()?;
    report.case("files", "none is longer than it may be", || each(&files, too_long));
    report.case("files", "no test is switched off, nothing is left to do", || each(&files, forbidden_words));
    report.case("files", "no package registry's host name", || each(&files, package_hosts));
    report.case("files", "only the policy grants access", || each(&files, policy_bypass));
    Ok(report)
}

/// What each package depends on to run (build scripts included, tests not).
struct Graph {
    ours: BTreeSet<String>,
    /// Name → names it states itself.
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Package id → (name, ids of what it was resolved to).
    resolved: BTreeMap<String, (String, Vec<String>)>,
}

impl Graph {
    fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &Value, field: &str| {
            value.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let text = |value: &Value, field: &str| {
            value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let members: BTreeSet<String> = list(metadata, "workspace_members")
            .iter()
            .filter_map(|id| Some(id.as_str()?.to_owned()))
            .collect();
        let mut graph = Self { ours: BTreeSet::new(), direct: BTreeMap::new(), resolved: BTreeMap::new() };
        let mut names = BTreeMap::new();
        for package in list(metadata, "packages") {
            let (id, name) = (text(&package, "id"), text(&package, "name"));
            if members.contains(&id) {
                graph.ours.insert(name.clone());
                let run_time =
                    list(&package, "dependencies").into_iter().filter(|one| text(one, "kind") != "dev");
                graph.direct.insert(name.clone(), run_time.map(|one| text(&one, "name")).collect());
            }
            names.insert(id, name);
        }
        for node in list(metadata.get("resolve").context("cargo metadata's resolve")?, "nodes") {
            let runs = |dependency: &Value| {
                list(dependency, "dep_kinds").iter().any(|kind| text(kind, "kind") != "dev")
            };
            let dependencies =
                list(&node, "deps").iter().filter(|one| runs(one)).map(|one| text(one, "pkg")).collect();
            let id = text(&node, "id");
            let name = names.get(&id).cloned().unwrap_or_default();
            graph.resolved.insert(id, (name, dependencies));
        }
        if graph.ours.is_empty() {
            fail!("cargo metadata names no member of the workspace");
        }
        Ok(graph)
    }

    /// The names of everything that a package of ours reaches.
    fn reach(&self, name: &str) -> BTreeSet<&str> {
        let mut open: Vec<&String> =
            self.resolved.iter().filter(|(_, (known, _))| known == name).map(|(id, _)| id).collect();
        let mut seen: BTreeSet<&String> = open.iter().copied().collect();
        while let Some((_, dependencies)) = open.pop().and_then(|id| self.resolved.get(id)) {
            open.extend(dependencies.iter().filter(|id| seen.insert(*id)));
        }
        seen.into_iter().filter_map(|id| Some(self.resolved.get(id)?.0.as_str())).collect()
    }
}

fn own_edges(graph: &Graph) -> Result {
    for (name, dependencies) in &graph.direct {
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| known == name) else {
            fail!("{name} is not in tidy's list of crates; say there what it may depend on");
        };
        for dependency in dependencies.intersection(&graph.ours) {
            if !allowed.contains(&dependency.as_str()) {
                fail!("{name} depends on {dependency}, but may only on {allowed:?}");
            }
        }
    }
    Ok(())
}

fn forbidden(graph: &Graph) -> Result {
    for (name, forbidden) in FORBIDDEN {
        let reach = graph.reach(name);
        if let Some(found) = forbidden.iter().find(|crate_name| reach.contains(*crate_name)) {
            fail!("{name} reaches {found}; `cargo tree -p {name} -i {found}` says how");
        }
    }
    Ok(())
}

fn owned(graph: &Graph) -> Result {
    for (driver, owner) in OWNED {
        let by = graph.direct.iter().find(|(name, direct)| name != owner && direct.contains(*driver));
        if let Some((name, _)) = by {
            fail!("{name} depends on {driver}, which only {owner} may");
        }
    }
    Ok(())
}

/// Every file that is or could be committed: (path, content). Binary files are left out.
fn files() -> Result<Vec<(String, String)>> {
    let listed = Run::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = listed.env("GIT_OPTIONAL_LOCKS", "0").dir(&places::workspace()).ok()?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        match fs::read(places::workspace().join(path)) {
            Ok(bytes) => files.extend(String::from_utf8(bytes).ok().map(|text| (path.to_owned(), text))),
            // Deleted in the work tree, but not yet in the index.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => fail!("{path}: {error}"),
        }
    }
    if files.is_empty() {
        fail!("git lists no file");
    }
    Ok(files)
}

/// Looks at each file and reports all that is found, not only the first.
fn each(files: &[(String, String)], look: impl Fn(&str, &str) -> Option<String>) -> Result {
    let found: Vec<String> =
        files.iter().filter_map(|(path, text)| Some(format!("{path}: {}", look(path, text)?))).collect();
    if found.is_empty() { Ok(()) } else { fail!("{}", found.join("\n")) }
}

fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let long = path.ends_with(".rs") && lines > MOST_LINES && !TABLES.iter().any(|(table, _)| *table == path);
    long.then(|| format!("{lines} lines, {MOST_LINES} at most"))
}

fn forbidden_words(path: &str, text: &str) -> Option<String> {
    let is_rust = path.ends_with(".rs");
    let mut words = FORBIDDEN_WORDS.iter().map(|(start, end)| format!("{start}{end}"));
    words.find(|word| is_rust && text.contains(word.as_str())).map(|word| format!("holds {word}"))
}

fn package_hosts(path: &str, text: &str) -> Option<String> {
    // cargo writes its index's address into the lock file itself.
    let lock = path.ends_with("Cargo.lock");
    let mut hosts = PACKAGE_HOSTS.iter().map(|(start, end)| format!("{start}{end}"));
    hosts.find(|host| !lock && text.contains(host.as_str())).map(|host| format!("names {host}"))
}

fn policy_bypass(path: &str, text: &str) -> Option<String> {
    let home =
        ["crates/larder-auth/", "crates/larder-oci/", "xtask/"].iter().any(|start| path.starts_with(start));
    let test = path.contains("/tests/") || path.ends_with("tests.rs");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    (path.ends_with(".rs") && !home && !test && code.contains(POLICY_BYPASS))
        .then(|| format!("uses {POLICY_BYPASS}"))
}
