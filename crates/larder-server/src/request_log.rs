//! Requests as entries of the log, by the names that registry:2 gives their fields: for programs that read a JSON log.
//! People read the access log.

use std::net::SocketAddr;
use std::time::Instant;

use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, REFERER, USER_AGENT};
use http::{Response, StatusCode};
use larder_oci::Reference;

use crate::body::Body;
use crate::error::ApiError;
use crate::request::Call;
use crate::route::Route;

/// Who asked, as an answer tells it on its way out.
#[derive(Clone)]
struct Asker(String);

/// A request whose entry is written when its answer has ended.
pub(crate) struct Entry {
    began: Instant,
    id: String,
    host: String,
    method: String,
    uri: String,
    referer: Option<String>,
    user_agent: String,
    remote: String,
    sent_type: Option<String>,
    name: Option<String>,
    reference: Option<String>,
    digest: Option<String>,
    upload: Option<String>,
    answer_type: Option<String>,
    asker: Option<String>,
    error: Option<ApiError>,
}

impl Call {
    pub(crate) fn name_asker(&self, response: &mut Response<Body>) {
        if self.options.logs_requests
            && let Some(user) = self.noted().user()
        {
            response.extensions_mut().insert(Asker(user.to_owned()));
        }
    }
}

impl Entry {
    pub(crate) fn begin(call: &Call, route: Option<&Route>) -> Entry {
        let parts = &call.parts;
        let uri = &parts.uri;
        let host = text(&parts.headers, &HOST).or_else(|| uri.authority().map(ToString::to_string));
        let peer: SocketAddr = call.peer_address();
        let client = call.client_address();
        // With the port where the client is the peer itself, as registry:2 has it.
        let remote = if client == peer.ip() { peer.to_string() } else { client.to_string() };
        let (mut reference, mut digest, mut upload) = (None, None, None);
        match route {
            Some(Route::Manifest(_, Reference::Tag(tag))) => reference = Some(tag.to_string()),
            Some(Route::Manifest(_, Reference::Digest(named))) => reference = Some(named.to_string()),
            Some(Route::Blob(_, named) | Route::Referrers(_, named)) => digest = Some(named.to_string()),
            Some(Route::Upload(_, id)) => upload = Some(id.to_string()),
            Some(_) | None => {}
        }
        Entry {
            began: Instant::now(),
            id: call.id(),
            host: host.unwrap_or_default(),
            method: parts.method.to_string(),
            uri: uri.path_and_query().map_or("", |target| target.as_str()).to_owned(),
            referer: text(&parts.headers, &REFERER),
            user_agent: text(&parts.headers, &USER_AGENT).unwrap_or_default(),
            remote,
            sent_type: text(&parts.headers, &CONTENT_TYPE),
            name: route.and_then(Route::repository).map(ToString::to_string),
            reference,
            digest,
            upload,
            answer_type: None,
            asker: None,
            error: None,
        }
    }

    pub(crate) fn answered(&mut self, response: &Response<Body>) {
        self.answer_type = text(response.headers(), &CONTENT_TYPE);
        self.asker = response.extensions().get::<Asker>().map(|asker| asker.0.clone());
        self.error = response.extensions().get::<ApiError>().cloned();
    }

    /// The answer has ended, or its client has gone.
    pub(crate) fn end(self, status: StatusCode, sent: u64) {
        // One place for each level: that is how the log knows which are wanted.
        macro_rules! entry {
            ($level:ident, $words:literal) => {
                tracing::$level!(
                    http.request.id = self.id,
                    http.request.host = self.host,
                    http.request.method = self.method,
                    http.request.uri = self.uri,
                    http.request.referer = self.referer,
                    http.request.useragent = self.user_agent,
                    http.request.remoteaddr = self.remote,
                    http.request.contenttype = self.sent_type,
                    vars.name = self.name,
                    vars.reference = self.reference,
                    vars.digest = self.digest,
                    vars.uuid = self.upload,
                    auth.user.name = self.asker,
                    err.code = self.error.as_ref().map(|error| spaced(error.code.as_str())),
                    err.message = self.error.as_ref().map(ApiError::words),
                    err.detail = self.error.as_ref().map(ApiError::detail_text),
                    http.response.contenttype = self.answer_type,
                    http.response.duration = format!("{:?}", self.began.elapsed()),
                    http.response.status = status.as_u16(),
                    http.response.written = sent,
                    $words
                )
            };
        }
        // registry:2 calls each of them an error. What is the client's affair would hide what is the operator's.
        if status.is_server_error() {
            entry!(error, "response completed with error");
        } else if status.is_client_error() {
            entry!(info, "response completed with error");
        } else {
            entry!(info, "response completed");
        }
    }
}

/// `manifest unknown` for `MANIFEST_UNKNOWN`, as registry:2 logs it.
fn spaced(code: &str) -> String {
    code.to_lowercase().replace('_', " ")
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
