//! A tag that never moves: each client is refused, and says by which rule.

use std::cell::RefCell;

use super::{
    Client, Engines, Layout, Layouts, Stage, Visitor, each_client, layout, line_of_refusal, meets_rules,
    on_a_stage,
};
use crate::failure::{Context, Result, same};
use crate::image::{Image, native_architecture};
use crate::places::Ring;
use crate::registry::Registry;
use crate::report::Report;

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
    on_a_stage(report, ring, engines, layouts, "immutable", SECTIONS, |stage, _, report| {
        let image = Image::single(70, native_architecture(), &[9000, 60_000]);
        let other = layout(ring, &image, "another")?;
        each_client(&mut Moving { stage, report, chosen, other: &other });
        Ok(())
    })
}

struct Moving<'a> {
    stage: &'a Stage<'a>,
    report: &'a mut Report,
    chosen: &'a dyn Fn(&str) -> bool,
    other: &'a Layout<'a>,
}

impl Visitor for Moving<'_> {
    fn visit<C: Client>(&mut self, client: &C) {
        if !meets_rules::<C>(self.chosen) {
            return;
        }
        let (stage, said) = (self.stage, RefCell::new(String::new()));
        self.report.case(C::NAME, "is refused to move the tag, and says the rule", || {
            let (session, registry) = (stage.session(C::NAME, "moving")?, Registry::new(stage.server.http()));
            let repository = format!("ring/{}", C::NAME);
            let reference = session.reference(&repository, "v1");
            client.push(&session, &stage.layouts.single, &reference)?.done()?;
            let before = registry.manifest(&repository, "v1")?.context("what was pushed")?.digest;
            let attempt = client.push(&session, self.other, &reference)?;
            *said.borrow_mut() = line_of_refusal::<C>(attempt, WORDS)?;
            let after = registry.manifest(&repository, "v1")?.map(|served| served.digest);
            same("what the tag points at", &after, &Some(before))
        });
        println!("{:<16} {}", "", said.borrow());
    }
}
