//! From the configuration's upstreams to those that the registry asks.

use std::sync::Arc;

use larder_core::{UpstreamPlace, Upstreams};
use larder_server::{BoundServer, Door, ServeError, Tls};
use larder_upstream::{RemoteRegistry, TransportError};

use crate::config::{Config, Upstream};

/// The upstreams of a configuration. Asks nothing of anybody.
///
/// # Errors
/// One that can't be asked as it is written: no file of authorities, no proxy.
pub(crate) fn upstreams(config: &Config) -> Result<Upstreams, TransportError> {
    let places: Result<Vec<UpstreamPlace>, TransportError> = config.upstreams.iter().map(place).collect();
    Ok(Upstreams::new(places?))
}

fn place(upstream: &Upstream) -> Result<UpstreamPlace, TransportError> {
    Ok(UpstreamPlace {
        prefix: upstream.prefix.clone(),
        has_library: upstream.has_library,
        upstream: RemoteRegistry::new(upstream.reached.clone())?,
        settings: Arc::new(upstream.asked.clone()),
    })
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
