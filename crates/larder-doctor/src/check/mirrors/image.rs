//! The tiny image that proves a mirror.

use http::StatusCode;
use larder_oci::RepoName;
use serde_json::json;

use crate::canary::{Blob, Canary, DOCKER_MANIFEST};
use crate::check::push::upload::{self, PUSH};
use crate::check::{Session, Visit};
use crate::hop;
use crate::net::{Ask, Payload};

/// The canary of one mirror.
pub(super) struct Image {
    pub(super) canary: Canary,
    pub(super) manifest: Blob,
    pub(super) tag: String,
    /// What its one file holds.
    pub(super) content: String,
}

/// This machine's architecture, as images call it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// An image of one file, which every engine takes.
pub(super) fn image(repository: RepoName, seed: u64) -> Image {
    let content = format!("larder doctor {seed:016x}\n");
    let layer = Blob::new(archive(&content));
    let config = Blob::new(
        json!({
            "architecture": architecture(), "os": "linux", "config": {}, "created": "1970-01-01T00:00:00Z",
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
    Image { canary: Canary { repository, seed, layer, config }, manifest, tag, content }
}

/// A tar archive (POSIX ustar) of one file.
pub(super) fn archive(content: &str) -> Vec<u8> {
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

pub(super) async fn push(session: &Session, image: &Image) -> Result<(), String> {
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

pub(super) async fn take_away(visit: &mut Visit<'_, '_>, session: &Session, image: &Image) {
    let right = "pull,push,delete";
    let canary = &image.canary;
    let path = format!("/v2/{}/manifests/{}", canary.repository, image.manifest.digest);
    let asked = session.ask(&canary.repository, right, Ask::new(http::Method::DELETE, path)).await;
    let is_gone =
        asked.is_ok_and(|answer| matches!(answer.status, StatusCode::ACCEPTED | StatusCode::NOT_FOUND));
    if !is_gone {
        visit.skip(super::STAGE, format!("the canary stays in {}:{}", canary.repository, image.tag));
        return;
    }
    for blob in [&canary.layer, &canary.config] {
        // What nothing refers to is collected anyway; this is only sooner.
        let path = format!("/v2/{}/blobs/{}", canary.repository, blob.digest);
        let _ = session.ask(&canary.repository, right, Ask::new(http::Method::DELETE, path)).await;
    }
}
