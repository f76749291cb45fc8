//! Errors on the wire: one table from what went wrong to status, code and words.

use http::{Response, StatusCode};
use larder_auth::{AuthError, Denied, Refusal};
use larder_core::{RegistryError, UpstreamFailure};
use larder_oci::{ErrorCode, ReferenceError, Role};
use serde_json::{Value, json};

use crate::body::Body;
use crate::respond;
use crate::route::RouteError;

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
    /// A sentence for a person: what is wrong and what to do. Never null except where registry:2's
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
                json!(error.message.as_deref().unwrap_or(error.code.message())),
                error.detail
            )
        })
        .collect();
    respond::with_body(status, respond::JSON, format!("{{\"errors\":[{}]}}\n", list.join(",")))
}

/// What became of a failed operation: a response's errors, and whether an operator must hear of it.
pub(crate) fn from_registry(error: &RegistryError, request_id: &str) -> Vec<ApiError> {
    let one = |status, code| vec![ApiError::new(status, code, error.to_string())];
    match error {
        RegistryError::RepositoryUnknown { .. } => one(StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        RegistryError::ManifestUnknown { .. } => one(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
        RegistryError::BlobUnknown { .. } => one(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown),
        RegistryError::UploadUnknown { .. } => one(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
        RegistryError::UploadTakenOver { .. } => one(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid),
        RegistryError::ChunkOutOfOrder { .. } => {
            one(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::RangeInvalid)
        }
        RegistryError::ChunkLength { .. } => one(StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
        RegistryError::DigestMismatch { .. } => one(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
        RegistryError::ManifestInvalid(_) => one(StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
        RegistryError::ManifestTooLarge { .. } => {
            one(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid)
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
                        "{repository} lacks the {what} {}: push it before the manifest that names it",
                        reference.digest
                    ),
                )
            })
            .collect(),
        RegistryError::UndoTooLate { .. } => one(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
        RegistryError::PreconditionFailed { .. } => one(StatusCode::PRECONDITION_FAILED, ErrorCode::Denied),
        RegistryError::DeletesDisabled | RegistryError::ReadOnly => {
            one(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
        }
        RegistryError::NoSpace(_) => one(StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable),
        RegistryError::Corrupt { .. } => one(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
        RegistryError::Upstream(error) => {
            let (status, code) = from_upstream(error.failure);
            one(status, code)
        }
        RegistryError::Shared(error) => from_registry(error, request_id),
        RegistryError::Meta(_) | RegistryError::Internal(_) => {
            vec![ApiError::internal(StatusCode::INTERNAL_SERVER_ERROR, request_id)]
        }
    }
}

/// What isn't here and didn't come from upstream. A client falls back at once on any of these; only what the upstream
/// itself refuses to everybody but its own users is "not there", as registries say it of what one may not see.
fn from_upstream(failure: UpstreamFailure) -> (StatusCode, ErrorCode) {
    match failure {
        UpstreamFailure::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
        UpstreamFailure::TimedOut => (StatusCode::GATEWAY_TIMEOUT, ErrorCode::Unavailable),
        UpstreamFailure::Offline => (StatusCode::GATEWAY_TIMEOUT, ErrorCode::Unavailable),
        UpstreamFailure::Unauthorized | UpstreamFailure::Denied => {
            (StatusCode::NOT_FOUND, ErrorCode::NameUnknown)
        }
        UpstreamFailure::Unreachable
        | UpstreamFailure::Tls
        | UpstreamFailure::Failed { .. }
        | UpstreamFailure::Garbled
        | UpstreamFailure::Cut => (StatusCode::BAD_GATEWAY, ErrorCode::Unavailable),
    }
}

/// Why a path means nothing.
pub(crate) fn from_route(error: &RouteError) -> ApiError {
    let detail = error.to_string();
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
        return ApiError::new(StatusCode::FORBIDDEN, ErrorCode::Denied, denied.reason.as_ref());
    }
    let detail = match &denied.needed {
        None => Value::Null,
        Some(scope) => json!({ "reason": denied.reason, "needed": scope.to_string() }),
    };
    ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, detail)
}

#[cfg(test)]
mod tests;
