//! Errors on the wire: one table from what went wrong to status, code and words.

use std::fmt;

use http::{Response, StatusCode};
use larder_auth::{AuthError, Denied, Refusal};
use larder_core::{RegistryError, UpstreamFailure};
use larder_oci::{ErrorCode, ReferenceError, Role};
use serde_json::{Value, json};

use crate::body::Body;
use crate::respond;
use crate::route::RouteError;

/// How a digest has to look.
pub(crate) const DIGEST_FORM: &str = "write sha256: and 64 of the digits 0-9 and a-f";

/// Missing content that one answer names: as much as an image can have, 127 layers and a config. A
/// manifest that names tens of thousands of things gets no answer of megabytes.
const MOST_NAMED: usize = 128;

/// One error of a response (OCI Distribution Specification, "Error Codes").
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: ErrorCode,
    /// Instead of the code's own words, where docker has to show more: of an answer it shows only these.
    pub(crate) message: Option<String>,
    /// A sentence for a person: what is wrong and, after a semicolon, what to do. Never null except where registry:2's
    /// exact bytes are kept: docker takes a null detail on an upload for a reason to retry for 51 s.
    pub(crate) detail: Value,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, detail: impl Into<Value>) -> ApiError {
        ApiError { status, code, message: None, detail: detail.into() }
    }

    pub(crate) fn bad_request(code: ErrorCode, detail: impl Into<Value>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// What a person is told of it.
    pub(crate) fn words(&self) -> &str {
        self.message.as_deref().unwrap_or(self.code.message())
    }

    pub(crate) fn detail_text(&self) -> String {
        self.detail.as_str().map_or_else(|| self.detail.to_string(), str::to_owned)
    }

    /// Something on our side. The client gets the request's number, the log gets the cause.
    pub(crate) fn internal(status: StatusCode, request_id: &str) -> ApiError {
        let code = if status == StatusCode::SERVICE_UNAVAILABLE {
            ErrorCode::Unavailable
        } else {
            ErrorCode::Unknown
        };
        ApiError::new(
            status,
            code,
            format!("the registry failed; its log has the cause under request {request_id}"),
        )
    }
}

/// What is wrong and, after a semicolon, what to do about it. Sentences that say the second themselves are left as they are.
pub(crate) fn with_fix(seen: impl fmt::Display, fix: &str) -> String {
    let seen = seen.to_string();
    if seen.contains("; ") || fix.is_empty() { seen } else { format!("{seen}; {fix}") }
}

/// The response that lists these errors; its status is the first one's.
pub(crate) fn error_response(errors: &[ApiError]) -> Response<Body> {
    let status = errors.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |error| error.status);
    let list: Vec<String> = errors
        .iter()
        .map(|error| {
            // Written by hand for the order of the fields: registry:2's own, which scripts compare.
            format!(
                r#"{{"code":{},"message":{},"detail":{}}}"#,
                json!(error.code.as_str()),
                json!(error.words()),
                error.detail
            )
        })
        .collect();
    let mut response =
        respond::with_body(status, respond::JSON, format!("{{\"errors\":[{}]}}\n", list.join(",")));
    // For the log of requests.
    if let Some(first) = errors.first() {
        response.extensions_mut().insert(first.clone());
    }
    response
}

/// Says in the status line of an answer to a push what the full disk lacks. docker, podman and skopeo show nothing else of
/// a 5xx; and docker, which else tries a failed layer five times in 51 s, takes "no space left on device" for final. A pull
/// must not hear these words: docker would no longer go to the next mirror.
pub(crate) fn tell_in_status_line(response: &mut Response<Body>, error: &RegistryError) {
    let Some(shortage) = error.shortage() else { return };
    let words = format!("Insufficient Storage: no space left on device: {shortage}");
    if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(words.into_bytes()) {
        response.extensions_mut().insert(reason);
    }
}

/// What became of a failed operation: a response's errors, and whether an operator must hear of it.
pub(crate) fn from_registry(error: &RegistryError, request_id: &str) -> Vec<ApiError> {
    let one = |status, code, fix: &str| vec![ApiError::new(status, code, with_fix(error, fix))];
    match error {
        RegistryError::RepositoryUnknown { .. } => {
            one(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, "push an image to create it")
        }
        RegistryError::ManifestUnknown { repository, .. } => {
            let fix = format!("GET /v2/{repository}/tags/list says what it has");
            one(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, &fix)
        }
        RegistryError::BlobUnknown { .. } => {
            one(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, "push the image that it belongs to again")
        }
        RegistryError::UploadUnknown { .. } => {
            one(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, "start a new one with POST")
        }
        RegistryError::UploadTakenOver { .. } => {
            let fix = "use one request at a time for a session, or a session for each";
            one(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid, fix)
        }
        RegistryError::ChunkOutOfOrder { .. } => {
            one(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid, "send from its end on")
        }
        RegistryError::ChunkLength { .. } => {
            one(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid, "send it again with the length that it has")
        }
        RegistryError::DigestMismatch { .. } => {
            one(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid, "send it again")
        }
        RegistryError::ManifestInvalid(_) => {
            let fix = "the program that wrote it must write it otherwise: a current version may";
            one(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid, fix)
        }
        RegistryError::ManifestTooLarge { .. } => {
            let fix = "put what is large into a layer";
            one(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid, fix)
        }
        RegistryError::ReferencesUnknown { repository, missing } => missing
            .iter()
            .take(MOST_NAMED)
            .map(|reference| {
                let what = match reference.role {
                    Role::Config => "config",
                    Role::Layer => "layer",
                    Role::Child => "manifest",
                };
                ApiError::bad_request(
                    ErrorCode::ManifestBlobUnknown,
                    format!(
                        "{repository} lacks the {what} {}; push it before the manifest that names it",
                        reference.digest
                    ),
                )
            })
            .collect(),
        RegistryError::UndoTooLate { .. } => {
            let fix = "GET /api/v1/removals says which can be";
            one(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, fix)
        }
        RegistryError::TagImmutable { .. } => {
            // docker shows the message alone.
            let words = with_fix(error, "push another image under another tag");
            let denied = ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, words.clone());
            vec![ApiError { message: Some(words), ..denied }]
        }
        RegistryError::QuotaExceeded { .. } => {
            let fix = "delete what nobody needs, which counts until its grace time is over and the collector has been \
                       there, or have the registry's operator raise the limit";
            let words = with_fix(error, fix);
            let denied = ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, words.clone());
            vec![ApiError { message: Some(words), ..denied }]
        }
        RegistryError::PreconditionFailed { .. } => {
            let fix = "look at what the tag points at now, and decide anew";
            one(StatusCode::PRECONDITION_FAILED, ErrorCode::Denied, fix)
        }
        RegistryError::DeletesDisabled | RegistryError::ReadOnly => {
            let fix = "pull, or wait until its operator ends that";
            one(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, fix)
        }
        RegistryError::Maintenance { pulling: true, .. } => {
            one(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, "")
        }
        // As read-only: docker stops at once and shows the message, where it would try a 503 for 51 s and show nothing.
        RegistryError::Maintenance { pulling: false, .. } => {
            let message = Some(error.to_string());
            let (status, code) = (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported);
            vec![ApiError { message, ..ApiError::new(status, code, error.to_string()) }]
        }
        RegistryError::NoSpace(_) => one(StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable, "")
            .into_iter()
            .map(|each| ApiError { message: Some(error.to_string()), ..each })
            .collect(),
        RegistryError::Corrupt { .. } => one(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, ""),
        RegistryError::Upstream(error) => {
            let (status, code, fix) = from_upstream(error.failure);
            one(status, code, fix)
        }
        RegistryError::Shared(error) => from_registry(error, request_id),
        RegistryError::Meta(_) | RegistryError::Internal(_) => {
            vec![ApiError::internal(StatusCode::INTERNAL_SERVER_ERROR, request_id)]
        }
    }
}

/// What isn't here and didn't come from upstream. A client falls back at once on any of these; only what the upstream
/// itself refuses to everybody but its own users is "not there", as registries say it of what one may not see.
fn from_upstream(failure: UpstreamFailure) -> (StatusCode, ErrorCode, &'static str) {
    match failure {
        UpstreamFailure::RateLimited { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::TooManyRequests,
            "try again later, or let the operator give Larder a login for that upstream",
        ),
        UpstreamFailure::TimedOut => (StatusCode::GATEWAY_TIMEOUT, ErrorCode::Unavailable, "try again later"),
        UpstreamFailure::Offline => (
            StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::Unavailable,
            "ask the operator, who switched the upstream off",
        ),
        UpstreamFailure::Unauthorized | UpstreamFailure::Denied => (
            StatusCode::NOT_FOUND,
            ErrorCode::NameUnknown,
            "check the name; a private one needs a login for that upstream in Larder's configuration",
        ),
        UpstreamFailure::Unreachable
        | UpstreamFailure::Tls
        | UpstreamFailure::Failed { .. }
        | UpstreamFailure::Garbled
        | UpstreamFailure::Cut => (
            StatusCode::BAD_GATEWAY,
            ErrorCode::Unavailable,
            "try again later; larder doctor --server on the registry's machine says more",
        ),
    }
}

/// Why a path means nothing.
pub(crate) fn from_route(error: &RouteError) -> ApiError {
    let fix = match error {
        RouteError::NotFound => "a registry's paths begin with /v2/",
        RouteError::NoSuchRoute | RouteError::Namespace(_) | RouteError::Encoding => "",
        RouteError::Name(_) => "rename the image with docker tag",
        RouteError::Reference(ReferenceError::Tag(_)) => "choose another with docker tag",
        RouteError::Reference(ReferenceError::Digest(_)) | RouteError::Digest(_) => DIGEST_FORM,
        RouteError::Upload(_) => "go on at the Location that the last answer named, as it is",
    };
    let detail = with_fix(error, fix);
    match error {
        RouteError::NotFound | RouteError::NoSuchRoute => {
            ApiError::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, detail)
        }
        RouteError::Namespace(_) => ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, detail),
        RouteError::Encoding | RouteError::Name(_) => ApiError::bad_request(ErrorCode::NameInvalid, detail),
        RouteError::Reference(ReferenceError::Tag(_)) => ApiError::bad_request(ErrorCode::TagInvalid, detail),
        RouteError::Reference(ReferenceError::Digest(_)) | RouteError::Digest(_) => {
            ApiError::bad_request(ErrorCode::DigestInvalid, detail)
        }
        RouteError::Upload(_) => ApiError::new(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, detail),
    }
}

/// Credentials that aren't believed. The status is 401 unless they could not be looked at: then 429, for which
/// containers/image waits as long as `Retry-After` says and tries again, and of which docker shows the message;
/// a 503 would end either. An answer that is held back instead would use up docker's 15 s and tell nothing.
pub(crate) fn from_refusal(refusal: &Refusal, request_id: &str) -> ApiError {
    match refusal {
        Refusal::Failed(AuthError::TooManyLogins | AuthError::TooManyGuesses { .. }) => {
            let (status, code) = (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests);
            let message = Some(refusal.message().into_owned());
            ApiError { message, ..ApiError::new(status, code, refusal.message()) }
        }
        Refusal::Failed(_) => ApiError::internal(StatusCode::INTERNAL_SERVER_ERROR, request_id),
        Refusal::UnknownUser { .. }
        | Refusal::WrongPassword { .. }
        | Refusal::Key(_)
        | Refusal::LoginNeeded
        | Refusal::LoginUnusable
        | Refusal::HeaderGarbled
        | Refusal::SchemeNotOffered
        | Refusal::Token(_) => {
            ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, refusal.message())
        }
    }
}

/// The policy's no. With nothing needed in particular (the base) the detail is null, as in registry:2.
pub(crate) fn from_denied(denied: &Denied) -> ApiError {
    if !denied.authenticating_could_help() {
        let detail = with_fix(&denied.reason, "whoever administers this registry can allow it");
        // docker shows the message alone, and the words by which people search stay at its beginning.
        let message = Some(format!("{}: {}", ErrorCode::Denied.message(), denied.reason));
        return ApiError { message, ..ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, detail) };
    }
    let detail = match &denied.needed {
        None => Value::Null,
        Some(scope) => {
            let reason = with_fix(&denied.reason, "log in with docker login");
            json!({ "reason": reason, "needed": scope.to_string() })
        }
    };
    ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, detail)
}

#[cfg(test)]
mod tests;
