//! The socket in the data directory, for the commands of this machine.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use larder_auth::{AuthMode, Gate};
use larder_core::Registry;
use larder_server::{App, BoundServer, Observers, Options};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::notify;

/// Answers the commands of this machine: `larder gc` and the like.
pub(crate) fn serve(
    config: &Config,
    root: &Path,
    registry: &Registry,
    observers: &Observers,
    main: &Arc<App>,
    stop: &CancellationToken,
) {
    let server = match BoundServer::bind_control(root) {
        Ok(server) => server,
        Err(error) => {
            let cause = error.source().map(ToString::to_string);
            return tracing::warn!(%error, cause, "commands of this machine can't reach this process; its API can");
        }
    };
    let gate = Gate::new(AuthMode::Open, Arc::new(SystemTime::now));
    let options = Options {
        // Commands name no host. What is told of their changes points to where clients reach the registry.
        public_url: Some(notify::base_url(config)),
        catalog_max_entries: config.catalog_max_entries,
        tags_max: config.tags_max,
        limits: config.http.limits,
        ..Options::default()
    };
    // What commands ask counts as no client's request.
    let observers = Observers { metrics: None, ..observers.clone() };
    let app = Arc::new(App::new(registry.clone(), gate, options).observed_by(observers).beside(main));
    let (stop, drain) = (stop.clone(), config.http.drain_timeout);
    tokio::spawn(async move {
        if let Err(error) = server.serve(app, stop, drain).await {
            tracing::warn!(%error, "a command of this machine was cut off");
        }
    });
}
