//! Taking up a changed configuration while requests run.
//!
//! The file is read again on SIGHUP, and when it or a file that holds a secret has changed: they are looked at every
//! few seconds, and a change counts when the next look finds it unchanged, so that a file that is just being written
//! isn't read in half.
//! What has mistakes is not taken up at all. What can't be changed in a running process is named, and stays.

use std::sync::Arc;
use std::time::Duration;

use larder_auth::FileStamp;
use larder_core::Registry;
use larder_notify::Notifications;
use larder_server::App;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::audit_log::AuditLog;
use crate::certificates::{self, Certificates};
use crate::config::{self, Config, Environment, Http, Log, ReadFile, Source, Storage};
use crate::lines::LineWriter;
use crate::serve;
use crate::telemetry::LogHandle;
use crate::upstreams::{self, Remotes};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What Larder was told, and where it reads it.
pub(crate) struct Told {
    /// The file, or the built-in configuration.
    pub(crate) source: Source,
    /// The variables, which can't change.
    pub(crate) environment: Environment,
    /// What is in force.
    pub(crate) config: Config,
    /// The files that it was read from.
    pub(crate) files: Vec<ReadFile>,
}

impl Told {
    /// What the files are now; `None` while one of them can't be looked at.
    fn stamps(&self) -> Option<Vec<FileStamp>> {
        self.files.iter().map(|file| FileStamp::of(&file.path).ok()).collect()
    }

    /// What the files were when they were read.
    fn read(&self) -> Option<Vec<FileStamp>> {
        Some(self.files.iter().map(|file| file.stamp).collect())
    }
}

/// Where changes are taken up.
pub(crate) struct Handles {
    pub(crate) registry: Registry,
    pub(crate) app: Arc<App>,
    pub(crate) certificates: Certificates,
    pub(crate) log: LogHandle,
    pub(crate) access_log: LineWriter,
    pub(crate) notifications: Option<Arc<Notifications>>,
    pub(crate) audit_log: Option<Arc<AuditLog>>,
    pub(crate) remotes: Remotes,
}

/// Follows the configuration.
pub(crate) struct Reloader {
    told: Told,
    handles: Handles,
    looks: Looks,
}

/// What the looks at the files have seen; nothing while one of them isn't there.
struct Looks {
    /// The files as they were when they were last read.
    read: Option<Vec<FileStamp>>,
    /// As they were at the last look.
    seen: Option<Vec<FileStamp>>,
}

impl Reloader {
    pub(crate) fn new(told: Told, handles: Handles) -> Reloader {
        let read = told.read();
        Reloader { told, handles, looks: Looks { read: read.clone(), seen: read } }
    }

    /// Follows until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP can't be received; a changed configuration needs a restart");
            return;
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                hung_up = hangup.recv() => {
                    if hung_up.is_none() {
                        return;
                    }
                    tracing::info!(signal = "SIGHUP", "the configuration is read again");
                    self = self.off_the_runtime(Reloader::reload).await;
                }
                () = tokio::time::sleep(LOOK_EVERY) => {
                    self = self.off_the_runtime(Reloader::look).await;
                }
            }
        }
    }

    /// Runs on a thread that may block: a network mount may hang.
    async fn off_the_runtime(mut self, work: fn(&mut Reloader)) -> Reloader {
        let worked = tokio::task::spawn_blocking(move || {
            work(&mut self);
            self
        });
        match worked.await {
            Ok(reloader) => reloader,
            Err(error) => std::panic::resume_unwind(Box::new(error)),
        }
    }

    /// Takes up a change that the look before has seen already.
    fn look(&mut self) {
        let found = self.told.stamps();
        if found.is_some() && found != self.looks.read && found == self.looks.seen {
            tracing::info!("the configuration's files have changed and are read again");
            self.reload();
        }
        self.looks.seen = found;
    }

    /// Reads the configuration and takes up what it says.
    fn reload(&mut self) {
        let found = self.told.stamps();
        self.looks = Looks { read: found.clone(), seen: found };
        match config::load(&self.told.source, &self.told.environment) {
            Ok(loaded) => {
                serve::tell(&loaded);
                self.told.files = loaded.files;
                let read = self.told.read();
                self.looks = Looks { read: read.clone(), seen: read };
                self.take_up(loaded.config);
            }
            Err(mistakes) => {
                for mistake in &mistakes.0 {
                    tracing::error!("{mistake}");
                }
                tracing::error!(
                    mistakes = mistakes.0.len(),
                    "the configuration is not taken up; what was in force stays in force"
                );
                self.note(&self.told.config, false, "the configuration has mistakes and was not taken up");
            }
        }
    }

    fn take_up(&mut self, mut new: Config) {
        for key in keep_what_needs_a_restart(&self.told.config, &mut new) {
            tracing::warn!("{key} has changed, and needs a restart to take effect");
        }
        if !self.handles.certificates.take_up(&new) {
            new.http.tls.clone_from(&self.told.config.http.tls);
        }
        if self.told.config.access != new.access
            && let Err(error) = serve::replace_rules(self.handles.app.gate(), &new)
        {
            tracing::error!(%error, "the rules in access are not taken up; those from before stay in force");
            new.access.clone_from(&self.told.config.access);
        }
        if self.told.config.upstreams != new.upstreams
            && let Err(error) = self.handles.remotes.take_up(&new, &self.handles.registry)
        {
            tracing::error!(%error, "the upstreams are not taken up; those from before stay in force");
            new.upstreams.clone_from(&self.told.config.upstreams);
        }
        self.handles.registry.set_cache_limits(upstreams::cache_limits(&new));
        self.handles.registry.set_background_bandwidth(new.cache.background_bandwidth);
        self.handles.registry.set_warm_list(new.cache.warm.clone());
        self.handles.registry.set_retention(new.retention.clone());
        self.handles.registry.set_quotas(&new.quotas);
        self.handles.log.set_level(new.log.level);
        self.handles.registry.switch(new.storage.delete_enabled, new.storage.read_only);
        self.handles.app.set_options(serve::options(
            &new,
            &self.handles.access_log,
            self.handles.notifications.clone(),
            self.handles.audit_log.as_ref(),
        ));
        let has_changed = self.told.config != new;
        let words = if has_changed { "a changed configuration is in force" } else { "nothing has changed" };
        self.note(&new, true, words);
        self.told.config = new;
        tracing::info!(has_changed, "the configuration is in force");
    }
}

impl Reloader {
    /// Tells the audit log.
    fn note(&self, config: &Config, taken_up: bool, reason: &str) {
        if let Some(audit) = serve::audit(config, self.handles.audit_log.as_ref()) {
            audit.note("reload", taken_up, reason);
        }
    }
}

/// Puts back what a running process can't change, and names it. Every field is named here, so that whoever adds one has
/// to say which it is; what a reload takes up is passed over.
fn keep_what_needs_a_restart(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut kept = Vec::new();
    let own_ports = |config: &Config| -> Vec<_> {
        let upstreams = config.upstreams.iter().filter(|upstream| upstream.addr.is_some());
        upstreams.map(|upstream| (upstream.addr.clone(), upstream.prefix.clone())).collect()
    };
    if own_ports(old) != own_ports(new) {
        kept.push("upstreams[].addr");
    }
    // A certificate may come from other files, and not from elsewhere.
    let needs_new_tls = certificates::needs_restart(old, new);
    let Config {
        storage,
        http,
        auth,
        access: _,
        audit,
        log,
        notifications,
        upstreams: _,
        is_open_proxy: _,
        token_services,
        cache: _,
        health,
        catalog_max_entries: _,
        tags_max: _,
        retention: _,
        quotas: _,
    } = new;
    let Storage { root_directory, delete_enabled: _, upload_purging, collection, read_only: _, verify } =
        storage;
    keep("storage.filesystem.rootdirectory", &old.storage.root_directory, root_directory, &mut kept);
    keep("storage.maintenance.uploadpurging", &old.storage.upload_purging, upload_purging, &mut kept);
    keep("storage.maintenance.verify", &old.storage.verify, verify, &mut kept);
    keep("tokenservice.services", &old.token_services, token_services, &mut kept);
    keep("storage.maintenance.gc", &old.storage.collection, collection, &mut kept);
    let Http {
        addr,
        prefix: _,
        host: _,
        headers: _,
        drain_timeout,
        tls,
        http2_disabled: _,
        debug,
        unix_socket,
        trusted_proxies: _,
        limits: _,
    } = http;
    keep("http.addr", &old.http.addr, addr, &mut kept);
    keep("http.debug", &old.http.debug, debug, &mut kept);
    keep("http.net", &old.http.unix_socket, unix_socket, &mut kept);
    keep("http.draintimeout", &old.http.drain_timeout, drain_timeout, &mut kept);
    if needs_new_tls {
        keep("http.tls", &old.http.tls, tls, &mut kept);
    }
    keep("auth", &old.auth, auth, &mut kept);
    if old.audit.as_ref().map(|audit| &audit.file) != audit.as_ref().map(|audit| &audit.file) {
        keep("audit", &old.audit, audit, &mut kept);
    }
    keep("notifications", &old.notifications, notifications, &mut kept);
    keep("health", &old.health, health, &mut kept);
    let Log { level: _, formatter, fields, access_log_disabled: _ } = log;
    keep("log.formatter", &old.log.formatter, formatter, &mut kept);
    keep("log.fields", &old.log.fields, fields, &mut kept);
    kept
}

fn keep<T: PartialEq + Clone>(key: &'static str, old: &T, new: &mut T, kept: &mut Vec<&'static str>) {
    if old != new {
        kept.push(key);
        new.clone_from(old);
    }
}

#[cfg(test)]
mod tests;
