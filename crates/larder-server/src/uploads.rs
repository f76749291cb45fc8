use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use larder_auth::Identity;
use larder_core::{RegistryError, UploadProgress, UploadWriter};
use larder_oci::{Access, Algorithm, ChunkRange, Digest, ErrorCode, Push, RepoName, UploadId};

use crate::body::Body;
use crate::error::{ApiError, DIGEST_FORM, error_response, from_registry, with_fix};
use crate::received::Received;
use crate::request::{Answer, Call, Failure};
use crate::respond::{self, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, OCI_CHUNK_MIN_LENGTH, header};

/// The smallest chunk that is worth sending, in bytes: any. Said all the same, because clients that
/// chunk look for it.
const SMALLEST_CHUNK: &str = "1";

impl Call {
    pub(crate) async fn start_upload(&self, name: &RepoName, body: Received) -> Answer {
        let (identity, access) = self.may_push(name).await?;
        if let Some(mount) = self.parameter("mount")
            && let Ok(digest) = mount.parse::<Digest>()
            && self.mount(&identity, &access, &digest).await?
        {
            return Ok(self.blob_created(name, &digest));
        }
        // A mount that can't be done becomes an upload: containerd gives up on any other answer.
        let algorithm = self.upload_algorithm()?;
        if let (Some(text), None) = (self.parameter("digest"), self.parameter("mount")) {
            let digest = parse_digest(&text)?;
            return self.upload_at_once(&access, &digest, body).await;
        }
        let progress = self.app.registry.start_upload(&access, algorithm).await?;
        let mut response = self.upload_at(StatusCode::ACCEPTED, name, progress);
        response.headers_mut().insert(OCI_CHUNK_MIN_LENGTH, HeaderValue::from_static(SMALLEST_CHUNK));
        Ok(response)
    }

    pub(crate) async fn upload_status(&self, name: &RepoName, id: UploadId) -> Answer {
        let (_, access) = self.may_push(name).await?;
        let progress = self.app.registry.upload_progress(&access, id).await?;
        Ok(self.upload_at(StatusCode::NO_CONTENT, name, progress))
    }

    pub(crate) async fn patch_upload(&self, name: &RepoName, id: UploadId, body: Received) -> Answer {
        let (_, access) = self.may_push(name).await?;
        let chunk = self.chunk_range()?;
        let writer = match self.app.registry.write_upload(&access, id, chunk).await {
            Ok(writer) => writer,
            Err(error) => return self.refused_chunk(name, error),
        };
        let writer = self.receive(writer, body).await?;
        let progress = writer.pause().await?;
        Ok(self.upload_at(StatusCode::ACCEPTED, name, progress))
    }

    pub(crate) async fn finish_upload(&self, name: &RepoName, id: UploadId, body: Received) -> Answer {
        let (_, access) = self.may_push(name).await?;
        let digest = self.parameter("digest").ok_or_else(|| {
            ApiError::bad_request(
                ErrorCode::DigestInvalid,
                "the digest is missing; end the upload with PUT <location>?digest=sha256:…",
            )
        })?;
        let digest = parse_digest(&digest)?;
        // A last chunk may come with this request; clients send its range along, or nothing.
        let chunk = if self.content_length() == Some(0) { None } else { self.chunk_range()? };
        let writer = match self.registry().write_upload(&access, id, chunk).await {
            Ok(writer) => writer,
            Err(error) => return self.refused_chunk(name, error),
        };
        // Who sends it all with this request is told before he has.
        let length = writer.held().saturating_add(self.content_length().unwrap_or(0));
        if let Err(error) = self.app.registry.room_for_blob(&access, &digest, length).await {
            drop(writer);
            self.forget_upload(&access, id).await;
            return Err(error.into());
        }
        self.receive(writer, body).await?.finish(&digest).await?;
        Ok(self.blob_created(name, &digest))
    }

    pub(crate) async fn cancel_upload(&self, name: &RepoName, id: UploadId) -> Answer {
        let (_, access) = self.may_push(name).await?;
        self.app.registry.cancel_upload(&access, id).await?;
        let mut response = respond::empty(StatusCode::NO_CONTENT);
        response.headers_mut().insert(DOCKER_UPLOAD_UUID, header(&id.to_string()));
        Ok(response)
    }

    /// `false` when it can't be done, for whatever reason but our own failure.
    async fn mount(
        &self,
        identity: &Identity,
        access: &Access<Push>,
        digest: &Digest,
    ) -> Result<bool, Failure> {
        let registry = self.registry();
        match self.parameter("from") {
            Some(from) => match from.parse::<RepoName>().map(|from| self.may_pull_as(identity, &from)) {
                Ok(Ok(from)) => Ok(registry.mount(access, &from, digest).await?),
                Ok(Err(_)) | Err(_) => Ok(false),
            },
            None => {
                let may_pull = |name: &RepoName| self.may_pull_as(identity, name).ok();
                Ok(registry.mount_from_any(access, digest, may_pull).await?)
            }
        }
    }

    /// The whole blob in one POST (OCI Distribution Specification, "Single POST").
    async fn upload_at_once(&self, access: &Access<Push>, digest: &Digest, body: Received) -> Answer {
        let registry = self.registry();
        registry.room_for_blob(access, digest, self.content_length().unwrap_or(0)).await?;
        let progress = registry.start_upload(access, Some(digest.algorithm())).await?;
        let writer = registry.write_upload(access, progress.id, None).await?;
        let received = match self.receive(writer, body).await {
            Ok(writer) => writer.finish(digest).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = received {
            // The client never learned of the session, so nobody would come back to it.
            self.forget_upload(access, progress.id).await;
            return Err(failure);
        }
        Ok(self.blob_created(access.repository(), digest))
    }

    async fn forget_upload(&self, access: &Access<Push>, id: UploadId) {
        if let Err(error) = self.app.registry.cancel_upload(access, id).await {
            tracing::debug!(upload = %id, %error, "an upload that failed is left to be purged");
        }
    }

    /// Takes in a body until its end, or until another request takes over the session. What has arrived
    /// when the client breaks off is kept.
    async fn receive(&self, mut writer: UploadWriter, mut body: Received) -> Result<UploadWriter, Failure> {
        writer.announce(self.content_length().unwrap_or(0));
        loop {
            let piece = tokio::select! {
                piece = next_piece(&mut body, self.options.limits.silence) => piece?,
                taken_over = writer.taken_over() => return Err(taken_over.into()),
            };
            match piece {
                Some(bytes) => writer.write(bytes).await?,
                None => return Ok(writer),
            }
        }
    }

    fn upload_algorithm(&self) -> Result<Option<Algorithm>, ApiError> {
        let Some(text) = self.parameter("digest-algorithm") else { return Ok(None) };
        text.parse().map(Some).map_err(|error: larder_oci::DigestError| {
            ApiError::bad_request(ErrorCode::DigestInvalid, with_fix(error, DIGEST_FORM))
        })
    }

    /// The chunk's place by `Content-Range`, which must agree with `Content-Length`.
    fn chunk_range(&self) -> Result<Option<ChunkRange>, Failure> {
        let Some(value) = self.parts.headers.get(CONTENT_RANGE) else { return Ok(None) };
        let chunk: ChunkRange =
            value.to_str().unwrap_or_default().parse().map_err(|error: larder_oci::ChunkRangeError| {
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                ApiError::new(
                    status,
                    ErrorCode::RangeInvalid,
                    with_fix(error, "write it so, or leave it out"),
                )
            })?;
        match self.content_length() {
            Some(length) if length != chunk.length() => {
                Err(RegistryError::ChunkLength { received: length, claimed: chunk.length() }.into())
            }
            _ => Ok(Some(chunk)),
        }
    }

    /// A chunk out of order is answered with where to go on.
    fn refused_chunk(&self, name: &RepoName, error: RegistryError) -> Answer {
        let RegistryError::ChunkOutOfOrder { id, length, .. } = error else { return Err(error.into()) };
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let mut response = error_response(&from_registry(&error, &self.id()));
        let state = self.upload_at(status, name, UploadProgress { id, length });
        for (name, value) in state.headers() {
            if *name != http::header::CONTENT_LENGTH {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        Ok(response)
    }

    fn upload_at(&self, status: StatusCode, name: &RepoName, progress: UploadProgress) -> Response<Body> {
        let location = self.path(&format!("{name}/blobs/uploads/{}", progress.id));
        let mut response = respond::located(status, &location);
        let headers = response.headers_mut();
        // Without a unit, and `0-0` for nothing: so registry:2 writes it and docker reads it.
        headers.insert(RANGE, header(&format!("0-{}", progress.length.saturating_sub(1))));
        headers.insert(DOCKER_UPLOAD_UUID, header(&progress.id.to_string()));
        response
    }

    fn blob_created(&self, name: &RepoName, digest: &Digest) -> Response<Body> {
        let location = self.path(&format!("{name}/blobs/{digest}"));
        let mut response = respond::located(StatusCode::CREATED, &location);
        response.headers_mut().insert(DOCKER_CONTENT_DIGEST, header(&digest.to_string()));
        response
    }
}

fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error: larder_oci::DigestError| {
        ApiError::bad_request(ErrorCode::DigestInvalid, with_fix(error, DIGEST_FORM))
    })
}

/// Reads a body that is small enough to be read in this time.
pub(crate) async fn in_time<T>(
    limit: Duration,
    reading: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| {
        let detail =
            format!("the request's body did not arrive within {} seconds; send it again", limit.as_secs());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Unknown, detail).into())
    })
}

/// The next bytes of a body, which may be waited for so long; `None` at its end. Trailers are passed over.
pub(crate) async fn next_piece(body: &mut Received, silence: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        match tokio::time::timeout(silence, body.frame()).await {
            Err(_) => {
                let detail = format!(
                    "nothing was sent for {} seconds; go on from where the upload's location says",
                    silence.as_secs()
                );
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(ApiError::new(status, ErrorCode::BlobUploadInvalid, detail).into());
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                return Err(Failure::ClientGone(format!("the request broke off: {error}; send it again")));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
