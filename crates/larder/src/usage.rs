//! `larder du`: what repositories and tags take, and what would be free without them.
//!
//! It asks the registry that runs on the data directory; where none runs it looks itself.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use larder_core::{Registry, UsageOf};
use larder_oci::AdminAccess;
use serde_json::Value;

use crate::cli::ThisRegistry;
use crate::config::Environment;
use crate::space::Place;
use crate::words::bytes;

/// Names that are shown as needing what a tag shares.
const REASONS: usize = 10;

/// `larder du`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Repositories, tags (REPOSITORY:TAG), or all below a prefix (PREFIX/); everything when left out.
    #[arg(value_name = "NAME")]
    of: Vec<UsageOf>,
    /// List so many repositories or tags, the biggest.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Print JSON, one line for each NAME.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: ThisRegistry,
}

/// `larder du`
pub(crate) fn run(
    arguments: &Arguments,
    environment: &Environment,
    may_use_system_directory: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let place = Place::of(&arguments.registry, environment, may_use_system_directory)?;
    let mut opened = None;
    let everything = [UsageOf::Everything];
    let of = if arguments.of.is_empty() { &everything[..] } else { &arguments.of };
    for (number, of) in of.iter().enumerate() {
        let usage = ask(&place, &mut opened, of, usize::from(arguments.limit))?;
        if arguments.json {
            writeln!(out, "{usage}")?;
            continue;
        }
        if number > 0 {
            writeln!(out)?;
        }
        print(&usage, out)?;
    }
    if !arguments.json {
        writeln!(
            out,
            "\nunique: what deleting just this would free, once its grace time is over; \
             shared: what stays, because something else needs it"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(
    place: &Place,
    opened: &mut Option<(Registry, AdminAccess)>,
    of: &UsageOf,
    limit: usize,
) -> Result<Value, Box<dyn Error>> {
    if opened.is_none()
        && let Some(answer) = place.ask("GET", &format!("/api/v1/du?of={of}&limit={limit}"))?
    {
        return Ok(answer);
    }
    let (registry, access) = match opened {
        Some(opened) => opened,
        None => opened.insert(place.open()?),
    };
    let usage = place.runtime.block_on(registry.usage(access, of.clone(), limit))?;
    let usage = usage.ok_or_else(|| format!("there is nothing called {of} here"))?;
    Ok(usage.described(limit))
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A table's line: three sizes, a fourth column, a name.
fn row(out: &mut dyn Write, sizes: [&str; 3], fourth: &str, name: &str) -> io::Result<()> {
    let [unique, shared, total] = sizes;
    writeln!(out, "{unique:>10} {shared:>10} {total:>10} {fourth:>7}  {name}")
}

fn sizes(out: &mut dyn Write, value: &Value, fourth: &str, name: &str) -> io::Result<()> {
    let [unique, shared, total] = ["unique", "shared", "bytes"].map(|column| bytes(number(value, column)));
    row(out, [&unique, &shared, &total], fourth, name)
}

fn print(usage: &Value, out: &mut dyn Write) -> io::Result<()> {
    match word(usage, "of") {
        "tag" => print_tag(usage, out),
        "repository" => print_repository(usage, out),
        _ => print_repositories(usage, out),
    }
}

fn print_repositories(usage: &Value, out: &mut dyn Write) -> io::Result<()> {
    row(out, ["UNIQUE", "SHARED", "TOTAL"], "TAGS", "REPOSITORY")?;
    let repositories = list(usage, "repositories");
    for each in repositories {
        sizes(out, each, &number(each, "tags").to_string(), word(each, "repository"))?;
    }
    if is_cut(usage) {
        writeln!(out, "{:>41}  and smaller ones; --limit shows more", "…")?;
    }
    match word(usage, "prefix") {
        "" => {
            let total = bytes(number(usage, "bytes"));
            row(out, ["", "", &total], "", "everything, each byte once")
        }
        prefix => sizes(out, usage, "", &format!("all of {prefix}/ together, each byte once")),
    }
}

fn print_repository(usage: &Value, out: &mut dyn Write) -> io::Result<()> {
    row(out, ["UNIQUE", "SHARED", "TOTAL"], "", "TAG")?;
    let name = word(usage, "repository");
    for each in list(usage, "listed") {
        sizes(out, each, "", &format!("{name}:{}", word(each, "tag")))?;
    }
    if is_cut(usage) {
        writeln!(out, "{:>41}  and smaller ones; --limit shows more", "…")?;
    }
    let untagged = number(usage, "untagged");
    if untagged > 0 {
        row(out, ["", "", &bytes(untagged)], "", "what no tag leads to")?;
    }
    let tags = format!("{name}, all {} tags together, each byte once", number(usage, "tags"));
    sizes(out, usage, "", &tags)
}

fn print_tag(usage: &Value, out: &mut dyn Write) -> io::Result<()> {
    row(out, ["UNIQUE", "SHARED", "TOTAL"], "", "TAG")?;
    sizes(out, usage, "", &format!("{}:{}", word(usage, "repository"), word(usage, "tag")))?;
    let reasons = list(usage, "needed_by");
    if !reasons.is_empty() {
        writeln!(out, "\nwhat is shared is needed by:")?;
    }
    for each in reasons.iter().take(REASONS) {
        row(out, ["", &bytes(number(each, "bytes")), ""], "", word(each, "name"))?;
    }
    if reasons.len() > REASONS || is_cut(usage) {
        writeln!(out, "{:>41}  and others; --json names them", "…")?;
    }
    Ok(())
}

fn is_cut(usage: &Value) -> bool {
    usage.get("more").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(usage: &Value) -> String {
        let mut out = Vec::new();
        print(usage, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_nothing_is_left_out_in_silence() {
        let usage = json!({
            "of": "everything", "bytes": 12_345_678_901_u64, "more": true,
            "repositories": [
                {"repository": "team/app", "unique": 1_200_000_000_u64, "shared": 34_000_000, "bytes": 1_234_000_000_u64, "tags": 12},
                {"repository": "b", "unique": 0, "shared": 999, "bytes": 999, "tags": 1},
            ],
        });
        assert_eq!(
            shown(&usage),
            "    UNIQUE     SHARED      TOTAL    TAGS  REPOSITORY\n\
             \x20   1.2 GB    34.0 MB     1.2 GB      12  team/app\n\
             \x20      0 B      999 B      999 B       1  b\n\
             \x20                                       …  and smaller ones; --limit shows more\n\
             \x20                        12.3 GB          everything, each byte once\n"
        );
    }

    #[test]
    fn of_a_tag_is_said_who_needs_what_would_stay() {
        let usage = json!({
            "of": "tag", "repository": "team/app", "tag": "v1", "unique": 5000, "shared": 1000, "bytes": 6000,
            "needed_by": [{"name": "team/app:v2", "bytes": 1000}], "more": false,
        });
        let text = shown(&usage);
        assert!(text.contains("    5.0 kB     1.0 kB     6.0 kB          team/app:v1\n"), "{text}");
        assert!(
            text.contains("needed by:\n               1.0 kB                     team/app:v2\n"),
            "{text}"
        );
    }
}
