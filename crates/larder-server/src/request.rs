use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{ALLOW, AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use larder_auth::{ChallengeError, Denied, Identity, Origin, Realm, Refusal, Remedy};
use larder_core::RegistryError;
use larder_oci::{Access, Action, AdminAccess, Delete, ErrorCode, Pull, Push, RepoName, Resource, Scope};

use crate::app::{App, Options, Peer};
use crate::audit::{Noted, Pending, Said};
use crate::body::Body;
use crate::doors::{self, Knock};
use crate::error::{
    ApiError, error_response, from_denied, from_refusal, from_registry, from_route, tell_in_status_line,
};
use crate::forwarded;
use crate::received::Received;
use crate::respond::{self, header};
use crate::route::{self, Route, RouteError};

/// One request on its way to an answer.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    /// As they were when the request came.
    pub(crate) options: Arc<Options>,
    pub(crate) parts: Parts,
    peer: Peer,
    /// Whose request it is: behind trusted proxies it is not the peer's.
    client: IpAddr,
    id: RequestId,
    /// For the audit log.
    noted: Mutex<Noted>,
}

/// Names the request in the log and in answers that say "see the log".
#[derive(Clone, Copy)]
struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why a request got no good answer.
pub(crate) enum Failure {
    /// The registry said no, or failed.
    Registry(RegistryError),
    /// The request itself is at fault.
    Request(ApiError),
    /// The policy said no.
    Denied(Box<Denied>),
    /// The credentials aren't believed; with what they would have had to cover.
    Refused(Box<(Refusal, Option<Scope>)>),
    /// The client stopped sending.
    ClientGone(String),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Failure {
        Failure::Registry(error)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::Request(error)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Failure {
        Failure::Denied(Box::new(denied))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(Box::new((refusal, None)))
    }
}

pub(crate) type Answer = Result<Response<Body>, Failure>;

impl Call {
    pub(crate) fn new(
        app: Arc<App>,
        options: Arc<Options>,
        parts: Parts,
        peer: Peer,
        client: IpAddr,
    ) -> Call {
        let (id, noted) = (RequestId(rand::random()), Mutex::default());
        Call { app, options, parts, peer, client, id, noted }
    }

    /// The answer, whatever happens.
    pub(crate) async fn answer(self, route: Result<Route, RouteError>, body: Received) -> Response<Body> {
        let route = match route {
            Ok(route) => route,
            Err(error) => return self.unroutable(&error),
        };
        let allowed = route.methods();
        if self.parts.method == Method::OPTIONS {
            let mut response = respond::empty(StatusCode::OK);
            response.headers_mut().insert(ALLOW, header(allowed));
            return response;
        }
        if !allowed.split(", ").any(|method| method == self.parts.method.as_str()) {
            let detail = route.without_method(&self.parts.method);
            let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, detail);
            let mut response = error_response(&[error]);
            response.headers_mut().insert(ALLOW, header(allowed));
            return response;
        }
        if !self.peer.is_tls {
            self.note_plain(&route);
        }
        let pending = self.begin_audit(&route);
        let refusal = pending.as_ref().and_then(Pending::refusal);
        let outcome = match refusal {
            Some(error) => Err(error.into()),
            None => self.dispatch(route, body).await,
        };
        let said = outcome.as_ref().map_or_else(Said::of, |_| Said::Allowed);
        if let Err(failure) = &outcome {
            self.note_problem(failure);
        }
        let mut response = outcome.unwrap_or_else(|failure| self.failed(failure));
        self.name_asker(&mut response);
        if let Some(pending) = pending {
            pending.answered(said, &response).await;
        }
        response
    }

    /// What is meant.
    pub(crate) fn route(&self) -> Result<Route, RouteError> {
        let path = self.parts.uri.path();
        // Probes come from the machine itself, around any proxy that adds the prefix.
        if matches!(path, "/" | "/healthz" | "/readyz") {
            return Route::parse(path);
        }
        let path = path.strip_prefix(&self.options.prefix).ok_or(RouteError::NotFound)?;
        doors::enter(&self.options.doors, &self.knock(), path)
    }

    /// What the request says beside its path of the upstream that is meant.
    pub(crate) fn knock(&self) -> Knock<'_> {
        Knock {
            port: self.peer.door.as_deref(),
            headers: &self.parts.headers,
            uri: &self.parts.uri,
            namespace: self.parameter("ns"),
        }
    }

    async fn dispatch(&self, route: Route, body: Received) -> Answer {
        let read = matches!(self.parts.method, Method::GET | Method::HEAD);
        match route {
            Route::Root => {
                let mut response = respond::empty(StatusCode::OK);
                response.headers_mut().insert(http::header::CACHE_CONTROL, header("no-cache"));
                Ok(response)
            }
            Route::Health => Ok(respond::with_body(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")),
            Route::Ready => self.ready().await,
            Route::Token => self.token(body).await,
            Route::Setup => Ok(self.setup()),
            Route::SetupAuthority => Ok(self.setup_authority()),
            Route::Problems => self.problems().await,
            Route::Clients => self.clients().await,
            Route::Api(api) => self.api(api).await,
            Route::BaseWithoutSlash => {
                let to = format!("{}/v2/", self.options.prefix);
                Ok(respond::located(StatusCode::MOVED_PERMANENTLY, &to))
            }
            Route::Base => {
                let identity = self.identify().await?;
                self.note_forwarded();
                self.app.gate.policy().base(&identity)?;
                Ok(respond::with_body(StatusCode::OK, respond::JSON, "{}"))
            }
            Route::Catalog => self.catalog().await,
            Route::Tags(name) => self.tags(&name).await,
            Route::Referrers(name, subject) => self.referrers(&name, &subject).await,
            Route::Manifest(name, reference) if read => {
                let answer = self.get_manifest(&name, &reference).await;
                if answer.is_ok() && self.parts.method == Method::GET {
                    self.note_pull_of(&name);
                }
                answer
            }
            Route::Manifest(name, reference) if self.parts.method == Method::PUT => {
                self.put_manifest(&name, reference, body).await
            }
            Route::Manifest(name, reference) => self.delete_manifest(&name, &reference).await,
            Route::Blob(name, digest) if read => self.get_blob(&name, &digest).await,
            Route::Blob(name, digest) => self.delete_blob(&name, &digest).await,
            Route::Uploads(name) => self.start_upload(&name, body).await,
            Route::Upload(name, id) if read => self.upload_status(&name, id).await,
            Route::Upload(name, id) if self.parts.method == Method::PATCH => {
                self.patch_upload(&name, id, body).await
            }
            Route::Upload(name, id) if self.parts.method == Method::PUT => {
                self.finish_upload(&name, id, body).await
            }
            Route::Upload(name, id) => self.cancel_upload(&name, id).await,
        }
    }

    /// Ready means: can be pulled from. On a full disk that still holds, and whoever takes such a
    /// registry out of service takes the pulls down, too.
    async fn ready(&self) -> Answer {
        if let Some(reason) = self.app.registry.maintenance_reason() {
            let words = format!("ok for pulls only: maintenance {reason}\n");
            return Ok(respond::with_body(StatusCode::OK, "text/plain; charset=utf-8", words));
        }
        let words = match self.app.registry.probe().await {
            Ok(()) => "ok\n".to_owned(),
            Err(error @ RegistryError::NoSpace(_)) => format!("ok for pulls only: {error}\n"),
            Err(error) => return Err(error.into()),
        };
        Ok(respond::with_body(StatusCode::OK, "text/plain; charset=utf-8", words))
    }

    // Who asks, and what for.

    pub(crate) async fn identify(&self) -> Result<Identity, Failure> {
        let value = match self.parts.headers.get(AUTHORIZATION).map(|value| value.to_str()) {
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return Err(Refusal::HeaderGarbled.into()),
            None => None,
        };
        let identity = self.app.gate.identify(value, &self.origin()).await?;
        self.note_identity(&identity);
        Ok(identity)
    }

    pub(crate) fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user of this machine whose command it is.
    pub(crate) fn local_user(&self) -> Option<&Arc<str>> {
        self.peer.local_user.as_ref()
    }

    /// Where the request comes from, for whoever judges its credentials.
    pub(crate) fn origin(&self) -> Origin {
        let origin = Origin::at(self.client);
        match &self.peer.holder {
            // Behind a proxy it is the proxy's certificate, and says nothing of the client.
            Some(holder) if self.client == self.peer.address.ip() => origin.with_certificate(holder),
            Some(_) | None => origin,
        }
    }

    /// As [`identify`](Call::identify); a refusal tells what a new token must cover.
    async fn identify_for(&self, name: &RepoName, actions: &[Action]) -> Result<Identity, Failure> {
        self.identify().await.map_err(|failure| match failure {
            Failure::Refused(refused) => {
                let resource = Resource::Repository(name.clone());
                let needed = Scope { resource, actions: actions.iter().copied().collect() };
                Failure::Refused(Box::new((refused.0, Some(needed))))
            }
            other => other,
        })
    }

    pub(crate) async fn may_pull(&self, name: &RepoName) -> Result<Access<Pull>, Failure> {
        let identity = self.identify_for(name, &[Action::Pull]).await?;
        self.may_pull_as(&identity, name).map_err(Failure::from)
    }

    /// What anybody may pull needs no scope: a token for one repository also reads a public other.
    pub(crate) fn may_pull_as(&self, identity: &Identity, name: &RepoName) -> Result<Access<Pull>, Denied> {
        let policy = self.app.gate.policy();
        as_anybody_too(identity, |identity| policy.pull(identity, name))
    }

    /// As [`may_pull_as`](Call::may_pull_as), for whoever wants to see the tags.
    pub(crate) async fn may_list(&self, name: &RepoName) -> Result<Access<Pull>, Failure> {
        let identity = self.identify_for(name, &[Action::Pull]).await?;
        let policy = self.app.gate.policy();
        Ok(as_anybody_too(&identity, |identity| policy.list(identity, name))?)
    }

    pub(crate) async fn may_push(&self, name: &RepoName) -> Result<(Identity, Access<Push>), Failure> {
        let identity = self.identify_for(name, &[Action::Pull, Action::Push]).await?;
        let access = self.app.gate.policy().push(&identity, name)?;
        self.takes_pushes()?;
        Ok((identity, access))
    }

    pub(crate) async fn may_delete(&self, name: &RepoName) -> Result<Access<Delete>, Failure> {
        let identity = self.identify_for(name, &[Action::Delete]).await?;
        let access = self.app.gate.policy().delete(&identity, name)?;
        self.takes_pushes()?;
        Ok(access)
    }

    pub(crate) async fn may_administer(&self) -> Result<AdminAccess, Failure> {
        let identity = self.identify().await?;
        Ok(self.app.gate.policy().administer(&identity)?)
    }

    // Where things are, as clients see it.

    /// A path of this registry, relative to the host: right behind any proxy, whatever it does to the
    /// scheme and the host.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{}/v2/{rest}", self.options.prefix)
    }

    /// The parameters of the query, decoded.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next()
    }

    fn realm_url(&self) -> String {
        match self.app.gate.realm() {
            Realm::Own => format!("{}/auth/token", self.base_url()),
            Realm::Url(url) => url.clone(),
            Realm::SameHost { path } => format!("{}{path}", forwarded::redirect_base(&self.parts)),
        }
    }

    /// What stands before `/v2/` for clients from elsewhere: scheme, host and prefix.
    pub(crate) fn base_url(&self) -> String {
        let base = match &self.options.public_url {
            Some(url) => url.clone(),
            None => {
                let believes_proxies =
                    forwarded::is_trusted(self.peer.address.ip(), &self.options.trusted_proxies);
                forwarded::reached_by(&self.parts, self.peer.is_tls, believes_proxies)
            }
        };
        format!("{base}{}", self.options.prefix)
    }

    /// What names the request in the log.
    pub(crate) fn id(&self) -> String {
        self.id.to_string()
    }

    /// Whose request it is, also behind proxies.
    pub(crate) fn client_address(&self) -> IpAddr {
        self.client
    }

    pub(crate) fn peer_address(&self) -> SocketAddr {
        self.peer.address
    }

    // What went wrong.

    fn unroutable(&self, error: &RouteError) -> Response<Body> {
        if *error == RouteError::NotFound {
            let words = route::not_found(self.parts.uri.path());
            return respond::with_body(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", words);
        }
        self.note(StatusCode::BAD_REQUEST, &error.to_string());
        error_response(&[from_route(error)])
    }

    fn failed(&self, failure: Failure) -> Response<Body> {
        match failure {
            Failure::Registry(error) => {
                let errors = from_registry(&error, &self.id.to_string());
                let mut response = error_response(&errors);
                if !matches!(self.parts.method, Method::GET | Method::HEAD) {
                    tell_in_status_line(&mut response, &error);
                }
                if let Some(after) = error.retry_after() {
                    // Rounded up: a moment too early would be one more refusal.
                    response.headers_mut().insert(RETRY_AFTER, after.as_secs().saturating_add(1).into());
                }
                // Core has told the log of its upstreams, once for all who waited.
                if response.status().is_server_error() && !error.is_upstream() {
                    self.log_failure(&error);
                } else {
                    self.note(response.status(), &error.to_string());
                }
                response
            }
            Failure::Request(error) => {
                self.note(error.status, &error.detail.to_string());
                error_response(&[error])
            }
            Failure::Denied(denied) => {
                let response = error_response(&[from_denied(&denied)]);
                if !denied.authenticating_could_help() {
                    self.log_denial(&denied);
                    return response;
                }
                self.note(StatusCode::UNAUTHORIZED, &denied.reason);
                self.challenged(response, denied.needed.as_ref(), denied.challenge_error())
            }
            Failure::Refused(refused) => {
                let (refusal, needed) = *refused;
                let error = from_refusal(&refusal, &self.id.to_string());
                if error.status.is_server_error() {
                    self.log_failure(&refusal);
                } else {
                    self.log_refusal(&refusal);
                }
                let mut response = error_response(&[error]);
                if let Some(seconds) = refusal.retry_after_seconds() {
                    response.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
                self.challenged(response, needed.as_ref(), refusal.challenge_error())
            }
            Failure::ClientGone(reason) => {
                self.note(StatusCode::BAD_REQUEST, &reason);
                error_response(&[ApiError::bad_request(ErrorCode::BlobUploadInvalid, reason)])
            }
        }
    }

    fn challenged(
        &self,
        mut response: Response<Body>,
        needed: Option<&Scope>,
        error: Option<ChallengeError>,
    ) -> Response<Body> {
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = self.app.gate.challenge(&self.realm_url(), needed, error)
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, header(&challenge));
        }
        response
    }

    /// A refusal that is the client's affair: for whoever looks closer.
    fn note(&self, status: StatusCode, reason: &str) {
        tracing::debug!(
            request = %self.id, client = %self.client, method = %self.parts.method,
            path = self.parts.uri.path(), status = status.as_u16(), reason, "a request was refused"
        );
    }

    /// Nothing that this user could do helps: his operator will be asked, and looks here.
    fn log_denial(&self, denied: &Denied) {
        tracing::info!(
            request = %self.id, client = %self.client, method = %self.parts.method,
            path = self.parts.uri.path(), rule = denied.rule.as_deref().unwrap_or("none"),
            reason = %denied.reason, "a request was denied"
        );
    }

    fn log_refusal(&self, refusal: &Refusal) {
        tracing::warn!(
            request = %self.id, client = %self.client, user = refusal.user().unwrap_or("none"), reason = %refusal,
            "credentials were refused"
        );
    }

    fn log_failure(&self, error: &(dyn std::error::Error + 'static)) {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        tracing::error!(
            request = %self.id, client = %self.client, method = %self.parts.method,
            path = self.parts.uri.path(), %error, cause = causes.join(": "), "a request failed"
        );
    }
}

/// What a token doesn't cover is allowed all the same if anybody may do it. What a rule forbids this user is
/// not: that he could come without his name doesn't make it his.
fn as_anybody_too(
    identity: &Identity,
    prove: impl Fn(&Identity) -> Result<Access<Pull>, Denied>,
) -> Result<Access<Pull>, Denied> {
    prove(identity).or_else(|denied| match denied.remedy {
        Remedy::WiderToken => prove(&Identity::Anonymous).map_err(|_| denied),
        Remedy::LogIn | Remedy::Nothing => Err(denied),
    })
}
