//! `larder doctor --server`: the registry's own side, on its own machine. What it is told, where its data lies, what time it
//! is, whom it fetches from, and what the running server has seen of the proxy in front and refused lately.
//!
//! Nothing is changed but for a directory of trials below the data directory, which is taken away again. It works beside a
//! running server, and before the first start.

mod configuration;
mod disk;
mod front;
mod upstreams;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use larder_doctor::{Finding, Hop, Journal, Row, Severity, Stage, Target, time_at};
use larder_storage::try_semantics;

use crate::config::{Config, Environment, Source};
use crate::data_place;

/// Tokens have a leeway of about a minute.
const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// The registry that is meant.
pub(super) struct Place<'a> {
    pub(super) config: Option<&'a Path>,
    pub(super) data: Option<&'a Path>,
    pub(super) environment: &'a Environment,
    pub(super) may_use_system_directory: bool,
}

/// Looks at everything, and writes down what is seen as it is seen.
///
/// # Errors
/// Nobody says which configuration is meant.
pub(super) async fn examine(place: &Place<'_>, journal: &mut Journal<'_>) -> Result<(), Box<dyn Error>> {
    let source = Source::choose(place.config, place.data, place.environment, place.may_use_system_directory)?;
    let Some(config) = configuration::check(journal, &source, place.environment) else { return Ok(()) };
    configuration::hosts(journal, &config).await;
    let root = std::path::absolute(&config.storage.root_directory)?;
    storage(journal, root.clone()).await?;
    clock(journal, &config, SystemTime::now).await;
    upstreams::check(journal, &config).await;
    front::check(journal, &root, front::needs_scheme(&config)).await;
    Ok(())
}

async fn storage(journal: &mut Journal<'_>, root: PathBuf) -> Result<(), Box<dyn Error>> {
    journal.begin(Stage::Storage, format!("what {} does with files", root.display()));
    if !root.try_exists().map_err(data_place::refused("look for", &root))? {
        let path = root.display();
        journal.find(failure(
            Stage::Storage,
            Row::DataDirectory,
            format!("the data directory {path} isn't there"),
            "a start makes it, if it may; a volume that should be mounted there isn't",
            format!("mount it, or: sudo install -d -o \"$USER\" {path}"),
        ));
        return Ok(());
    }
    if let Some(whose) = data_place::unwritable(&root) {
        journal.find(failure(
            Stage::Storage,
            Row::DataDirectory,
            whose.to_string(),
            "a registry that ran as another user has made it: what is there can be pulled, and pushes and deletions fail with 500",
            disk::permit(&root.join("docker")),
        ));
    }
    let tried = tokio::task::spawn_blocking({
        let root = root.clone();
        move || try_semantics(&root)
    });
    match tried.await? {
        Ok(semantics) => {
            let findings = disk::findings(&semantics, &root);
            if findings.iter().all(|finding| finding.severity == Severity::Warning) {
                journal.good(Stage::Storage, disk::sum(&semantics, &root));
            }
            findings.into_iter().for_each(|finding| journal.find(finding));
        }
        Err(error) => journal.find(disk::unusable(&error, &root)),
    }
    Ok(())
}

/// What an upstream's clock says of this machine's.
async fn clock(journal: &mut Journal<'_>, config: &Config, now: fn() -> SystemTime) {
    let asked = config.upstreams.iter().filter(|upstream| !upstream.asked.offline);
    let urls = asked.flat_map(|upstream| &upstream.reached.urls);
    for url in urls {
        let Ok(target) = url.to_string().parse::<Target>() else { continue };
        journal.begin(Stage::Clock, format!("the time at {}", target.authority()));
        let Ok(Some(theirs)) = time_at(&target).await else { continue };
        let ours = now();
        let (way, difference) = match theirs.duration_since(ours) {
            Ok(difference) => ("behind", difference),
            Err(ahead) => ("ahead of", ahead.duration()),
        };
        if difference <= CLOCK_LEEWAY {
            return journal.good(Stage::Clock, format!("this machine and {} agree", target.authority()));
        }
        return journal.find(warning(
            Stage::Clock,
            Row::ClockWrong,
            format!("this machine's clock is {} s {way} that of {}", difference.as_secs(), target.authority()),
            "its tokens are then too old or too young for clients: `token not to be used before …`; certificates seem to have run out",
            "sudo timedatectl set-ntp true",
        ));
    }
    journal.skip(Stage::Clock, "nobody could be asked for the time");
}

/// Clients fail, or will.
fn failure(
    stage: Stage,
    row: Row,
    seen: impl Into<String>,
    cause: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    let (seen, cause, fix) = (seen.into(), cause.into(), fix.into());
    Finding { row, severity: Severity::Failure, stage, seen, cause, hop: Hop::Server, fix }
}

/// Some clients will fail, or later.
fn warning(
    stage: Stage,
    row: Row,
    seen: impl Into<String>,
    cause: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding { severity: Severity::Warning, ..failure(stage, row, seen, cause, fix) }
}

#[cfg(test)]
mod tests;
