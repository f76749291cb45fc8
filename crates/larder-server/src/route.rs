//! From a path to what is meant.
//!
//! A repository's name has slashes of its own, so the path is read from its end: what stands there
//! says where the name stops.

use http::Method;
use larder_oci::{Digest, NameError, Reference, ReferenceError, RepoName, UploadId};
use percent_encoding::percent_decode_str;

/// What a path below the prefix means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/`: registry:2's liveness answer.
    Root,
    /// `/healthz`: the process runs.
    Health,
    /// `/readyz`: it can work.
    Ready,
    /// `/auth/token`.
    Token,
    /// `/setup`: what clients have to be told.
    Setup,
    /// `/setup/ca.crt`: whom clients have to trust.
    SetupAuthority,
    /// `/api/v1/problems`: what was refused lately.
    Problems,
    /// `/api/v1/clients`: who pulled.
    Clients,
    /// `/v2`, which registry:2 redirects.
    BaseWithoutSlash,
    /// `/v2/`.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/<name>/tags/list`.
    Tags(RepoName),
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(RepoName, Reference),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(RepoName, Digest),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(RepoName, Digest),
    /// `/v2/<name>/blobs/uploads/`.
    Uploads(RepoName),
    /// `/v2/<name>/blobs/uploads/<id>`.
    Upload(RepoName, UploadId),
    /// `/api/v1/…`: Larder's own.
    Api(Api),
}

/// What there is below `/api/v1/`. What it is about stands in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// `gc`: the collector.
    Gc,
    /// `removals`: deletions that can be undone.
    Removals,
    /// `undo`.
    Undo,
    /// `history`: what a tag has pointed at.
    History,
    /// `cache`: what was fetched and is here, and how its upstreams are.
    Cache,
    /// `maintenance`: whether changes may be made.
    Maintenance,
    /// `cache/warm`: what is fetched ahead.
    Warm,
    /// `retention`: what goes by rules.
    Retention,
    /// `status`: everything at a glance.
    Status,
    /// `du`: what things take.
    Usage,
    /// `quotas`: how full they are.
    Quotas,
}

/// Why a path means nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// Not below `/v2/`.
    #[error("there is nothing at this path")]
    NotFound,
    /// Below `/v2/`, but of no known shape.
    #[error(
        "no registry route has this form; a registry serves /v2/<name>/manifests/<tag or digest>, \
         /v2/<name>/blobs/<digest>, /v2/<name>/blobs/uploads/, /v2/<name>/tags/list, \
         /v2/<name>/referrers/<digest> and /v2/_catalog"
    )]
    NoSuchRoute,
    /// A mirror for a registry that this one doesn't know.
    #[error(
        "this registry is no mirror of {0} (?ns=); its operator can add that registry to the upstreams, or take this \
         one out of the client's mirrors for it"
    )]
    Namespace(String),
    /// Not UTF-8 after decoding.
    #[error("the path is not valid UTF-8; write names in ASCII")]
    Encoding,
    /// The name can't be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Neither tag nor digest.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Not a digest.
    #[error(transparent)]
    Digest(#[from] larder_oci::DigestError),
    /// Not a session.
    #[error(transparent)]
    Upload(#[from] larder_oci::UploadIdError),
}

impl Route {
    /// Reads a path as it stands in the request line, without the prefix.
    pub(crate) fn parse(path: &str) -> Result<Route, RouteError> {
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| RouteError::Encoding)?;
        match decoded.as_ref() {
            "" | "/" => Ok(Route::Root),
            "/healthz" => Ok(Route::Health),
            "/readyz" => Ok(Route::Ready),
            "/auth/token" | "/auth/token/" => Ok(Route::Token),
            "/setup" => Ok(Route::Setup),
            "/setup/ca.crt" => Ok(Route::SetupAuthority),
            "/api/v1/problems" => Ok(Route::Problems),
            "/api/v1/clients" => Ok(Route::Clients),
            "/v2" => Ok(Route::BaseWithoutSlash),
            "/v2/" => Ok(Route::Base),
            "/v2/_catalog" | "/v2/_catalog/" => Ok(Route::Catalog),
            "/api/v1/gc" => Ok(Route::Api(Api::Gc)),
            "/api/v1/removals" => Ok(Route::Api(Api::Removals)),
            "/api/v1/undo" => Ok(Route::Api(Api::Undo)),
            "/api/v1/history" => Ok(Route::Api(Api::History)),
            "/api/v1/cache" => Ok(Route::Api(Api::Cache)),
            "/api/v1/maintenance" => Ok(Route::Api(Api::Maintenance)),
            "/api/v1/cache/warm" => Ok(Route::Api(Api::Warm)),
            "/api/v1/retention" => Ok(Route::Api(Api::Retention)),
            "/api/v1/status" => Ok(Route::Api(Api::Status)),
            "/api/v1/du" => Ok(Route::Api(Api::Usage)),
            "/api/v1/quotas" => Ok(Route::Api(Api::Quotas)),
            other => {
                let rest = other.strip_prefix("/v2/").ok_or(RouteError::NotFound)?;
                Route::parse_repository(rest)
            }
        }
    }

    fn parse_repository(path: &str) -> Result<Route, RouteError> {
        // Clients and proxies disagree about a final slash; one is one too many, further ones are no route.
        let path = path.strip_suffix('/').unwrap_or(path);
        let (before, last) = path.rsplit_once('/').ok_or(RouteError::NoSuchRoute)?;
        let (name, kind) = before.rsplit_once('/').ok_or(RouteError::NoSuchRoute)?;
        match (kind, last) {
            (_, "") => Err(RouteError::NoSuchRoute),
            ("tags", "list") => Ok(Route::Tags(name.parse()?)),
            ("manifests", reference) => Ok(Route::Manifest(name.parse()?, reference.parse()?)),
            ("blobs", "uploads") => Ok(Route::Uploads(name.parse()?)),
            ("blobs", digest) => Ok(Route::Blob(name.parse()?, digest.parse()?)),
            ("referrers", digest) => Ok(Route::Referrers(name.parse()?, digest.parse()?)),
            ("uploads", id) => {
                let name = name.strip_suffix("/blobs").ok_or(RouteError::NoSuchRoute)?;
                Ok(Route::Upload(name.parse()?, id.parse()?))
            }
            _ => Err(RouteError::NoSuchRoute),
        }
    }

    /// The repository that it is about.
    pub(crate) fn repository(&self) -> Option<&RepoName> {
        match self {
            Route::Tags(name)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Referrers(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _) => Some(name),
            Route::Root
            | Route::Health
            | Route::Ready
            | Route::Token
            | Route::Setup
            | Route::SetupAuthority
            | Route::Problems
            | Route::Clients
            | Route::BaseWithoutSlash
            | Route::Base
            | Route::Catalog
            | Route::Api(_) => None,
        }
    }

    /// Whether registries' clients ask it: below `/v2/`.
    pub(crate) fn is_registrys(&self) -> bool {
        matches!(self, Route::Base | Route::Catalog) || self.repository().is_some()
    }

    /// The same about another repository.
    pub(crate) fn about(self, name: RepoName) -> Route {
        match self {
            Route::Tags(_) => Route::Tags(name),
            Route::Manifest(_, reference) => Route::Manifest(name, reference),
            Route::Blob(_, digest) => Route::Blob(name, digest),
            Route::Referrers(_, digest) => Route::Referrers(name, digest),
            Route::Uploads(_) => Route::Uploads(name),
            Route::Upload(_, id) => Route::Upload(name, id),
            other => other,
        }
    }

    /// The methods that the route answers, as the `Allow` header lists them.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Route::Root | Route::Health | Route::Ready => "GET, HEAD",
            Route::Setup | Route::SetupAuthority | Route::Problems | Route::Clients => "GET, HEAD",
            Route::Token => "GET, HEAD, POST",
            Route::BaseWithoutSlash | Route::Base => "GET, HEAD",
            Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET, HEAD",
            Route::Manifest(..) => "DELETE, GET, HEAD, PUT",
            Route::Blob(..) => "DELETE, GET, HEAD",
            Route::Uploads(_) => "POST",
            Route::Upload(..) => "DELETE, GET, HEAD, PATCH, PUT",
            Route::Api(Api::Gc | Api::Warm | Api::Retention) => "GET, HEAD, POST",
            Route::Api(Api::Undo) => "POST",
            Route::Api(Api::Removals | Api::History | Api::Cache | Api::Status) => "GET, HEAD",
            Route::Api(Api::Usage | Api::Quotas) => "GET, HEAD",
            Route::Api(Api::Maintenance) => "GET, HEAD, PUT",
        }
    }

    /// That the route doesn't answer this method, in words for its caller.
    pub(crate) fn without_method(&self, method: &Method) -> String {
        match (self, method) {
            // An old tale has it that this starts one.
            (Route::Catalog, &Method::POST) => {
                "this path doesn't answer POST, and starts no garbage collection; that runs \
                by itself, and at once by `larder gc` or POST /api/v1/gc"
                    .to_owned()
            }
            _ => format!("this path doesn't answer {method}; it answers {}", self.methods()),
        }
    }
}

/// What is said at a path that is none: registry:2's words, and where to look if the path is another listener's.
pub(crate) fn not_found(path: &str) -> &'static str {
    match path {
        "/debug/health" | "/metrics" => {
            "404 page not found: this is told at http.debug.addr, and here at /healthz and /readyz whether all is well\n"
        }
        _ => "404 page not found\n",
    }
}

#[cfg(test)]
mod tests;
