//! The page that `larder doctor` fills as it looks.

use std::io::{self, Write};

use larder_doctor::{Entry, Finding, Outcome, Severity};

/// How entries look.
pub(super) struct Page {
    /// Whether what takes a while is shown while it does.
    shows_progress: bool,
}

impl Page {
    pub(super) fn new(shows_progress: bool) -> Page {
        Page { shows_progress }
    }

    /// Prints an entry; what is only on its way goes to `progress`, and is wiped out by the next.
    pub(super) fn entry(
        &self,
        out: &mut impl Write,
        progress: &mut impl Write,
        entry: &Entry,
    ) -> io::Result<()> {
        let stage = entry.stage.as_str();
        if self.shows_progress {
            write!(progress, "\r\x1b[K")?;
        }
        match &entry.outcome {
            Outcome::Begun(what) if self.shows_progress => write!(progress, "  …     {stage:<11} {what}")?,
            Outcome::Begun(_) => {}
            Outcome::Good(what) => writeln!(out, "  ok    {stage:<11} {what}")?,
            Outcome::Skipped(why) => writeln!(out, "  –     {stage:<11} {why}")?,
            Outcome::Found(finding) => found(out, finding)?,
        }
        progress.flush()
    }
}

fn found(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let mark = match finding.severity {
        Severity::Failure => "FAIL",
        Severity::Warning => "warn",
    };
    writeln!(out, "  {mark}  {:<11} {}", finding.stage.as_str(), finding.seen)?;
    writeln!(out, "          why   {}", finding.cause)?;
    writeln!(out, "          hop   {}", finding.hop)?;
    writeln!(out, "          fix   {}", finding.fix)
}

/// The last line.
pub(super) fn sum<'a>(findings: impl Iterator<Item = &'a Finding>) -> String {
    let (mut failures, mut warnings) = (0_usize, 0_usize);
    for finding in findings {
        match finding.severity {
            Severity::Failure => failures += 1,
            Severity::Warning => warnings += 1,
        }
    }
    let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match (failures, warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, _) => counted(warnings, "warning"),
        (_, 0) => counted(failures, "failure"),
        _ => format!("{}, {}", counted(failures, "failure"), counted(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use larder_doctor::{Hop, Row, Stage};

    use super::*;

    fn finding(severity: Severity) -> Finding {
        Finding {
            row: Row::BodyLimit,
            severity,
            stage: Stage::Push,
            seen: "a body of 2 MB is answered with 413".to_owned(),
            cause: "a proxy limits bodies".to_owned(),
            hop: Hop::Proxy("nginx".to_owned()),
            fix: "client_max_body_size 0;".to_owned(),
        }
    }

    #[test]
    fn a_finding_has_all_its_sentences_on_lines_of_their_own() {
        let (mut out, mut progress) = (Vec::new(), Vec::new());
        let entry = Entry { stage: Stage::Push, outcome: Outcome::Found(finding(Severity::Failure)) };
        Page::new(false).entry(&mut out, &mut progress, &entry).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "  FAIL  push        a body of 2 MB is answered with 413\n          why   a proxy limits bodies\n          hop   proxy nginx\n          fix   client_max_body_size 0;\n"
        );
        assert!(progress.is_empty());
    }

    #[test]
    fn progress_is_shown_on_terminals_alone() {
        let entry = Entry { stage: Stage::Push, outcome: Outcome::Begun("slow uploads".to_owned()) };
        for (terminal, shown) in [(false, ""), (true, "\r\u{1b}[K  …     push        slow uploads")] {
            let (mut out, mut progress) = (Vec::new(), Vec::new());
            Page::new(terminal).entry(&mut out, &mut progress, &entry).expect("written");
            assert_eq!(String::from_utf8(progress).expect("text"), shown);
            assert!(out.is_empty());
        }
    }

    #[test]
    fn the_sum_counts_both_kinds() {
        let (failure, warning) = (finding(Severity::Failure), finding(Severity::Warning));
        assert_eq!(sum(std::iter::empty()), "nothing is wrong");
        assert_eq!(sum([&failure, &warning, &warning].into_iter()), "1 failure, 2 warnings");
    }
}
