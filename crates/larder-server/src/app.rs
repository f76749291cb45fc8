use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use larder_auth::Gate;
use larder_certificates::Trouble;
use larder_core::Registry;
use larder_notify::Notifications;
use larder_oci::ErrorCode;
use tokio::sync::Semaphore;

use crate::access_log::{AccessLog, Ends, Logged};
use crate::audit::Audit;
use crate::body::Body;
use crate::cache::UpstreamReports;
use crate::doors::Door;
use crate::error::{ApiError, error_response};
use crate::forwarded;
use crate::health::Health;
use crate::limits::Limits;
use crate::long_answers::LongAnswers;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::outlet::Outlet;
use crate::problems::Problems;
use crate::received::Received;
use crate::request::Call;
use crate::request_log::Entry;
use crate::respond::DOCKER_API_VERSION;
use crate::setup::{OwnAuthority, SetupPage};
use crate::tls::Tls;

/// What answers requests: the registry, who may use it, and how it is presented.
pub struct App {
    pub(crate) registry: Registry,
    pub(crate) gate: Gate,
    options: RwLock<Arc<Options>>,
    pub(crate) observers: Observers,
    pub(crate) problems: Arc<Problems>,
    /// Clients of which the log already says that they have too many connections.
    crowds: Mutex<HashSet<IpAddr>>,
    /// Clients of which the log already says that they speak the wrong protocol.
    wrong_protocol: Mutex<HashSet<IpAddr>>,
    /// Manifests that may be on their way in at once: each is held in memory, up to 4 MiB.
    pub(crate) manifests_coming_in: Semaphore,
    /// What lies in memory until clients take it.
    long_answers: Arc<LongAnswers>,
    /// Whether failing health checks take it out of service.
    follows_health: bool,
    /// The one beside which this is another way in.
    main: Option<Arc<App>>,
}

/// 64 manifests of 4 MiB are 256 MiB; further ones wait for their turn.
const MANIFESTS_AT_ONCE: usize = 64;

/// How many of these are remembered; beyond that the log repeats itself.
const REMEMBERED_CLIENTS: usize = 1024;

/// How the registry is presented.
#[derive(Clone, Default)]
pub struct Options {
    /// Everything is served below this path; empty, or without a slash at its end (`http.prefix`).
    pub prefix: String,
    /// Scheme and host under which clients reach the registry, if its operator says so (`http.host`).
    pub public_url: Option<String>,
    /// Whether nothing is taken in by `/v2`: a cache whose clients are asked for no names.
    pub takes_no_pushes: bool,
    /// Added to every answer (`http.headers`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The most repositories in one answer (`catalog.maxentries`).
    pub catalog_max_entries: usize,
    /// The most tags in one answer to a client that pages (`tags.maxtags`).
    pub tags_max: usize,
    /// Where the access log goes.
    pub access_log: Option<AccessLog>,
    /// Whether each request is an entry of the log, too, by registry:2's names of fields.
    pub logs_requests: bool,
    /// Who is told of pushes, pulls and deletions.
    pub notifications: Option<Arc<Notifications>>,
    /// Who keeps book of who did what.
    pub audit: Option<Audit>,
    /// Whether HTTP/2 is refused, also to clients that speak it unasked (`http.http2.disabled`).
    pub http1_only: bool,
    /// What clients may cost (`http.limits`).
    pub limits: Limits,
    /// The ways in to upstreams' images.
    pub doors: Vec<Door>,
    /// What clients have to be told, at `/setup`.
    pub setup: Option<SetupPage>,
    /// Who is believed about the clients behind him (`http.trustedproxies`).
    pub trusted_proxies: Vec<Network>,
}

/// Who knows what is wrong with certificates beside their end; asked for every report.
pub type CertificateTroubles = Arc<dyn Fn() -> Vec<Trouble> + Send + Sync>;

/// What a program says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its version.
    pub version: &'static str,
    /// When it started.
    pub started: SystemTime,
    /// Where it listens, as URLs.
    pub addresses: Vec<String>,
}

/// Who looks on while requests are answered.
#[derive(Clone, Default)]
pub struct Observers {
    /// What is said of the program in its status.
    pub about: Option<About>,
    /// What is counted.
    pub metrics: Option<Arc<Metrics>>,
    /// How the upstreams are doing.
    pub upstreams: Option<UpstreamReports>,
    /// Whether requests may be answered at all.
    pub health: Option<Arc<Health>>,
    /// What is shown to TLS clients.
    pub tls: Option<Tls>,
    /// Who knows what else is wrong with certificates.
    pub certificate_troubles: Option<CertificateTroubles>,
    /// The registry's own authority, for clients to trust.
    pub authority: Option<OwnAuthority>,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
    /// Whom its certificate names, if it has shown one and is to be known by it.
    pub(crate) holder: Option<Arc<str>>,
    /// Which user of this machine it is, for the audit log, if he came by the socket for commands.
    pub(crate) local_user: Option<Arc<str>>,
    /// The upstream whose own port it came to.
    pub(crate) door: Option<Arc<Door>>,
}

impl App {
    /// An app over these parts.
    pub fn new(registry: Registry, gate: Gate, options: Options) -> App {
        App {
            registry,
            gate,
            options: RwLock::new(Arc::new(options)),
            observers: Observers::default(),
            problems: Arc::default(),
            crowds: Mutex::default(),
            wrong_protocol: Mutex::default(),
            manifests_coming_in: Semaphore::new(MANIFESTS_AT_ONCE),
            long_answers: Arc::default(),
            follows_health: true,
            main: None,
        }
    }

    /// The same, looked at by these.
    pub fn observed_by(self, observers: Observers) -> App {
        App { observers, ..self }
    }

    /// The same, as another way in to what `other` serves: what one refuses, both tell, and who is told of what one
    /// changes is told of what the other does. It answers also while health checks fail: whoever comes this way wants to
    /// know what is wrong.
    pub fn beside(self, other: &Arc<App>) -> App {
        let problems = Arc::clone(&other.problems);
        App { problems, follows_health: false, main: Some(Arc::clone(other)), ..self }
    }

    /// Presents the registry in another way from the next request on; what concerns connections counts
    /// for new ones.
    pub fn set_options(&self, options: Options) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }

    /// How the registry is presented right now.
    pub(crate) fn options(&self) -> Arc<Options> {
        let own = Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner));
        let Some(main) = &self.main else { return own };
        let main = main.options();
        let (notifications, audit) = (main.notifications.clone(), main.audit.clone());
        Arc::new(Options { notifications, audit, ..(*own).clone() })
    }

    /// Who may use the registry, for whoever changes the rules.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Whether this client's wrong protocol is news. docker and podman try TLS first on every
    /// connection to an insecure registry: once is worth a line, each time is noise.
    pub(crate) fn is_news_of(&self, client: IpAddr) -> bool {
        is_news(&self.wrong_protocol, client)
    }

    /// A connection more than this client may have was closed.
    pub(crate) fn refuse_crowd(&self, client: IpAddr, most: usize) {
        if is_news(&self.crowds, client) {
            tracing::warn!(
                %client, most,
                "an address has as many connections as it may, and further ones are closed; \
                 if it is a proxy or a large network, raise http.limits.connectionsperaddress"
            );
        }
    }

    /// Whether a health check fails. Whoever asks if the process lives must not hear no: he would restart
    /// it, which mends nothing.
    fn is_out_of_service(&self, path: &str) -> bool {
        let is_failing = self.observers.health.as_ref().is_some_and(|health| health.is_failing());
        is_failing && self.follows_health && path != "/healthz"
    }

    /// Answers one request. Files leave through the outlet, if the connection has one.
    pub(crate) async fn answer(
        self: &Arc<App>,
        peer: Peer,
        outlet: Option<&Arc<Outlet>>,
        request: Request<Incoming>,
    ) -> Response<Logged> {
        let (parts, body) = request.into_parts();
        let is_http2 = parts.version == Version::HTTP_2;
        let waits = parts.headers.contains_key(EXPECT);
        let body = Received::new(body);
        let rest = body.rest();
        let mut response = self.answered(peer, outlet, parts, body).await;
        if !is_http2 && !rest.is_taken_in(waits).await {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answered(
        self: &Arc<App>,
        peer: Peer,
        outlet: Option<&Arc<Outlet>>,
        parts: Parts,
        body: Received,
    ) -> Response<Logged> {
        let options = self.options();
        let client = forwarded::client(&parts.headers, peer.address.ip(), &options.trusted_proxies);
        let record = options.access_log.as_ref().map(|log| log.begin(&parts, client));
        let is_head = parts.method == Method::HEAD;
        if self.is_out_of_service(parts.uri.path()) {
            let response = if is_head { without_body(out_of_service()) } else { out_of_service() };
            let status = response.status();
            return response.map(|body| Logged::new(body, status, Ends { record, ..Ends::default() }));
        }
        if has_no_one_host(&parts) {
            let detail = "a request of HTTP/1.1 has exactly one Host header; send one";
            let error = ApiError::bad_request(ErrorCode::Unsupported, detail);
            let mut response = error_response(&[error]);
            // Whoever passed this on may see another request in it than we do: nothing further is believed of it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            let response = if is_head { without_body(response) } else { response };
            let status = response.status();
            return response.map(|body| Logged::new(body, status, Ends { record, ..Ends::default() }));
        }
        let is_http2 = parts.version == Version::HTTP_2;
        let is_api = parts.uri.path().contains("/v2");
        let call = Call::new(Arc::clone(self), Arc::clone(&options), parts, peer, client);
        let route = call.route();
        let metrics = self.observers.metrics.as_ref().zip(route.as_ref().ok());
        let running = metrics.and_then(|(metrics, route)| metrics.begin(route, &call.parts));
        let mut entry = (options.logs_requests && is_api).then(|| Entry::begin(&call, route.as_ref().ok()));
        let mut response = call.answer(route, body).await;
        if !is_head {
            response = self.count_if_long(response, client);
        }
        if let Some(entry) = &mut entry {
            entry.answered(&response);
        }
        if is_http2 {
            response.body_mut().for_http2();
        } else if let Some(outlet) = outlet {
            response.body_mut().through(outlet);
        }
        let headers = response.headers_mut();
        if is_api {
            headers.insert(DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
            for (name, value) in &options.headers {
                headers.append(name.clone(), value.clone());
            }
        }
        if is_head {
            response = without_body(response);
        }
        let status = response.status();
        response.map(|body| Logged::new(body, status, Ends { record, running, entry }))
    }
}

impl App {
    /// The same answer, or another one if clients already hold up too much memory with such long ones.
    fn count_if_long(&self, mut response: Response<Body>, client: IpAddr) -> Response<Body> {
        let held = response.body().held();
        if held == 0 {
            return response;
        }
        match self.long_answers.take(client, held) {
            Some(share) => {
                response.body_mut().count(share);
                response
            }
            None => {
                tracing::warn!(%client, bytes = held, "a long answer was refused: others are not taken by their clients");
                too_much_held()
            }
        }
    }
}

fn too_much_held() -> Response<Body> {
    let detail =
        "too many long answers wait to be taken by their clients; ask again, or for less at a time (n=100)";
    let mut response =
        error_response(&[ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, detail)]);
    response.headers_mut().insert(RETRY_AFTER, 10.into());
    response
}

/// As registry:2 says it: without its version header, and for every path.
fn out_of_service() -> Response<Body> {
    let detail = "health check failed: please see /debug/health";
    error_response(&[ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, detail)])
}

/// Whether a request of HTTP/1.1 says nothing, or several things, about whom it is for (RFC 9112 section 3.2).
fn has_no_one_host(parts: &Parts) -> bool {
    parts.version == Version::HTTP_11 && parts.headers.get_all(HOST).iter().count() != 1
}

fn is_news(known: &Mutex<HashSet<IpAddr>>, client: IpAddr) -> bool {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED_CLIENTS {
        known.clear();
    }
    known.insert(client)
}

/// The answer to HEAD: the headers of a GET, with the length of the body that isn't sent.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if body.length() > 0 {
        parts.headers.insert(CONTENT_LENGTH, body.length().into());
    }
    Response::from_parts(parts, Body::empty())
}
