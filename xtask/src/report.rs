//! What a ring prints: a row for each case, and at the end how many passed and failed.

use std::time::Instant;

use crate::failure::{Result, fail};

#[derive(Default)]
pub(crate) struct Report {
    ring: String,
    /// What the next cases are about; stands before their names.
    scope: String,
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
}

impl Report {
    pub(crate) fn new(ring: &str) -> Self {
        println!("\n== {ring} ==");
        Self { ring: ring.to_owned(), ..Self::default() }
    }

    /// Says what the next cases are about.
    pub(crate) fn about(&mut self, scope: &str) {
        self.scope = if scope.is_empty() { String::new() } else { format!("{scope}: ") };
    }

    /// Runs one case and prints its row. Whether it passed is also returned, for cases that build on it.
    pub(crate) fn case(&mut self, who: &str, what: &str, body: impl FnOnce() -> Result) -> bool {
        let start = Instant::now();
        let outcome = body();
        self.row(who, what, start, outcome)
    }

    /// A case whose result the next ones need.
    pub(crate) fn step<T>(&mut self, who: &str, what: &str, body: impl FnOnce() -> Result<T>) -> Option<T> {
        let start = Instant::now();
        let (outcome, value) = match body() {
            Ok(value) => (Ok(()), Some(value)),
            Err(failure) => (Err(failure), None),
        };
        self.row(who, what, start, outcome);
        value
    }

    fn row(&mut self, who: &str, what: &str, start: Instant, outcome: Result) -> bool {
        let what = format!("{}{what}", self.scope);
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                println!("{who:<16} {what:<58} ok {seconds:>7.2} s");
                self.passed += 1;
                true
            }
            Err(failure) => {
                println!("{who:<16} {what:<58} FAILED {seconds:.2} s");
                for line in failure.to_string().lines() {
                    println!("    {line}");
                }
                self.failed.push(format!("{}: {who} {what}", self.ring));
                false
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
    }

    /// Prints the sum; an error when a case failed or none ran at all.
    pub(crate) fn finish(&self) -> Result {
        println!();
        for failed in &self.failed {
            println!("FAILED {failed}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if self.passed == 0 && self.failed.is_empty() {
            fail!("no case ran");
        }
        if !self.failed.is_empty() {
            fail!("{} failed", self.ring);
        }
        Ok(())
    }
}
