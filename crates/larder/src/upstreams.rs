//! From the configuration's upstreams to those that the registry asks.

use std::sync::{Arc, PoisonError, RwLock};

use larder_core::{CacheLimits, Registry, UpstreamPlace, Upstreams};
use larder_server::{
    AccountReport, BoundServer, Door, ServeError, Tls, UpstreamReport, UpstreamReports, UrlReport,
};
use larder_upstream::{RemoteRegistry, TransportError, UrlSnapshot};

use crate::config::{CacheBounds, Config, Upstream};

/// The upstreams in force, to report on them. All clones are one.
#[derive(Clone, Default)]
pub(crate) struct Remotes(Arc<RwLock<Vec<Remote>>>);

struct Remote {
    prefix: Option<String>,
    offline: bool,
    registry: Arc<RemoteRegistry>,
}

/// How much of what was fetched is kept.
pub(crate) fn cache_limits(config: &Config) -> CacheLimits {
    let CacheBounds { unused_for, max_bytes, min_free_bytes, keep, .. } = &config.cache;
    CacheLimits {
        unused_for: *unused_for,
        max_size: *max_bytes,
        min_free: *min_free_bytes,
        keep: keep.clone(),
    }
}

impl Remotes {
    /// Has the registry ask the upstreams of this configuration from here on. Asks nothing of anybody.
    ///
    /// # Errors
    /// One that can't be asked as it is written: no file of authorities, no proxy. Then those from before stay.
    pub(crate) fn take_up(&self, config: &Config, registry: &Registry) -> Result<(), TransportError> {
        let (mut places, mut remotes) = (Vec::new(), Vec::new());
        for upstream in &config.upstreams {
            let remote = RemoteRegistry::new(upstream.reached.clone())?;
            places.push(UpstreamPlace {
                prefix: upstream.prefix.clone(),
                has_library: upstream.has_library,
                upstream: Arc::clone(&remote) as Arc<dyn larder_core::Upstream>,
                settings: Arc::new(upstream.asked.clone()),
            });
            remotes.push(Remote {
                prefix: upstream.prefix.as_ref().map(ToString::to_string),
                offline: upstream.asked.offline,
                registry: remote,
            });
        }
        registry.set_upstreams(Upstreams::new(places));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = remotes;
        Ok(())
    }

    /// Who tells how they are doing.
    pub(crate) fn reports(&self) -> UpstreamReports {
        let remotes = self.clone();
        Arc::new(move || {
            let remotes = remotes.0.read().unwrap_or_else(PoisonError::into_inner);
            remotes.iter().map(Remote::report).collect()
        })
    }
}

impl Remote {
    fn report(&self) -> UpstreamReport {
        let snapshot = self.registry.snapshot();
        let requests = snapshot.requests.into_iter();
        UpstreamReport {
            name: snapshot.name,
            prefix: self.prefix.clone(),
            offline: self.offline,
            urls: snapshot.urls.into_iter().map(url_report).collect(),
            requests: requests
                .map(|(kind, outcome, count)| (kind.as_str(), outcome.as_str(), count))
                .collect(),
            received_bytes: snapshot.received_bytes,
        }
    }
}

fn url_report(snapshot: UrlSnapshot) -> UrlReport {
    let accounts = snapshot.accounts.into_iter().map(|account| AccountReport {
        account: account.label,
        limit: account.limit,
        remaining: account.remaining,
        window: account.window,
        renews_in: account.renews_in,
        login_refused: account.login_refused,
    });
    UrlReport {
        accounts: accounts.collect(),
        url: snapshot.url,
        resting: snapshot.resting,
        first_byte: snapshot.first_byte,
        bytes_per_second: snapshot.bytes_per_second,
        last_failure: snapshot.last_failure,
    }
}

/// The ways in to each of them.
pub(crate) fn doors(config: &Config) -> Vec<Door> {
    config.upstreams.iter().map(door).collect()
}

fn door(upstream: &Upstream) -> Door {
    Door {
        prefix: upstream.prefix.clone(),
        has_library: upstream.has_library,
        namespaces: upstream.namespaces.clone(),
        host_names: upstream.host_names.clone(),
    }
}

/// The ports that are an upstream's own.
///
/// # Errors
/// One of them can't be had.
pub(crate) async fn bind(config: &Config, tls: Option<&Tls>) -> Result<Vec<BoundServer>, ServeError> {
    let mut servers = Vec::new();
    for upstream in &config.upstreams {
        let Some(address) = &upstream.addr else { continue };
        let server = BoundServer::bind(&address.host, address.port, tls.cloned()).await?;
        let bound = server.address().map_or_else(|| address.to_string(), |address| address.to_string());
        tracing::info!(upstream = upstream.reached.name, "listening on {bound} for this upstream alone");
        servers.push(server.for_door(door(upstream)));
    }
    Ok(servers)
}
