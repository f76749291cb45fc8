//! From the configuration's notifications to those of `larder-notify`.

use std::sync::Arc;

use http::HeaderMap;
use larder_core::Environment;
use larder_notify::{Action, EndpointSettings, Generation, Notifications, NotifyError, Request, Settings};
use larder_storage::Disk;

use crate::config::{Config, NotificationEndpoint};

/// Opens the queues; `None` when nobody is to be told of anything.
pub(crate) fn open(config: &Config, disk: &Arc<Disk>) -> Result<Option<Arc<Notifications>>, NotifyError> {
    let Some(notifications) = &config.notifications else { return Ok(None) };
    let settings = Settings {
        endpoints: notifications.endpoints.iter().map(endpoint).collect(),
        generation: if notifications.second_generation { Generation::V2 } else { Generation::V1 },
        include_references: notifications.include_references,
        source: format!("{}:{}", host_name(), config.http.addr.port),
        queue_events: notifications.queue_events,
        queue_bytes: notifications.queue_bytes,
    };
    let opened = Notifications::open(disk, settings, Environment::system())?;
    Ok(Some(Arc::new(opened)))
}

/// Where clients reach the registry, as far as the configuration says; else where this machine may be reached.
pub(crate) fn base_url(config: &Config) -> String {
    let said = config.http.host.as_ref();
    let said = said.and_then(|url| Some(format!("{}://{}", url.scheme()?, url.authority()?)));
    let base = said.unwrap_or_else(|| {
        let scheme = if config.http.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{}", host_name(), config.http.addr.port)
    });
    format!("{base}{}", config.http.prefix)
}

/// How a deletion is told of that no request made.
pub(crate) fn of_no_request(config: &Config, name: &str) -> Request {
    Request {
        id: String::new(),
        address: String::new(),
        host: host_name(),
        method: "DELETE".to_owned(),
        user_agent: name.to_owned(),
        base_url: base_url(config),
    }
}

fn endpoint(endpoint: &NotificationEndpoint) -> EndpointSettings {
    let mut headers = HeaderMap::new();
    for (name, value) in &endpoint.headers {
        headers.append(name.clone(), value.clone());
    }
    let is_ignored = |name: &str| endpoint.ignored_actions.iter().any(|ignored| ignored == name);
    let actions = Action::NAMES.into_iter().filter(|(name, _)| is_ignored(name));
    EndpointSettings {
        name: endpoint.name.clone(),
        url: endpoint.url.clone(),
        headers,
        timeout: endpoint.timeout,
        threshold: endpoint.threshold,
        backoff: endpoint.backoff,
        ignored_media_types: endpoint.ignored_media_types.clone(),
        ignored_actions: actions.map(|(_, action)| action).collect(),
    }
}

/// What registry:2 calls its host in events.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
