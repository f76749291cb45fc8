//! The kinds of manifest that clients push, each pushed and read back.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::canary::{Canary, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Sent};
use crate::check::push::upload::{self, PUSH};
use crate::check::{Session, Told, Visit};
use crate::finding::{Row, Stage};
use crate::hop;
use crate::net::{Answer, Ask, Payload};

const STAGE: Stage = Stage::Manifests;

/// Asks for every kind, each in a header line of its own, as docker does.
pub(crate) fn accepting(ask: Ask) -> Ask {
    [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST]
        .into_iter()
        .fold(ask, |ask, kind| ask.header(ACCEPT, kind))
}

pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    for blob in [&canary.config, &canary.empty()] {
        match upload::put(session, canary, blob).await {
            Ok(answer) if answer.status == StatusCode::CREATED => {}
            Ok(answer) => {
                let told = Told::failure(
                    hop::hop(&answer, visit.front.as_ref()),
                    format!("a blob in one PUT, as containerd sends it, answers {}", hop::words(&answer)),
                    "the layer that came in chunks was taken",
                    "look at the registry's log at this moment",
                );
                visit.find(STAGE, Row::UploadFailed, told);
                return;
            }
            Err(trouble) => {
                visit.skip(STAGE, format!("manifests can't be looked at: {trouble}"));
                return;
            }
        }
    }
    let mut kinds = Vec::new();
    for sent in canary.manifests() {
        if push(visit, session, canary, &sent).await && read(visit, session, canary, &sent).await {
            kinds.push(sent.kind);
        }
    }
    if !kinds.is_empty() {
        visit.good(STAGE, format!("pushed and read back: {}", kinds.join(", ")));
    }
    referrers(visit, session, canary).await;
}

fn path(canary: &Canary, sent: &Sent) -> String {
    let digest = sent.blob.digest.to_string();
    format!("/v2/{}/manifests/{}", canary.repository, sent.tag.as_deref().unwrap_or(&digest))
}

async fn push(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary, sent: &Sent) -> bool {
    let ask = Ask::new(Method::PUT, path(canary, sent))
        .header(CONTENT_TYPE, sent.media_type)
        .payload(Payload::whole(sent.blob.bytes.clone()));
    let answer = match session.ask(&canary.repository, PUSH, ask).await {
        Ok(answer) if answer.status == StatusCode::CREATED => return true,
        Ok(answer) => answer,
        Err(trouble) => {
            visit.skip(STAGE, format!("{} can't be pushed: {trouble}", sent.kind));
            return false;
        }
    };
    let (row, told) = refused(visit, sent, &answer);
    visit.find(STAGE, row, told);
    false
}

fn refused(visit: &Visit<'_, '_>, sent: &Sent, answer: &Answer) -> (Row, Told) {
    let who = hop::hop(answer, visit.front.as_ref());
    let seen = format!("{} is answered with {}", sent.kind, hop::words(answer));
    if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return (
            Row::Denied,
            Told::failure(
                who,
                seen,
                "layers may be pushed there, but tags not",
                "on the registry's machine: larder access explain",
            ),
        );
    }
    let fix = if sent.kind.contains("attestation") {
        "docker build --provenance=false, or a newer registry"
    } else {
        "upgrade the registry to one that knows OCI 1.1"
    };
    (
        Row::ManifestRefused,
        Told::failure(who, seen, "this registry doesn't know that kind of manifest: `manifest invalid`", fix),
    )
}

async fn read(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary, sent: &Sent) -> bool {
    let asked = session.ask(&canary.repository, PUSH, accepting(Ask::get(path(canary, sent)))).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(trouble) => {
            visit.skip(STAGE, format!("{} can't be read back: {trouble}", sent.kind));
            return false;
        }
    };
    let kind = answer.header(CONTENT_TYPE).unwrap_or("none").to_owned();
    if answer.status == StatusCode::OK && answer.body == sent.blob.bytes && kind == sent.media_type {
        return true;
    }
    let seen = if answer.status == StatusCode::OK {
        format!(
            "{} of type {} comes back as {} bytes of type {kind}",
            sent.kind,
            sent.media_type,
            answer.body.len()
        )
    } else {
        format!("{} was taken, and is then answered with {}", sent.kind, hop::words(&answer))
    };
    let told = Told::failure(
        hop::hop(&answer, visit.front.as_ref()),
        seen,
        "its digest is no longer the one that was pushed: a hop or the registry converts manifests, or the next request reaches \
         another replica",
        "go around the proxy once to see which; upgrade a registry that converts",
    );
    visit.find(STAGE, Row::ManifestChanged, told);
    false
}

/// What is attached to the image must be found by asking for it (OCI Distribution Specification, "Listing Referrers").
async fn referrers(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    let manifests = canary.manifests();
    let subject = manifests.iter().find(|sent| sent.kind == "an OCI image");
    let artifact = manifests.iter().find(|sent| sent.kind.contains("subject"));
    let (Some(subject), Some(artifact)) = (subject, artifact) else { return };
    let path = format!("/v2/{}/referrers/{}", canary.repository, subject.blob.digest);
    let Ok(answer) = session.ask(&canary.repository, PUSH, Ask::get(path)).await else { return };
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let listed = body.as_ref().and_then(|body| body.get("manifests")?.as_array()).is_some_and(|list| {
        let digest = artifact.blob.digest.to_string();
        list.iter().any(|one| one.get("digest").and_then(Value::as_str) == Some(digest.as_str()))
    });
    if answer.status == StatusCode::OK && listed {
        visit.good(STAGE, "what is attached to an image is found by asking for it");
        return;
    }
    let told = Told::warning(
        hop::hop(&answer, visit.front.as_ref()),
        format!("asking what is attached to an image answers {}", hop::words(&answer)),
        "the registry doesn't know the referrers API of OCI 1.1; clients then keep lists in tags named sha256-…",
        "upgrade the registry; signatures and attestations work meanwhile by such tags",
    );
    visit.find(STAGE, Row::ReferrersMissing, told);
}
