//! A registry in memory, small and right, but for the one fault that it is given.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, RANGE, SERVER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use larder_oci::Digest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{PASSWORD, USER};

/// What is wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    None,
    /// `/v2/` answers so, whatever is asked: status, headers, body.
    Base(u16, &'static [(&'static str, &'static str)], &'static str),
    /// A request that begins so (`METHOD /path`) answers so.
    At(&'static str, u16, &'static [(&'static str, &'static str)], &'static str),
    /// Logins are asked for: by Basic.
    Basic,
    /// The same, and the header by which a login comes is dropped by an nginx.
    BasicDropped,
    /// Logins are asked for by tokens, which are given in this realm (`{}` is the registry itself) with these claims.
    Bearer {
        realm: &'static str,
        claims: fn(u64) -> String,
    },
    /// Dates are so many seconds off.
    Clock(i64),
    /// Uploads go on at this prefix.
    Location(&'static str),
    /// Every second upload request meets a replica that doesn't know it.
    Replicas,
    /// Bytes are changed before they are stored.
    Altered,
    /// Bytes are changed on their way back.
    AlteredBack,
    /// Bodies are taken in whole before they are looked at.
    Buffered,
    /// A body ends after this time in all.
    Cut(Duration),
    /// The same behind a Traefik: only this host has a route.
    Routed(Duration),
    /// A body ends after this time of silence.
    CutSilence(Duration),
    /// Bodies above this size are refused, by an nginx.
    Limit(usize),
    /// Announcements above this size are refused, by Cloudflare.
    AnnouncedLimit(u64),
    /// Manifests come back with another type.
    Converted,
    /// HEAD answers have no length.
    NoLength,
    /// Blobs end early.
    Short,
    /// Ranges are ignored.
    NoRanges,
    /// Blobs are redirected there.
    Redirect(&'static str),
}

/// A server that runs until it is dropped.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, Vec<u8>>,
    /// Reference → (type, bytes).
    manifests: BTreeMap<String, (String, Bytes)>,
    requests: usize,
}

struct Fake {
    fault: Fault,
    address: SocketAddr,
    state: Mutex<State>,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Registry {
    /// Plain HTTP on a port of its own.
    pub(crate) async fn start(fault: Fault) -> Registry {
        Registry::serve(fault, |stream| async move { Ok(stream) }).await
    }

    /// Behind what `accept` makes of a connection.
    pub(crate) async fn serve<S, F>(
        fault: Fault,
        accept: impl Fn(tokio::net::TcpStream) -> F + Clone + Send + 'static,
    ) -> Registry
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let fake = Arc::new(Fake { fault, address, state: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (fake, accept) = (Arc::clone(&fake), accept.clone());
                connections.spawn(async move {
                    let Ok(stream) = accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let fake = Arc::clone(&fake);
                        async move { fake.answer(request).await }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Registry { address, _tasks: tasks }
    }

    /// `127.0.0.1:port`
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

fn refusal(status: u16, code: &str, detail: &str) -> Answer {
    answer(status, format!(r#"{{"errors":[{{"code":"{code}","message":"refused","detail":"{detail}"}}]}}"#))
}

fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
    answer
}

/// An answer that is no registry's.
fn foreign(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
    let mut response = answer(status, body);
    response.headers_mut().clear();
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}

const NGINX_413: &str = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n";

impl Fake {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let line = format!("{} {}", request.method(), request.uri());
        let mut answer = match &self.fault {
            Fault::Base(status, headers, body) => return Ok(foreign(*status, headers, body)),
            Fault::At(begin, status, headers, body) if line.starts_with(begin) => {
                return Ok(foreign(*status, headers, body));
            }
            Fault::Routed(_) if request.headers()[HOST] != self.address.to_string() => {
                let headers =
                    [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")];
                return Ok(foreign(404, &headers, "404 page not found\n"));
            }
            _ => self.registry(request).await?,
        };
        match self.fault {
            Fault::Clock(off) => {
                let now = std::time::SystemTime::now();
                let seconds = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
                let date = http_date(seconds.saturating_add_signed(off));
                answer.headers_mut().insert(DATE, HeaderValue::from_str(&date).expect("a date"));
            }
            Fault::BasicDropped | Fault::Buffered | Fault::CutSilence(_) => {
                answer.headers_mut().insert(SERVER, HeaderValue::from_static("nginx/1.22.1"));
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn registry(&self, request: Request<Incoming>) -> io::Result<Answer> {
        if let Some(challenge) = self.challenge(&request) {
            return Ok(challenge);
        }
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        if path == "/token" {
            return Ok(self.token());
        }
        if path == "/v2/" {
            return Ok(answer(200, "{}"));
        }
        if path.contains("/blobs/uploads/") {
            return self.upload(request, &path, &query).await;
        }
        let method = request.method().clone();
        if let Some((_, digest)) = path.split_once("/blobs/") {
            return Ok(self.blob(&request, &method, digest));
        }
        if let Some((name, reference)) = path.split_once("/manifests/") {
            let kind =
                request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().expect("text").to_owned());
            let accepts = request.headers().get_all(ACCEPT).iter().count();
            let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            assert!(method != Method::GET || accepts == 4, "{name} is asked for in all types");
            return Ok(self.manifest(&method, reference, kind, body));
        }
        if let Some((_, subject)) = path.split_once("/referrers/") {
            return Ok(self.referrers(subject));
        }
        Ok(answer(404, "404 page not found"))
    }

    fn challenge(&self, request: &Request<Incoming>) -> Option<Answer> {
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        match &self.fault {
            Fault::Basic if given == Some(&expected) => None,
            Fault::Basic => {
                let detail = if given.is_some() { "the password is wrong" } else { "nobody is logged in" };
                Some(with(refusal(401, "UNAUTHORIZED", detail), "www-authenticate", "Basic realm=\"test\""))
            }
            Fault::BasicDropped => {
                Some(with(refusal(401, "UNAUTHORIZED", ""), "www-authenticate", "Basic realm=\"test\""))
            }
            Fault::Bearer { realm, .. } if request.uri().path() != "/token" => {
                let realm = realm.replace("{tls}", &format!("https://{}", self.address));
                let realm = realm.replace("{}", &format!("http://{}", self.address));
                let told = given.is_some_and(|given| given.starts_with("Bearer "));
                let challenge = format!("Bearer realm=\"{realm}\",service=\"test\"");
                (!told).then(|| with(refusal(401, "UNAUTHORIZED", ""), "www-authenticate", &challenge))
            }
            Fault::Bearer { .. } if given.is_some_and(|given| given != expected) => {
                Some(refusal(401, "UNAUTHORIZED", "the password is wrong"))
            }
            _ => None,
        }
    }

    fn token(&self) -> Answer {
        let Fault::Bearer { claims, .. } = &self.fault else { return answer(404, "404 page not found") };
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let claims = claims(now);
        if claims.is_empty() {
            return answer(200, "{}");
        }
        answer(200, format!("{{\"token\":\"e30.{}.x\"}}", URL_SAFE_NO_PAD.encode(claims)))
    }

    async fn upload(&self, request: Request<Incoming>, path: &str, query: &str) -> io::Result<Answer> {
        let id = path.rsplit('/').next().unwrap_or_default().to_owned();
        let lost = {
            let mut state = self.state.lock().expect("a state");
            state.requests += 1;
            matches!(self.fault, Fault::Replicas) && state.requests.is_multiple_of(4)
        };
        let known = self.state.lock().expect("a state").uploads.contains_key(&id);
        let method = request.method().clone();
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced: u64 = announced.and_then(|length| length.parse().ok()).unwrap_or_default();
        if let Fault::AnnouncedLimit(limit) = self.fault
            && announced > limit
        {
            return Ok(foreign(
                413,
                &[("server", "cloudflare"), ("cf-ray", "8d")],
                "<html><title>413</title></html>",
            ));
        }
        if method == Method::POST {
            return Ok(self.begun());
        }
        if (!known || lost) && !matches!(self.fault, Fault::Buffered) {
            return Ok(refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"));
        }
        let body = match self.take(request.into_body()).await? {
            Ok(body) => body,
            Err(refused) => return Ok(refused),
        };
        if !known {
            return Ok(refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"));
        }
        if method == Method::DELETE {
            self.state.lock().expect("a state").uploads.remove(&id);
            return Ok(answer(204, ""));
        }
        let mut state = self.state.lock().expect("a state");
        let content = state.uploads.get_mut(&id).expect("known");
        content.extend_from_slice(&body);
        if method == Method::PATCH {
            return Ok(with(answer(202, ""), "location", path));
        }
        let bytes = Bytes::from(state.uploads.remove(&id).expect("known"));
        let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest=")).expect("a digest");
        if matches!(self.fault, Fault::Altered) || Digest::sha256(&bytes).to_string() != digest {
            return Ok(refusal(400, "DIGEST_INVALID", "other bytes"));
        }
        state.blobs.insert(digest.to_owned(), bytes);
        Ok(with(answer(201, ""), "location", path))
    }

    fn begun(&self) -> Answer {
        let mut state = self.state.lock().expect("a state");
        let id = format!("upload-{}", state.requests);
        state.uploads.insert(id.clone(), Vec::new());
        let prefix = match self.fault {
            Fault::Location(prefix) => prefix.replace("{}", &self.address.to_string()),
            _ => String::new(),
        };
        with(answer(202, ""), "location", &format!("{prefix}/v2/x/blobs/uploads/{id}"))
    }

    /// A body, or the refusal that it meets.
    async fn take(&self, mut body: Incoming) -> io::Result<Result<Vec<u8>, Answer>> {
        let cut = || io::Error::other("cut");
        let far = Instant::now() + Duration::from_secs(600);
        let begun = Instant::now();
        let mut taken = Vec::new();
        loop {
            let until = match self.fault {
                Fault::Cut(limit) | Fault::Routed(limit) => begun + limit,
                Fault::CutSilence(limit) => Instant::now() + limit,
                _ => far,
            };
            let frame = match tokio::time::timeout_at(until, body.frame()).await {
                Err(_) if matches!(self.fault, Fault::CutSilence(_)) => {
                    return Ok(Err(foreign(408, &[("server", "nginx/1.22.1")], "")));
                }
                Err(_) if matches!(self.fault, Fault::Routed(_)) => {
                    return Ok(Err(foreign(504, &[], "Gateway Timeout")));
                }
                Err(_) => return Err(cut()),
                Ok(None) => return Ok(Ok(taken)),
                Ok(Some(frame)) => frame.map_err(io::Error::other)?,
            };
            if let Some(data) = frame.data_ref() {
                taken.extend_from_slice(data);
            }
            if let Fault::Limit(limit) = self.fault
                && taken.len() > limit
            {
                return Ok(Err(foreign(
                    413,
                    &[("server", "nginx/1.22.1"), ("content-type", "text/html")],
                    NGINX_413,
                )));
            }
        }
    }

    fn blob(&self, request: &Request<Incoming>, method: &Method, digest: &str) -> Answer {
        let Some(bytes) = self.state.lock().expect("a state").blobs.get(digest).cloned() else {
            return refusal(404, "BLOB_UNKNOWN", "no such blob");
        };
        if method == Method::DELETE {
            return answer(202, "");
        }
        if let Fault::Redirect(to) = self.fault {
            return with(answer(307, ""), "location", to);
        }
        let whole = bytes.len();
        if method == Method::HEAD {
            return self.head(whole, None);
        }
        if let Some(range) = request.headers().get(RANGE).filter(|_| !matches!(self.fault, Fault::NoRanges)) {
            let range = range.to_str().expect("text").trim_start_matches("bytes=").to_owned();
            let (first, last) = range.split_once('-').expect("a range");
            let (first, last): (usize, usize) =
                (first.parse().expect("a number"), last.parse().expect("one"));
            return answer(206, bytes.slice(first..=last));
        }
        match self.fault {
            Fault::AlteredBack => {
                let mut altered = bytes.to_vec();
                altered[whole / 2] ^= 1;
                answer(200, altered)
            }
            Fault::Short => {
                let mut short = with(answer(200, ""), "content-length", &whole.to_string());
                *short.body_mut() = Unmeasured(Some(bytes.slice(..whole / 2)), true).boxed();
                short
            }
            _ => answer(200, bytes),
        }
    }

    fn head(&self, length: usize, digest: Option<&str>) -> Answer {
        let mut response = if matches!(self.fault, Fault::NoLength) {
            let mut response = answer(200, "");
            *response.body_mut() = Unmeasured(None, false).boxed();
            response
        } else {
            with(answer(200, ""), "content-length", &length.to_string())
        };
        if let Some(digest) = digest {
            response = with(response, "docker-content-digest", digest);
        }
        response
    }

    fn manifest(&self, method: &Method, reference: &str, kind: Option<String>, body: Bytes) -> Answer {
        let mut state = self.state.lock().expect("a state");
        if method == Method::PUT {
            let digest = Digest::sha256(&body).to_string();
            let kind = kind.expect("a type");
            state.manifests.insert(reference.to_owned(), (kind.clone(), body.clone()));
            state.manifests.insert(digest.clone(), (kind, body));
            return with(answer(201, ""), "docker-content-digest", &digest);
        }
        let Some((kind, bytes)) = state.manifests.get(reference).cloned() else {
            return refusal(404, "MANIFEST_UNKNOWN", "no such manifest");
        };
        if method == Method::DELETE {
            state.manifests.remove(reference);
            return answer(202, "");
        }
        let digest = Digest::sha256(&bytes).to_string();
        if method == Method::HEAD {
            return self.head(bytes.len(), Some(&digest));
        }
        let kind = if matches!(self.fault, Fault::Converted) { "application/json" } else { &kind };
        with(with(answer(200, bytes), "content-type", kind), "docker-content-digest", &digest)
    }

    fn referrers(&self, subject: &str) -> Answer {
        let state = self.state.lock().expect("a state");
        let is_about = |(_, (_, bytes)): &(&String, &(String, Bytes))| {
            let manifest: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
            manifest.pointer("/subject/digest").and_then(|digest| digest.as_str()) == Some(subject)
        };
        let listed: Vec<_> = state
            .manifests
            .iter()
            .filter(is_about)
            .map(|(name, _)| serde_json::json!({ "digest": name }))
            .collect();
        answer(200, serde_json::json!({ "schemaVersion": 2, "manifests": listed }).to_string())
    }
}

/// A body without a length.
struct Unmeasured(Option<Bytes>, bool);

impl http_body::Body for Unmeasured {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        // What was given goes out before the end is seen.
        if self.0.is_none() && std::mem::take(&mut self.1) {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

fn http_date(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let (date, time) = text.trim_end_matches('Z').split_once('T').expect("a date and a time");
    let parts: Vec<&str> = date.split('-').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[parts[1].parse::<usize>().expect("a month") - 1];
    // The doctor doesn't look at the day of the week.
    format!("Mon, {} {month} {} {time} GMT", parts[2], parts[0])
}
