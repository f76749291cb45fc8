//! `larder retention run --yes`, and a server that applies the rules, killed in the middle: what the rules keep is
//! there, and the next run comes to the end that was planned.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{COLLECTOR, KILLS, Place};
use crate::failure::{Context, Result, fail, same};
use crate::http::Body;
use crate::image::{Image, OCI_MANIFEST, set};
use crate::process::Run;
use crate::registry::{Registry, Walked};
use crate::server::{Plan, Program, Server};

const REPOSITORY: &str = "kill/retired";
/// So many that going through them takes as long as all kills together.
const TAGS: u64 = 400;
const KEPT_EVERY: u64 = 40;
const NEWEST: u64 = 7;
/// The kill comes within this of the first deletion, or of the start.
const KILL_MILLISECONDS: u64 = 40;
/// How long a first deletion is waited for: much longer than it takes.
const BEGINNING: Duration = Duration::from_secs(20);

const SECTIONS: &str = "retention:
  every: 0
  rules:
  - in: kill/retired
    keep:
    - newest: 7
    - tags: keep-*
";

impl Place<'_> {
    fn start_retaining(&self) -> Result<Server> {
        let plan =
            Plan { storage_lines: COLLECTOR, sections: SECTIONS, ..Plan::open(Program::Larder, &self.data) };
        plan.start(self.ring, "retention")
    }

    /// Images that differ in their manifests alone, each with a tag.
    fn push_many(&mut self, registry: &Registry) -> Result {
        let seed = self.seed();
        let image = Image::single(1, "amd64", &[50_000]);
        for blob in image.all_blobs() {
            registry.push_blob(REPOSITORY, &blob.digest, &blob.bytes, crate::registry::Style::Put)?;
        }
        for number in 0..TAGS {
            let noted = image.clone().with_manifest(OCI_MANIFEST, |manifest| {
                set(manifest, "", "annotations", serde_json::json!({ "n": format!("{seed}-{number}") }));
            })?;
            let kind = if number % KEPT_EVERY == 0 { "keep" } else { "build" };
            registry.put_manifest(REPOSITORY, &format!("{kind}-{seed}-{number}"), &noted.manifest)?;
        }
        Ok(())
    }

    pub(super) fn kill_retention(&mut self) -> Result {
        let server = self.start_retaining()?;
        self.push_many(&Registry::new(server.http()))?;
        let config = server.config.clone();
        server.daemon.stop()?;
        let larder = |place: &Self, words: &[&str]| {
            place.larder().map(|larder| larder.args(words).arg("--config").arg(&config))
        };
        let planned = planned(larder(self, &["retention", "plan", "--json"])?)?;
        let run = |place: &Self| larder(place, &["retention", "run", "--yes"]);
        let (stay, mut in_the_middle) = (planned.len() as u64, 0);
        for number in 0..KILLS {
            let before = tags_on_disk(self)?;
            let mut process = run(self)?.daemon(self.ring, "retention-run")?;
            self.until_it_works(number, before, stay)?;
            process.kill()?;
            let now = tags_on_disk(self)?;
            in_the_middle += u64::from(now < before && now > stay);
        }
        run(self)?.ok()?;
        println!(
            "{:<16} {KILLS} kills, {in_the_middle} of them in the middle; {} of {TAGS} tags stay",
            "",
            planned.len()
        );
        if in_the_middle == 0 {
            fail!("no kill came in the middle");
        }
        let again = run(self)?.ok()?;
        if !again.contains("0 deleted") {
            fail!("a kill kept something from going: {again}");
        }
        self.check_retained(&planned)
    }

    /// Through the API, with the server killed while it works.
    pub(super) fn kill_retaining_servers(&mut self) -> Result {
        let server = self.start_retaining()?;
        self.push_many(&Registry::new(server.http()))?;
        let plan = server.http().get("/api/v1/retention", &[])?.expect("the plan", &[200])?;
        let planned = staying(&serde_json::from_slice(&plan.body)?)?;
        let mut server = Some(server);
        let (stay, mut in_the_middle) = (planned.len() as u64, 0);
        for number in 0..KILLS {
            let mut running = match server.take() {
                Some(server) => server,
                None => self.start_retaining()?,
            };
            let before = tags_on_disk(self)?;
            let http = running.http();
            let killed = std::thread::scope(|scope| {
                // It gets an answer or none, as the kill comes.
                scope.spawn(|| http.send("POST", "/api/v1/retention?consent=true", &[], Body::Whole(&[])));
                let begun = self.until_it_works(number, before, stay);
                running.daemon.kill().and(begun)
            });
            killed?;
            let now = tags_on_disk(self)?;
            in_the_middle += u64::from(now < before && now > stay);
        }
        let last = self.start_retaining()?;
        let path = "/api/v1/retention?consent=true";
        last.http().send("POST", path, &[], Body::Whole(&[]))?.expect(path, &[200])?;
        last.daemon.stop()?;
        println!("{:<16} {KILLS} kills, {in_the_middle} of them in the middle", "");
        if in_the_middle == 0 {
            fail!("no kill came in the middle");
        }
        self.check_retained(&planned)
    }

    /// Some time after the first tag has gone, or some time after the start: the moment of the kill is what is varied.
    fn until_it_works(&mut self, number: u64, before: u64, stay: u64) -> Result {
        let begun = Instant::now();
        let deletes = !number.is_multiple_of(3) && before > stay;
        while deletes && begun.elapsed() < BEGINNING && tags_on_disk(self)? == before {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(self.random.below(KILL_MILLISECONDS)));
        Ok(())
    }

    /// What was to stay is there and whole, and nothing else; and so is all that no rule is about.
    fn check_retained(&self, planned: &BTreeSet<String>) -> Result {
        let server = self.start_retaining()?;
        let registry = Registry::new(server.http());
        let tags: BTreeSet<String> = registry.tags(REPOSITORY)?.unwrap_or_default().into_iter().collect();
        same("the tags", &tags, planned)?;
        let path = "/api/v1/gc?everything=true";
        registry.http.send("POST", path, &[], Body::Whole(&[]))?.expect(path, &[200])?;
        let mut walked = Walked::default();
        for tag in planned {
            registry.walk(REPOSITORY, tag, &mut walked)?;
        }
        self.all_is_there(&registry)?;
        server.daemon.stop()?;
        let said = self.larder()?.args(["verify", "--data"]).arg(&self.data).output()?;
        same("the code of larder verify", &said.code, &Some(0)).context(said.all())
    }
}

fn planned(plan: Run) -> Result<BTreeSet<String>> {
    staying(&serde_json::from_str(&plan.ok()?)?)
}

/// The tags that stay by a plan; what has to stay whatever the plan says is among them.
fn staying(plan: &Value) -> Result<BTreeSet<String>> {
    let tags = plan.pointer("/repositories/0/tags").and_then(Value::as_array).context("tags in the plan")?;
    let name = |tag: &Value| tag.get("tag").and_then(Value::as_str).map(str::to_owned);
    let stays = |tag: &&Value| tag.get("goes").and_then(Value::as_bool) == Some(false);
    let staying: BTreeSet<String> = tags.iter().filter(stays).filter_map(name).collect();
    let kept = tags.iter().filter_map(name).filter(|tag| tag.starts_with("keep-"));
    let newest = TAGS - NEWEST..TAGS;
    for tag in kept {
        if !staying.contains(&tag) {
            fail!("{tag} is kept by its name, and goes by the plan");
        }
    }
    for number in newest {
        if !staying.iter().any(|tag| tag.ends_with(&format!("-{number}"))) {
            fail!("number {number} is among the newest, and goes by the plan");
        }
    }
    if staying.len() as u64 > TAGS / 4 {
        fail!("{} tags stay, which is far too many", staying.len());
    }
    Ok(staying)
}

/// Tags, by their directories.
fn tags_on_disk(place: &Place<'_>) -> Result<u64> {
    let tags = place.data.join("docker/registry/v2/repositories").join(REPOSITORY).join("_manifests/tags");
    Ok(std::fs::read_dir(tags)?.count() as u64)
}
