//! A registry with a fault, and the doctor's visit to it.

mod registry;
mod tls;

pub(crate) use registry::{Fault, Registry};
pub(crate) use tls::{Authority, Leaf};

use std::time::Duration;

use larder_doctor::{Doctor, Finding, Journal, Login, Options, Outcome, Password, Row};

/// The user and password that the registry knows.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "correct horse";

/// What a visit found, and what else it wrote down.
pub(crate) struct Visited {
    pub(crate) findings: Vec<Finding>,
    pub(crate) good: Vec<String>,
    pub(crate) skipped: Vec<String>,
    pub(crate) exit_code: u8,
}

/// Options that write, log in and lose no time.
pub(crate) fn writing() -> Options {
    Options {
        write: true,
        login: Some(login(USER, PASSWORD)),
        slow: Duration::ZERO,
        seed: 0x1234_5678_9abc_def1,
        ..Options::default()
    }
}

pub(crate) fn reading() -> Options {
    Options { write: false, ..writing() }
}

pub(crate) fn login(user: &str, password: &str) -> Login {
    Login { user: user.to_owned(), password: Password::new(password), source: "the test".to_owned() }
}

pub(crate) async fn visit(target: &str, options: Options) -> Visited {
    let doctor = Doctor { target: target.parse().expect("a target"), options };
    let mut journal = Journal::new(|_| {});
    doctor.examine(&mut journal).await.expect("files that can be read");
    let (mut good, mut skipped) = (Vec::new(), Vec::new());
    for entry in journal.entries() {
        match &entry.outcome {
            Outcome::Good(what) => good.push(what.clone()),
            Outcome::Skipped(why) => skipped.push(why.clone()),
            Outcome::Begun(_) | Outcome::Found(_) => {}
        }
    }
    let findings = journal.findings().cloned().collect();
    Visited { findings, good, skipped, exit_code: journal.exit_code() }
}

impl Visited {
    /// The one thing that was found: its row, and parts of its hop, cause and fix.
    pub(crate) fn found(&self, what: &str, row: Row, hop: &str, cause: &str, fix: &str) {
        let [finding] = self.findings.as_slice() else {
            panic!("{what}: {row:?} alone was to be found, not {:#?}", self.findings);
        };
        assert_eq!(finding.row, row, "{what}: {finding:#?}");
        for (part, expected) in
            [(finding.hop.to_string(), hop), (finding.cause.clone(), cause), (finding.fix.clone(), fix)]
        {
            assert!(part.contains(expected), "{what}: {expected:?} is not in {finding:#?}");
        }
    }

    pub(crate) fn nothing(&self, what: &str) {
        assert_eq!(self.findings, [], "{what}");
        assert_eq!(self.exit_code, 0, "{what}");
    }
}
