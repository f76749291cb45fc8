//! Bytes on their way out.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use larder_oci::{Digest, RepoName};
use serde_json::Value;

use crate::canary::Canary;
use crate::check::manifests::accepting;
use crate::check::{Session, Told, Visit};
use crate::finding::{Hop, Row, Severity, Stage};
use crate::hop;
use crate::net::{Answer, Ask, Client, Endpoint, Trouble};

const STAGE: Stage = Stage::Pull;
const PULL: &str = "pull";

/// containerd gives up after 30 s without a head; who takes a third of that will take it whole on a bad day.
const SLOW_HEAD: Duration = Duration::from_secs(10);

/// What was pushed, asked for in the ways of clients.
pub(crate) async fn canary(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    let blob = format!("/v2/{}/blobs/{}", canary.repository, canary.layer.digest);
    let tag = format!("/v2/{}/manifests/{}", canary.repository, canary.tag("oci"));
    let repository = &canary.repository;
    let (first, second) = (
        head(visit, session, repository, &tag, true).await,
        head(visit, session, repository, &blob, false).await,
    );
    if first && second {
        visit.good(STAGE, "HEAD says the length and the digest");
    }
    range(visit, session, canary, &blob).await;
}

/// The image that the caller named, read without writing anything.
pub(crate) async fn existing(visit: &mut Visit<'_, '_>, session: &Session) {
    let Some(repository) = visit.target.repository.clone() else {
        visit.skip(STAGE, "no image was named: larder doctor REGISTRY/REPOSITORY:TAG");
        return;
    };
    let tag = visit.target.tag.as_ref().map_or("latest", |tag| tag.as_str()).to_owned();
    let path = format!("/v2/{repository}/manifests/{tag}");
    let asked = session.ask(&repository, PULL, accepting(Ask::get(&path))).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(trouble) => {
            unanswered(visit, &format!("GET {path}"), &trouble);
            return;
        }
    };
    late(visit, &answer, "a manifest");
    if answer.status != StatusCode::OK {
        let (row, told) = no_manifest(visit, session, &repository, &tag, &answer).await;
        visit.find(STAGE, row, told);
        return;
    }
    let media_type = answer.header(CONTENT_TYPE).unwrap_or("no type").to_owned();
    visit.good(STAGE, format!("{repository}:{tag} is there ({media_type})"));
    head(visit, session, &repository, &path, true).await;
    let Some(manifest) = variant(visit, session, &repository, &answer).await else { return };
    smallest_blob(visit, session, &repository, &manifest).await;
}

async fn no_manifest(
    visit: &Visit<'_, '_>,
    session: &Session,
    repository: &RepoName,
    tag: &str,
    answer: &Answer,
) -> (Row, Told) {
    let who = hop::hop(answer, visit.front.as_ref());
    let seen = format!("GET of {repository}:{tag} answers {}", hop::words(answer));
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS => {
            let cause = if answer.text().contains("HAP429") {
                "Docker Hub's limit against abuse: thousands of requests a minute from one address, counted apart from the pull limit"
            } else {
                "a limit on pulls is reached: of this address when nobody is logged in, else of the account"
            };
            (
                Row::TooManyRequests,
                Told::failure(
                    who,
                    seen,
                    cause,
                    "docker login, or let a cache such as Larder ask once for everybody",
                ),
            )
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            Row::Denied,
            Told::failure(
                who,
                seen,
                if session.has_login() {
                    "the login is good, but may not pull this"
                } else {
                    "nobody is logged in"
                },
                format!(
                    "docker login {}; on the registry's machine: larder access explain",
                    visit.target.authority()
                ),
            ),
        ),
        _ => {
            let library = format!("library/{repository}").parse::<RepoName>().ok();
            let with_library = match library.filter(|_| !repository.as_str().contains('/')) {
                Some(library) => {
                    let path = format!("/v2/{library}/manifests/{tag}");
                    let asked = session.ask(&library, PULL, accepting(Ask::get(path))).await;
                    asked.is_ok_and(|answer| answer.status == StatusCode::OK)
                }
                None => false,
            };
            let (cause, fix) = if with_library {
                (
                    "the image is there as library/…: docker puts that in front only for Docker Hub itself",
                    format!("{}/library/{repository}:{tag}", visit.target.authority()),
                )
            } else {
                (
                    "the tag or the repository isn't there: never pushed, deleted, or spelled otherwise",
                    format!("curl -s {}/v2/{repository}/tags/list", session.client.endpoint),
                )
            };
            (Row::RepositoryUnknown, Told::failure(who, seen, cause, fix))
        }
    }
}

/// The image's manifest, or of an index the one for this machine.
async fn variant(
    visit: &mut Visit<'_, '_>,
    session: &Session,
    repository: &RepoName,
    answer: &Answer,
) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(&answer.body).ok()?;
    let Some(children) = manifest.get("manifests").and_then(Value::as_array) else { return Some(manifest) };
    let text = |value: &Value, path: &str| {
        value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let is_ours = |child: &&Value| {
        text(child, "/platform/architecture") == ours && text(child, "/platform/os") == "linux"
    };
    let Some(child) = children.iter().find(is_ours) else {
        let there: Vec<String> = children
            .iter()
            .map(|child| format!("{}/{}", text(child, "/platform/os"), text(child, "/platform/architecture")))
            .filter(|platform| !platform.contains("unknown"))
            .collect();
        let told = Told::warning(
            Hop::Registry,
            format!("the image has variants for {}, and none for linux/{ours}", there.join(", ")),
            "it was pushed for other machines alone: `no matching manifest for linux/…`",
            format!("docker buildx build --platform linux/{ours},… --push"),
        );
        visit.find(STAGE, Row::PlatformMissing, told);
        return None;
    };
    let path = format!("/v2/{repository}/manifests/{}", text(child, "/digest"));
    let asked = session.ask(repository, PULL, accepting(Ask::get(path))).await.ok()?;
    serde_json::from_slice(&asked.body).ok()
}

/// Reads the config or the smallest layer, whatever is less, and hashes it.
async fn smallest_blob(
    visit: &mut Visit<'_, '_>,
    session: &Session,
    repository: &RepoName,
    manifest: &Value,
) {
    let layers = manifest.get("layers").and_then(Value::as_array).into_iter().flatten();
    let size = |blob: &&Value| blob.get("size").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let smallest = layers.chain(manifest.get("config")).min_by_key(size);
    let Some(digest) = smallest.and_then(|blob| blob.get("digest")?.as_str()) else { return };
    let Ok(expected) = digest.parse::<Digest>() else { return };
    let path = format!("/v2/{repository}/blobs/{digest}");
    let Some(answer) = blob(visit, session, repository, &path).await else { return };
    late(visit, &answer, "a blob");
    if Digest::of(expected.algorithm(), &answer.body) == expected {
        visit.good(STAGE, format!("a blob of it comes whole ({} bytes)", answer.body.len()));
        return;
    }
    let told = Told::failure(
        hop::hop(&answer, visit.front.as_ref()),
        format!("{digest} comes as {} bytes of another digest", answer.body.len()),
        "something on the way changes bytes, or the registry's copy is damaged: `filesystem layer verification failed`",
        "go around the proxy once to see which; a damaged blob is mended by pushing it again",
    );
    visit.find(STAGE, Row::BytesChanged, told);
}

/// A blob's bytes, wherever they are; what hinders is written down.
pub(crate) async fn blob(
    visit: &mut Visit<'_, '_>,
    session: &Session,
    repository: &RepoName,
    path: &str,
) -> Option<Answer> {
    let answer = match session.ask(repository, PULL, Ask::get(path)).await {
        Ok(answer) => answer,
        Err(trouble) => {
            unanswered(visit, &format!("GET {path}"), &trouble);
            return None;
        }
    };
    let (answer, from) = if answer.status.is_redirection() {
        let location = answer.header(LOCATION).unwrap_or_default().to_owned();
        (follow(visit, &location).await?, location)
    } else {
        (answer, path.to_owned())
    };
    if let Some(why) = &answer.body_trouble {
        let told = Told::failure(
            hop::hop(&answer, visit.front.as_ref()),
            format!(
                "of a blob, {} of {} bytes come ({why})",
                answer.body.len(),
                answer.header(CONTENT_LENGTH).unwrap_or("?")
            ),
            "a hop ends long answers, or a cache announced more than it has: `unexpected EOF`",
            "raise the proxy's timeouts for answers; remove the blob from the cache, so that it is fetched again",
        );
        visit.find(STAGE, Row::ShortBody, told);
        return None;
    }
    if answer.status != StatusCode::OK {
        let told = Told::failure(
            hop::hop(&answer, visit.front.as_ref()),
            format!("GET {} answers {}", from.split('?').next().unwrap_or_default(), hop::words(&answer)),
            "the manifest names it, and it can't be read",
            "push the image again; look at the registry's log at this moment",
        );
        visit.find(STAGE, Row::ShortBody, told);
        return None;
    }
    Some(answer)
}

/// The registry sends clients on to its storage, which then must be reachable from here.
async fn follow(visit: &mut Visit<'_, '_>, location: &str) -> Option<Answer> {
    let unreachable = |host: &str, why: String| {
        Told::failure(
            Hop::Storage(host.to_owned()),
            format!("blobs are redirected to {host}: {why}"),
            "the registry sends clients to its storage by an address that only its own network knows",
            "storage.redirect.disable: true, or give the storage an address that clients reach",
        )
    };
    let Some((endpoint, path)) = Endpoint::of_url(location) else {
        visit.find(STAGE, Row::RedirectUnreachable, unreachable(location, "that is no whole URL".to_owned()));
        return None;
    };
    let host = endpoint.authority();
    let asked = match Client::to(endpoint, visit.trust.clone()).await {
        Ok(client) => client.ask(Ask::get(path)).await,
        Err(trouble) => Err(Trouble::Dial(trouble)),
    };
    match asked {
        Ok(answer) => {
            visit.good(STAGE, format!("blobs come from {host}"));
            Some(answer)
        }
        Err(trouble) => {
            visit.find(STAGE, Row::RedirectUnreachable, unreachable(&host, trouble.to_string()));
            None
        }
    }
}

/// docker stops at a HEAD without a length, and resolves tags by the digest in it.
async fn head(
    visit: &mut Visit<'_, '_>,
    session: &Session,
    repository: &RepoName,
    path: &str,
    is_manifest: bool,
) -> bool {
    let asked = session.ask(repository, PULL, accepting(Ask::new(Method::HEAD, path))).await;
    let Ok(answer) = asked else { return false };
    if answer.status.is_redirection() {
        return true;
    }
    let lacks_length = answer.header(CONTENT_LENGTH).is_none();
    let lacks_digest = is_manifest && answer.header("docker-content-digest").is_none();
    if answer.status == StatusCode::OK && !lacks_length && !lacks_digest {
        return true;
    }
    let who = if visit.front.is_some() { visit.front_hop() } else { Hop::Registry };
    let told = if answer.status == StatusCode::OK {
        let missing = if lacks_length { "Content-Length" } else { "Docker-Content-Digest" };
        Told::failure(
            who,
            format!("HEAD {path} answers without {missing}"),
            "a proxy (with compression, as a rule) or the registry leaves the header out, and docker stops there",
            "switch compression off below /v2/, and let all headers through",
        )
    } else {
        Told::failure(
            who,
            format!("GET finds it, and HEAD {path} answers {}", answer.status),
            "a hop doesn't let HEAD through",
            "allow GET, HEAD, POST, PUT, PATCH and DELETE below /v2/",
        )
    };
    let row = if answer.status == StatusCode::OK { Row::HeadWithoutLength } else { Row::MethodRefused };
    visit.find(STAGE, row, told);
    false
}

async fn range(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary, path: &str) {
    let ask = Ask::get(path).header(RANGE, "bytes=1000-1999");
    let Ok(answer) = session.ask(&canary.repository, PULL, ask).await else { return };
    if answer.status.is_redirection() {
        return;
    }
    let right = canary.layer.bytes.get(1000..2000).is_some_and(|expected| answer.body == expected);
    if answer.status == StatusCode::PARTIAL_CONTENT && right {
        visit.good(STAGE, "ranges are answered, so that a broken pull goes on where it broke");
        return;
    }
    let wrong = answer.status == StatusCode::PARTIAL_CONTENT;
    let told = Told {
        severity: if wrong { Severity::Failure } else { Severity::Warning },
        ..Told::warning(
            hop::hop(&answer, visit.front.as_ref()),
            if wrong {
                "a range is answered with other bytes than were asked for".to_owned()
            } else {
                format!("a range is answered with {}", answer.status)
            },
            "a broken pull begins anew, and lazy pulling (stargz, SOCI) doesn't work",
            "let the proxy pass Range and Content-Range on",
        )
    };
    visit.find(STAGE, Row::RangeIgnored, told);
}

fn late(visit: &mut Visit<'_, '_>, answer: &Answer, what: &str) {
    if answer.after < SLOW_HEAD {
        return;
    }
    let told = Told::warning(
        hop::hop(answer, visit.front.as_ref()),
        format!("{what} begins to come after {:.0} s", answer.after.as_secs_f64()),
        "a cache that fetches all before it answers, or an upstream that hangs: containerd gives up after 30 s with `timeout awaiting \
         response headers`",
        "use a cache that streams; pull the image once more when it is in the cache",
    );
    visit.find(STAGE, Row::SlowFirstByte, told);
}

fn unanswered(visit: &mut Visit<'_, '_>, doing: &str, trouble: &Trouble) {
    let row = if matches!(trouble, Trouble::Silent { .. }) { Row::SlowFirstByte } else { Row::ShortBody };
    let told = Told::failure(
        visit.front_hop(),
        format!("{doing}: {trouble}"),
        "the request was taken and not answered in time: a cache that fetches all before it answers, or a hop that cuts",
        "look at the logs of the proxy and the registry at this moment",
    );
    visit.find(STAGE, row, told);
}
