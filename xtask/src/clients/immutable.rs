//! A tag that never moves: each client is refused, and says by which rule.

use std::cell::RefCell;

use super::{Attempt, Client, Engines, Layout, Layouts, Stage, Visitor, each_client, layout};
use crate::failure::{Context, Result, fail, same};
use crate::image::{Image, native_architecture};
use crate::places::Ring;
use crate::process::says;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program};

const SECTIONS: &str = "retention:
  immutable:
  - in: ring/**
    tags: v*
";

/// What everybody has to hear: the tag, the rule by its place in the configuration, and what to do.
const WORDS: &str =
    "the tag v1 of ring/* is immutable by *immutable rule 1*push another image under another tag";

pub(super) fn cases(
    report: &mut Report,
    ring: &Ring,
    engines: &Engines,
    layouts: &Layouts<'_>,
    chosen: &dyn Fn(&str) -> bool,
) -> Result {
    report.about("immutable");
    let data = ring.make_dir("data-immutable")?;
    let plan = Plan { sections: SECTIONS, ..Plan::open(Program::Larder, &data) };
    let Some(server) = report.step("registry", "starts", || plan.start(ring, "immutable")) else {
        return Ok(());
    };
    let image = Image::single(70, native_architecture(), &[9000, 60_000]);
    let other = layout(ring, &image, "another")?;
    let stage = Stage { ring, server: &server, engines, layouts, title: "immutable" };
    each_client(&mut Moving { stage: &stage, report, chosen, other: &other });
    report.case("registry", "ends on SIGTERM", || server.daemon.stop());
    Ok(())
}

struct Moving<'a> {
    stage: &'a Stage<'a>,
    report: &'a mut Report,
    chosen: &'a dyn Fn(&str) -> bool,
    other: &'a Layout<'a>,
}

impl Visitor for Moving<'_> {
    fn visit<C: Client>(&mut self, client: &C) {
        // helm makes its tags itself, out of a chart's version.
        if !(self.chosen)(C::NAME) || C::NAME == "helm" {
            return;
        }
        // containerd's own client shows no more of a refusal than its status.
        let words = if C::NAME == "ctr" { "403 Forbidden" } else { WORDS };
        let (stage, said) = (self.stage, RefCell::new(String::new()));
        self.report.case(C::NAME, "is refused to move the tag, and says the rule", || {
            let (session, registry) = (stage.session(C::NAME, "moving")?, Registry::new(stage.server.http()));
            let repository = format!("ring/{}", C::NAME);
            let reference = session.reference(&repository, "v1");
            client.push(&session, &stage.layouts.single, &reference)?.done()?;
            let before = registry.manifest(&repository, "v1")?.context("what was pushed")?.digest;
            match client.push(&session, self.other, &reference)? {
                Attempt::Done { digest } => fail!("{digest} took the tag's place"),
                Attempt::Refused(output) => {
                    let line = output.all().lines().find(|line| says(line, words)).map(str::to_owned);
                    *said.borrow_mut() = line.context(format!("the rule in {}", output.all()))?;
                }
            }
            let after = registry.manifest(&repository, "v1")?.map(|served| served.digest);
            same("what the tag points at", &after, &Some(before))
        });
        println!("{:<16} {}", "", said.borrow().trim());
    }
}
