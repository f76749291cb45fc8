//! How quick a mirror is from here: the way to it, a manifest, and the bytes of a blob.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, WWW_AUTHENTICATE};
use larder_oci::{RepoName, Tag};
use serde_json::Value;

use crate::check::{Challenge, TokenService, accepting};
use crate::fetch::{FetchError, trust_of, way_to};
use crate::machine::Machine;
use crate::net::{Answer, Ask, Client, Endpoint};
use crate::target::Target;

/// A blob that says something about throughput, and isn't a burden: as much of it is read.
const ENOUGH: u64 = 4 << 20;
/// How often a manifest is asked for; the best counts, since the first may have had to be fetched by the mirror.
const ROUNDS: usize = 3;

/// What was measured of a mirror.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// From nothing to a connection with TLS.
    pub connect: Duration,
    /// From the question for a manifest to its first byte, connection included; the best of three.
    pub manifest: Duration,
    /// From the question for a blob to its first byte.
    pub blob: Duration,
    /// Bytes a second while the blob came.
    pub throughput: f64,
    /// Bytes that were read for that.
    pub read: u64,
}

impl Measured {
    /// The time that an image of 50 MB in five layers takes, about: the order of mirrors.
    pub fn image(&self) -> Duration {
        let bytes = if self.throughput > 0.0 { 50e6 / self.throughput } else { f64::from(u32::MAX) };
        self.manifest + 5 * self.blob + Duration::from_secs_f64(bytes)
    }
}

/// Measures one mirror with an image that it has.
///
/// # Errors
/// What a client of it would fail at.
pub async fn measure(target: &Target, repository: &RepoName, tag: &Tag) -> Result<Measured, FetchError> {
    let machine = Machine::here();
    let trust = trust_of(&[], Some(&machine), &target.authority(), SystemTime::now())
        .map_err(|error| FetchError::new(error.to_string()))?;
    let begun = Instant::now();
    let client = way_to(target, Arc::new(trust)).await?;
    let connect = begun.elapsed();
    let token = token(&client, repository).await?;
    let ask = |path: String| {
        let ask = accepting(Ask::get(path));
        match &token {
            Some(token) => ask.header(AUTHORIZATION, &format!("Bearer {token}")),
            None => ask,
        }
    };
    let path = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
    let mut manifest = Duration::MAX;
    let mut answer = good(&client, ask(path(tag.as_str()))).await?;
    for _ in 1..ROUNDS {
        manifest = manifest.min(answer.after);
        answer = good(&client, ask(path(tag.as_str()))).await?;
    }
    manifest = manifest.min(answer.after);
    let digest = match child(&answer) {
        Some(child) => layer(&good(&client, ask(path(&child))).await?),
        None => layer(&answer),
    };
    let digest = digest.ok_or_else(|| FetchError::new("the image has no layer".to_owned()))?;
    let (answer, whole) = blob(&client, ask(format!("/v2/{repository}/blobs/{digest}"))).await?;
    let read = answer.body.len() as u64;
    let seconds = whole.saturating_sub(answer.after).as_secs_f64().max(1e-6);
    Ok(Measured { connect, manifest, blob: answer.after, throughput: read as f64 / seconds, read })
}

async fn good(client: &Client, ask: Ask) -> Result<Answer, FetchError> {
    let path = ask.path.clone();
    let answer = client.ask(ask).await.map_err(|trouble| FetchError::new(trouble.to_string()))?;
    if answer.status == StatusCode::OK {
        return Ok(answer);
    }
    Err(FetchError::new(format!("{path} answers {}", crate::hop::words(&answer))))
}

/// A blob, from wherever the mirror sends its clients; with the time until as much as counts had come.
async fn blob(client: &Client, ask: Ask) -> Result<(Answer, Duration), FetchError> {
    let begun = Instant::now();
    let answer = client.ask(ask).await.map_err(|trouble| FetchError::new(trouble.to_string()))?;
    if !answer.status.is_redirection() {
        let length = answer.header(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0_u64);
        let is_short = (answer.body.len() as u64) < length.min(ENOUGH);
        return if answer.status == StatusCode::OK && !is_short {
            Ok((answer, begun.elapsed()))
        } else {
            Err(FetchError::new(format!("a blob answers {}", crate::hop::words(&answer))))
        };
    }
    let location = answer.header(http::header::LOCATION).unwrap_or_default();
    let (endpoint, path) = Endpoint::of_url(location)
        .ok_or_else(|| FetchError::new(format!("blobs are redirected to {location:?}")))?;
    let elsewhere = Client::to(endpoint, Arc::clone(&client.trust))
        .await
        .map_err(|trouble| FetchError::new(trouble.to_string()))?;
    let mut answer = good(&elsewhere, Ask::get(path)).await?;
    let whole = begun.elapsed();
    // The redirect is part of the wait.
    answer.after = answer.after.min(whole);
    Ok((answer, whole))
}

async fn token(client: &Client, repository: &RepoName) -> Result<Option<String>, FetchError> {
    let base = client.ask(Ask::get("/v2/")).await.map_err(|trouble| FetchError::new(trouble.to_string()))?;
    if base.status == StatusCode::OK {
        return Ok(None);
    }
    let challenge = base.header(WWW_AUTHENTICATE).and_then(Challenge::read);
    let Some(Challenge::Bearer { realm, service }) = challenge else {
        return Err(FetchError::new(format!("/v2/ answers {}", crate::hop::words(&base))));
    };
    let unusable = || FetchError::new(format!("the token service {realm:?} can't be used"));
    let (endpoint, _) = Endpoint::of_url(&realm).ok_or_else(unusable)?;
    let tokens = Client::to(endpoint, Arc::clone(&client.trust)).await.map_err(|_| unusable())?;
    let tokens = TokenService::new(tokens, &realm, &service).ok_or_else(unusable)?;
    let given = tokens.token(&format!("repository:{repository}:pull"), None).await;
    given.map(|given| Some(given.token)).map_err(|_| unusable())
}

/// Of an index, the image for this kind of machine, else the first.
fn child(answer: &Answer) -> Option<String> {
    let index: Value = serde_json::from_slice(&answer.body).ok()?;
    let children = index.get("manifests")?.as_array()?;
    let is_amd64 =
        |child: &&Value| child.pointer("/platform/architecture").and_then(Value::as_str) == Some("amd64");
    let child = children.iter().find(is_amd64).or_else(|| children.first())?;
    Some(child.get("digest")?.as_str()?.to_owned())
}

/// The largest layer.
fn layer(answer: &Answer) -> Option<String> {
    let manifest: Value = serde_json::from_slice(&answer.body).ok()?;
    let layers = manifest.get("layers")?.as_array()?;
    let largest = layers.iter().max_by_key(|layer| layer.get("size").and_then(Value::as_u64))?;
    Some(largest.get("digest")?.as_str()?.to_owned())
}
