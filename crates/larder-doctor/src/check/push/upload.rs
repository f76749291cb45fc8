//! One upload, step by step.

use std::time::Duration;

use http::Method;
use http::header::{CONTENT_TYPE, LOCATION};
use larder_oci::Digest;

use crate::canary::{Blob, Canary};
use crate::check::Session;
use crate::net::{Answer, Ask, Endpoint, Payload, Trouble};

/// What a push needs.
pub(crate) const PUSH: &str = "pull,push";

/// An upload that was begun.
pub(crate) struct Upload {
    /// Path and query to go on with.
    pub(crate) path: String,
    /// The `Location` as it came.
    pub(crate) location: String,
}

impl Upload {
    /// The upload that an answer names, if it names one.
    pub(crate) fn of(answer: &Answer) -> Option<Upload> {
        let location = answer.header(LOCATION)?.to_owned();
        let path = match Endpoint::of_url(&location) {
            Some((_, path)) => path,
            None => location.clone(),
        };
        path.starts_with('/').then_some(Upload { path, location })
    }

    /// Where it is finished.
    pub(crate) fn finish_path(&self, digest: &Digest) -> String {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{mark}digest={digest}", self.path)
    }
}

pub(crate) async fn begin(session: &Session, canary: &Canary) -> Result<Answer, Trouble> {
    let path = format!("/v2/{}/blobs/uploads/", canary.repository);
    session.ask(&canary.repository, PUSH, Ask::new(Method::POST, path)).await
}

/// An upload that was begun, where the beginning is not what is looked at.
pub(crate) async fn begun(session: &Session, canary: &Canary) -> Option<Upload> {
    begin(session, canary).await.ok().as_ref().and_then(Upload::of)
}

pub(crate) async fn patch(
    session: &Session,
    canary: &Canary,
    path: &str,
    payload: Payload,
    limit: Option<Duration>,
) -> Result<Answer, Trouble> {
    let ask = Ask::new(Method::PATCH, path).header(CONTENT_TYPE, "application/octet-stream").payload(payload);
    let ask = match limit {
        Some(limit) => ask.limit(limit),
        None => ask,
    };
    session.ask(&canary.repository, PUSH, ask).await
}

pub(crate) async fn finish(
    session: &Session,
    canary: &Canary,
    upload: &Upload,
    digest: &Digest,
    payload: Payload,
) -> Result<Answer, Trouble> {
    let ask = Ask::new(Method::PUT, upload.finish_path(digest))
        .header(CONTENT_TYPE, "application/octet-stream")
        .payload(payload);
    session.ask(&canary.repository, PUSH, ask).await
}

/// A blob in one request after the first, as containerd sends it.
pub(crate) async fn put(session: &Session, canary: &Canary, blob: &Blob) -> Result<Answer, Trouble> {
    let answer = begin(session, canary).await?;
    match Upload::of(&answer) {
        Some(upload) => {
            finish(session, canary, &upload, &blob.digest, Payload::whole(blob.bytes.clone())).await
        }
        None => Ok(answer),
    }
}

/// Gives an upload up. What comes of it doesn't matter: registries clear forgotten ones away.
pub(crate) async fn cancel(session: &Session, canary: &Canary, upload: &Upload) {
    let _ = session
        .ask(&canary.repository, "pull,push,delete", Ask::new(Method::DELETE, upload.path.as_str()))
        .await;
}
