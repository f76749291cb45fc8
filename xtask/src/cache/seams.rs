//! The seams of an upstream: blobs on another host, tokens from a third, and a cache that lives without it.

use super::front::{Fault, Front};
use super::{Cache, Origin, blob_path, pull_manifest};
use crate::failure::{Context, Result, fail, same};
use crate::image::Image;
use crate::places::Ring;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::Program;

const REPOSITORY: &str = "library/seams";
const TOKEN: &str = "a-token-of-the-upstream";

pub(super) fn cases(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    let image = Image::index(3000, &["amd64", "arm64"], &[50_000]);
    origin.push(REPOSITORY, "one", &image)?;
    report.case("larder", "blobs from a CDN, which sees no credentials", || cdn(ring, origin, &image));
    report.case("larder", "a pushed tag is never overwritten", || pushed(ring, origin));
    report.case("larder", "an image whose upstream is gone, after a restart", || gone(ring, origin, &image));
    report.case("larder", "a tag that moved upstream moves here", || moved(ring, origin));
    Ok(())
}

fn cdn(ring: &Ring, origin: &Origin, image: &Image) -> Result {
    let (realm, cdn, front) = (origin.front()?, origin.front()?, origin.front()?);
    realm.set(Fault::TokenService(TOKEN.into()));
    let guarded = Front::before(&front.host)?;
    // Tokens in front, redirects behind.
    guarded.set(Fault::Token { realm: realm.host.clone(), token: TOKEN.into() });
    front.set(Fault::Redirect(cdn.host.clone()));
    let cache = Cache::with_hosts(ring, Program::Larder, "seams-cdn", &guarded, &[&realm, &cdn])?;
    let server = cache.start()?;
    Registry::new(server.http()).walk(REPOSITORY, "one", &mut Walked::default())?;
    let at_cdn = cdn.take_seen();
    same("the blobs fetched at the CDN", &at_cdn.len(), &image.all_blobs().len())?;
    if let Some(told) = at_cdn.iter().find_map(|request| request.header("authorization")) {
        fail!("the CDN was told {told}");
    }
    let tokens = realm.take_seen();
    let first = tokens.first().context("a request for a token")?;
    if !first.path.contains(&format!("repository%3A{}%3Apull", REPOSITORY.replace('/', "%2F")))
        && !first.path.contains(&format!("repository:{REPOSITORY}:pull"))
    {
        fail!("the token was asked for by {}", first.path);
    }
    // One repository, one scope: one token serves all of its requests.
    same("the tokens asked for", &tokens.len(), &1)
}

fn pushed(ring: &Ring, origin: &Origin) -> Result {
    let (theirs, ours) = (Image::single(3100, "amd64", &[900]), Image::single(3101, "amd64", &[900]));
    origin.push("library/pushed", "latest", &theirs)?;
    let front = origin.front()?;
    let server = Cache::of(ring, Program::Larder, "seams-pushed", &front)?.start()?;
    let registry = Registry::new(server.http());
    registry.push_image("library/pushed", "latest", &ours)?;
    for _ in 0..3 {
        let served = registry.manifest("library/pushed", "latest")?.context("the tag")?;
        same("the digest", &served.digest.as_str(), &ours.digest())?;
    }
    // Nobody outside answers for a tag that a repository with pushed images lacks.
    front.take_seen();
    same("the status", &pull_manifest(&server.http(), "library/pushed", "other")?.status, &404)?;
    same("the requests at the upstream", &front.take_seen().len(), &0)
}

fn gone(ring: &Ring, origin: &Origin, image: &Image) -> Result {
    let mut front = origin.front()?;
    let cache = Cache::of(ring, Program::Larder, "seams-gone", &front)?;
    let server = cache.start()?;
    Registry::new(server.http()).walk(REPOSITORY, "one", &mut Walked::default())?;
    front.unplug();
    drop(server);
    let server = cache.start()?;
    let mut walked = Walked::default();
    Registry::new(server.http()).walk(REPOSITORY, "one", &mut walked)?;
    same("the manifests", &walked.manifests.len(), &image.all_manifests().len())?;
    same("the blobs", &walked.blobs.len(), &image.all_blobs().len())?;
    let blob = image.all_blobs().into_iter().next().context("a blob")?;
    let head =
        server.http().send("HEAD", &blob_path(REPOSITORY, &blob.digest), &[], crate::http::Body::Whole(&[]));
    same("the status of HEAD", &head?.status, &200)
}

fn moved(ring: &Ring, origin: &Origin) -> Result {
    let images = [3200, 3201].map(|seed| Image::single(seed, "amd64", &[900]));
    let front = origin.front()?;
    let server = Cache::of(ring, Program::Larder, "seams-moved", &front)?.start()?;
    let registry = Registry::new(server.http());
    for image in &images {
        origin.push("library/moved", "latest", image)?;
        let served = registry.manifest("library/moved", "latest")?.context("the tag")?;
        same("the digest", &served.digest.as_str(), &image.digest())?;
        registry.walk("library/moved", "latest", &mut Walked::default())?;
    }
    // Asked again, and found unmoved: by HEAD, which Docker Hub doesn't count.
    front.take_seen();
    registry.manifest("library/moved", "latest")?;
    let methods: Vec<String> = front.take_seen().into_iter().map(|request| request.method).collect();
    same("what the upstream was asked", &methods, &vec!["HEAD".to_owned()])
}
