//! Doors for the fuzz targets in `fuzz/`, to what reads outside input and is private otherwise. Only
//! there with the feature of that name, which the fuzz crate alone switches on.

use http::HeaderMap;
use http::request::Parts;
use larder_core::Precondition;
use larder_oci::Digest;

use crate::condition::{self, Verdict};
use crate::forwarded::reached_by;
use crate::route::{Api, Route};

/// What conditional headers mean.
pub struct Conditions {
    /// The status of a GET.
    pub status: u16,
    /// Whether its `Range` counts.
    pub range_counts: bool,
    /// What a PUT demands of its tag, by name.
    pub precondition: String,
}

/// The path that means the same, spelled as Larder itself spells it.
pub fn plainest_path(path: &str) -> Option<String> {
    Some(match Route::parse(path).ok()? {
        Route::Root => "/".to_owned(),
        Route::Health => "/healthz".to_owned(),
        Route::Ready => "/readyz".to_owned(),
        Route::Token => "/auth/token".to_owned(),
        Route::Setup => "/setup".to_owned(),
        Route::SetupAuthority => "/setup/ca.crt".to_owned(),
        Route::Problems => "/api/v1/problems".to_owned(),
        Route::Clients => "/api/v1/clients".to_owned(),
        Route::BaseWithoutSlash => "/v2".to_owned(),
        Route::Base => "/v2/".to_owned(),
        Route::Catalog => "/v2/_catalog".to_owned(),
        Route::Tags(name) => format!("/v2/{name}/tags/list"),
        Route::Manifest(name, reference) => format!("/v2/{name}/manifests/{reference}"),
        Route::Blob(name, digest) => format!("/v2/{name}/blobs/{digest}"),
        Route::Referrers(name, subject) => format!("/v2/{name}/referrers/{subject}"),
        Route::Uploads(name) => format!("/v2/{name}/blobs/uploads/"),
        Route::Upload(name, id) => format!("/v2/{name}/blobs/uploads/{id}"),
        Route::Api(Api::Gc) => "/api/v1/gc".to_owned(),
        Route::Api(Api::Removals) => "/api/v1/removals".to_owned(),
        Route::Api(Api::Undo) => "/api/v1/undo".to_owned(),
        Route::Api(Api::History) => "/api/v1/history".to_owned(),
        Route::Api(Api::Cache) => "/api/v1/cache".to_owned(),
        Route::Api(Api::Maintenance) => "/api/v1/maintenance".to_owned(),
        Route::Api(Api::Warm) => "/api/v1/cache/warm".to_owned(),
        Route::Api(Api::Retention) => "/api/v1/retention".to_owned(),
        Route::Api(Api::Status) => "/api/v1/status".to_owned(),
        Route::Api(Api::Usage) => "/api/v1/du".to_owned(),
        Route::Api(Api::Quotas) => "/api/v1/quotas".to_owned(),
    })
}

/// What these headers say of this content.
pub fn conditions(headers: &HeaderMap, digest: &Digest) -> Conditions {
    let precondition = match condition::precondition(headers) {
        Precondition::Always => "Always",
        Precondition::Absent => "Absent",
        Precondition::Present => "Present",
        Precondition::PointsAtOneOf(_) => "PointsAtOneOf",
        Precondition::PointsAtNoneOf(_) => "PointsAtNoneOf",
    };
    Conditions {
        status: match condition::judge(headers, digest) {
            Verdict::Proceed => 200,
            Verdict::NotModified => 304,
            Verdict::PreconditionFailed => 412,
        },
        range_counts: condition::range_counts(headers, digest),
        precondition: precondition.to_owned(),
    }
}

/// Scheme and host by which the client reached us.
pub fn base_url(parts: &Parts, is_tls: bool) -> String {
    reached_by(parts, is_tls, true)
}
