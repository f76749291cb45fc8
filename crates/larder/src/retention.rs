//! `larder retention`: what the retention rules delete, and applying them.
//!
//! The commands ask the registry that runs on the data directory; where none runs they do the work themselves.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use larder_core::{Registry, RetentionReports, RetentionTrail, Retired};
use larder_notify::Notifications;
use larder_oci::{AdminAccess, Digest, RepoName};
use larder_server::Audit;
use serde_json::Value;

use crate::cli::ThisRegistry;
use crate::config::{Config, Environment};
use crate::notify;
use crate::space::Place;

/// `larder retention`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Retention {
    /// Show what the rules of the section retention would delete now, what stays, and by which rule. Deletes nothing.
    Plan {
        /// Only this repository. Then the rules don't count as shown.
        repository: Option<RepoName>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        registry: ThisRegistry,
    },
    /// Apply the rules now. Rules that are new or have changed are shown first, and applied the next time.
    Run {
        /// Apply the rules although nobody has seen what they delete.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        registry: ThisRegistry,
    },
}

/// The registry that is meant, whether it runs or is opened here.
struct Asked {
    place: Place,
    opened: Option<(Registry, AdminAccess)>,
}

impl Asked {
    fn find(
        registry: &ThisRegistry,
        environment: &Environment,
        may_use_system_directory: bool,
    ) -> Result<Asked, Box<dyn Error>> {
        let place = Place::of(registry, environment, may_use_system_directory)?;
        Ok(Asked { place, opened: None })
    }

    fn open(&mut self) -> Result<&(Registry, AdminAccess), Box<dyn Error>> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => {
                let opened = self.place.open()?;
                opened.0.set_retention(self.place.config.retention.clone());
                opened
            }
        };
        Ok(self.opened.insert(opened))
    }

    fn plan(&mut self, repository: Option<&RepoName>) -> Result<Value, Box<dyn Error>> {
        let query = repository.map(|name| format!("?repository={name}")).unwrap_or_default();
        if let Some(answer) = self.place.ask("GET", &format!("/api/v1/retention{query}"))? {
            return Ok(answer);
        }
        let repository = repository.cloned();
        let (registry, access) = self.open()?.clone();
        self.place.runtime.block_on(async {
            let plan = registry.plan_retention(&access, repository).await?;
            Ok(plan.described(&registry.retention_state(&access).await?))
        })
    }

    /// Takes note that the plan was shown.
    fn was_shown(&mut self, plan: &Value) -> Result<(), Box<dyn Error>> {
        let fingerprint = plan.get("fingerprint").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.place.ask("POST", &format!("/api/v1/retention?shown={fingerprint}"))?.is_some() {
            return Ok(());
        }
        let fingerprint: Digest = fingerprint.parse()?;
        let (registry, access) = self.open()?.clone();
        self.place.runtime.block_on(registry.retention_was_shown(&access, fingerprint))?;
        Ok(())
    }

    fn run(&mut self, consent: bool) -> Result<Value, Box<dyn Error>> {
        if let Some(answer) = self.place.ask("POST", &format!("/api/v1/retention?consent={consent}"))? {
            return Ok(answer);
        }
        let (registry, access) = self.open()?.clone();
        let retained = self.place.runtime.block_on(registry.retain(&access, consent))?;
        let retained =
            retained.ok_or("the rules have changed meanwhile: show them with `larder retention plan`")?;
        Ok(retained.described())
    }
}

/// `larder retention`
pub(crate) fn run(
    command: &Retention,
    environment: &Environment,
    may_use_system_directory: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Retention::Plan { repository, json, registry } => {
            let mut asked = Asked::find(registry, environment, may_use_system_directory)?;
            let plan = asked.plan(repository.as_ref())?;
            if *json {
                writeln!(out, "{}", serde_json::to_string_pretty(&plan)?)?;
            } else {
                print_plan(&plan, out)?;
            }
            if repository.is_none() && has_rules(&plan) {
                asked.was_shown(&plan)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Retention::Run { yes, registry } => {
            let mut asked = Asked::find(registry, environment, may_use_system_directory)?;
            if !yes {
                let plan = asked.plan(None)?;
                if plan.get("approved").and_then(Value::as_bool) != Some(true) {
                    print_plan(&plan, out)?;
                    if has_rules(&plan) {
                        asked.was_shown(&plan)?;
                        writeln!(
                            out,
                            "nothing was deleted, as these rules are new or have changed: run this again to apply them"
                        )?;
                    }
                    return Ok(ExitCode::FAILURE);
                }
            }
            print_run(&asked.run(*yes)?, out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn has_rules(plan: &Value) -> bool {
    plan.get("rules").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, place: &str) -> u64 {
    value.pointer(place).and_then(Value::as_u64).unwrap_or_default()
}

/// A line for each tag and untagged manifest: what becomes of it, when it was pushed and pulled, and why.
fn print_plan(plan: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    if !has_rules(plan) {
        return writeln!(out, "there are no retention rules: nothing that was pushed goes by itself");
    }
    for repository in list(plan, "repositories") {
        let name = word(repository, "repository");
        for tag in list(repository, "tags") {
            print_thing(&format!("{name}:{}", word(tag, "tag")), tag, out)?;
        }
        for manifest in list(repository, "untagged") {
            print_thing(&format!("{name}@{}", word(manifest, "digest")), manifest, out)?;
        }
    }
    for unread in list(plan, "unread") {
        writeln!(
            out,
            "could not be read, so nothing in it goes: {}: {}",
            word(unread, "repository"),
            word(unread, "why")
        )?;
    }
    let not_listed = number(plan, "/not_listed");
    if not_listed > 0 {
        writeln!(out, "{not_listed} more are not listed; name a repository to see them")?;
    }
    let (tags, manifests) = (number(plan, "/goes/tags"), number(plan, "/goes/manifests"));
    writeln!(out, "would go: {tags} tags and {manifests} untagged manifests; nothing was changed")
}

fn print_thing(name: &str, thing: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let becomes = if thing.get("goes").and_then(Value::as_bool) == Some(true) { "goes " } else { "stays" };
    let or =
        |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    let (pushed, pulled) =
        (or(word(thing, "pushed"), "at an unknown time"), or(word(thing, "pulled"), "not seen"));
    writeln!(out, "{becomes}  {name}  {}  [pushed {pushed}, last pull {pulled}]", word(thing, "why"))
}

fn print_run(done: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    for each in list(done, "listed") {
        let (reference, repository) = (word(each, "reference"), word(each, "repository"));
        let sign = if reference.contains(':') { '@' } else { ':' };
        writeln!(out, "deleted  {repository}{sign}{reference}  {}", word(each, "why"))?;
    }
    let (changed, failed) = (number(done, "/changed"), number(done, "/failed"));
    if changed > 0 {
        writeln!(out, "{changed} were pushed in this moment and stay; the next run looks at them again")?;
    }
    if failed > 0 {
        writeln!(out, "{failed} could not be deleted or looked at; the log says why")?;
    }
    writeln!(
        out,
        "{} deleted; `larder undo` brings them back until the grace time is over",
        number(done, "/gone")
    )
}

/// Who is told of what goes by a retention rule: nobody's request, and still a deletion.
pub(crate) fn reports(
    notifications: Option<&Arc<Notifications>>,
    audit: Option<Audit>,
    config: &Config,
) -> RetentionReports {
    let events = notifications
        .map(|notifications| notifications.sink(notify::of_no_request(config, "larder-retention")));
    let trail = audit.map(|audit| {
        Arc::new(move |gone: &Retired| {
            let Retired { repository, reference, digest, why } = gone;
            audit.deleted_by_rule("retention", repository, &reference.to_string(), digest, why);
        }) as RetentionTrail
    });
    RetentionReports { events, trail }
}
