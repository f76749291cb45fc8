use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AGE, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, WARNING};
use http::{Method, Response, StatusCode};
use larder_core::{Event, LONGEST_MANIFEST, ManifestPush, PushedManifest, RegistryError, ServedCopy};
use larder_oci::{ErrorCode, MediaType, Reference, RepoName, Tag};

use crate::body::Body;
use crate::condition;
use crate::content::{Content, ContentBytes};
use crate::error::{ApiError, with_fix};
use crate::received::Received;
use crate::request::{Answer, Call, Failure};
use crate::respond::{self, DOCKER_CONTENT_DIGEST, LARDER_STALE, OCI_SUBJECT, OCI_TAG, header};
use crate::uploads::{in_time, next_piece};

/// How long a manifest may be on its way: 4 MiB even over a line of 300 kbit/s.
const LONGEST_MANIFEST_TRANSFER: Duration = Duration::from_secs(120);

/// The most tags in one push (`?tag=`). The OCI Distribution Specification asks for ten at least.
const MOST_TAGS: usize = 100;

impl Call {
    pub(crate) async fn get_manifest(&self, name: &RepoName, reference: &Reference) -> Answer {
        let access = self.may_pull(name).await?;
        if let (&Method::HEAD, Reference::Digest(digest)) = (&self.parts.method, reference) {
            // Whoever hears "it is here" won't push it, and names it in an index later.
            self.app.registry.promise(&access, digest).await?;
        }
        // Whatever `Accept` says: a stored manifest has one type, and clients that don't name it in
        // `Accept` read it all the same.
        let found = match self.app.registry.manifest(&access, reference).await {
            Err(error) if error.is_upstream() && self.asks_before_a_push(name).await => {
                tracing::info!(%name, %reference, %error, "whether an upstream holds a manifest can't be told");
                None
            }
            found => found?,
        };
        let Some(manifest) = found else {
            let (repository, reference) = (name.clone(), reference.clone());
            return Err(RegistryError::ManifestUnknown { repository, reference }.into());
        };
        let bytes = match &manifest.file {
            Some(file) => ContentBytes::File { file: Arc::clone(file), size: manifest.bytes.len() as u64 },
            None => ContentBytes::Memory(manifest.bytes.clone()),
        };
        let content = Content {
            digest: manifest.digest,
            media_type: manifest.media_type.as_str(),
            bytes,
            immutable: false,
        };
        let mut response = content.respond(&self.parts.headers);
        if let Some(copy) = &manifest.copy {
            say_that_it_is_a_copy(response.headers_mut(), copy);
        }
        let tag = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        self.report_pull(&access, &Event::ManifestPulled { manifest: &manifest, tag }, &response);
        Ok(response)
    }

    /// Whether this is a client about to push here, who asks whether he has to: an upstream that fails must not fail
    /// him, so to this question "not known" is "not here". containerd and BuildKit name the one type that they are
    /// about to push; who pulls names all that he can read.
    async fn asks_before_a_push(&self, name: &RepoName) -> bool {
        self.parts.method == Method::HEAD
            && names_one_type(&self.parts.headers)
            && self.may_push(name).await.is_ok()
    }

    pub(crate) async fn put_manifest(&self, name: &RepoName, reference: Reference, body: Received) -> Answer {
        let (_, access) = self.may_push(name).await?;
        let tags = self.pushed_tags()?;
        let media_type = self.content_type()?;
        let bytes = self.read_manifest(body).await?;
        let precondition = condition::precondition(&self.parts.headers);
        let push = ManifestPush { reference, tags: tags.clone(), media_type, bytes, precondition };
        let pushed = self.registry().push_manifest(&access, push).await?;
        Ok(self.pushed(name, &tags, &pushed))
    }

    pub(crate) async fn delete_manifest(&self, name: &RepoName, reference: &Reference) -> Answer {
        let access = self.may_delete(name).await?;
        self.registry().delete_manifest(&access, reference).await?;
        Ok(respond::empty(StatusCode::ACCEPTED))
    }

    fn pushed(&self, name: &RepoName, tags: &[Tag], pushed: &PushedManifest) -> Response<Body> {
        let location = self.path(&format!("{name}/manifests/{}", pushed.digest));
        let mut response = respond::located(StatusCode::CREATED, &location);
        let headers = response.headers_mut();
        headers.insert(DOCKER_CONTENT_DIGEST, header(&pushed.digest.to_string()));
        if let Some(subject) = &pushed.subject {
            headers.insert(OCI_SUBJECT, header(&subject.to_string()));
        }
        for tag in tags {
            headers.append(OCI_TAG, header(tag.as_str()));
        }
        response
    }

    fn pushed_tags(&self) -> Result<Vec<Tag>, ApiError> {
        let texts = self.parameters("tag");
        if texts.len() > MOST_TAGS {
            return Err(ApiError::new(
                StatusCode::URI_TOO_LONG,
                ErrorCode::TagInvalid,
                format!(
                    "a push may set {MOST_TAGS} tags at once, this one has {}; push the others by another request",
                    texts.len()
                ),
            ));
        }
        texts
            .iter()
            .map(|text| {
                text.parse().map_err(|error: larder_oci::TagError| {
                    ApiError::bad_request(ErrorCode::TagInvalid, with_fix(error, "choose another tag"))
                })
            })
            .collect()
    }

    fn content_type(&self) -> Result<Option<MediaType>, ApiError> {
        let Some(value) = self.parts.headers.get(CONTENT_TYPE) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        text.parse().map(Some).map_err(|error: larder_oci::MediaTypeError| {
            let detail = with_fix(format!("Content-Type: {error}"), "send the manifest's own mediaType");
            ApiError::bad_request(ErrorCode::ManifestInvalid, detail)
        })
    }

    async fn read_manifest(&self, mut body: Received) -> Result<Bytes, Failure> {
        let too_large = || RegistryError::ManifestTooLarge { limit: LONGEST_MANIFEST };
        if self.content_length().is_some_and(|length| length > LONGEST_MANIFEST as u64) {
            return Err(too_large().into());
        }
        // Closed only with the app, which outlives its requests.
        let _place = self.app.manifests_coming_in.acquire().await.ok();
        let read = async {
            let mut bytes = BytesMut::new();
            while let Some(piece) = next_piece(&mut body, self.options.limits.silence).await? {
                if bytes.len() + piece.len() > LONGEST_MANIFEST {
                    return Err(too_large().into());
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        };
        in_time(LONGEST_MANIFEST_TRANSFER, read).await
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value: &HeaderValue| value.to_str().ok()?.parse().ok())
    }
}

/// Says that a list is only what is here, and why.
pub(crate) fn say_that_it_is_only_a_copy(headers: &mut HeaderMap, copy: &ServedCopy) {
    headers.insert(WARNING, HeaderValue::from_static("110 larder \"Response is Stale\""));
    // What an upstream's words may hold and a header mustn't is left out.
    let reason: String =
        copy.why.reason.chars().filter(|letter| matches!(letter, ' '..='~')).take(300).collect();
    headers.insert(LARDER_STALE, header(&format!("{}: {reason}", copy.upstream)));
}

/// Whether `Accept` names a single type, beside `*/*`.
fn names_one_type(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = lines.flat_map(|line| line.split(',')).map(|part| part.split(';').next().unwrap_or_default());
    types.map(str::trim).filter(|name| !name.is_empty() && *name != "*/*").count() == 1
}

/// Says of a copy how old it is and why it was served (RFC 9111 section 5.1; `Warning` is that of RFC 7234, which
/// clients of its time still show).
fn say_that_it_is_a_copy(headers: &mut HeaderMap, copy: &ServedCopy) {
    headers.insert(AGE, copy.age.as_secs().into());
    say_that_it_is_only_a_copy(headers, copy);
}
