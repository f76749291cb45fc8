//! Traefik, from one text in the form that `larder proxy traefik` prints: what it reads at its start in the comment, and
//! below that what it routes. So the rings run the whole of what is printed.

use std::time::Duration;

use crate::failure::{Result, fail};
use crate::http::{Body, Http};
use crate::places::{LOOPBACK, Ring, free_port};
use crate::process::{Daemon, Run};

/// What each line of the start's configuration has in front.
const MARK: &str = "#   ";
/// Where the text says that it lies.
const PRINTED_PATH: &str = "/etc/traefik/dynamic/registry.yml";
/// Nothing is asked of the internet, and what it has made of its files can be asked: as a file, and as flags.
const ALSO: &str = "global:\n  checkNewVersion: false\n  sendAnonymousUsage: false\nlog:\n  level: DEBUG\napi:\n  insecure: true\n";
const ALSO_FLAGS: [&str; 4] = [
    "--global.checkNewVersion=false",
    "--global.sendAnonymousUsage=false",
    "--log.level=DEBUG",
    "--api.insecure=true",
];
const START_LIMIT: Duration = Duration::from_secs(30);

/// Starts it with both configurations that `text` holds, and waits until it has the router `registry`: it listens before
/// it has read what it routes.
pub(crate) fn start(ring: &Ring, title: &str, text: &str) -> Result<Daemon> {
    let routes = ring.write(&format!("{title}.routes.yml"), text)?;
    let api = format!("{LOOPBACK}:{}", free_port(LOOPBACK)?);
    let start: String = text
        .lines()
        .filter_map(|line| line.strip_prefix(MARK))
        .map(|line| line.replace(PRINTED_PATH, &routes.display().to_string()) + "\n")
        .collect();
    if !start.contains("entryPoints:\n") || !start.contains(&*routes.to_string_lossy()) {
        fail!("there is nothing to start Traefik with in {text}");
    }
    let start = start.replace("entryPoints:\n", &format!("entryPoints:\n  traefik:\n    address: {api}\n"));
    let start = ring.write(&format!("{title}.traefik.yml"), start + ALSO)?;
    let run = Run::new("traefik").arg(format!("--configFile={}", start.display()));
    running(ring, title, run, &api, "registry@file")
}

/// Starts it with these flags instead of a file, and waits until it has this router.
pub(crate) fn with_flags(ring: &Ring, title: &str, flags: &[String], router: &str) -> Result<Daemon> {
    let api = format!("{LOOPBACK}:{}", free_port(LOOPBACK)?);
    let run = Run::new("traefik").args(flags).args(ALSO_FLAGS);
    let run = run.arg(format!("--entryPoints.traefik.address={api}"));
    running(ring, title, run, &api, router)
}

fn running(ring: &Ring, title: &str, run: Run, api: &str, router: &str) -> Result<Daemon> {
    let mut daemon = run.daemon(ring, &format!("proxy-{title}"))?;
    let http = Http { address: api.to_owned() };
    daemon.wait_until("it has its router", START_LIMIT, || {
        let answer = http.send("GET", &format!("/api/http/routers/{router}"), &[], Body::Whole(&[]));
        answer.is_ok_and(|answer| answer.status == 200)
    })?;
    Ok(daemon)
}
