//! `/api/v1/du`: what things take, and would free; `/api/v1/quotas`: how full quotas are.

use http::StatusCode;
use larder_core::{MOST_LISTED_USAGES, QuotaUsage, UsageOf};
use larder_oci::ErrorCode;
use serde_json::{Value, json};

use crate::api::{answer, bad};
use crate::error::ApiError;
use crate::request::{Answer, Call};

/// How many of a list are told where nobody says so.
const LISTED: usize = 1000;

impl Call {
    /// `GET ?of=…&limit=…`. For administrators: it tells of other repositories what they hold.
    pub(crate) async fn usage(&self) -> Answer {
        let access = self.may_administer().await?;
        let of: UsageOf =
            self.parameter("of").unwrap_or_default().parse().map_err(|why| bad(format!("of: {why}")))?;
        let limit = match self.parameter("limit") {
            None => LISTED,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=MOST_LISTED_USAGES).contains(limit)).ok_or_else(
                    || bad(format!("limit must be a number from 1 to {MOST_LISTED_USAGES}, it is {text:?}")),
                )?
            }
        };
        match self.app.registry.usage(&access, of.clone(), limit).await? {
            Some(usage) => Ok(answer(&usage.described(limit))),
            None => {
                let detail =
                    format!("there is nothing called {of} here; /v2/_catalog lists the repositories");
                Err(ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, detail).into())
            }
        }
    }

    pub(crate) async fn quotas(&self) -> Answer {
        self.may_administer().await?;
        let quotas = self.app.registry.quotas().await?;
        Ok(answer(&json!({ "quotas": quotas.iter().map(described).collect::<Vec<_>>() })))
    }
}

/// How full a quota is.
pub(crate) fn described(usage: &QuotaUsage) -> Value {
    let repositories = usage.rule.repositories.iter();
    json!({
        "rule": &*usage.rule.place,
        "repositories": repositories.map(|pattern| pattern.as_str()).collect::<Vec<_>>(),
        "bytes": usage.bytes,
        "max_bytes": usage.rule.bytes,
        "tags": usage.tags,
        "max_tags": usage.rule.tags,
        "percent": usage.percent(),
    })
}
