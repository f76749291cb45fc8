//! A pause that the authority has asked for. It counts after a restart, too: a process that is started over and over would use up what limits are left.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::Trouble;

/// Shorter ones are over when a process has started.
const WORTH_KEEPING: Duration = Duration::from_secs(30);

/// As text, for a file; `None` if it isn't worth one.
pub(super) fn written(until: SystemTime, trouble: &Trouble, now: SystemTime) -> Option<String> {
    until.duration_since(now).ok().filter(|pause| *pause >= WORTH_KEEPING)?;
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let pause = json!({
        "until": since(until), "since": since(trouble.since), "reason": trouble.reason, "fix": trouble.fix,
    });
    Some(format!("{pause:#}"))
}

/// The same, read; `None` if it is over, or none.
pub(super) fn read(text: &str, now: SystemTime) -> Option<(SystemTime, Trouble)> {
    let pause: Value = serde_json::from_str(text).ok()?;
    let moment =
        |name: &str| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(pause.get(name)?.as_u64()?));
    let words = |name: &str| Some(pause.get(name)?.as_str()?.to_owned());
    let trouble =
        Trouble { kind: super::KIND, reason: words("reason")?, fix: words("fix")?, since: moment("since")? };
    let until = moment("until")?;
    (until > now).then_some((until, trouble))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_as_it_was_written_until_it_is_over() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let trouble = Trouble {
            kind: super::super::KIND,
            reason: "asked too often".to_owned(),
            fix: "wait".to_owned(),
            since: at(900),
        };
        assert_eq!(written(at(1010), &trouble, at(1000)), None);
        let text = written(at(5000), &trouble, at(1000)).expect("worth it");
        assert_eq!(read(&text, at(2000)), Some((at(5000), trouble)));
        assert_eq!(read(&text, at(5000)), None);
        for damaged in [
            "",
            "{}",
            "[1]",
            r#"{"until": -1}"#,
            r#"{"until": 18446744073709551615, "since": 1, "reason": "", "fix": ""}"#,
        ] {
            assert_eq!(read(damaged, at(0)), None, "{damaged}");
        }
    }
}
