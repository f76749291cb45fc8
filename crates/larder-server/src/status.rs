//! `/api/v1/status`: the registry at a glance, for whoever may administer it.

use std::time::SystemTime;

use http::StatusCode;
use larder_core::{Content, Mode, RegistryStatus};
use serde_json::{Value, json};

use crate::cache::{counted, date};
use crate::request::{Answer, Call};
use crate::respond;
use crate::usage::described;

/// Problems that are shown whole; `/api/v1/problems` has all.
const PROBLEMS: usize = 3;

impl Call {
    pub(crate) async fn status(&self) -> Answer {
        let access = self.may_administer().await?;
        let status = self.app.registry.status(&access).await?;
        let mut report = status_report(&status);
        let observers = &self.app.observers;
        let about = observers.about.as_ref();
        let shown = observers.tls.as_ref().and_then(|tls| tls.shown());
        let problems = self.app.all_problems().await;
        let problems = problems.get("problems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let quotas = self.app.registry.quotas().await?;
        let more = json!({
            "version": about.map(|about| about.version),
            "started": about.map(|about| date(about.started)),
            "addresses": about.map(|about| about.addresses.as_slice()),
            "failing": observers.health.as_ref().map_or_else(|| json!({}), |health| health.report()),
            "upstreams": self.upstream_reports(true),
            "quotas": quotas.iter().map(described).collect::<Vec<_>>(),
            "certificate": shown.map(|certificate| json!({
                "names": certificate.names,
                "begin": date(certificate.validity.begin),
                "end": date(certificate.validity.end),
                "has_ended": certificate.validity.end <= SystemTime::now(),
            })),
            "problems": {
                "count": problems.len(),
                "latest": problems.iter().take(PROBLEMS).collect::<Vec<_>>(),
            },
        });
        if let (Value::Object(report), Value::Object(more)) = (&mut report, more) {
            report.extend(more);
        }
        Ok(respond::json(StatusCode::OK, &report))
    }
}

/// What the data directory itself tells: that of `/api/v1/status` which takes no running server.
pub fn status_report(status: &RegistryStatus) -> Value {
    let (mode, since, reason) = match &status.mode {
        Mode::ReadWrite => ("read-write", None, None),
        Mode::ReadOnly => ("read-only", None, None),
        Mode::Maintenance { since, reason } => ("maintenance", Some(date(*since)), Some(reason.as_ref())),
    };
    json!({
        "mode": { "is": mode, "since": since, "reason": reason },
        "repositories": status.counts.repositories,
        "tags": status.counts.tags,
        "manifests": status.counts.manifests,
        "content": status.content.as_ref().map(content),
        "disk": { "free_bytes": status.free, "size_bytes": status.disk_size },
        "cache": counted(&status.cache),
        "stock": status.stock.map(|stock| json!({ "images": stock.images, "bytes": stock.bytes })),
        "collection": {
            "running": status.is_collecting,
            "last": status.last_collection.map(|last| json!({ "at": date(last.at), "took": last.collected })),
            "freed_bytes": status.freed,
            "deletions_waiting": status.deletions_waiting,
            "next_final_at": status.next_final_at.map(date),
        },
    })
}

fn content(content: &Content) -> Value {
    json!({
        "files": content.files,
        "bytes": content.bytes,
        "named_bytes": content.named_bytes,
        "counted_at": date(content.at),
    })
}
