//! `/api/v1/retention`: what the retention rules would delete, and applying them.

use http::{Method, StatusCode};
use larder_oci::{Digest, ErrorCode, RepoName};
use serde_json::json;

use crate::api::{answer, bad};
use crate::error::ApiError;
use crate::request::{Answer, Call};

impl Call {
    pub(crate) async fn retention(&self) -> Answer {
        let access = self.may_administer().await?;
        let registry = &self.app.registry;
        if self.parts.method != Method::POST {
            let repository: Option<RepoName> = match self.parameter("repository") {
                None => None,
                Some(_) => Some(self.repository_parameter()?),
            };
            let plan = registry.plan_retention(&access, repository).await?;
            let state = registry.retention_state(&access).await?;
            return Ok(answer(&plan.described(&state)));
        }
        if let Some(fingerprint) = self.parameter("shown") {
            let fingerprint: Digest = fingerprint.parse().map_err(|error| bad(format!("shown: {error}")))?;
            if registry.retention_was_shown(&access, fingerprint).await? {
                return Ok(answer(&json!({ "approved": true })));
            }
            let detail = "other rules are in force by now; GET /api/v1/retention shows what they delete";
            return Err(ApiError::new(StatusCode::CONFLICT, ErrorCode::Denied, detail).into());
        }
        match registry.retain(&access, self.flag("consent")?).await? {
            Some(retained) => Ok(answer(&retained.described())),
            None => {
                let detail = "the rules are new or have changed, and nobody has seen what they delete: GET \
                              /api/v1/retention shows it, then POST with ?shown=FINGERPRINT; or POST with ?consent=true";
                Err(ApiError::new(StatusCode::CONFLICT, ErrorCode::Denied, detail).into())
            }
        }
    }
}
