//! What is wrong with the registry itself until somebody does something, among the problems of clients.

use std::time::SystemTime;

use larder_certificates::Trouble;
use larder_core::{NEARLY_FULL, QuotaUsage};
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
    pub(crate) async fn standing_problems(&self, now: SystemTime) -> Vec<Value> {
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
        self.troubles(now).into_iter().map(problem).chain(self.full_quotas(now).await).collect()
    }

    /// Quotas that deny pushes, or soon will.
    async fn full_quotas(&self, now: SystemTime) -> Vec<Value> {
        let quotas = match self.registry.quotas().await {
            Ok(quotas) => quotas,
            Err(error) => {
                tracing::warn!(%error, "without an index it can't be told how full quotas are");
                Vec::new()
            }
        };
        let full = quotas.iter().filter(|quota| quota.percent() >= NEARLY_FULL);
        let now = humantime::format_rfc3339_seconds(now).to_string();
        full.map(|quota| {
            json!({
                "kind": if quota.percent() > 100 { "quota-exceeded" } else { "quota-nearly-full" },
                "client": Value::Null,
                "user": Value::Null,
                "repository": Value::Null,
                "reason": quota.to_string(),
                "hop": "registry",
                "fix": fix(quota),
                "first": now,
                "last": now,
                "count": 1,
            })
        })
        .collect()
    }
}

fn fix(quota: &QuotaUsage) -> String {
    let patterns: Vec<&str> = quota.rule.repositories.iter().map(|pattern| pattern.as_str()).collect();
    let place = patterns.iter().find_map(|pattern| pattern.strip_suffix("**"));
    format!(
        "larder du {} says what frees how much; or raise the limit",
        place.unwrap_or_default().trim_end_matches('*')
    )
    .replace("  ", " ")
}
