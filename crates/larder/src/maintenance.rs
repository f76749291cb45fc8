//! `larder maintenance`: nothing changes for a while, and pulls go on.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::Value;

use crate::cli::ThisRegistry;
use crate::config::Environment;
use crate::space::Place;

/// How often is looked whether the changes that were under way have ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// How often somebody who waits is told.
const BETWEEN_WORDS: Duration = Duration::from_secs(5);

/// `larder maintenance`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Maintenance {
    /// Let no change begin, and wait until those under way have ended: then a plain copy of the directory is one of a
    /// single moment. It ends with the process; storage.maintenance.readonly outlives it.
    On {
        /// Why; whoever pushes reads it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Don't wait for what is under way.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        registry: ThisRegistry,
    },
    /// Let changes begin again.
    Off {
        #[command(flatten)]
        registry: ThisRegistry,
    },
    /// Say whether it is on, since when and why, and how many changes are under way.
    Status {
        #[command(flatten)]
        registry: ThisRegistry,
    },
}

const PATH: &str = "/api/v1/maintenance";

impl Maintenance {
    /// # Errors
    /// No registry runs there, or it said no.
    pub(crate) fn run(
        &self,
        environment: &Environment,
        may_use_system_directory: bool,
        output: &mut impl Write,
    ) -> Result<ExitCode, Box<dyn Error>> {
        let (Maintenance::On { registry, .. }
        | Maintenance::Off { registry }
        | Maintenance::Status { registry }) = self;
        let place = Place::of(registry, environment, may_use_system_directory)?;
        let ask = |method, target: &str| place.must_run(place.ask(method, target)?);
        let state = match self {
            Maintenance::Status { .. } => ask("GET", PATH)?,
            Maintenance::Off { .. } => ask("PUT", &format!("{PATH}?on=false"))?,
            Maintenance::On { reason, no_wait, .. } => {
                let target: String = form_urlencoded::Serializer::new(format!("{PATH}?"))
                    .append_pair("on", "true")
                    .append_pair("reason", reason)
                    .finish();
                let mut state = ask("PUT", &target)?;
                let mut told = Instant::now();
                while !no_wait && changes(&state) > 0 {
                    if told.elapsed() >= BETWEEN_WORDS {
                        told = Instant::now();
                        writeln!(output, "{} changes are still under way", changes(&state))?;
                    }
                    std::thread::sleep(BETWEEN_LOOKS);
                    state = ask("GET", PATH)?;
                }
                state
            }
        };
        writeln!(output, "{}", words(&state))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn changes(state: &Value) -> u64 {
    state.get("changes_under_way").and_then(Value::as_u64).unwrap_or_default()
}

fn words(state: &Value) -> String {
    let text = |name: &str| state.get(name).and_then(Value::as_str).unwrap_or_default();
    if state.get("on").and_then(Value::as_bool) != Some(true) {
        return format!("no maintenance; {} changes are under way", changes(state));
    }
    let because = match text("reason") {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    let under_way = match changes(state) {
        0 => "nothing changes any more: the directory can be copied as it is".to_owned(),
        1 => "one change is still under way".to_owned(),
        changes => format!("{changes} changes are still under way"),
    };
    format!("maintenance since {}{because}; {under_way}", text("since"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_told_in_a_line() {
        let off = serde_json::json!({ "on": false, "changes_under_way": 2 });
        assert_eq!(words(&off), "no maintenance; 2 changes are under way");
        let since = "2026-01-02T03:04:05Z";
        let on =
            serde_json::json!({ "on": true, "since": since, "reason": "new disk", "changes_under_way": 0 });
        let told = "nothing changes any more: the directory can be copied as it is";
        assert_eq!(words(&on), format!("maintenance since {since} (new disk); {told}"));
        let busy = serde_json::json!({ "on": true, "since": since, "reason": "", "changes_under_way": 1 });
        assert_eq!(words(&busy), format!("maintenance since {since}; one change is still under way"));
    }
}
