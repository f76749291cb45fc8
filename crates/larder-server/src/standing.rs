//! What is wrong with the registry itself until somebody does something, among the problems of clients.

use std::time::SystemTime;

use larder_certificates::Trouble;
use serde_json::{Value, json};

use crate::app::App;

impl App {
    /// What is wrong with its certificates.
    pub(crate) fn troubles(&self, now: SystemTime) -> Vec<Trouble> {
        let shown = self.observers.tls.as_ref().and_then(|tls| tls.trouble(now));
        let others =
            self.observers.certificate_troubles.as_ref().map(|troubles| troubles()).unwrap_or_default();
        shown.into_iter().chain(others).collect()
    }

    /// As problems, which have no client and are not counted: they stand.
    pub(crate) fn standing_problems(&self, now: SystemTime) -> Vec<Value> {
        let problem = |trouble: Trouble| {
            json!({
                "kind": trouble.kind,
                "client": Value::Null,
                "user": Value::Null,
                "repository": Value::Null,
                "reason": trouble.reason,
                "hop": "registry",
                "fix": trouble.fix,
                "first": humantime::format_rfc3339_seconds(trouble.since).to_string(),
                "last": humantime::format_rfc3339_seconds(now).to_string(),
                "count": 1,
            })
        };
        self.troubles(now).into_iter().map(problem).collect()
    }
}
