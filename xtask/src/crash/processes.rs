//! SIGKILL in the middle of the commands that copy and collect: `larder backup`, `backup verify`, `restore`, `gc`,
//! `garbage-collect` and `retention run`. Each is killed at random moments, again and again, and then let through: what
//! a kill leaves never lies, and the next run goes on to the end that an undisturbed one comes to.

mod retention;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::dist;
use crate::failure::{Context, Failure, Result, fail, same};
use crate::http::Body;
use crate::image::Image;
use crate::places::Ring;
use crate::process::Run;
use crate::random::Random;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::{Plan, Program, Server};

/// Kills of each command in a round.
const KILLS: u64 = 12;
const COLLECTOR: &str = "  maintenance:\n    gc:\n      grace: 250ms\n";

/// An image that has to be there, and the tag that leads to it.
type Kept = (String, String, Image);

struct Place<'a> {
    ring: &'a Ring,
    data: PathBuf,
    backups: PathBuf,
    kept: Vec<Kept>,
    random: Random,
    count: u64,
}

pub(super) fn cases(report: &mut Report, ring: &Ring, rounds: u64, seed: u64) -> Result {
    let (data, backups) = (ring.make_dir("processes")?, ring.make_dir("backups")?);
    let random = Random::new(seed.wrapping_add(77));
    let mut place = Place { ring, data, backups, kept: Vec::new(), random, count: 0 };
    for round in 1..=rounds {
        report.about(&format!("processes {round}"));
        let Some(server) = report.step("larder", "takes images", || place.fill()) else { return Ok(()) };
        report.case("larder", "a plain copy during maintenance is of one moment", || {
            place.copy_paused(&server)
        });
        report.case("larder", "backup, killed while others push", || place.kill_backups(&server));
        report.case("larder", "backup verify, killed", || place.kill_verifies());
        report.case("larder", "restore, killed", || place.kill_restores());
        report.case("larder", "gc and garbage-collect, killed", || {
            let path = place.delete_half(&server)?;
            server.daemon.stop()?;
            place.kill_collectors(&path)
        });
        report.case("larder", "retention run, killed", || place.kill_retention());
        report.case("larder", "retention by the server, killed with it", || place.kill_retaining_servers());
    }
    report.about("");
    Ok(())
}

impl Place<'_> {
    fn start(&self, data: &Path, name: &str) -> Result<Server> {
        Plan { storage_lines: COLLECTOR, ..Plan::open(Program::Larder, data) }.start(self.ring, name)
    }

    fn seed(&mut self) -> u64 {
        self.count += 4;
        900_000_000 + self.count
    }

    /// Some images with layers of their own, and some that share them.
    fn fill(&mut self) -> Result<Server> {
        let server = self.start(&self.data, "processes")?;
        let registry = Registry::new(server.http());
        for number in 0..6 {
            let seed = self.seed();
            let image = match number % 3 {
                0 => Image::index(seed, &["amd64", "arm64"], &[200_000]),
                1 => Image::single(1, "amd64", &[1 << 20]).with_manifest(
                    crate::image::OCI_MANIFEST,
                    |manifest| {
                        crate::image::set(
                            manifest,
                            "",
                            "annotations",
                            serde_json::json!({ "n": seed.to_string() }),
                        );
                    },
                )?,
                _ => Image::single(seed, "amd64", &[2 << 20, 1000]),
            };
            let (repository, tag) = (format!("kill/{}", number % 2), format!("t{seed}"));
            registry.push_image(&repository, &tag, &image)?;
            self.kept.push((repository, tag, image));
        }
        Ok(server)
    }

    fn larder(&self) -> Result<Run> {
        Ok(Run::new(dist::release()?))
    }

    /// Runs a command some times, each time killed at another moment of what a whole run takes; then to its end.
    fn killed(&mut self, name: &str, command: impl Fn(&Self) -> Result<Run>) -> Result<String> {
        let mut longest = Duration::from_millis(400);
        for _ in 0..KILLS {
            let begun = Instant::now();
            let mut process = command(self)?.daemon(self.ring, name)?;
            let after = longest.mul_f64(self.random.below(1000) as f64 / 1000.0);
            // Not a wait for anything: the moment of the kill is what is being varied.
            std::thread::sleep(after);
            process.kill()?;
            longest = longest.max(begun.elapsed());
        }
        command(self)?.ok()
    }

    /// Others push all the while. What was acknowledged before is in the copy, and a second copy is the same.
    fn copy_paused(&mut self, server: &Server) -> Result {
        let (http, stop, refused) = (server.http(), AtomicBool::new(false), AtomicU64::new(0));
        let acknowledged: Mutex<Vec<Kept>> = Mutex::default();
        let first = self.seed();
        let copies = ["copy-one", "copy-two"].map(|name| self.ring.dir.join(name));
        for copy in &copies {
            if copy.try_exists()? {
                fs::remove_dir_all(copy)?;
            }
        }
        let then = std::thread::scope(|scope| {
            let pusher = scope.spawn(|| -> Result {
                let registry = Registry::new(http);
                for number in 1.. {
                    let image = Image::single((first << 20) + number * 4, "amd64", &[20_000]);
                    let (repository, tag) = ("kill/paused".to_owned(), format!("n{number}"));
                    match registry.push_image(&repository, &tag, &image) {
                        Ok(()) => lock(&acknowledged).push((repository, tag, image)),
                        Err(failure) if failure.to_string().contains("answered 405") => {
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(failure) => return Err(failure),
                    }
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
                Ok(())
            });
            let copied = self.copy_twice(&copies, || lock(&acknowledged).clone(), &refused);
            stop.store(true, Ordering::SeqCst);
            match pusher.join() {
                Ok(outcome) => outcome?,
                Err(_) => fail!("the pusher panicked"),
            }
            copied
        })?;
        let [one, two] = &copies;
        let beside =
            ["index.db", "index.db-wal", "index.db-shm", "socket"].map(|name| format!("--exclude={name}"));
        Run::new("diff").arg("-rq").args(beside).args([one, two]).ok()?;
        let server = self.start(one, "copied")?;
        let registry = Registry::new(server.http());
        self.all_is_there(&registry)?;
        for (repository, tag, image) in &then {
            let served = registry.manifest(repository, tag)?.map(|served| served.digest);
            same(&format!("{repository}:{tag}"), &served.as_deref(), &Some(image.digest()))?;
        }
        server.daemon.stop()?;
        let said = self.larder()?.args(["verify", "--data"]).arg(one).output()?;
        same("the code of larder verify", &said.code, &Some(0)).context(said.all())
    }

    /// Gives what had been acknowledged when the first copy began.
    fn copy_twice(
        &self,
        copies: &[PathBuf; 2],
        acknowledged: impl Fn() -> Vec<Kept>,
        refused: &AtomicU64,
    ) -> Result<Vec<Kept>> {
        let maintenance =
            |word| Ok::<_, Failure>(self.larder()?.args(["maintenance", word, "--data"]).arg(&self.data));
        maintenance("on")?.ok()?;
        let then = acknowledged();
        for copy in copies {
            Run::new("cp").arg("-a").arg(&self.data).arg(copy).ok()?;
        }
        let begun = Instant::now();
        while refused.load(Ordering::SeqCst) == 0 && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        maintenance("off")?.ok()?;
        if refused.load(Ordering::SeqCst) == 0 {
            fail!("no push was refused: nobody pushed during maintenance");
        }
        Ok(then)
    }

    fn kill_backups(&mut self, server: &Server) -> Result {
        let (http, stop) = (server.http(), AtomicBool::new(false));
        let first = self.seed();
        let said = std::thread::scope(|scope| {
            let pusher = scope.spawn(|| -> Result {
                let registry = Registry::new(http);
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let image = Image::single((first << 20) + number * 4, "amd64", &[30_000]);
                    registry.push_image("kill/passing", &format!("n{}", number % 5), &image)?;
                }
                Ok(())
            });
            let said = self.killed("backup", |place| {
                Ok(place.larder()?.arg("backup").arg(&place.backups).arg("--data").arg(&place.data))
            });
            stop.store(true, Ordering::SeqCst);
            match pusher.join() {
                Ok(outcome) => outcome?,
                Err(_) => fail!("the pusher panicked"),
            }
            said
        })?;
        if !said.contains("snapshot") {
            fail!("the backup said {said}");
        }
        self.verify()
    }

    fn verify(&self) -> Result {
        let said = self.larder()?.args(["backup", "verify"]).arg(&self.backups).ok()?;
        if said.contains("all can be restored whole") { Ok(()) } else { fail!("verify said {said}") }
    }

    /// It moves damaged blobs away: a kill must not make it take a whole one for damaged.
    fn kill_verifies(&mut self) -> Result {
        let blobs = |place: &Self| Run::new("find").arg(&place.backups).args(["-type", "f"]).ok();
        let before = blobs(self)?.lines().count();
        let said = self
            .killed("verify", |place| Ok(place.larder()?.args(["backup", "verify"]).arg(&place.backups)))?;
        if !said.contains("all can be restored whole") {
            fail!("verify said {said}");
        }
        same("the files of the backup", &blobs(self)?.lines().count(), &before)
    }

    fn kill_restores(&mut self) -> Result {
        let target = self.ring.dir.join("restored");
        if target.try_exists()? {
            fs::remove_dir_all(&target)?;
        }
        self.killed("restore", |place| {
            // Half of a registry is not served.
            if target.join("larder/restoring").try_exists()? {
                let serve = place.larder()?.args(["serve", "--data"]).arg(&target);
                serve.env("REGISTRY_HTTP_ADDR", "127.0.0.1:0").limit(30).refused("restore")?;
            }
            Ok(place.larder()?.arg("restore").arg(&place.backups).arg(&target))
        })
        .or_else(|failure| {
            // The last kill may have come after the end: then all is there, and a directory that isn't empty is left alone.
            let is_whole = !target.join("larder/restoring").try_exists()?;
            if is_whole && failure.to_string().contains("not empty") {
                Ok(String::new())
            } else {
                Err(failure)
            }
        })?;
        let server = self.start(&target, "restored")?;
        self.all_is_there(&Registry::new(server.http()))?;
        server.daemon.stop()?;
        let said = self.larder()?.args(["verify", "--data"]).arg(&target).output()?;
        same("the code of larder verify", &said.code, &Some(0)).context(said.all())
    }

    fn all_is_there(&self, registry: &Registry) -> Result {
        let mut walked = Walked::default();
        for (repository, tag, image) in &self.kept {
            let served = registry.manifest(repository, tag)?.map(|served| served.digest);
            same(&format!("{repository}:{tag}"), &served.as_deref(), &Some(image.digest()))?;
            registry.walk(repository, tag, &mut walked)?;
        }
        for repository in registry.repositories()? {
            for tag in registry.tags(&repository)?.unwrap_or_default() {
                registry.walk(&repository, &tag, &mut walked)?;
            }
        }
        Ok(())
    }

    /// Deletes about half of the images; gives the configuration that the registry ran with.
    fn delete_half(&mut self, server: &Server) -> Result<PathBuf> {
        let registry = Registry::new(server.http());
        let mut kept = Vec::new();
        for (repository, tag, image) in std::mem::take(&mut self.kept) {
            if self.random.below(2) == 0 {
                kept.push((repository, tag, image));
                continue;
            }
            same("the status", &registry.delete(&format!("/v2/{repository}/manifests/{tag}"))?, &202)?;
        }
        self.kept = kept;
        Ok(server.config.clone())
    }

    /// No registry runs: the commands work themselves.
    fn kill_collectors(&mut self, config: &Path) -> Result {
        let gc = |place: &Self| Ok(place.larder()?.args(["gc", "--now", "--sweep", "--config"]).arg(config));
        self.killed("gc", gc)?;
        let all = |place: &Self| Ok(place.larder()?.args(["garbage-collect", "-m"]).arg(config));
        self.killed("garbage-collect", all)?;
        let again = all(self)?.ok()?;
        if !again.contains("freed 0 bytes") {
            fail!("a kill kept something from going: {again}");
        }
        let server = self.start(&self.data, "processes")?;
        let registry = Registry::new(server.http());
        self.all_is_there(&registry)?;
        // And through the running registry, too.
        let path = "/api/v1/gc?everything=true";
        registry.http.send("POST", path, &[], Body::Whole(&[]))?.expect(path, &[200])?;
        self.all_is_there(&registry)?;
        server.daemon.stop()?;
        let said = self.larder()?.args(["verify", "--data"]).arg(&self.data).output()?;
        same("the code of larder verify", &said.code, &Some(0)).context(said.all())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
