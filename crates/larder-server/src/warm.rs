//! `/api/v1/cache/warm`: images that are fetched ahead. Whoever may administer the registry asks for them and sees them:
//! they cost disk, bandwidth and a share of the upstreams' limits.

use http::StatusCode;
use larder_core::{Platform, WarmEntry, WarmImage, WarmJob, WarmState};
use larder_oci::{ErrorCode, Reference, RepoName};
use serde_json::{Value, json};

use crate::api::bad;
use crate::cache::date;
use crate::error::ApiError;
use crate::request::{Answer, Call, Failure};
use crate::respond;

/// Images in one request.
const MOST_IMAGES: usize = 100;

impl Call {
    /// `POST ?image=docker.io/library/nginx:1&platform=linux/arm64`: begins, and gives the numbers of the jobs.
    pub(crate) async fn begin_warming(&self) -> Answer {
        let access = self.may_administer().await?;
        let platforms = self.platforms()?;
        let images = self.parameters("image");
        if images.is_empty() || images.len() > MOST_IMAGES {
            return Err(bad(format!("name one to {MOST_IMAGES} images, as image=NAME:TAG")).into());
        }
        let parse = |text: &String| -> Result<WarmImage, ApiError> {
            let (repository, reference) = image(text)?;
            Ok(WarmImage { repository, reference, platforms: platforms.clone() })
        };
        let images: Vec<WarmImage> = images.iter().map(parse).collect::<Result<_, _>>()?;
        let mut ids = Vec::new();
        for image in images {
            let begun = self.app.registry.begin_warming(&access, image);
            let Some(id) = begun.map_err(|error| bad(error.to_string()))? else {
                return Err(crowded().into());
            };
            ids.push(id);
        }
        Ok(respond::json(StatusCode::OK, &json!({ "jobs": ids })))
    }

    /// `GET`: the list and the jobs, or those with `?id=`.
    pub(crate) async fn warming(&self) -> Answer {
        let access = self.may_administer().await?;
        let ids = self.parameters("id");
        let jobs = self.app.registry.warming(&access);
        let jobs: Vec<Value> = jobs
            .iter()
            .filter(|job| ids.is_empty() || ids.iter().any(|id| *id == job.id.to_string()))
            .map(described)
            .collect();
        let list: Vec<Value> = self.app.registry.warm_list().iter().map(listed).collect();
        Ok(respond::json(StatusCode::OK, &json!({ "list": list, "jobs": jobs })))
    }

    /// `?platform=`; none, and `all`, mean all.
    fn platforms(&self) -> Result<Vec<Platform>, Failure> {
        let texts = self.parameters("platform");
        if texts.iter().any(|text| text == "all") {
            return Ok(Vec::new());
        }
        let parse = |text: &String| text.parse().map_err(|error| bad(format!("platform: {error}")));
        Ok(texts.iter().map(parse).collect::<Result<_, ApiError>>()?)
    }
}

fn crowded() -> ApiError {
    let words = "too many images wait to be fetched ahead; ask again when some have come";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, words)
}

/// An image as it is called here, `latest` where nothing else is said.
fn image(text: &str) -> Result<(RepoName, Reference), ApiError> {
    larder_core::parse_image(text).map_err(|error| bad(format!("{text:?} is no image: {error}")))
}

fn described(job: &WarmJob) -> Value {
    let (state, reason) = match &job.state {
        WarmState::Waiting => ("waiting", None),
        WarmState::Running => ("running", None),
        WarmState::Done => ("done", None),
        WarmState::Failed(reason) => ("failed", Some(reason.as_ref())),
    };
    let far = &job.progress;
    json!({
        "id": job.id,
        "image": job.image.to_string(),
        "platforms": platforms(&job.image),
        "state": state,
        "reason": reason,
        "manifests": far.manifests,
        "blobs": far.blobs,
        "blobs_named": far.blobs_named,
        "bytes_fetched": far.bytes_fetched,
        "bytes_named": far.bytes_named,
        "stale": far.stale.as_deref(),
        "asked": date(job.asked),
        "ended": job.ended.map(date),
    })
}

fn listed(entry: &WarmEntry) -> Value {
    json!({
        "image": entry.image.to_string(),
        "platforms": platforms(&entry.image),
        "every_seconds": entry.every.map(|every| every.as_secs()),
        "pinned": entry.is_pinned,
    })
}

fn platforms(image: &WarmImage) -> Vec<String> {
    image.platforms.iter().map(ToString::to_string).collect()
}
