//! `larder serve`: the wiring.

use std::error::Error;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use larder_auth::{AuthMode, Clock, ExternalTokens, Gate, Mode, Passwords, Policy, Users};
use larder_core::{Registry, Settings, UploadPurging, VerifySchedule};
use larder_notify::Notifications;
use larder_server::{
    AccessLog, App, Audit, BoundServer, Check, Debug, DebugServer, Health, Metrics, Observers, Options,
    Subject, Tls,
};
use larder_storage::{Disk, LogRotation};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::{self, users_files};
use crate::audit_log::AuditLog;
use crate::certificates::Certificates;
use crate::config::{self, Auth, Config, Environment, Formatter, HealthCheck, HealthSubject, Loaded, Source};
use crate::lines::LineWriter;
use crate::reload::{Handles, Reloader, Told};
use crate::telemetry::LogHandle;
use crate::upstreams::Remotes;
use crate::{
    control, data_place, first_start, keys, memory, notify, retention, status, telemetry, token_service,
    upstreams,
};

/// The user that a first start makes where Larder's own configuration is in force.
const ADMIN: &str = "admin";

/// What tokens are made for, where the configuration doesn't say.
const SERVICE: &str = "larder";

/// The user that registry:2 makes when its htpasswd file is missing.
const REGISTRY_2_USER: &str = "docker";

/// Serves until a signal says stop; returns when all work has ended. The arguments that were ignored are logged.
pub(crate) fn serve(
    source: Source,
    environment: &Environment,
    ignored: &[OsString],
) -> Result<(), Box<dyn Error>> {
    let loaded = config::load(&source, environment)?;
    let log = telemetry::start(&loaded.config.log);
    tell(&loaded);
    if !ignored.is_empty() {
        tracing::warn!(arguments = ?ignored, "further arguments after the config file have no effect");
    }
    let (config, files) = (loaded.config, loaded.files);
    raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let access_log = LineWriter::start("access log", std::io::stdout());
    let audit_log = open_audit_log(&config)?;
    let audit = audit(&config, audit_log.as_ref());
    let told = Told { source, environment: environment.clone(), config, files };
    let outcome = runtime.block_on(run(told, &log, &access_log, audit_log.as_ref()));
    // Waits for what still runs on blocking threads: a half-written upload is flushed.
    drop(runtime);
    if let (Some(audit), Some(audit_log)) = (audit, audit_log) {
        let reason =
            outcome.as_ref().map_or_else(ToString::to_string, |()| "all requests had ended".to_owned());
        audit.note("stop", outcome.is_ok(), &reason);
        audit_log.close();
    }
    access_log.flush();
    log.writer().flush();
    outcome
}

/// Logs what the operator should know about a configuration.
pub(crate) fn tell(loaded: &Loaded) {
    for note in &loaded.notes {
        tracing::info!("{note}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

fn open_audit_log(config: &Config) -> Result<Option<Arc<AuditLog>>, Box<dyn Error>> {
    let Some(config::Audit { file, .. }) = &config.audit else { return Ok(None) };
    let rotation = LogRotation { file_bytes: file.max_bytes, files_kept: file.max_files };
    Ok(Some(Arc::new(AuditLog::open(&file.path, rotation)?)))
}

/// What is told to the audit log, if there is one.
pub(crate) fn audit(config: &Config, audit_log: Option<&Arc<AuditLog>>) -> Option<Audit> {
    let (audit, trail) = (config.audit.as_ref()?, Arc::clone(audit_log?));
    Some(Audit { trail, pulls: audit.pulls, required: audit.required, now: SystemTime::now })
}

async fn run(
    told: Told,
    log: &LogHandle,
    access_log: &LineWriter,
    audit_log: Option<&Arc<AuditLog>>,
) -> Result<(), Box<dyn Error>> {
    let config = &told.config;
    let root = &std::path::absolute(&config.storage.root_directory)?;
    data_place::refuse_half_restored(root)?;
    warn_of_adoption(config, root);
    let disk = Arc::new(Disk::open(root)?);
    if let Some(whose) = data_place::unwritable(root) {
        tracing::warn!(
            "pushes and deletions will fail with 500: {whose}; give it to this user, or run Larder as that one"
        );
    }
    let notifications = notify::open(config, &disk)?;
    let registry = Registry::on(disk, settings(config), larder_core::Environment::system())?;
    let remotes = Remotes::default();
    remotes.take_up(config, &registry)?;
    registry.set_cache_limits(upstreams::cache_limits(config));
    registry.set_background_bandwidth(config.cache.background_bandwidth);
    registry.set_warm_list(config.cache.warm.clone());
    registry.set_retention(config.retention.clone());
    registry.set_quotas(&config.quotas);
    let reports = retention::reports(notifications.as_ref(), audit(config, audit_log), config);
    registry.report_retention_to(reports);
    let certificates = Certificates::open(config)?;
    let server = bind(config, &told.environment, certificates.tls.clone()).await?;
    let keys = keys::open(config)?;
    let port = server.address().map_or(config.http.addr.port, |address| address.port());
    let gate = token_service::at(gate(config, port)?, config)?.with_keys(Arc::clone(&keys));
    let address = match (server.address(), &config.http.unix_socket) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "the socket of systemd".to_owned(),
    };
    let metrics = metrics(config);
    let health = Arc::new(Health::default());
    let debug_server = match &config.http.debug {
        Some(debug) => Some(DebugServer::bind(&debug.addr.host, debug.addr.port).await?),
        None => None,
    };
    let observers = Observers {
        about: Some(status::about(config, &address, server.address().is_some())),
        metrics: metrics.as_ref().map(|(_, metrics)| Arc::clone(metrics)),
        upstreams: Some(remotes.reports()),
        health: Some(Arc::clone(&health)),
        tls: certificates.tls.clone(),
        certificate_troubles: Some(certificates.troubles()),
        authority: certificates.authority(),
    };
    if let Some((_, metrics)) = &metrics {
        metrics.show_cache(registry.clone(), remotes.reports());
        certificates.show_in(metrics);
        metrics.show_storage(registry.clone());
        metrics.show_quotas(registry.clone());
    }
    let app = App::new(registry.clone(), gate, options(config, access_log, notifications.clone(), audit_log));
    let app = Arc::new(app.observed_by(observers.clone()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), data = %root.display(), tls = config.http.tls.is_some(),
        "listening on {address}"
    );
    if let Some(audit) = audit(config, audit_log) {
        audit.note("start", true, concat!("larder ", env!("CARGO_PKG_VERSION"), " listens"));
    }
    let stop = CancellationToken::new();
    control::serve(config, root, &registry, &observers, &app, &stop);
    let maintenance = tokio::spawn({
        let (registry, stop) = (registry.clone(), stop.clone());
        async move { registry.maintain(stop).await }
    });
    let verifying = tokio::spawn({
        let (registry, stop) = (registry.clone(), stop.clone());
        let schedule = VerifySchedule {
            every: config.storage.verify.every,
            most_per_second: config.storage.verify.bytes_per_second,
        };
        async move { registry.verify_regularly(schedule, stop).await }
    });
    tokio::spawn(memory::give_back_at_rest(stop.clone()));
    tokio::spawn(Arc::clone(&health).watch(checks(config, &registry), stop.clone()));
    if let Some(server) = debug_server {
        tokio::spawn(server.serve(Debug { health, metrics }, stop.clone()));
    }
    certificates.keep(config, &stop).await?;
    // Cancelled when the last request has been answered: until then there may be events to take in.
    let all_answered = CancellationToken::new();
    let uses = tokio::spawn(keys::keep_last_uses(keys, keys::uses_path(config), all_answered.clone()));
    let delivery = notifications.clone().map(|each| tokio::spawn(each.deliver(all_answered.clone())));
    tokio::spawn(stop_on_signal(stop.clone(), [access_log.clone(), log.writer().clone()]));
    let drain = config.http.drain_timeout;
    let mut own_ports = JoinSet::new();
    for server in upstreams::bind(config, certificates.tls.as_ref()).await? {
        own_ports.spawn(server.serve(Arc::clone(&app), stop.clone(), drain));
    }
    let registry_at_end = registry.clone();
    let handles = Handles {
        registry,
        app: Arc::clone(&app),
        certificates,
        log: log.clone(),
        access_log: access_log.clone(),
        notifications,
        audit_log: audit_log.cloned(),
        remotes,
    };
    tokio::spawn(Reloader::new(told, handles).run(stop.clone()));
    let served = server.serve(app, stop, drain).await;
    let own_ports_served = own_ports.join_all().await;
    // Not before: requests that were let end may still read what is arriving.
    registry_at_end.stop_fetching().await;
    maintenance.await?;
    verifying.await?;
    all_answered.cancel();
    uses.await?;
    if let Some(delivery) = delivery {
        delivery.await?;
    }
    served?;
    own_ports_served.into_iter().collect::<Result<(), _>>()?;
    tracing::info!("stopped; all requests had ended");
    Ok(())
}

/// Where the metrics are shown, and what counts for them; nothing is counted where nothing is shown.
fn metrics(config: &Config) -> Option<(String, Arc<Metrics>)> {
    let path = config.http.debug.as_ref()?.metrics_path.clone()?;
    Some((path, Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")))))
}

fn checks(config: &Config, registry: &Registry) -> Vec<Check> {
    let subject = |subject: &HealthSubject| match subject.clone() {
        HealthSubject::Storage => Subject::Storage(registry.clone()),
        HealthSubject::File(path) => Subject::File(path),
        HealthSubject::Tcp { address, timeout } => Subject::Tcp { address, timeout },
        HealthSubject::Http { url, headers, status, timeout } => {
            Subject::Http { url, headers: headers.into_iter().collect(), status, timeout }
        }
    };
    let check = |check: &HealthCheck| Check {
        name: check.name.clone(),
        subject: subject(&check.subject),
        interval: check.interval,
        threshold: check.threshold,
    };
    config.health.iter().map(check).collect()
}

/// Listens where the configuration says, or on the socket that systemd has opened, which goes before.
async fn bind(
    config: &Config,
    environment: &Environment,
    tls: Option<Tls>,
) -> Result<BoundServer, Box<dyn Error>> {
    let is_for_us = environment.non_empty("LISTEN_PID") == Some(&std::process::id().to_string());
    match environment.non_empty("LISTEN_FDS").filter(|_| is_for_us) {
        Some("1") => return Ok(BoundServer::passed_by_systemd(tls)?),
        Some("0") | None => {}
        Some(count) => {
            return Err(format!(
                "systemd has passed {count} sockets, and Larder listens on one: leave one in the socket unit"
            )
            .into());
        }
    }
    Ok(match &config.http.unix_socket {
        Some(path) => BoundServer::bind_unix(path, tls)?,
        None => BoundServer::bind(&config.http.addr.host, config.http.addr.port, tls).await?,
    })
}

/// Whoever starts Larder without a configuration on another registry's directory opens its images to
/// everybody: that must not happen unnoticed.
fn warn_of_adoption(config: &Config, root: &Path) {
    let is_there = |path: &str| root.join(path).try_exists().unwrap_or(true);
    let built_in = matches!(config.auth, Auth::BuiltIn { .. });
    if built_in && is_there("docker/registry/v2/repositories") && !is_there("larder") {
        tracing::warn!(
            data = %root.display(),
            "this directory holds another registry's images, and without a config file everybody may pull them; \
             if they were not public, stop now and start with that registry's config.yml"
        );
    }
}

/// The first signal lets running requests end; a second one doesn't wait for them.
async fn stop_on_signal(stop: CancellationToken, logs: [LineWriter; 2]) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be received; the process can only be killed");
        return;
    };
    for first in [true, false] {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if first {
            tracing::info!(
                signal = name,
                "stopping: no more connections are taken, running requests may end"
            );
            stop.cancel();
        } else {
            tracing::warn!(signal = name, "stopping at once");
            logs.iter().for_each(LineWriter::flush);
            std::process::exit(1);
        }
    }
}

pub(crate) fn settings(config: &Config) -> Settings {
    let purging = &config.storage.upload_purging;
    Settings {
        deletes: config.storage.delete_enabled,
        read_only: config.storage.read_only,
        upload_purging: UploadPurging {
            enabled: purging.enabled,
            age: purging.age,
            interval: purging.interval,
            dry_run: purging.dry_run,
        },
        collection: config.storage.collection.clone(),
    }
}

pub(crate) fn options(
    config: &Config,
    access_log: &LineWriter,
    notifications: Option<Arc<Notifications>>,
    audit_log: Option<&Arc<AuditLog>>,
) -> Options {
    let access_log = access_log.clone();
    let public_url = config.http.host.as_ref().and_then(|url| {
        let (scheme, authority) = (url.scheme()?, url.authority()?);
        Some(format!("{scheme}://{authority}"))
    });
    Options {
        prefix: config.http.prefix.clone(),
        public_url,
        takes_no_pushes: config.is_open_proxy,
        headers: config.http.headers.clone(),
        catalog_max_entries: config.catalog_max_entries,
        tags_max: config.tags_max,
        access_log: (!config.log.access_log_disabled)
            .then(|| AccessLog::new(move |line| access_log.write(line), SystemTime::now)),
        logs_requests: config.log.formatter != Formatter::Text,
        notifications,
        audit: audit(config, audit_log),
        http1_only: config.http.http2_disabled,
        limits: config.http.limits,
        trusted_proxies: config.http.trusted_proxies.clone(),
        doors: upstreams::doors(config),
        setup: Some(crate::setup::page),
    }
}

/// Who is asked for what.
///
/// # Errors
/// A users file or a key can't be used.
pub(crate) fn gate(config: &Config, port: u16) -> Result<Gate, Box<dyn Error>> {
    let clock: Clock = Arc::new(SystemTime::now);
    let mode = match &config.auth {
        Auth::None if config.is_open_proxy => {
            tracing::info!(
                "no auth is configured: whoever reaches this cache can pull, and nobody can push or delete, as with registry:2"
            );
            AuthMode::Open
        }
        Auth::None => {
            tracing::warn!(
                "no auth is configured: whoever reaches this registry can push to it and overwrite its images; \
                 set auth.htpasswd, or start without a config file for anonymous pulls and pushes by users"
            );
            AuthMode::Open
        }
        Auth::Htpasswd { realm, path } => {
            if let Some(password) = first_start::first_user(path, REGISTRY_2_USER)? {
                tracing::warn!(
                    path = %path.display(), user = REGISTRY_2_USER,
                    password = %String::from_utf8_lossy(password.expose()),
                    "the htpasswd file was missing; it was made with a user whose password is shown only now"
                );
            }
            let passwords = passwords(config, &clock)?;
            let rules = rules(config, &passwords);
            // Basic can't say that some things need no account: docker gives up without one.
            let mode = if rules.as_ref().is_some_and(Policy::welcomes_anonymous) {
                let key = first_start::token_key(&token_key_path(config))?;
                AuthMode::Token {
                    service: SERVICE.to_owned(),
                    passwords,
                    key,
                    mode: Mode::EveryoneAuthenticated,
                }
            } else {
                AuthMode::Basic { realm: realm.clone(), passwords }
            };
            return with_rules(Gate::new(mode, clock), rules);
        }
        Auth::Token(settings) => {
            let tokens = ExternalTokens::open(settings.clone(), Arc::clone(&clock))?;
            let users = Arc::new(Users::open(users_files(config))?);
            return with_rules(
                Gate::new(AuthMode::External(Box::new(tokens)), clock),
                policy_of(config, users),
            );
        }
        Auth::BuiltIn { users_file, service } => {
            if let Some(password) = first_start::first_user(users_file, ADMIN)? {
                first_start::greet(config, ADMIN, port, &String::from_utf8_lossy(password.expose()));
            }
            let key = first_start::token_key(&token_key_path(config))?;
            let passwords = passwords(config, &clock)?;
            let rules = rules(config, &passwords);
            let mode =
                AuthMode::Token { service: service.clone(), passwords, key, mode: Mode::AnonymousPull };
            return with_rules(Gate::new(mode, clock), rules);
        }
    };
    Ok(Gate::new(mode, clock))
}

/// The policy of the `access` section, over these users.
fn rules(config: &Config, passwords: &Passwords) -> Option<Policy> {
    policy_of(config, passwords.users())
}

fn policy_of(config: &Config, users: Arc<Users>) -> Option<Policy> {
    let policy = access::policy(config, users)?;
    // Whom another token server knows, no file here has.
    let unknown = if let Auth::Token(_) = config.auth { Vec::new() } else { policy.unknown_users() };
    for (place, name) in unknown {
        tracing::warn!(
            %place, name = &*name, "the rules name somebody who is neither a group nor a user now: is the name right?"
        );
    }
    Some(policy)
}

/// Puts the rules of a changed configuration in force.
///
/// # Errors
/// They don't fit to how users are asked for, or were taken away: both need a restart. Or a users file can't be used.
pub(crate) fn replace_rules(gate: &Gate, config: &Config) -> Result<(), Box<dyn Error>> {
    let users = Arc::new(Users::open(users_files(config))?);
    let policy = policy_of(config, users).ok_or("taking the section away needs a restart")?;
    Ok(gate.replace_policy(policy)?)
}

fn with_rules(gate: Gate, rules: Option<Policy>) -> Result<Gate, Box<dyn Error>> {
    if let Some(rules) = rules {
        gate.replace_policy(rules)?;
    }
    Ok(gate)
}

/// The key lies with the data, as clients' tokens are to outlive whatever happens to the process.
fn token_key_path(config: &Config) -> PathBuf {
    config.storage.root_directory.join("larder/token.key")
}

fn passwords(config: &Config, clock: &Clock) -> Result<Arc<Passwords>, Box<dyn Error>> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let users = Users::open(users_files(config))?;
    Ok(Arc::new(Passwords::new(Arc::new(users), rand::random(), cores, Arc::clone(clock))))
}

/// Each connection and each blob being sent is an open file; the usual soft limit of 1,024 is from
/// another time, and Go programs raise it too.
fn raise_open_files_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || (limit.current.is_some() && limit.maximum.is_none()) {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}
