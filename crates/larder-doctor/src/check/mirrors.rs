//! Whether this machine's engines really come through the mirrors that they are told of.
//!
//! An engine whose mirror fails goes on to the upstream and says nothing. So it is made to pull what no upstream has: a tiny image that is
//! pushed to the registry under an upstream's name, with a tag of its own, and taken away again. Its repository is none that an
//! upstream can have, so that no image is ever hidden by it. Whoever gets it came through the registry.

mod engine;

use http::StatusCode;
use larder_oci::RepoName;
use serde_json::json;

use crate::canary::{Blob, Canary, DOCKER_MANIFEST};
use crate::check::push::upload::{self, PUSH};
use crate::check::{Session, Told, Visit, accepting};
use crate::finding::{Hop, Row, Stage};
use crate::hop;
use crate::machine::{Engine, Machine, Mirror, Spoken};
use crate::net::{Ask, Payload};

const STAGE: Stage = Stage::Machine;

/// Nobody can have these at an upstream: Docker Hub's `library/` is Docker's own, and elsewhere an owner has no dot in his name.
const AT_DOCKER_HUB: &str = "library/larder-canary";
const ELSEWHERE: &str = "larder-doctor.invalid/canary";

/// The canary of one mirror.
struct Image {
    canary: Canary,
    manifest: Blob,
    tag: String,
}

pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, spoken: &Spoken) {
    let Some(machine) = visit.options.machine.clone() else { return };
    let mut mirrors = machine.containerd_mirrors(spoken);
    mirrors.extend(machine.podman_mirrors(spoken));
    mirrors.extend(docker(visit, &machine, spoken).await);
    let mut proven = false;
    for mirror in mirrors {
        if !machine.has(mirror.engine.program()) {
            visit.skip(
                STAGE,
                format!(
                    "{} names this registry, and {} isn't installed",
                    mirror.told_by,
                    mirror.engine.program()
                ),
            );
            continue;
        }
        proven = true;
        prove(visit, session, &machine, &mirror).await;
    }
    if !proven {
        visit.skip(
            STAGE,
            "no docker, containerd or podman of this machine is told of this registry as a mirror",
        );
    }
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

async fn prove(visit: &mut Visit<'_, '_>, session: &Session, machine: &Machine, mirror: &Mirror) {
    let name = if mirror.upstream == "docker.io" { AT_DOCKER_HUB } else { ELSEWHERE };
    let mut last = None;
    for repository in homes(mirror, name) {
        let image = image(repository, visit.options.seed);
        match push(session, &image).await {
            Ok(()) => {}
            Err(why) => {
                last = Some(why);
                continue;
            }
        }
        let closed = if mirror.is_exact { is_closed(session, mirror, name, &image).await } else { None };
        if closed.is_none() {
            pull(visit, machine, mirror, name, &image).await;
            take_away(visit, session, &image).await;
            return;
        }
        take_away(visit, session, &image).await;
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
            "{} asks the mirror, is told so, and goes on to {} without a word: the registry has no upstream of that name at this \
             path, or this user may not push below it",
            mirror.engine.as_str(),
            mirror.upstream
        ),
        format!(
            "upstreams: [{{name: {}}}] in the registry's configuration; larder client {} {} prints what belongs here",
            mirror.upstream,
            mirror.engine.as_str(),
            visit.target.authority()
        ),
    );
    visit.find(STAGE, Row::MirrorBypassed, told);
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

/// An image of one file, which every engine takes.
fn image(repository: RepoName, seed: u64) -> Image {
    let layer = Blob::new(archive(&format!("larder doctor {seed:016x}\n")));
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = Blob::new(
        json!({
            "architecture": architecture, "os": "linux", "config": {}, "created": "1970-01-01T00:00:00Z",
            "rootfs": { "type": "layers", "diff_ids": [layer.digest.to_string()] },
            "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "larder doctor" }],
        })
        .to_string(),
    );
    let descriptor = |media_type: &str, blob: &Blob| json!({ "mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.bytes.len() });
    let manifest = Blob::new(
        json!({
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
            "config": descriptor("application/vnd.docker.container.image.v1+json", &config),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar", &layer)],
        })
        .to_string(),
    );
    let tag = format!("larder-doctor-{:08x}", seed >> 32);
    Image { canary: Canary { repository, seed, layer, config }, manifest, tag }
}

/// A tar archive (POSIX ustar) of one file.
fn archive(content: &str) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = Vec::with_capacity(BLOCK);
    let field = |header: &mut Vec<u8>, text: &str, width: usize| {
        header.extend(text.bytes().chain(std::iter::repeat(0)).take(width));
    };
    field(&mut header, "larder-canary", 100);
    for number in ["0000644", "0000000", "0000000"] {
        field(&mut header, number, 8);
    }
    field(&mut header, &format!("{:011o}", content.len()), 12);
    field(&mut header, "00000000000", 12);
    // The sum is made with blanks in its own place.
    header.extend([b' '; 8]);
    field(&mut header, "0", 1);
    field(&mut header, "", 100);
    field(&mut header, "ustar", 6);
    field(&mut header, "00", 2);
    field(&mut header, "", BLOCK - 265);
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header.splice(148..156, format!("{sum:06o}\0 ").into_bytes());
    header.extend(content.bytes());
    let rest = (BLOCK - content.len() % BLOCK) % BLOCK;
    header.resize(header.len() + rest + 2 * BLOCK, 0);
    header
}

async fn push(session: &Session, image: &Image) -> Result<(), String> {
    let canary = &image.canary;
    for blob in [&canary.layer, &canary.config] {
        let answer = upload::put(session, canary, blob).await.map_err(|trouble| trouble.to_string())?;
        if answer.status != StatusCode::CREATED {
            return Err(format!("a push to {} is answered with {}", canary.repository, hop::words(&answer)));
        }
    }
    let path = format!("/v2/{}/manifests/{}", canary.repository, image.tag);
    let ask = Ask::new(http::Method::PUT, path)
        .header(http::header::CONTENT_TYPE, DOCKER_MANIFEST)
        .payload(Payload::whole(image.manifest.bytes.clone()));
    let answer = session.ask(&canary.repository, PUSH, ask).await.map_err(|trouble| trouble.to_string())?;
    if answer.status == StatusCode::CREATED {
        Ok(())
    } else {
        Err(format!("a push to {} is answered with {}", canary.repository, hop::words(&answer)))
    }
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

async fn pull(visit: &mut Visit<'_, '_>, machine: &Machine, mirror: &Mirror, name: &str, image: &Image) {
    let Some(program) = machine.find(mirror.engine.program()) else { return };
    let reference = format!("{}/{name}:{}", mirror.upstream, image.tag);
    let engine = mirror.engine.as_str();
    let registry = visit.target.authority();
    match engine::pull(mirror.engine, &program, &machine.hosts_dir(), &reference).await {
        Ok(()) => visit.good(
            STAGE,
            format!(
                "{engine} pulled {reference} through {registry}, which alone has it: the mirror of {} works",
                mirror.upstream
            ),
        ),
        Err(said) => {
            let Some(asked) = engine::host_asked(&said, &registry, &mirror.upstream) else {
                let why = engine::shortened(&said);
                return visit.skip(STAGE, format!("{engine} can't pull, whatever its mirror: {why}"));
            };
            let restart = match mirror.engine {
                Engine::Docker => "; then sudo systemctl restart docker",
                Engine::Containerd | Engine::Podman => "",
            };
            let upstream = match mirror.upstream.as_str() {
                "docker.io" if mirror.door == "/v2/" => "--root docker.io".to_owned(),
                other => format!("--upstream {other}"),
            };
            let told = Told::failure(
                Hop::Client,
                format!(
                    "bypassed: {engine} is told of {} as a mirror of {} ({}), and for {reference}, which {registry} alone has, it asked \
                     {asked}: {}",
                    mirror.written,
                    mirror.upstream,
                    mirror.told_by,
                    engine::shortened(&said)
                ),
                format!(
                    "{engine} can't get an image from the mirror (its scheme, port, path, authority or a login that it doesn't have \
                     there), and then goes on to {} without a word",
                    mirror.upstream
                ),
                format!("larder client {engine} {registry} {upstream} prints what belongs there{restart}"),
            );
            visit.find(STAGE, Row::MirrorBypassed, told);
        }
    }
}

async fn take_away(visit: &mut Visit<'_, '_>, session: &Session, image: &Image) {
    let right = "pull,push,delete";
    let canary = &image.canary;
    let path = format!("/v2/{}/manifests/{}", canary.repository, image.manifest.digest);
    let asked = session.ask(&canary.repository, right, Ask::new(http::Method::DELETE, path)).await;
    let is_gone =
        asked.is_ok_and(|answer| matches!(answer.status, StatusCode::ACCEPTED | StatusCode::NOT_FOUND));
    if !is_gone {
        visit.skip(STAGE, format!("the canary stays in {}:{}", canary.repository, image.tag));
        return;
    }
    for blob in [&canary.layer, &canary.config] {
        // What nothing refers to is collected anyway; this is only sooner.
        let path = format!("/v2/{}/blobs/{}", canary.repository, blob.digest);
        let _ = session.ask(&canary.repository, right, Ask::new(http::Method::DELETE, path)).await;
    }
}

#[cfg(test)]
mod tests;
