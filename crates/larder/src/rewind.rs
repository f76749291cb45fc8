//! `larder undo --to`: everything, a repository or a tag as it was at a moment.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::Value;

use crate::cli::ThisRegistry;
use crate::config::Environment;
use crate::space::{Place, is_meant, line};

/// Names that are asked for at a time.
const PAGE: usize = 1000;

/// What is to be put back, and to when.
pub(crate) struct To<'a> {
    /// REPOSITORY or REPOSITORY:TAG; everything without it.
    pub(crate) what: Option<&'a str>,
    /// A time, or how long ago.
    pub(crate) moment: &'a str,
    /// Only say what would be.
    pub(crate) dry_run: bool,
}

/// A repository, and the one tag of it that is meant, if it is one.
type Scope<'a> = (String, Option<&'a str>);

/// # Errors
/// No registry runs there, it said no, or nothing has changed since that moment.
pub(crate) fn undo(
    to: &To<'_>,
    registry: &ThisRegistry,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let moment = moment(to.moment, SystemTime::now())?;
    if to.what.is_some_and(|what| what.parse::<u64>().is_ok()) {
        return Err("a deletion by its number is undone without --to".into());
    }
    let place = Place::of(registry, environment, may_use_system_directory)?;
    let (mut put_back, mut immutable) = (undelete(&place, to, moment, output)?, 0);
    for (repository, tag) in places(&place, to)? {
        let (back, left) = rewind(&place, &repository, tag, moment, to.dry_run, output)?;
        put_back += back;
        immutable += left;
    }
    if put_back == 0 && immutable == 0 {
        return Err(format!(
            "nothing was put back: all there is points where it did at {}, or can't be put back",
            humantime::format_rfc3339_seconds(moment)
        )
        .into());
    }
    if to.dry_run {
        writeln!(output, "nothing was changed")?;
    }
    if immutable > 0 {
        let tags = if immutable == 1 { "tag is" } else { "tags are" };
        writeln!(
            output,
            "{immutable} {tags} not as then: take the rule out, undo once more, and put it back"
        )?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// A time, or how long ago it was.
fn moment(text: &str, now: SystemTime) -> Result<SystemTime, Box<dyn Error>> {
    if let Ok(moment) = humantime::parse_rfc3339_weak(text) {
        return Ok(moment);
    }
    let age = humantime::parse_duration(text.trim_end_matches(" ago")).map_err(|_| {
        format!("{text:?} is neither a time such as 2026-01-31T12:00:00Z nor a duration such as 10m")
    })?;
    Ok(now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// What was deleted since then comes back, newest first: a manifest before the tag that was deleted before it.
fn undelete(
    place: &Place,
    to: &To<'_>,
    moment: SystemTime,
    output: &mut impl Write,
) -> Result<usize, Box<dyn Error>> {
    let answer = place.must_run(place.ask("GET", "/api/v1/removals")?)?;
    let mut count = 0;
    for each in answer.get("removals").and_then(Value::as_array).into_iter().flatten() {
        let at = each.get("at").and_then(Value::as_str).and_then(|at| humantime::parse_rfc3339(at).ok());
        if at.is_none_or(|at| at < moment) || to.what.is_some_and(|what| !is_meant(each, what)) {
            continue;
        }
        count += 1;
        if to.dry_run {
            writeln!(output, "would be undone: {}", line(each))?;
            continue;
        }
        let repository = each.get("repository").and_then(Value::as_str).unwrap_or_default();
        let id = each.get("id").and_then(Value::as_u64).unwrap_or_default();
        place.must_run(place.ask("POST", &format!("/api/v1/undo?repository={repository}&id={id}"))?)?;
        writeln!(output, "undone: {}", line(each))?;
    }
    Ok(count)
}

/// The repositories that are meant, each with the one tag that is, if it is one.
fn places<'a>(place: &Place, to: &To<'a>) -> Result<Vec<Scope<'a>>, Box<dyn Error>> {
    if let Some(what) = to.what {
        return Ok(vec![match what.rsplit_once(':') {
            Some((repository, tag)) => (repository.to_owned(), Some(tag)),
            None => (what.to_owned(), None),
        }]);
    }
    let mut names: Vec<Scope<'a>> = Vec::new();
    loop {
        let last = names.last().map_or("", |(name, _)| name);
        let answer = place.must_run(place.ask("GET", &format!("/v2/_catalog?n={PAGE}&last={last}"))?)?;
        let page = answer.get("repositories").and_then(Value::as_array).cloned().unwrap_or_default();
        names.extend(page.iter().filter_map(|name| Some((name.as_str()?.to_owned(), None))));
        if page.len() < PAGE {
            return Ok(names);
        }
    }
}

/// Puts tags back that have moved since; gives how many, and how many an immutable rule kept where they are.
fn rewind(
    place: &Place,
    repository: &str,
    tag: Option<&str>,
    moment: SystemTime,
    dry_run: bool,
    output: &mut impl Write,
) -> Result<(usize, usize), Box<dyn Error>> {
    let to = humantime::format_rfc3339_nanos(moment);
    let only = tag.map(|tag| format!("&tag={tag}")).unwrap_or_default();
    let target = format!("/api/v1/undo?repository={repository}&to={to}{only}&dry_run={dry_run}");
    let answer = place.must_run(place.ask("POST", &target)?)?;
    let (mut count, mut immutable) = (0, 0);
    for each in answer.get("rewound").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| each.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, from) = (format!("{repository}:{}", word("tag")), word("from"));
        match word("outcome") {
            "back" => {
                count += 1;
                let did = if dry_run { "would go back" } else { "is back" };
                writeln!(output, "{name} {did} to {}, from {from}", word("to"))?;
            }
            "immutable" => {
                immutable += 1;
                writeln!(output, "{name} stays at {from}: it is immutable by {}", word("rule"))?;
            }
            "gone" => writeln!(output, "{name} stays at {from}: {} is gone", word("to"))?,
            _ => writeln!(output, "{name} stays at {from}: it isn't known where it pointed then")?,
        }
    }
    Ok((count, immutable))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ago = |seconds| now - Duration::from_secs(seconds);
        assert_eq!(moment("10m", now).unwrap(), ago(600));
        assert_eq!(moment("1h 30m ago", now).unwrap(), ago(5400));
        let exact = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        assert_eq!(moment("2026-01-31T12:00:00Z", now).unwrap(), exact);
        assert_eq!(moment("2026-01-31 12:00:00", now).unwrap(), exact);
        assert!(moment("yesterday", now).unwrap_err().to_string().contains("neither a time"));
    }
}
