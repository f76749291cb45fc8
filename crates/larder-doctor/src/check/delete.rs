//! Taking the canary away again.

use http::{Method, StatusCode};

use crate::canary::Canary;
use crate::check::{Session, Told, Visit};
use crate::finding::{Row, Stage};
use crate::hop;
use crate::net::Ask;

const STAGE: Stage = Stage::Delete;

pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    let right = "pull,push,delete";
    let mut refused = None;
    // Those that name others first.
    for sent in canary.manifests().iter().rev() {
        let path = format!("/v2/{}/manifests/{}", canary.repository, sent.blob.digest);
        match session.ask(&canary.repository, right, Ask::new(Method::DELETE, path)).await {
            Ok(answer) if matches!(answer.status, StatusCode::ACCEPTED | StatusCode::NOT_FOUND) => {}
            Ok(answer) => refused = Some(answer),
            Err(trouble) => {
                visit.skip(STAGE, format!("the canary stays in {}: {trouble}", canary.repository));
                return;
            }
        }
    }
    let Some(answer) = refused else {
        for blob in [&canary.layer, &canary.config] {
            // What nothing refers to is collected anyway; this is only sooner.
            let path = format!("/v2/{}/blobs/{}", canary.repository, blob.digest);
            let _ = session.ask(&canary.repository, right, Ask::new(Method::DELETE, path)).await;
        }
        visit.good(STAGE, "the canary is taken away again");
        return;
    };
    let who = hop::hop(&answer, visit.front.as_ref());
    let seen = format!("DELETE answers {}; the canary stays in {}", hop::words(&answer), canary.repository);
    let (row, told) = match answer.status {
        StatusCode::METHOD_NOT_ALLOWED if hop::is_registrys(&answer) => (
            Row::DeleteDisabled,
            Told::warning(
                who,
                seen,
                "deleting is switched off, as it is in registry:2 unless it is asked for",
                "storage.delete.enabled: true, or REGISTRY_STORAGE_DELETE_ENABLED=true",
            ),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if hop::is_registrys(&answer) => (
            Row::Denied,
            Told::warning(
                who,
                seen,
                "this user may push there, but not delete",
                "on the registry's machine: larder access explain",
            ),
        ),
        _ => (
            Row::MethodRefused,
            Told::warning(
                who,
                seen,
                "a hop doesn't let DELETE through",
                "allow GET, HEAD, POST, PUT, PATCH and DELETE below /v2/",
            ),
        ),
    };
    visit.find(STAGE, row, told);
}
