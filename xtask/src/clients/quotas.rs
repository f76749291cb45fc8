//! A quota: each client is refused a push that exceeds it, and says the numbers; once something is deleted and collected
//! the same push goes through.

use std::cell::RefCell;

use super::{Attempt, Client, Engines, Layout, Layouts, Stage, Visitor, each_client, layout};
use crate::failure::{Context, Result, fail, same};
use crate::http::Body;
use crate::image::{Image, native_architecture};
use crate::places::Ring;
use crate::process::says;
use crate::registry::Registry;
use crate::report::Report;
use crate::server::{Plan, Program};

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
    report.about("quotas");
    let data = ring.make_dir("data-quotas")?;
    let plan = Plan { sections: SECTIONS, ..Plan::open(Program::Larder, &data) };
    let Some(server) = report.step("registry", "starts", || plan.start(ring, "quotas")) else {
        return Ok(());
    };
    let [first, second] = [(71, 100_000), (72, 200_000)]
        .map(|(seed, size)| Image::single(seed, native_architecture(), &[9000, size]));
    let (fits, exceeds) = (layout(ring, &first, "fits")?, layout(ring, &second, "exceeds")?);
    let stage = Stage { ring, server: &server, engines, layouts, title: "quotas" };
    each_client(&mut Pushing { stage: &stage, report, chosen, fits: &fits, exceeds: &exceeds });
    report.case("registry", "ends on SIGTERM", || server.daemon.stop());
    Ok(())
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
        // helm makes its images itself, out of charts.
        if !(self.chosen)(C::NAME) || C::NAME == "helm" {
            return;
        }
        // containerd's own client shows no more of a refusal than its status.
        let words = if C::NAME == "ctr" { "403 Forbidden" } else { WORDS };
        let (stage, said) = (self.stage, RefCell::new(String::new()));
        let (registry, repository) = (Registry::new(stage.server.http()), format!("ring/{}", C::NAME));
        self.report.case(C::NAME, "is refused what exceeds a quota, and says the numbers", || {
            let session = stage.session(C::NAME, "exceeding")?;
            client.push(&session, self.fits, &session.reference(&repository, "fits"))?.done()?;
            match client.push(&session, self.exceeds, &session.reference(&repository, "exceeds"))? {
                Attempt::Done { digest } => fail!("{digest} came through"),
                Attempt::Refused(output) => {
                    let line = output.all().lines().find(|line| says(line, words)).map(str::to_owned);
                    *said.borrow_mut() = line.context(format!("the numbers in {}", output.all()))?;
                }
            }
            same("the tags", &registry.tags(&repository)?, &Some(vec!["fits".to_owned()]))
        });
        println!("{:<16} {}", "", said.borrow().trim());
        self.report.case(C::NAME, "pushes it once there is room", || {
            same("deleting", &registry.delete(&format!("/v2/{repository}/manifests/fits"))?, &202)?;
            registry.http.send("POST", "/api/v1/gc?now=true", &[], Body::Whole(&[]))?.expect("gc", &[200])?;
            let session = stage.session(C::NAME, "room")?;
            client.push(&session, self.exceeds, &session.reference(&repository, "exceeds"))?.done()?;
            Ok(())
        });
    }
}
