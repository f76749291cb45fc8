//! What is told of a request to whoever is notified.
//!
//! Changes are reported by the registry while it makes them; here it is given a way to report to that knows the
//! request. Pulls are reported here, because here it is known whether content was sent.

use http::header::{HOST, HeaderName, USER_AGENT};
use http::{Response, StatusCode};
use larder_core::{Event, Registry};
use larder_notify::Request;
use larder_oci::{Access, Pull};

use crate::body::Body;
use crate::request::Call;

impl Call {
    /// The registry for a change that this request makes.
    pub(crate) fn registry(&self) -> Registry {
        let registry = &self.app.registry;
        match &self.options.notifications {
            Some(notifications) => registry.reporting_to(notifications.sink(self.described())),
            None => registry.clone(),
        }
    }

    /// Reports a pull if the answer has content, or tells of it: not if the client has it already.
    pub(crate) fn report_pull(&self, access: &Access<Pull>, event: &Event<'_>, response: &Response<Body>) {
        let Some(notifications) = &self.options.notifications else { return };
        if matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            notifications.pulled(|| self.described(), access.actor(), access.repository(), event);
        }
    }

    fn described(&self) -> Request {
        let header = |name: HeaderName| {
            let value = self.parts.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let host = match self.parts.uri.authority() {
            // HTTP/2 has no Host header.
            Some(authority) => authority.to_string(),
            None => header(HOST),
        };
        Request {
            id: self.id(),
            address: self.peer_address().to_string(),
            host,
            method: self.parts.method.to_string(),
            user_agent: header(USER_AGENT),
            base_url: self.base_url(),
        }
    }
}
