//! The configuration as it is in force, in YAML: what was written, what is there by default, and where each of it
//! comes from. Read again, the text makes the same configuration, but for its secrets, which are masked.

use super::{
    Loaded,
    keys::{DRIVERS, Key, Kind, Slot, Status},
    typed::{Auth, Config},
    value::{Content, Origin, Value},
};
use std::fmt::Write as _;

/// What stands where a secret would.
const MASK: &str = "********";

/// Longer lines don't push the column of origins to the right.
const WIDEST: usize = 60;

/// What is neither written nor a default of the table.
const BUILT_IN: &str = "built-in";

impl Loaded {
    /// The configuration in force, one value a line, each with its origin in a comment.
    pub(crate) fn effective(&self) -> String {
        let mut page = Page { config: &self.config, lines: Vec::new() };
        page.section(&Slot::root(), Some(&self.tree), 0);
        page.finish()
    }
}

struct Line {
    indent: usize,
    text: String,
    /// Where it comes from; empty for headings.
    origin: String,
}

struct Page<'a> {
    config: &'a Config,
    lines: Vec<Line>,
}

impl Page<'_> {
    fn finish(self) -> String {
        let lengths = self.lines.iter().map(|line| line.indent + line.text.chars().count());
        let width = lengths.filter(|length| *length <= WIDEST).max().unwrap_or(0);
        let mut text = String::new();
        for line in self.lines {
            let content = format!("{}{}", " ".repeat(line.indent), line.text);
            let _ = if line.origin.is_empty() {
                writeln!(text, "{content}")
            } else {
                writeln!(text, "{content:width$}  # {}", line.origin)
            };
        }
        text
    }

    fn line(&mut self, indent: usize, text: impl Into<String>, origin: impl Into<String>) {
        self.lines.push(Line { indent, text: text.into(), origin: origin.into() });
    }

    /// The keys of a section in the order of the table.
    fn section(&mut self, slot: &Slot, value: Option<&Value>, indent: usize) {
        for key in slot.keys() {
            let written = value.and_then(|value| value.entry(key.name())).map(|entry| &entry.value);
            // What is chosen by its name is there or isn't; nothing below it has a meaning without it.
            if is_alternative(key) && written.is_none() {
                continue;
            }
            let child = Slot::from(key);
            let before = self.lines.len();
            match key.kind {
                Kind::Section | Kind::Choice => {
                    self.line(indent, format!("{}:", key.name()), "");
                    self.section(&child, written, indent + 2);
                    if self.lines.len() > before + 1 {
                        continue;
                    }
                    self.lines.truncate(before);
                    match written.filter(|_| is_alternative(key)) {
                        Some(value) => {
                            self.line(indent, format!("{}: {{}}", key.name()), origin(value, &child));
                        }
                        None if key.path == "auth" => self.no_auth(indent),
                        None => {}
                    }
                }
                _ => match written.filter(|value| !value.is_unset() || says_nobody(key, value)) {
                    Some(value) => self.value(key.name(), value, &child, indent),
                    None if is_alternative(key) => self.line(indent, format!("{}:", key.name()), ""),
                    None => self.default(key, indent),
                },
            }
        }
    }

    fn no_auth(&mut self, indent: usize) {
        let sentence = match &self.config.auth {
            Auth::BuiltIn { users_file, .. } => {
                format!("# auth: built-in; who may push is in {}", users_file.display())
            }
            _ => "# no auth: everybody may do everything".to_owned(),
        };
        self.line(indent, sentence, "");
    }

    fn default(&mut self, key: &Key, indent: usize) {
        // The one default that depends on how Larder was started.
        if key.path == "storage.filesystem.rootdirectory" {
            let directory = self.config.storage.root_directory.to_string_lossy();
            return self.line(indent, format!("{}: {}", key.name(), quoted(&directory)), "default");
        }
        if !key.default.is_empty() {
            self.line(indent, format!("{}: {}", key.name(), key.default), "default");
        }
    }

    /// A value that was written, below its name.
    fn value(&mut self, name: &str, value: &Value, slot: &Slot, indent: usize) {
        let name = quoted(name);
        match &value.content {
            Content::Null => self.line(indent, format!("{name}:"), origin(value, slot)),
            Content::Scalar { text, .. } => {
                self.line(indent, format!("{name}: {}", shown(text, slot)), origin(value, slot));
            }
            Content::List(items) if is_one_line(items, slot) => {
                let texts = items.iter().filter_map(Value::scalar).map(|text| in_flow(text, slot));
                let texts = texts.collect::<Vec<_>>().join(", ");
                let first = items.first().unwrap_or(value);
                self.line(indent, format!("{name}: [{texts}]"), origin(first, slot));
            }
            Content::List(items) => {
                self.line(indent, format!("{name}:"), "");
                items.iter().for_each(|item| self.item(item, slot, indent));
            }
            Content::Map(entries) => {
                self.line(indent, format!("{name}:"), "");
                for entry in entries {
                    if let Some(child) = slot.child(&entry.key) {
                        self.value(&entry.key, &entry.value, &child, indent + 2);
                    }
                }
            }
        }
    }

    /// An item of a list: its first line gets the dash.
    fn item(&mut self, value: &Value, list: &Slot, indent: usize) {
        let Some(slot) = list.item() else { return };
        let before = self.lines.len();
        match &value.content {
            Content::Scalar { text, .. } => {
                return self.line(indent, format!("- {}", in_flow(text, list)), origin(value, list));
            }
            Content::Map(entries) if slot.kind == Kind::Anything => {
                for entry in entries {
                    self.value(&entry.key, &entry.value, &slot, indent + 2);
                }
            }
            Content::List(items) => items.iter().for_each(|item| self.item(item, &slot, indent + 2)),
            Content::Map(_) | Content::Null => self.section(&slot, Some(value), indent + 2),
        }
        match self.lines.get_mut(before) {
            Some(first) => {
                first.indent = indent;
                first.text.insert_str(0, "- ");
            }
            None => self.line(indent, "- {}", origin(value, list)),
        }
    }
}

/// A key that is chosen by being there: a driver, or a kind of authentication.
fn is_alternative(key: &Key) -> bool {
    match key.parent() {
        "storage" => DRIVERS.contains(&key.name()),
        parent => parent == "auth",
    }
}

/// An empty list that isn't the same as none.
fn says_nobody(key: &Key, value: &Value) -> bool {
    key.default.starts_with('[') && matches!(value.content, Content::List(_))
}

/// Whether a list stands on one line of the file, or comes from one variable.
fn is_one_line(items: &[Value], slot: &Slot) -> bool {
    let first = items.first().map(|item| origin(item, slot));
    items.iter().all(|item| item.scalar().is_some() && Some(origin(item, slot)) == first)
}

fn origin(value: &Value, slot: &Slot) -> String {
    let place = match &value.origin {
        Origin::Default => BUILT_IN.to_owned(),
        Origin::File { path, line, .. } => format!("{path}:{line}"),
        Origin::Variable(name) => name.to_string(),
    };
    if slot.status == Status::Works { place } else { format!("{place}, no effect") }
}

/// A scalar as it may be shown.
fn shown(text: &str, slot: &Slot) -> String {
    match masked(text, slot) {
        Some(masked) => quoted(&masked),
        None => quoted(text),
    }
}

/// The same within a list, where some signs separate.
fn in_flow(text: &str, list: &Slot) -> String {
    let text = masked(text, list).unwrap_or_else(|| text.to_owned());
    if text.contains([',', '[', ']', '{', '}']) || text.starts_with(':') || text.ends_with(':') {
        return in_quotes(&text);
    }
    quoted(&text)
}

/// What is shown instead of a text that nobody should read over a shoulder or find in a ticket.
fn masked(text: &str, slot: &Slot) -> Option<String> {
    match slot.kind {
        Kind::Url => Some(masked_url(text)),
        Kind::Secret => Some(MASK.to_owned()),
        // Options of what Larder doesn't have may be anything.
        Kind::Anything if slot.status != Status::Works => Some(MASK.to_owned()),
        Kind::Texts if slot.holds_secrets => Some(MASK.to_owned()),
        _ => None,
    }
}

/// A URL without what may be a secret in it: user and password, path and query, as webhooks have it.
fn masked_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return MASK.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{MASK}@"), host),
        None => (String::new(), authority),
    };
    let path = if path.len() > 1 { format!("/{MASK}") } else { path.to_owned() };
    format!("{scheme}://{user}{host}{path}")
}

/// Text as YAML writes it: bare where that can mean nothing else.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-+:@%=*, ()".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "./:".contains(c));
    let reads_well = !text.contains(": ") && !text.contains(" #") && !text.ends_with([' ', ':']);
    let is_nothing = super::scalar::is_null(text);
    if text.chars().all(is_plain) && starts_well && reads_well && !is_nothing {
        text.to_owned()
    } else {
        in_quotes(text)
    }
}

/// A string of JSON is one of YAML, too.
fn in_quotes(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
