//! Larder's own API, below `/api/v1/`: the collector, retention, undoing, a tag's history. What it says of the cache is in `cache.rs` and `warm.rs`,
//! of what things take in `usage.rs`.

use http::{Method, Response, StatusCode};
use larder_core::{Planning, Removed, Rewinding, Run};
use larder_oci::{Access, ErrorCode, Push, RepoName, Tag};
use serde_json::{Value, json};

use crate::body::Body;
use crate::error::{ApiError, with_fix};
use crate::request::{Answer, Call, Failure};
use crate::respond;
use crate::route::Api;

impl Call {
    pub(crate) async fn api(&self, api: Api) -> Answer {
        match api {
            Api::Gc if self.parts.method == Method::POST => self.run_collector().await,
            Api::Gc => self.collector_state().await,
            Api::Removals => self.removals().await,
            Api::Undo => self.undo().await,
            Api::History => self.history().await,
            Api::Cache => self.cache_status().await,
            Api::Maintenance => self.maintenance().await,
            Api::Warm if self.parts.method == Method::POST => self.begin_warming().await,
            Api::Warm => self.warming().await,
            Api::Retention => self.retention().await,
            Api::Status => self.status().await,
            Api::Usage => self.usage().await,
            Api::Quotas => self.quotas().await,
        }
    }

    async fn run_collector(&self) -> Answer {
        let access = self.may_administer().await?;
        let planning = Planning { untagged: self.flag("delete_untagged")?, young: false };
        if self.flag("dry_run")? {
            let plan = self.app.registry.plan_collection(&access, planning).await?;
            return Ok(answer(&json!({ "would_go": plan })));
        }
        if self.flag("everything")? || planning.untagged {
            let collected = self.app.registry.collect_all(&access, planning).await?;
            return Ok(answer(&json!({ "collected": collected })));
        }
        let run = Run { now: self.flag("now")?, sweep: self.flag("sweep")? };
        let collected = self.app.registry.collect(&access, run).await?;
        Ok(answer(&json!({ "collected": collected })))
    }

    async fn collector_state(&self) -> Answer {
        let access = self.may_administer().await?;
        let (running, so_far) = self.app.registry.collector_state(&access);
        let waiting = self.app.registry.removed(&access).len();
        Ok(answer(&json!({ "running": running, "so_far": so_far, "deletions_waiting": waiting })))
    }

    /// `PUT ?on=true&reason=…` and `?on=false`; either way the answer says how far it is.
    async fn maintenance(&self) -> Answer {
        let (access, registry) = (self.may_administer().await?, &self.app.registry);
        let state = match (&self.parts.method, self.parameter("on")) {
            (&Method::PUT, None) => {
                return Err(bad("on is missing; say on=true or on=false".to_owned()).into());
            }
            (&Method::PUT, Some(_)) if self.flag("on")? => {
                registry.begin_maintenance(&access, &self.parameter("reason").unwrap_or_default())
            }
            (&Method::PUT, Some(_)) => registry.end_maintenance(&access),
            _ => registry.maintenance_state(&access),
        };
        let since = state.on.as_ref().map(|(since, _)| humantime::format_rfc3339_seconds(*since).to_string());
        Ok(answer(&json!({
            "on": state.on.is_some(),
            "since": since,
            "reason": state.on.as_ref().map(|(_, reason)| reason.as_ref()),
            "changes_under_way": state.changes,
        })))
    }

    async fn removals(&self) -> Answer {
        let removed = match self.parameter("repository") {
            None => self.app.registry.removed(&self.may_administer().await?),
            Some(_) => {
                let (_, access) = self.may_push(&self.repository_parameter()?).await?;
                self.app.registry.removed_in(&access)
            }
        };
        let removed: Vec<Value> = removed.iter().map(|each| described(each)).collect();
        Ok(answer(&json!({ "removals": removed })))
    }

    async fn undo(&self) -> Answer {
        let (_, access) = self.may_push(&self.repository_parameter()?).await?;
        if let Some(moment) = self.parameter("to") {
            return self.rewind(&access, &moment).await;
        }
        let id = self.parameter("id").unwrap_or_default();
        let id = id.parse().map_err(|_| bad(format!("id must be the number of a deletion, it is {id:?}")))?;
        let undone = self.registry().undo(&access, id).await?;
        let taken: Vec<Value> =
            undone.taken.iter().map(|(tag, digest)| json!({ "tag": tag, "points_at": digest })).collect();
        Ok(answer(&json!({ "undone": described(&undone.removed), "tags": undone.tags, "left_alone": taken })))
    }

    /// `POST ?repository=…&to=MOMENT`: tags that have moved since then go back.
    async fn rewind(&self, access: &Access<Push>, moment: &str) -> Answer {
        let moment = humantime::parse_rfc3339_weak(moment)
            .map_err(|_| bad(format!("to must be a time such as 2026-01-31T12:00:00Z, it is {moment:?}")))?;
        let only: Option<Tag> = match self.parameter("tag") {
            None => None,
            Some(tag) => Some(tag.parse().map_err(|error| bad(format!("tag: {error}")))?),
        };
        let rewound = self.registry().rewind(access, moment, only, self.flag("dry_run")?).await?;
        let tags: Vec<Value> = rewound
            .iter()
            .map(|each| {
                let (outcome, to, rule) = match &each.outcome {
                    Rewinding::Back(to) => ("back", Some(to), None),
                    Rewinding::Gone(to) => ("gone", Some(to), None),
                    Rewinding::Immutable(to, rule) => ("immutable", Some(to), Some(&**rule)),
                    Rewinding::Unknown => ("unknown", None, None),
                };
                let mut said = json!({ "tag": each.tag, "from": each.from, "to": to, "outcome": outcome });
                if let (Some(rule), Some(said)) = (rule, said.as_object_mut()) {
                    said.insert("rule".to_owned(), json!(rule));
                }
                said
            })
            .collect();
        Ok(answer(&json!({ "repository": access.repository(), "rewound": tags })))
    }

    async fn history(&self) -> Answer {
        let repository = self.repository_parameter()?;
        let access = self.may_list(&repository).await?;
        let tag = self.parameter("tag").unwrap_or_default();
        let tag: Tag = tag.parse().map_err(|error| bad(format!("tag: {error}")))?;
        let entries = self.app.registry.tag_history(&access, &tag).await?;
        let entries: Vec<Value> = entries
            .iter()
            .map(|entry| {
                json!({
                    "digest": entry.digest,
                    "since": humantime::format_rfc3339_millis(entry.since).to_string(),
                    "current": entry.is_current,
                    "available": entry.is_there,
                })
            })
            .collect();
        Ok(answer(&json!({ "repository": repository, "tag": tag, "history": entries })))
    }

    pub(crate) fn repository_parameter(&self) -> Result<RepoName, Failure> {
        let text = self.parameter("repository").unwrap_or_default();
        Ok(text.parse().map_err(|error| bad(format!("repository: {error}")))?)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.parameter(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(bad(format!("{name} must be true or false, it is {other:?}"))),
        }
    }
}

pub(crate) fn bad(reason: String) -> ApiError {
    ApiError::bad_request(ErrorCode::Unsupported, with_fix(reason, "ask again with that parameter put right"))
}

pub(crate) fn answer(value: &Value) -> Response<Body> {
    respond::json(StatusCode::OK, value)
}

/// A deletion, for people.
fn described(removed: &Removed) -> Value {
    let tags: Vec<Value> =
        removed.what.tags.iter().map(|tag| json!({ "tag": tag.tag, "digest": tag.digest })).collect();
    json!({
        "id": removed.id,
        "at": humantime::format_rfc3339_millis(removed.time()).to_string(),
        "by": removed.by,
        "repository": removed.repository,
        "manifest": removed.what.manifest,
        "blob": removed.what.blob,
        "tags": tags,
    })
}
