//! `cargo xtask conformance`: OCI's own conformance suite, for the stable and for the coming version of the
//! specification, with every optional part switched on but sparse manifests (Larder refuses those: a manifest may
//! name only what the repository can reach).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::failure::{Context, Result, fail, same};
use crate::places::{self, Ring};
use crate::process::Run;
use crate::report::Report;
use crate::server::{self, Auth, Plan, Program};

/// Versions of the specification, as the suite names them.
const VERSIONS: [&str; 2] = ["1.1", "dev"];

/// What is off by default somewhere.
const SWITCHES: &[&str] = &[
    "OCI_API_BLOBS_ATOMIC",
    "OCI_API_BLOBS_DELETE",
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_BLOBS_MOUNT_ANONYMOUS",
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_ATOMIC",
    "OCI_API_MANIFESTS_DELETE",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
    "OCI_API_TAGS_ATOMIC",
    "OCI_API_TAGS_DELETE",
    "OCI_API_TAGS_LIST",
    "OCI_API_REFERRER",
    "OCI_DATA_IMAGE",
    "OCI_DATA_INDEX",
    "OCI_DATA_INDEX_LIST",
    "OCI_DATA_ARTIFACT",
    "OCI_DATA_SUBJECT",
    "OCI_DATA_SUBJECT_MISSING",
    "OCI_DATA_ARTIFACT_LIST",
    "OCI_DATA_SUBJECT_LIST",
    "OCI_DATA_DATA_FIELD",
    "OCI_DATA_NONDISTRIBUTABLE",
    "OCI_DATA_CUSTOM_FIELDS",
    "OCI_DATA_NO_LAYERS",
    "OCI_DATA_EMPTY_BLOB",
    "OCI_DATA_SHA512",
];

/// Skips that are right, with the reason: (start of the case's name, why). Every other skip fails the ring.
const EXPECTED_SKIPS: &[(&str, &str)] =
    &[("OCI Conformance Test/sparse", "sparse manifests are refused on purpose and are switched off")];

const SUITE_SECONDS: u64 = 900;

/// What every case's name begins with.
const ROOT: &str = "OCI Conformance Test";
const STATUSES: [&str; 5] = ["Pass", "FAIL", "Error", "Skip", "Disabled"];

/// One leaf of the suite's result tree.
struct Case {
    name: String,
    status: String,
    reason: String,
}

pub(crate) fn ring(arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("conformance");
    let ring = Ring::fresh("conformance")?;
    let suite = match std::env::var_os("LARDER_CONFORMANCE") {
        Some(path) => PathBuf::from(path),
        None => places::tools().join("conformance"),
    };
    for version in VERSIONS {
        let run = Run::new(&suite).env("OCI_VERSION", version);
        match arguments.text("registry") {
            Some(host) => run_suite(&mut report, &ring, version, run, host),
            None => {
                let program = Program::chosen(arguments)?;
                let data = ring.make_dir(format!("data-{version}"))?;
                let auth = if program == Program::Larder { Auth::Token } else { Auth::Basic };
                let plan = Plan { auth, ..Plan::open(program, &data) };
                let name = format!("registry-{version}");
                let Some(server) = report.step(version, "the registry starts", || plan.start(&ring, &name))
                else {
                    continue;
                };
                let run = run.env("OCI_USERNAME", server::USER).env("OCI_PASSWORD", server::PASSWORD);
                run_suite(&mut report, &ring, version, run, &server.host);
                report.case(version, "the registry ends on SIGTERM", || server.daemon.stop());
            }
        }
    }
    Ok(report)
}

fn run_suite(report: &mut Report, ring: &Ring, version: &str, mut run: Run, host: &str) {
    let results = ring.dir.join(format!("results-{version}"));
    for switch in SWITCHES {
        run = run.env(switch, "true");
    }
    run = run.env("OCI_REGISTRY", host).env("OCI_TLS", "disabled").env("OCI_RESULTS_DIR", &results);
    let ran = report.step(version, "the suite runs", || {
        let output = run.dir(&ring.dir).limit(SUITE_SECONDS).output()?;
        fs::write(ring.dir.join(format!("suite-{version}.txt")), output.all())?;
        if !results.join("junit.xml").try_exists()? {
            fail!("the suite wrote no junit.xml:\n{}", output.all());
        }
        let cases = leaves(&output.stdout);
        if cases.is_empty() {
            fail!("the suite printed no results:\n{}", output.all());
        }
        Ok((cases, verdict(&output.stdout)?, counts(&fs::read_to_string(results.join("junit.xml"))?)?))
    });
    let Some((cases, verdict, counts)) = ran else { return };
    println!("{version}: {counts}");
    // Steps that hold others can fail by themselves; then no leaf says so.
    report.case(version, "the suite's own verdict", || same("it", &verdict.as_str(), &"Pass"));
    for case in &cases {
        let name = case.name.as_str();
        match case.status.as_str() {
            "Pass" => report.passed += 1,
            "Disabled" => println!("  disabled {name}: {}", case.reason),
            "Skip" => match EXPECTED_SKIPS.iter().find(|(start, _)| name.starts_with(start)) {
                Some((_, why)) => println!("  skipped {name}: {why}"),
                None => {
                    report.case(version, name, || fail!("skipped: {}", case.reason));
                }
            },
            status => {
                report.case(version, name, || fail!("{status}: {}", case.reason));
            }
        }
    }
}

/// The suite's last word.
fn verdict(text: &str) -> Result<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("OCI Conformance Result: "));
    Ok(line.context("the suite's result")?.to_owned())
}

/// The leaves of the tree that the suite prints: `<indent>name: Status`, then `<indent> - reason`, which may go on
/// in lines of its own.
fn leaves(text: &str) -> Vec<Case> {
    let mut cases: Vec<(usize, Case)> = Vec::new();
    let mut inner = BTreeSet::new();
    for line in text.lines().take_while(|line| !line.starts_with("OCI Conformance Result")) {
        let words = line.trim_start();
        let depth = line.len() - words.len();
        let parsed = words
            .rsplit_once(": ")
            .filter(|(name, status)| name.starts_with(ROOT) && STATUSES.contains(status));
        match (parsed, cases.last_mut()) {
            (Some((name, status)), last) => {
                if last.is_some_and(|(above, _)| *above < depth) {
                    inner.insert(cases.len() - 1);
                }
                cases.push((
                    depth,
                    Case { name: name.to_owned(), status: status.to_owned(), reason: String::new() },
                ));
            }
            (None, Some((_, case))) => case.reason.push_str(&format!("{} ", words.trim_start_matches("- "))),
            (None, None) => {}
        }
    }
    let numbered = cases.into_iter().enumerate();
    numbered.filter(|(number, _)| !inner.contains(number)).map(|(_, (_, case))| case).collect()
}

/// The counts in the `testsuite` element's attributes.
fn counts(junit: &str) -> Result<String> {
    let element = junit.split_once("<testsuite ").context("junit.xml's testsuite")?.1;
    let element = element.split_once('>').context("junit.xml's testsuite")?.0;
    let count = |name: &str| {
        let value = element.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
        value.and_then(|(value, _)| value.parse::<u64>().ok()).unwrap_or(0)
    };
    let (all, failed, errors) = (count("tests"), count("failures"), count("errors"));
    let (skipped, disabled) = (count("skipped"), count("disabled"));
    let passed = all.saturating_sub(failed + errors + skipped + disabled);
    Ok(format!("{passed} pass, {failed} fail, {errors} error, {skipped} skip, {disabled} disabled"))
}
