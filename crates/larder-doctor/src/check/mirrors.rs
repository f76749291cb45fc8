//! Whether this machine's engines really come through the mirrors that they are told of.
//!
//! An engine whose mirror fails goes on to the upstream and says nothing. So it is made to pull what no upstream has: a tiny image that is
//! pushed to the registry under an upstream's name, with a tag of its own, and taken away again. Its repository is none that an
//! upstream can have, so that no image is ever hidden by it. Whoever gets it came through the registry.

mod image;
mod engine;

use http::StatusCode;
use larder_oci::RepoName;

use crate::check::{Session, Told, Visit, accepting};
use crate::finding::{Hop, Row, Stage};
use crate::hop;
use crate::machine::{Engine, Machine, Mirror, Spoken};
use crate::net::{Ask, Scheme};
use engine::{Asked, Puller};
use image::Image;

const STAGE: Stage = Stage::Machine;

/// Nobody can have these at an upstream: Docker Hub's `library/` is Docker's own, and elsewhere an owner has no dot in his name.
const AT_DOCKER_HUB: &str = "library/larder-canary";
const ELSEWHERE: &str = "larder-doctor.invalid/canary";

/// What is the same for each mirror.
struct Trial<'t> {
    session: &'t Session,
    machine: &'t Machine,
    /// The registry as `larder client` takes it.
    registry: String,
    /// The mirrors through which containerd's own client got its image.
    by_ctr: Vec<String>,
}

pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, spoken: &Spoken) {
    let Some(machine) = visit.options.machine.clone() else { return };
    let before = visit.journal.entries().len();
    let mirrors = mirrors(visit, &machine, spoken).await;
    let plain = if spoken.endpoint.scheme == Scheme::Http { "http://" } else { "" };
    let registry = format!("{plain}{}", visit.target.authority());
    let mut trial = Trial { session, machine: &machine, registry, by_ctr: Vec::new() };
    let mut skipped = Vec::new();
    for (number, mirror) in (0..).zip(&mirrors) {
        match Puller::reach(&machine, mirror).await {
            Ok(puller) => {
                // Each image is another one: engines share what they have.
                let seed = visit.options.seed.wrapping_add(number << 32);
                trial.prove(visit, &puller, mirror, seed).await;
            }
            Err(why) => {
                let line = format!("{} names this registry, and {why}", mirror.told_by);
                if !skipped.contains(&line) {
                    visit.skip(STAGE, line.as_str());
                    skipped.push(line);
                }
            }
        }
    }
    if visit.journal.entries().len() == before {
        visit.skip(
            STAGE,
            "no docker, containerd, Kubernetes, k3s, podman or BuildKit of this machine is told of this registry as a mirror",
        );
    }
}

/// Every mirror of this machine that means the registry.
async fn mirrors(visit: &mut Visit<'_, '_>, machine: &Machine, spoken: &Spoken) -> Vec<Mirror> {
    let mut mirrors = docker(visit, machine, spoken).await;
    let of_containerd = machine.containerd_mirrors(spoken);
    let of_kubernetes = kubernetes(visit, machine, &of_containerd);
    mirrors.extend(of_containerd);
    mirrors.extend(of_kubernetes);
    mirrors.extend(k3s(visit, machine, spoken));
    mirrors.extend(machine.podman_mirrors(spoken));
    mirrors.extend(machine.buildkit_mirrors(spoken));
    mirrors
}

/// The mirrors of the docker that runs, which may have been started before its file was written.
async fn docker(visit: &mut Visit<'_, '_>, machine: &Machine, spoken: &Spoken) -> Vec<Mirror> {
    let mirrors = match machine.find("docker") {
        None => return Vec::new(),
        Some(docker) => match engine::docker_mirrors(&docker).await {
            Ok(told) => Machine::docker_mirrors(spoken, &told),
            Err(why) => {
                visit.skip(STAGE, format!("docker's mirrors can't be looked at: {why}"));
                return Vec::new();
            }
        },
    };
    if !mirrors.iter().any(|mirror| mirror.is_exact)
        && let Some((file, url)) = machine.written_docker_mirror(spoken)
    {
        let told = Told::failure(
            Hop::Client,
            format!("{} has the mirror {url}, and the docker that runs doesn't have it", file.display()),
            "docker reads the file at its start alone: until then its pulls go past the mirror without a word",
            "sudo systemctl restart docker",
        );
        visit.find(STAGE, Row::MirrorBypassed, told);
    }
    mirrors
}

/// containerd's mirrors once more, for the kubelet: its pulls go by what the containerd that runs was told at its start.
fn kubernetes(visit: &mut Visit<'_, '_>, machine: &Machine, mirrors: &[Mirror]) -> Vec<Mirror> {
    if mirrors.is_empty() {
        return Vec::new();
    }
    if !machine.has(Engine::Kubernetes.program()) {
        // Without the setting, nothing on this machine speaks of Kubernetes.
        if machine.writes_config_path() {
            visit.skip(
                STAGE,
                "Kubernetes' own way to containerd's mirrors isn't tried: crictl isn't installed",
            );
        }
        return Vec::new();
    }
    let Some(endpoint) = machine.runtime_endpoint() else { return Vec::new() };
    let of_kubernetes =
        |mirror: &Mirror| Mirror { engine: Engine::Kubernetes, daemon: endpoint.clone(), ..mirror.clone() };
    mirrors.iter().map(of_kubernetes).collect()
}

/// The mirrors of k3s and RKE2 that were read at their start.
fn k3s(visit: &mut Visit<'_, '_>, machine: &Machine, spoken: &Spoken) -> Vec<Mirror> {
    let registries = machine.k3s_mirrors(spoken);
    for why in registries.unproven {
        visit.skip(STAGE, why);
    }
    for mirror in registries.unread {
        let name = mirror.teller();
        let told = Told::failure(
            Hop::Client,
            format!(
                "{} has the mirror {} of {}, and the {name} that runs doesn't have it",
                mirror.told_by, mirror.written, mirror.upstream
            ),
            format!(
                "{name} makes containerd's files from it at its start alone: until then its pulls go past the mirror without a word"
            ),
            format!("sudo systemctl restart {}", machine.k3s_service(mirror.engine)),
        );
        visit.find(STAGE, Row::MirrorBypassed, told);
    }
    registries.mirrors
}

impl Trial<'_> {
    async fn prove(&mut self, visit: &mut Visit<'_, '_>, puller: &Puller, mirror: &Mirror, seed: u64) {
        let name = if mirror.upstream == "docker.io" { AT_DOCKER_HUB } else { ELSEWHERE };
        let mut last = None;
        for repository in homes(mirror, name) {
            let image = image::image(repository, seed);
            if let Err(why) = image::push(self.session, &image).await {
                last = Some(why);
                continue;
            }
            let closed =
                if mirror.is_exact { is_closed(self.session, mirror, name, &image).await } else { None };
            if closed.is_none() {
                self.pull(visit, puller, mirror, name, &image).await;
                image::take_away(visit, self.session, &image).await;
                return;
            }
            image::take_away(visit, self.session, &image).await;
            last = closed;
        }
        let why = last.unwrap_or_default();
        let told = Told::failure(
            Hop::Registry,
            format!(
                "{} says {} for {}, and there the registry has no such image: {why}",
                mirror.told_by, mirror.written, mirror.upstream
            ),
            format!(
                "{} asks the mirror, is told so, and goes on to {} without a word: the registry has no upstream of that name at \
                 this path, or this user may not push below it",
                mirror.teller(),
                mirror.upstream
            ),
            format!(
                "upstreams: [{{name: {}}}] in the registry's configuration; larder client {} {} prints what belongs here",
                mirror.upstream,
                mirror.engine.client(),
                self.registry
            ),
        );
        visit.find(STAGE, Row::MirrorBypassed, told);
    }

    async fn pull(
        &mut self,
        visit: &mut Visit<'_, '_>,
        puller: &Puller,
        mirror: &Mirror,
        name: &str,
        image: &Image,
    ) {
        let reference = format!("{}/{name}:{}", mirror.upstream, image.tag);
        let teller = mirror.teller();
        let registry = visit.target.authority();
        let said = match puller.pull(&reference, image).await {
            Ok(()) => {
                if mirror.engine == Engine::Containerd {
                    self.by_ctr.push(mirror.told_by.clone());
                }
                return visit.good(
                    STAGE,
                    format!(
                        "{teller} pulled {reference} through {registry}, which alone has it: the mirror of {} works",
                        mirror.upstream
                    ),
                );
            }
            Err(said) => said,
        };
        let shown = engine::shortened(&said);
        let outcome = match engine::asked(&said, &registry, mirror) {
            None => return visit.skip(STAGE, format!("{teller} can't pull, whatever its mirror: {shown}")),
            Some(Asked::Other(asked)) => format!("it asked {asked}: {shown}"),
            Some(Asked::Mirror) => format!("it got nothing there: {shown}"),
        };
        let seen = format!(
            "bypassed: {teller} is told of {} as a mirror of {} ({}), and for {reference}, which {registry} alone has, {outcome}",
            mirror.written, mirror.upstream, mirror.told_by
        );
        let (cause, fix) = self.unread(puller, mirror).unwrap_or_else(|| self.unreached(mirror));
        visit.find(STAGE, Row::MirrorBypassed, Told::failure(Hop::Client, seen, cause, fix));
    }

    /// Cause and fix, when the containerd that runs doesn't look for mirrors where they are written.
    fn unread(&self, puller: &Puller, mirror: &Mirror) -> Option<(String, String)> {
        let dir = self.machine.hosts_dir();
        let looks = match (mirror.engine, puller.config_path()) {
            (Engine::Kubernetes, Some("")) => "looks for mirrors in no directory".to_owned(),
            (Engine::Kubernetes, Some(path)) if !std::env::split_paths(path).any(|each| each == dir) => {
                format!("looks for mirrors in {path}")
            }
            (Engine::Kubernetes, None) if self.by_ctr.contains(&mirror.told_by) => {
                "doesn't look for mirrors there, though ctr gets the image by the same file".to_owned()
            }
            _ => return None,
        };
        let cause = format!(
            "the containerd that runs {looks}: it reads config_path at its start alone, and without it Kubernetes' pulls go past the \
             mirror without a word"
        );
        let restart = "sudo systemctl restart containerd";
        let fix = if self.machine.writes_config_path() {
            restart.to_owned()
        } else {
            format!(
                "larder client containerd {} prints the config_path that belongs into containerd's file; then {restart}",
                self.registry
            )
        };
        Some((cause, fix))
    }

    /// Cause and fix, when a mirror that is known gives nothing.
    fn unreached(&self, mirror: &Mirror) -> (String, String) {
        let also = match mirror.engine {
            Engine::BuildKit => ", or it was started before its file was written",
            _ => "",
        };
        let cause = format!(
            "{} can't get an image from the mirror (its scheme, port, path, authority or a login that it doesn't have there{also}), and \
             then goes on to {} without a word",
            mirror.teller(),
            mirror.upstream
        );
        let upstream = match mirror.upstream.as_str() {
            "docker.io" if mirror.door == "/v2/" => "--root docker.io".to_owned(),
            other => format!("--upstream {other}"),
        };
        let then = match mirror.engine {
            Engine::Docker => "; then sudo systemctl restart docker".to_owned(),
            Engine::Containerd | Engine::Kubernetes | Engine::Podman => String::new(),
            Engine::K3s | Engine::Rke2 => {
                format!("; then sudo systemctl restart {}", self.machine.k3s_service(mirror.engine))
            }
            Engine::BuildKit => {
                "; then restart buildkitd, which reads its file at its start alone".to_owned()
            }
            Engine::Buildx => format!(
                "; then docker buildx rm {0} and docker buildx create --name {0} --buildkitd-config FILE: a builder keeps what it was \
                 made with",
                mirror.daemon
            ),
        };
        let client = mirror.engine.client();
        (
            cause,
            format!("larder client {client} {} {upstream} prints what belongs there{then}", self.registry),
        )
    }
}

/// Where the registry may keep what the mirror is asked for.
fn homes(mirror: &Mirror, name: &str) -> Vec<RepoName> {
    let door = mirror.door.trim_matches('/');
    let path = door.strip_suffix("/v2").or_else(|| door.strip_prefix("v2/")).unwrap_or_default();
    let mut homes = Vec::new();
    if !path.is_empty() {
        homes.push(format!("{path}/{name}"));
    } else if mirror.says_upstream {
        homes.push(format!("{}/{name}", mirror.upstream));
    }
    if path.is_empty() {
        homes.push(name.to_owned());
    }
    homes.iter().filter_map(|home| home.parse().ok()).collect()
}

/// What the registry says where the mirror is asked, if that isn't the canary.
async fn is_closed(session: &Session, mirror: &Mirror, name: &str, image: &Image) -> Option<String> {
    let namespace = if mirror.says_upstream { format!("?ns={}", mirror.upstream) } else { String::new() };
    let path = format!("{}{name}/manifests/{}{namespace}", mirror.door, image.tag);
    match session.ask(&image.canary.repository, "pull", accepting(Ask::get(path.as_str()))).await {
        Ok(answer) if answer.status == StatusCode::OK && answer.body == image.manifest.bytes => None,
        Ok(answer) => Some(format!("GET {path} answers {}", hop::words(&answer))),
        Err(trouble) => Some(format!("GET {path}: {trouble}")),
    }
}

#[cfg(test)]
mod tests;
