//! What a doctor has looked at so far, told as it happens.

use serde_json::{Value, json};

use crate::finding::{Finding, Severity, Stage};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where on the way.
    pub stage: Stage,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is being looked at and takes a while.
    Begun(String),
    /// It is as it should be.
    Good(String),
    /// It could not be looked at, or need not be, and why.
    Skipped(String),
    /// It is not as it should be.
    Found(Finding),
}

/// Everything that was looked at, in order. Tells each entry on as it is written.
pub struct Journal<'a> {
    entries: Vec<Entry>,
    tell: Box<dyn FnMut(&Entry) + Send + 'a>,
}

impl<'a> Journal<'a> {
    /// A journal that tells `tell` each entry.
    pub fn new(tell: impl FnMut(&Entry) + Send + 'a) -> Journal<'a> {
        Journal { entries: Vec::new(), tell: Box::new(tell) }
    }

    /// Something that takes a while begins.
    pub fn begin(&mut self, stage: Stage, what: impl Into<String>) {
        (self.tell)(&Entry { stage, outcome: Outcome::Begun(what.into()) });
    }

    /// As it should be.
    pub fn good(&mut self, stage: Stage, what: impl Into<String>) {
        self.write(stage, Outcome::Good(what.into()));
    }

    /// Not looked at.
    pub fn skip(&mut self, stage: Stage, why: impl Into<String>) {
        self.write(stage, Outcome::Skipped(why.into()));
    }

    /// Not as it should be.
    pub fn find(&mut self, finding: Finding) {
        self.write(finding.stage, Outcome::Found(finding));
    }

    fn write(&mut self, stage: Stage, outcome: Outcome) {
        let entry = Entry { stage, outcome };
        (self.tell)(&entry);
        self.entries.push(entry);
    }

    /// Everything, in the order in which it was looked at.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is wrong.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.entries.iter().filter_map(|entry| match &entry.outcome {
            Outcome::Found(finding) => Some(finding),
            Outcome::Begun(_) | Outcome::Good(_) | Outcome::Skipped(_) => None,
        })
    }

    /// 0 when nothing fails, else the code of the earliest stage in which something does. Warnings don't count.
    pub fn exit_code(&self) -> u8 {
        let failures = self.findings().filter(|finding| finding.severity == Severity::Failure);
        failures.map(|finding| finding.stage).min().map_or(0, Stage::exit_code)
    }

    /// The whole journal for programs: `{"entries": […], "exit_code": n}`.
    pub fn to_json(&self) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(entry_json).collect();
        json!({ "entries": entries, "exit_code": self.exit_code() })
    }
}

fn entry_json(entry: &Entry) -> Value {
    let stage = entry.stage.as_str();
    match &entry.outcome {
        Outcome::Begun(what) => json!({ "stage": stage, "outcome": "begun", "what": what }),
        Outcome::Good(what) => json!({ "stage": stage, "outcome": "good", "what": what }),
        Outcome::Skipped(why) => json!({ "stage": stage, "outcome": "skipped", "what": why }),
        Outcome::Found(finding) => json!({
            "stage": stage,
            "outcome": match finding.severity {
                Severity::Failure => "failure",
                Severity::Warning => "warning",
            },
            "row": finding.row.as_str(),
            "seen": finding.seen,
            "cause": finding.cause,
            "hop": finding.hop.to_string(),
            "fix": finding.fix,
        }),
    }
}
