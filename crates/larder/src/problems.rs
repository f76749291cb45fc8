//! `larder problems`: what a running Larder refused lately, and who pulls from it.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::ask::Asked;
use crate::config::Environment;

/// `larder problems`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The registry: registry.lan:5000; else the one that runs on this machine's data directory, or at localhost:5000.
    #[arg(conflicts_with_all = ["config", "data"])]
    registry: Option<String>,
    #[command(flatten)]
    asked: Asked,
    /// List who pulled, when, and from which upstream, instead.
    #[arg(long)]
    clients: bool,
    /// Print the answer as it is.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints. The exit code is 1 when there are problems.
pub(crate) fn run(
    arguments: &Arguments,
    environment: &Environment,
    may_use_system_directory: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let path = if arguments.clients { "/api/v1/clients" } else { "/api/v1/problems" };
    let server = arguments.registry.as_deref();
    let answer = arguments.asked.ask(server, path, environment, may_use_system_directory)?;
    if arguments.json {
        writeln!(out, "{answer:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.clients {
        clients(&answer, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if problems(&answer, out)? { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether there are any.
fn problems(answer: &Value, out: &mut impl Write) -> io::Result<bool> {
    let problems = list(answer, "problems");
    for problem in problems {
        let count = problem.get("count").and_then(Value::as_u64).unwrap_or_default();
        let times = if count == 1 { String::new() } else { format!(", {count} times") };
        let about: Vec<&str> = [text(problem, "user"), text(problem, "repository")]
            .into_iter()
            .filter(|one| !one.is_empty())
            .collect();
        let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        writeln!(
            out,
            "{}  {}{about}: {}{times}",
            text(problem, "last"),
            match text(problem, "client") {
                "" => "this registry",
                client => client,
            },
            text(problem, "reason")
        )?;
        writeln!(out, "          hop   {}", text(problem, "hop"))?;
        writeln!(out, "          fix   {}", text(problem, "fix"))?;
    }
    if problems.is_empty() {
        writeln!(out, "no problems")?;
    }
    Ok(!problems.is_empty())
}

fn clients(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:<20}  {:<39}  {:>8}  {:<15}  agent", "last pull", "client", "pulls", "upstream")?;
    for client in list(answer, "clients") {
        writeln!(
            out,
            "{:<20}  {:<39}  {:>8}  {:<15}  {}",
            text(client, "last_pull"),
            text(client, "client"),
            client.get("pulls").and_then(Value::as_u64).unwrap_or_default(),
            text(client, "upstream"),
            text(client, "agent"),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_its_count_hop_and_fix() {
        let answer = serde_json::json!({"problems": [{
            "client": "10.0.0.7", "user": "bob", "repository": "team/app", "reason": "wrong password for user \"bob\"",
            "hop": "client", "fix": "docker login", "last": "2026-01-02T03:04:05Z", "count": 3,
        }]});
        let mut out = Vec::new();
        assert!(problems(&answer, &mut out).expect("written"));
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "2026-01-02T03:04:05Z  10.0.0.7 (bob, team/app): wrong password for user \"bob\", 3 times\n          hop   client\n          fix   docker login\n"
        );
        let standing = serde_json::json!({"problems": [{
            "client": null, "reason": "it ends", "hop": "registry", "fix": "renew", "last": "2026-01-02T03:04:05Z", "count": 1,
        }]});
        let mut out = Vec::new();
        assert!(problems(&standing, &mut out).expect("written"));
        assert!(
            String::from_utf8(out)
                .expect("text")
                .starts_with("2026-01-02T03:04:05Z  this registry: it ends\n")
        );
        let mut out = Vec::new();
        assert!(!problems(&serde_json::json!({"problems": []}), &mut out).expect("written"));
    }
}
