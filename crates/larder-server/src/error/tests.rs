use larder_oci::RepoName;

use super::*;

#[test]
fn the_envelope_is_registry_2s_to_the_byte() {
    let error = ApiError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, Value::Null);
    let response = error_response(&[error]);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let expected = "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\"detail\":null}]}\n";
    assert_eq!(response.body().length(), expected.len() as u64);
}

#[test]
fn every_kind_of_error_has_its_status_and_code() {
    let repository: RepoName = "team/app".parse().unwrap();
    let digest = larder_oci::Digest::sha256(b"x");
    let id = larder_oci::UploadId::from_random([1; 16]);
    let tag: larder_oci::Tag = "latest".parse().unwrap();
    let missing = larder_core::MissingReference { role: Role::Layer, digest };
    let cases = [
        (RegistryError::RepositoryUnknown { repository: repository.clone() }, 404, "NAME_UNKNOWN"),
        (
            RegistryError::ManifestUnknown {
                repository: repository.clone(),
                reference: larder_oci::Reference::Tag(tag.clone()),
            },
            404,
            "MANIFEST_UNKNOWN",
        ),
        (RegistryError::BlobUnknown { repository: repository.clone(), digest }, 404, "BLOB_UNKNOWN"),
        (RegistryError::UploadUnknown { repository: repository.clone(), id }, 404, "BLOB_UPLOAD_UNKNOWN"),
        (
            RegistryError::TagImmutable {
                repository: repository.clone(),
                tag: tag.clone(),
                current: digest,
                rule: "a rule".into(),
            },
            403,
            "DENIED",
        ),
        (
            RegistryError::QuotaExceeded {
                repository: repository.clone(),
                exceeded: Box::new(larder_core::Exceeded {
                    place: "a rule".into(),
                    limited: larder_core::Limited::Bytes,
                    used: 1,
                    wanted: 2,
                    limit: 2,
                }),
            },
            403,
            "DENIED",
        ),
        (RegistryError::UndoTooLate { repository: repository.clone(), id: 1 }, 404, "MANIFEST_UNKNOWN"),
        (RegistryError::UploadTakenOver { id }, 409, "BLOB_UPLOAD_INVALID"),
        (RegistryError::ChunkOutOfOrder { id, first: 2, length: 1 }, 416, "RANGE_INVALID"),
        (RegistryError::ChunkLength { received: 2, claimed: 1 }, 400, "SIZE_INVALID"),
        (RegistryError::DigestMismatch { expected: digest, found: digest }, 400, "DIGEST_INVALID"),
        (RegistryError::ManifestInvalid(larder_oci::ManifestError::NoMediaType), 400, "MANIFEST_INVALID"),
        (RegistryError::ManifestTooLarge { limit: 1 }, 413, "MANIFEST_INVALID"),
        (
            RegistryError::ReferencesUnknown { repository, missing: vec![missing] },
            400,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (RegistryError::PreconditionFailed { tag, current: None }, 412, "DENIED"),
        (RegistryError::DeletesDisabled, 405, "UNSUPPORTED"),
        (RegistryError::ReadOnly, 405, "UNSUPPORTED"),
        (RegistryError::Maintenance { reason: "disks".into(), pulling: false }, 405, "UNSUPPORTED"),
        (RegistryError::Maintenance { reason: "".into(), pulling: true }, 503, "UNAVAILABLE"),
        (RegistryError::Corrupt { digest, path: "p".into() }, 500, "UNKNOWN"),
    ];
    let upstream = |failure| larder_core::UpstreamError {
        upstream: "hub".into(),
        host: "hub".into(),
        failure,
        detail: "the name can't be resolved".into(),
        cause: None,
    };
    let failures = [
        (UpstreamFailure::Unreachable, 502, "UNAVAILABLE"),
        (UpstreamFailure::TimedOut, 504, "UNAVAILABLE"),
        (UpstreamFailure::Tls, 502, "UNAVAILABLE"),
        (UpstreamFailure::Unauthorized, 404, "NAME_UNKNOWN"),
        (UpstreamFailure::Denied, 404, "NAME_UNKNOWN"),
        (UpstreamFailure::RateLimited { retry_after: None }, 429, "TOOMANYREQUESTS"),
        (UpstreamFailure::Failed { status: 500 }, 502, "UNAVAILABLE"),
        (UpstreamFailure::Garbled, 502, "UNAVAILABLE"),
        (UpstreamFailure::Cut, 502, "UNAVAILABLE"),
        (UpstreamFailure::Offline, 504, "UNAVAILABLE"),
    ];
    let shared = failures.map(|(failure, status, code)| {
        (RegistryError::Shared(RegistryError::from(upstream(failure)).into()), status, code)
    });
    for (error, status, code) in cases.into_iter().chain(shared) {
        let errors = from_registry(&error, "id");
        assert_eq!((errors[0].status.as_u16(), errors[0].code.as_str()), (status, code), "{error}");
        let told = errors[0].detail.as_str().expect("a sentence");
        assert!(status == 500 || told.contains("; "), "{told} has no fix");
    }
}

#[test]
fn every_refusal_of_credentials_says_what_to_do() {
    use larder_auth::{KeyProblem, TokenProblem};
    let user = || "alice".to_owned();
    let keys = [KeyProblem::Unknown, KeyProblem::Forged, KeyProblem::Expired, KeyProblem::OwnerGone];
    let tokens = [
        TokenProblem::Expired,
        TokenProblem::NotYetValid,
        TokenProblem::BadSignature,
        TokenProblem::OtherService,
        TokenProblem::PasswordChanged,
        TokenProblem::OtherIssuer,
        TokenProblem::UntrustedKey,
        TokenProblem::AlgorithmNotAllowed,
        TokenProblem::Garbled,
        TokenProblem::OtherCertificate,
        TokenProblem::UserGone,
    ];
    let others = [
        Refusal::UnknownUser { user: user() },
        Refusal::WrongPassword { user: user() },
        Refusal::LoginNeeded,
        Refusal::LoginUnusable,
        Refusal::HeaderGarbled,
        Refusal::SchemeNotOffered,
        Refusal::Failed(AuthError::TooManyLogins),
    ];
    let refusals = others.into_iter().chain(keys.map(Refusal::Key)).chain(tokens.map(Refusal::Token));
    for refusal in refusals {
        let error = from_refusal(&refusal, "id");
        assert!(matches!(error.status.as_u16(), 401 | 429), "{refusal}");
        assert!(error.detail.as_str().is_some_and(|told| told.contains("; ")), "{}", error.detail);
    }
}

#[test]
fn a_mirror_that_this_is_not_is_named_with_what_to_do() {
    let error = from_route(&RouteError::Namespace("other.lan".to_owned()));
    assert_eq!((error.status.as_u16(), error.code), (404, ErrorCode::NameUnknown));
    assert!(
        error.detail.as_str().is_some_and(|told| told.contains("; its operator can add")),
        "{}",
        error.detail
    );
}
