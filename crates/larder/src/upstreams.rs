//! From the configuration's upstreams to those that the registry asks.

use std::sync::Arc;

use larder_core::{UpstreamPlace, Upstreams};
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
