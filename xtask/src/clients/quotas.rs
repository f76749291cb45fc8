//! A quota: each client is refused a push that exceeds it, and says the numbers; once something is deleted and collected
//! the same push goes through.

use std::cell::RefCell;

use super::{
    Client, Engines, Layout, Layouts, Stage, Visitor, each_client, layout, line_of_refusal, meets_rules,
    on_a_stage,
};
use crate::failure::{Result, same};
use crate::http::Body;
use crate::image::{Image, native_architecture};
use crate::places::Ring;
use crate::registry::Registry;
use crate::report::Report;

/// Each client pushes where nobody else does, and may have so many bytes there: more than either of the images, and less
/// than both.
const SECTIONS: &str = "quotas:
- {in: ring/docker, maxbytes: 250000}
- {in: ring/ctr, maxbytes: 250000}
- {in: ring/podman, maxbytes: 250000}
- {in: ring/skopeo, maxbytes: 250000}
- {in: ring/buildah, maxbytes: 250000}
- {in: ring/crane, maxbytes: 250000}
- {in: ring/oras, maxbytes: 250000}
- {in: ring/regctl, maxbytes: 250000}
";

/// What everybody has to hear: what there is, may be and would be needed, by which rule, and what to do.
const WORDS: &str =
    "quota exceeded: * kB used of 250.0 kB, this needs * kB more (*quota *)*delete what nobody needs";

pub(super) fn cases(
    report: &mut Report,
    ring: &Ring,
    engines: &Engines,
    layouts: &Layouts<'_>,
    chosen: &dyn Fn(&str) -> bool,
) -> Result {
    on_a_stage(report, ring, engines, layouts, "quotas", SECTIONS, |stage, _, report| {
        let [first, second] = [(71, 100_000), (72, 200_000)]
            .map(|(seed, size)| Image::single(seed, native_architecture(), &[9000, size]));
        let (fits, exceeds) = (layout(ring, &first, "fits")?, layout(ring, &second, "exceeds")?);
        each_client(&mut Pushing { stage, report, chosen, fits: &fits, exceeds: &exceeds });
        Ok(())
    })
}

struct Pushing<'a> {
    stage: &'a Stage<'a>,
    report: &'a mut Report,
    chosen: &'a dyn Fn(&str) -> bool,
    fits: &'a Layout<'a>,
    exceeds: &'a Layout<'a>,
}

impl Visitor for Pushing<'_> {
    fn visit<C: Client>(&mut self, client: &C) {
        if !meets_rules::<C>(self.chosen) {
            return;
        }
        let (stage, said) = (self.stage, RefCell::new(String::new()));
        let (registry, repository) = (Registry::new(stage.server.http()), format!("ring/{}", C::NAME));
        self.report.case(C::NAME, "is refused what exceeds a quota, and says the numbers", || {
            let session = stage.session(C::NAME, "exceeding")?;
            client.push(&session, self.fits, &session.reference(&repository, "fits"))?.done()?;
            let attempt = client.push(&session, self.exceeds, &session.reference(&repository, "exceeds"))?;
            *said.borrow_mut() = line_of_refusal::<C>(attempt, WORDS)?;
            same("the tags", &registry.tags(&repository)?, &Some(vec!["fits".to_owned()]))
        });
        println!("{:<16} {}", "", said.borrow());
        self.report.case(C::NAME, "pushes it once there is room", || {
            same("deleting", &registry.delete(&format!("/v2/{repository}/manifests/fits"))?, &202)?;
            registry.http.send("POST", "/api/v1/gc?now=true", &[], Body::Whole(&[]))?.expect("gc", &[200])?;
            let session = stage.session(C::NAME, "room")?;
            client.push(&session, self.exceeds, &session.reference(&repository, "exceeds"))?.done()?;
            Ok(())
        });
    }
}
