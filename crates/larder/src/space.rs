//! `larder gc`, `garbage-collect`, `undo`, `history`: what is deleted, and what that gives back.
//!
//! They ask the registry that runs on the data directory, through its socket there. Where none runs, a collection is
//! done by the command itself.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use larder_auth::{AuthMode, Gate, Identity};
use larder_core::{Collected, Planning, Registry, RegistryError, Run};
use larder_oci::AdminAccess;
use serde_json::Value;

use crate::cli::{GarbageCollect, ThisRegistry};
use crate::config::{self, Config, Environment};
use crate::progress::Progress;
use crate::{data_place, output, serve};

/// `larder gc`
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gc {
    pub(crate) now: bool,
    pub(crate) sweep: bool,
    pub(crate) dry_run: bool,
}

/// How often is looked how far a collection is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// The registry that is meant.
pub(crate) struct Place {
    pub(crate) config: Config,
    pub(crate) root: PathBuf,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Place {
    /// The one that a command's arguments name.
    pub(crate) fn of(
        registry: &ThisRegistry,
        environment: &Environment,
        may_use_system_directory: bool,
    ) -> Result<Place, Box<dyn Error>> {
        let source = registry.source(environment, may_use_system_directory)?;
        let config = config::load(&source, environment)?.config;
        let root = std::path::absolute(&config.storage.root_directory)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Place { config, root, runtime })
    }

    /// What the running registry answers; `None` if none runs here.
    pub(crate) fn ask(&self, method: &str, target: &str) -> Result<Option<Value>, Box<dyn Error>> {
        let asked = self.runtime.block_on(larder_server::ask_running(&self.root, method, target));
        let socket = self.root.join("larder/control/socket");
        let answer = asked.map_err(data_place::refused("ask the Larder that runs here, by", &socket))?;
        let Some((status, body)) = answer else { return Ok(None) };
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status == 200 {
            return Ok(Some(value));
        }
        let detail =
            value.pointer("/errors/0/detail").and_then(Value::as_str).unwrap_or("it did not say why");
        Err(format!("the running Larder said no ({status}): {detail}").into())
    }

    pub(crate) fn must_run(&self, answer: Option<Value>) -> Result<Value, Box<dyn Error>> {
        answer.ok_or_else(|| self.nobody().into())
    }

    /// That none runs here, and what to do.
    pub(crate) fn nobody(&self) -> String {
        let root = self.root.display();
        format!(
            "no Larder runs on {root}: start it with larder serve, or name with --config the config.yml that it was \
             started with, or with --data its data directory"
        )
    }

    /// The registry itself, where no other process has it. Nothing is made where none has ever been: what is meant may
    /// be a volume that isn't mounted.
    pub(crate) fn open(&self) -> Result<(Registry, AdminAccess), Box<dyn Error>> {
        if !self.root.join("docker").try_exists()? && !self.root.join("larder").try_exists()? {
            let root = self.root.display();
            return Err(format!(
                "no registry has ever kept anything in {root}: is that the right directory, and its volume mounted?"
            )
            .into());
        }
        let opened =
            Registry::open(&self.root, serve::settings(&self.config), larder_core::Environment::system());
        let registry = opened.map_err(|error| match error {
            RegistryError::Meta(larder_core::MetaError::Storage(
                larder_storage::StorageError::Locked { path },
            )) => format!(
                "a Larder runs on {} but doesn't answer at larder/control/socket there (is it another user's, or in a \
                 container?): run this command where it runs, or ask its API, POST /api/v1/gc",
                path.display()
            )
            .into(),
            other => Box::<dyn Error>::from(other),
        })?;
        // Whoever may change the files may do anything anyway.
        let gate = Gate::new(AuthMode::Open, Arc::new(SystemTime::now));
        let access = gate.policy().administer(&Identity::Anonymous).map_err(|denied| denied.reason)?;
        Ok((registry, access))
    }
}

/// `larder gc`
pub(crate) fn gc(
    options: Gc,
    registry: &ThisRegistry,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Outcome {
    let place = Place::of(registry, environment, may_use_system_directory)?;
    let Gc { now, sweep, dry_run } = options;
    let target = format!("/api/v1/gc?now={now}&sweep={sweep}&dry_run={dry_run}");
    let answer = match with_progress(&place, || place.ask("POST", &target))? {
        Some(answer) => answer,
        None => {
            let (registry, access) = place.open()?;
            place.runtime.block_on(async {
                Ok::<_, RegistryError>(if dry_run {
                    let plan = registry.plan_collection(&access, Planning::default()).await?;
                    serde_json::json!({ "would_go": plan })
                } else {
                    let collected = collect_showing(&registry, &access, Run { now, sweep }).await?;
                    serde_json::json!({ "collected": collected })
                })
            })?
        }
    };
    writeln!(output::standard(), "{}", summary(&answer))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows how far the running registry's collector is while `work` asks it to run.
fn with_progress<T: Send>(
    place: &Place,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut progress, mut of) = (Progress::new(), 0);
            while !done.load(Ordering::SeqCst) {
                // What can't be told is not shown; what went wrong is told by the work itself.
                if let Ok(Some(state)) = place.ask("GET", "/api/v1/gc") {
                    let number = |at: &str| state.pointer(at).and_then(Value::as_u64).unwrap_or_default();
                    let (taken, waiting) = (number("/so_far/removals"), number("/deletions_waiting"));
                    of = (taken + waiting).max(of);
                    show(&mut progress, taken, of, number("/so_far/bytes"));
                }
                std::thread::park_timeout(BETWEEN_LOOKS);
            }
        });
        let outcome = work();
        done.store(true, Ordering::SeqCst);
        outcome
    })
}

/// Collects, and shows how far that is.
async fn collect_showing(
    registry: &Registry,
    access: &AdminAccess,
    run: Run,
) -> Result<Collected, RegistryError> {
    let (mut progress, of) = (Progress::new(), registry.removed(access).len() as u64);
    let collecting = registry.collect(access, run);
    tokio::pin!(collecting);
    loop {
        tokio::select! {
            outcome = &mut collecting => return outcome,
            () = tokio::time::sleep(BETWEEN_LOOKS) => {
                let (_, so_far) = registry.collector_state(access);
                show(&mut progress, so_far.removals, of, so_far.bytes);
            }
        }
    }
}

fn show(progress: &mut Progress, taken: u64, of: u64, bytes: u64) {
    let part = (of > 0).then(|| taken as f64 / of as f64);
    progress.show(part, bytes, &format!("freed; {taken} of {of} deletions are final"));
}

/// What a collection did, or would do, in a few lines.
fn summary(answer: &Value) -> String {
    let number = |place: &str| answer.pointer(place).and_then(Value::as_u64).unwrap_or_default();
    if answer.get("would_go").is_some() {
        let count = |place: &str| answer.pointer(place).and_then(Value::as_array).map_or(0, Vec::len);
        return format!(
            "would go: {} bytes in {} blobs and manifests; {} manifests and {} blobs would leave their repositories\n\
             nothing was changed",
            number("/would_go/bytes"),
            count("/would_go/contents"),
            count("/would_go/manifests"),
            count("/would_go/blobs"),
        );
    }
    let mut text = format!(
        "freed {} bytes: {} blobs and manifests are gone; {} manifests and {} blobs left their repositories",
        number("/collected/bytes"),
        number("/collected/contents"),
        number("/collected/manifests"),
        number("/collected/links"),
    );
    match number("/collected/repositories") {
        0 => {}
        1 => text.push_str("\none repository held nothing any more and is gone"),
        more => text.push_str(&format!("\n{more} repositories held nothing any more and are gone")),
    }
    if number("/collected/promised") > 0 {
        text.push_str("\nsome stay for now: pushes work on them, or clients were told of them");
    }
    if number("/collected/unknown") > 0 {
        text.push_str(
            "\nsome stay because it could not be told whether something needs them; the log says why",
        );
    }
    text
}

/// `larder garbage-collect`, in the words of registry:2's.
pub(crate) fn garbage_collect(
    options: &GarbageCollect,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Outcome {
    let registry = ThisRegistry { config: options.config.clone(), data: None };
    let place = Place::of(&registry, environment, may_use_system_directory)?;
    let untagged = options.delete_untagged;
    let target = |dry_run| format!("/api/v1/gc?everything=true&delete_untagged={untagged}&dry_run={dry_run}");
    let running = place.ask("POST", &target(true))?;
    // Nobody is pushing where no registry runs.
    let planning = Planning { untagged, young: true };
    let opened = if running.is_none() { Some(place.open()?) } else { None };
    let plan = match (running, &opened) {
        (Some(answer), _) => answer.get("would_go").cloned().unwrap_or_default(),
        (None, Some((registry, access))) => {
            serde_json::to_value(place.runtime.block_on(registry.plan_collection(access, planning))?)?
        }
        (None, None) => Value::Null,
    };
    let mut out = output::standard();
    if !options.quiet {
        print_plan(&plan, &mut out)?;
    }
    if options.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let answer = match &opened {
        Some((registry, access)) => {
            let collected = place.runtime.block_on(registry.collect_all(access, planning))?;
            serde_json::json!({ "collected": collected })
        }
        None => place.must_run(place.ask("POST", &target(false))?)?,
    };
    if !options.quiet {
        writeln!(out, "{}", summary(&answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What would go, in the very lines that scripts look for: those of registry:2, and of registry:3 for links. Only what
/// stays isn't listed.
fn print_plan(plan: &Value, out: &mut impl Write) -> io::Result<()> {
    let list = |name: &str| plan.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (manifests, blobs, contents) = (list("manifests"), list("blobs"), list("contents"));
    let needed = plan.get("needed").and_then(Value::as_u64).unwrap_or_default();
    let text =
        |value: &Value, at: usize| value.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut repository = String::new();
    for each in &manifests {
        if text(each, 0) != repository {
            repository = text(each, 0);
            writeln!(out, "{repository}")?;
        }
        writeln!(out, "manifest eligible for deletion: {}", text(each, 1))?;
    }
    writeln!(
        out,
        "\n{needed} blobs marked, {} blobs and {} manifests eligible for deletion",
        contents.len(),
        manifests.len()
    )?;
    for each in &blobs {
        writeln!(out, "{}: layer link eligible for deletion: {}", text(each, 0), text(each, 1))?;
    }
    for each in &contents {
        writeln!(out, "blob eligible for deletion: {}", text(each, 0))?;
    }
    Ok(())
}

/// `larder undo`
pub(crate) fn undo(
    what: Option<&str>,
    since: Option<&str>,
    registry: &ThisRegistry,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Outcome {
    let place = Place::of(registry, environment, may_use_system_directory)?;
    let answer = place.must_run(place.ask("GET", "/api/v1/removals")?)?;
    let removals = answer.get("removals").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut out = output::standard();
    let since = match since {
        None => None,
        Some(text) => {
            let age = humantime::parse_duration(text.trim_end_matches(" ago"))?;
            Some(SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
        }
    };
    if what.is_none() && since.is_none() {
        if removals.is_empty() {
            writeln!(out, "nothing was deleted that can still be undone")?;
        }
        for each in &removals {
            writeln!(out, "{}", line(each))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let meant: Vec<&Value> =
        removals.iter().filter(|each| what.is_none_or(|what| is_meant(each, what))).collect();
    let mut undone = 0;
    // Newest first: a manifest comes back before the tag that was deleted before it.
    for each in meant {
        let at = each.get("at").and_then(Value::as_str).and_then(|at| humantime::parse_rfc3339(at).ok());
        if since.is_some_and(|since| at.is_none_or(|at| at < since)) {
            continue;
        }
        let repository = each.get("repository").and_then(Value::as_str).unwrap_or_default();
        let id = each.get("id").and_then(Value::as_u64).unwrap_or_default();
        let target = format!("/api/v1/undo?repository={repository}&id={id}");
        let answer = place.must_run(place.ask("POST", &target)?)?;
        writeln!(out, "undone: {}", line(each))?;
        for taken in answer.get("left_alone").and_then(Value::as_array).into_iter().flatten() {
            let word = |name: &str| taken.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            writeln!(
                out,
                "  {repository}:{} was pushed again meanwhile and stays at {}",
                word("tag"),
                word("points_at")
            )?;
        }
        undone += 1;
    }
    if undone == 0 {
        return Err("no such deletion can be undone; `larder undo` lists those that can".into());
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn line(removal: &Value) -> String {
    let word = |name: &str| removal.get(name).and_then(Value::as_str).unwrap_or_default();
    let tags = removal.get("tags").and_then(Value::as_array).into_iter().flatten();
    let tags: Vec<&str> = tags.filter_map(|tag| tag.get("tag").and_then(Value::as_str)).collect();
    let mut what =
        format!("{}  {}  {}", removal.get("id").unwrap_or(&Value::Null), word("at"), word("repository"));
    if !tags.is_empty() {
        what.push_str(&format!(":{}", tags.join(",")));
    }
    for part in [word("manifest"), word("blob")].into_iter().filter(|part| !part.is_empty()) {
        what.push_str(&format!("  {part}"));
    }
    format!("{what}  by {}", word("by"))
}

/// Whether a word of the command line means this deletion.
pub(crate) fn is_meant(removal: &Value, what: &str) -> bool {
    if let Ok(id) = what.parse::<u64>() {
        return removal.get("id").and_then(Value::as_u64) == Some(id);
    }
    let repository = removal.get("repository").and_then(Value::as_str).unwrap_or_default();
    let mut tags = removal.get("tags").and_then(Value::as_array).into_iter().flatten();
    match what.rsplit_once(':') {
        Some((name, tag)) => {
            name == repository && tags.any(|each| each.get("tag").and_then(Value::as_str) == Some(tag))
        }
        None => what == repository,
    }
}

/// `larder history`
pub(crate) fn history(
    tag: &str,
    registry: &ThisRegistry,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Outcome {
    let place = Place::of(registry, environment, may_use_system_directory)?;
    let (repository, tag) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
    let target = format!("/api/v1/history?repository={repository}&tag={tag}");
    let answer = place.must_run(place.ask("GET", &target)?)?;
    let entries = answer.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    if entries.is_empty() {
        return Err(format!("{repository}:{tag} has never pointed at anything that is remembered").into());
    }
    for each in &entries {
        let word = |name: &str| each.get(name).and_then(Value::as_str).unwrap_or_default();
        let is = |name: &str| each.get(name).and_then(Value::as_bool).unwrap_or_default();
        let note = match (is("current"), is("available")) {
            (true, _) => "  now",
            (false, true) => "",
            (false, false) => "  gone",
        };
        writeln!(output::standard(), "{}  {}{note}", word("since"), word("digest"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
