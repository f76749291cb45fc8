//! The seams of an upstream: blobs on another host, tokens from a third, and a cache that lives without it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::front::{Fault, Front};
use super::{Cache, Origin, blob_path, pull_manifest};
use crate::dist;
use crate::failure::{Context, Result, fail, same};
use crate::image::{Image, check_digest};
use crate::places::Ring;
use crate::process::Run;
use crate::registry::{Registry, Walked};
use crate::report::Report;
use crate::server::Program;

const REPOSITORY: &str = "library/seams";
const TOKEN: &str = "a-token-of-the-upstream";
/// How long a damaged copy may take to be there again after it was found.
const HEALS_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn cases(report: &mut Report, ring: &Ring, origin: &Origin) -> Result {
    let image = Image::index(3000, &["amd64", "arm64"], &[50_000]);
    origin.push(REPOSITORY, "one", &image)?;
    report.case("larder", "blobs from a CDN, which sees no credentials", || cdn(ring, origin, &image));
    report.case("larder", "a pushed tag is never overwritten", || pushed(ring, origin));
    report.case("larder", "an image whose upstream is gone, after a restart", || gone(ring, origin, &image));
    report.case("larder", "tags and referrers are the upstream's", || listed(ring, origin));
    report.case("larder", "tokens that expire before their time", || expired(ring, origin, &image));
    report.case("larder", "a damaged copy comes back from the upstream", || damaged(ring, origin, &image));
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

/// docker-registry has no referrers API: what refers to an image is found by the tag that clients keep it under.
fn listed(ring: &Ring, origin: &Origin) -> Result {
    let repository = "library/listed";
    let images = [3300, 3301].map(|seed| Image::single(seed, "amd64", &[900]));
    for (tag, image) in ["1", "2"].iter().zip(&images) {
        origin.push(repository, tag, image)?;
    }
    let [first, _] = &images;
    let signature = Image::single(3302, "amd64", &[100]);
    let referrers = Image::index_of(vec![signature]);
    let kept_under = first.digest().replace(':', "-");
    origin.push(repository, &kept_under, &referrers)?;
    let mut front = origin.front()?;
    let server = Cache::of(ring, Program::Larder, "seams-listed", &front)?.start()?;
    let registry = Registry::new(server.http());
    let listed = registry.tags(repository)?.context("the tags")?;
    same("the tags of which nothing is here", &listed, &vec!["1".to_owned(), "2".to_owned(), kept_under])?;
    let path = format!("/v2/{repository}/referrers/{}", first.digest());
    let answer = server.http().get(&path, &[])?;
    same("the status of the referrers", &answer.status, &200)?;
    let words = String::from_utf8_lossy(&answer.body);
    let signature = referrers.children.first().context("the signature")?.digest();
    if !words.contains(signature) {
        fail!("the referrers are {words}, and {signature} is not among them");
    }
    registry.walk(repository, "1", &mut Walked::default())?;
    front.unplug();
    let answer = server.http().get(&format!("/v2/{repository}/tags/list"), &[])?;
    same("the status without the upstream", &answer.status, &200)?;
    answer.header("warning").context("the Warning")?;
    same("the tags that are here", &registry.tags(repository)?, &Some(vec!["1".to_owned()]))?;
    let other = server.http().get("/v2/library/never-asked/tags/list", &[])?;
    same("the status of a repository of which nothing is known", &other.status, &502)
}

/// Each token is good for one request, whatever its service says: each further request is refused once, in the middle of a
/// layer too, and no client sees that.
fn expired(ring: &Ring, origin: &Origin, image: &Image) -> Result {
    let (realm, front) = (origin.front()?, origin.front()?);
    let guarded = Front::before(&front.host)?;
    let used = Arc::new(AtomicU64::new(0));
    realm.set(Fault::ExpiringTokenService(Arc::clone(&used)));
    guarded.set(Fault::ExpiringToken { realm: realm.host.clone(), used: Arc::clone(&used) });
    let cache = Cache::with_hosts(ring, Program::Larder, "seams-expired", &guarded, &[&realm])?;
    let server = cache.start()?;
    Registry::new(server.http()).walk(REPOSITORY, "one", &mut Walked::default())?;
    let layer = image.for_this_machine().blobs.last().context("a layer")?;
    let large = Image::single(3001, "amd64", &[200_000]);
    origin.push(REPOSITORY, "large", &large)?;
    pull_manifest(&server.http(), REPOSITORY, "large")?;
    front.set(Fault::Cut { after: 40_000, times: 1 });
    let large = large.blobs.last().context("a large layer")?;
    for blob in [large, layer] {
        let pulled = server.http().get(&blob_path(REPOSITORY, &blob.digest), &[])?;
        same("the status", &pulled.status, &200)?;
        check_digest(&blob.digest, &pulled.body)?;
    }
    let parts =
        front.take_seen().iter().filter(|seen| seen.is("GET", &blob_path(REPOSITORY, &large.digest))).count();
    same("the requests for the layer that was cut", &parts, &2)?;
    let refused = guarded.take_seen().len() as u64 - used.load(Ordering::SeqCst);
    let tokens = realm.take_seen().len() as u64;
    // The first request has no token at all; then each token is refused once and replaced once.
    same("the tokens that were asked for", &tokens, &used.load(Ordering::SeqCst))?;
    same("the requests that were refused", &refused, &tokens)
}

/// A bit of a layer flips on the disk; a look at everything finds it.
fn damaged(ring: &Ring, origin: &Origin, image: &Image) -> Result {
    let mut front = origin.front()?;
    let cache = Cache::of(ring, Program::Larder, "seams-damaged", &front)?;
    let server = cache.start()?;
    Registry::new(server.http()).walk(REPOSITORY, "one", &mut Walked::default())?;
    let layer = image.for_this_machine().blobs.last().context("a layer")?;
    let hex = layer.digest.split_once(':').context("a digest")?.1;
    let path = cache.data.join("docker/registry/v2/blobs/sha256").join(hex.get(..2).context("a digest")?);
    let path = path.join(hex).join("data");
    let mut bytes = fs::read(&path)?;
    bytes.iter_mut().skip(20_000).take(1).for_each(|byte| *byte ^= 1);
    fs::write(&path, bytes)?;
    front.take_seen();
    let verify = Run::new(dist::release()?).args(["verify", "--repair", "--data"]).arg(&cache.data);
    let said = verify.output()?.all();
    if !said.contains(hex) {
        fail!("verify doesn't name the damaged layer: {said}");
    }
    let begun = Instant::now();
    while fs::read(&path).ok().as_deref() != Some(&layer.bytes) {
        if begun.elapsed() > HEALS_WITHIN {
            fail!("the layer isn't there again: {}", server.daemon.last_words());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    same("the requests at the upstream", &front.take_seen().len(), &1)?;
    front.unplug();
    let pulled = server.http().get(&blob_path(REPOSITORY, &layer.digest), &[])?;
    same("the status", &pulled.status, &200)?;
    check_digest(&layer.digest, &pulled.body)
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
