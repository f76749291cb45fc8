//! What `larder config reference` prints, and so what `docs/configuration.md` is: the table of keys in Markdown.

use super::keys::{self, Key, Kind, Status};
use std::fmt::Write as _;

const INTRODUCTION: &str = include_str!("reference/introduction.md");

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut section = "";
    for key in keys::all() {
        let top = key.path.split('.').next().unwrap_or_default();
        let is_heading = key.path == top && matches!(key.kind, Kind::Section | Kind::Sections | Kind::Choice);
        if top != section && (is_heading || section.is_empty()) {
            section = top;
            let heading = if is_heading { format!("`{top}`") } else { "The top level".to_owned() };
            let _ = write!(
                page,
                "\n## {heading}\n\n| key | takes | default | here | meaning |\n|---|---|---|---|---|\n"
            );
        }
        page.push_str(&row(key));
    }
    page
}

fn row(key: &Key) -> String {
    let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
    let mut meaning = key.meaning.to_owned();
    if let Some(sentence) = key.status.sentence().filter(|_| !is_said_above(key)) {
        meaning.push(' ');
        meaning.push_str(sentence);
    }
    format!("| `{}` | {} | {default} | {} | {meaning} |\n", key.path, takes(key.kind), here(key))
}

/// What is said of a section holds for its keys, on the page as at start.
fn is_said_above(key: &Key) -> bool {
    let section = key.parent();
    let section = section.strip_suffix("[]").unwrap_or(section);
    keys::all().any(|other| other.path == section && other.status == key.status)
}

fn here(key: &Key) -> &'static str {
    match key.status {
        Status::Works if key.is_larders_own => "own",
        Status::Works => "works",
        Status::Unneeded(_) => "needless",
        Status::Ignored(_) => "ignored",
        Status::NotYet(_) => "refused",
    }
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Section => "section".to_owned(),
        Kind::Choice => "section, or the name of one of its keys".to_owned(),
        Kind::Sections => "sections".to_owned(),
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Integer => "number".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Texts => "list".to_owned(),
        Kind::OneOrMore => "word, or list".to_owned(),
        Kind::Headers | Kind::SecretHeaders => "map of names to lists".to_owned(),
        Kind::Anything => "map".to_owned(),
    }
}

#[cfg(test)]
mod tests;
