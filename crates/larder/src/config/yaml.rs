//! YAML text to a [`Value`] tree. The only place that knows the parser crate.
//!
//! The crate's events are used, not its node trees: events carry a position for every key, and building the tree here
//! lets several duplicate keys be reported together and puts limits on depth and on what aliases multiply.

use super::{
    report::{ConfigError, Mistake},
    scalar,
    value::{Content, Entry, Origin, Value},
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// No key of the contract lies deeper than 7 maps and lists; the rest is room for options that nobody reads.
const DEPTH_LIMIT: usize = 32;

/// How many nodes all aliases of a text may produce. A few nested aliases can otherwise grow a short text without bound.
const ALIAS_NODES_LIMIT: usize = 10_000;

/// What the text is, and so what the origins of its nodes say.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file, by the path that the operator gave.
    File(Arc<str>),
    /// The value of an environment variable, by its name.
    Variable(Arc<str>),
}

impl Source {
    pub(super) fn at(&self, line: usize, column: usize) -> Origin {
        match self {
            Self::File(path) => Origin::File { path: Arc::clone(path), line, column },
            Self::Variable(name) => Origin::Variable(Arc::clone(name)),
        }
    }

    fn origin(&self, marker: Marker) -> Origin {
        self.at(marker.line(), marker.col() + 1)
    }
}

/// What a text is.
pub(super) struct Parsed {
    /// The tree, in which refused keys are left out; `None` where the text stops being YAML.
    pub(super) value: Option<Value>,
    /// Duplicate and unusable keys, and the place at which the text stops being YAML.
    pub(super) errors: Vec<ConfigError>,
}

/// Reads one YAML document; an empty text is one that says nothing.
pub(super) fn parse(text: &str, source: &Source) -> Parsed {
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut builder = Builder::new(source);
    while let Some(next) = parser.next_event() {
        let step = match next {
            Ok((event, span)) => builder.accept(event, span.start),
            Err(error) => {
                Err(builder.mistake(*error.marker(), Mistake::Yaml(format!("not YAML: {}", error.info()))))
            }
        };
        if let Err(fatal) = step {
            builder.errors.push(fatal);
            return Parsed { value: None, errors: builder.errors };
        }
    }
    let value = builder.document.unwrap_or_else(|| Value::null(source.at(1, 1)));
    Parsed { value: Some(value), errors: builder.errors }
}

/// A map or list whose end hasn't been seen yet.
struct Frame {
    origin: Origin,
    anchor: usize,
    open: Open,
}

enum Open {
    List(Vec<Value>),
    Map { entries: Vec<Entry>, merged: Vec<Value>, key: PendingKey },
}

/// What a map expects next, or has to do with it.
enum PendingKey {
    None,
    Key(String, Origin),
    /// `<<`, whose value is a map that fills in what this one doesn't say.
    Merge(Origin),
    /// A key that was refused; its value is still to come.
    Refused,
}

struct Builder<'a> {
    source: &'a Source,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Value>,
    alias_nodes: usize,
    document: Option<Value>,
    errors: Vec<ConfigError>,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            stack: Vec::new(),
            anchors: BTreeMap::new(),
            alias_nodes: 0,
            document: None,
            errors: Vec::new(),
        }
    }

    fn mistake(&self, marker: Marker, mistake: Mistake) -> ConfigError {
        ConfigError { origin: self.source.origin(marker), mistake }
    }

    /// Takes the next event; an error ends the reading.
    fn accept(&mut self, event: Event<'_>, marker: Marker) -> Result<(), ConfigError> {
        let origin = self.source.origin(marker);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.document.is_some() => {
                let problem = "a second YAML document starts here; a configuration is one document";
                Err(self.mistake(marker, Mistake::Yaml(problem.to_owned())))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let content = scalar_content(text, style, tag.as_deref());
                self.remember_and_attach(Value { content, origin }, anchor)
            }
            Event::Alias(anchor) => {
                let value = self.resolve(anchor, marker)?;
                self.attach(value, origin)
            }
            Event::SequenceStart(anchor, _) => self.open(Open::List(Vec::new()), anchor, marker),
            Event::MappingStart(anchor, _) => {
                let open = Open::Map { entries: Vec::new(), merged: Vec::new(), key: PendingKey::None };
                self.open(open, anchor, marker)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, open: Open, anchor: usize, marker: Marker) -> Result<(), ConfigError> {
        if self.stack.len() >= DEPTH_LIMIT {
            let problem = format!("nested deeper than {DEPTH_LIMIT} levels");
            return Err(self.mistake(marker, Mistake::Yaml(problem)));
        }
        self.stack.push(Frame { origin: self.source.origin(marker), anchor, open });
        Ok(())
    }

    fn close(&mut self) -> Result<(), ConfigError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let content = match frame.open {
            Open::List(items) => Content::List(items),
            Open::Map { mut entries, merged, .. } => {
                for entry in merged.iter().flat_map(Value::entries) {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry.clone());
                    }
                }
                Content::Map(entries)
            }
        };
        self.remember_and_attach(Value { content, origin: frame.origin }, frame.anchor)
    }

    fn resolve(&mut self, anchor: usize, marker: Marker) -> Result<Value, ConfigError> {
        let problem = match self.anchors.get(&anchor) {
            None => "the alias stands inside of what it refers to".to_owned(),
            Some(value) => {
                self.alias_nodes = self.alias_nodes.saturating_add(value.size());
                if self.stack.len() + value.depth() > DEPTH_LIMIT {
                    format!("the alias nests deeper than {DEPTH_LIMIT} levels")
                } else if self.alias_nodes > ALIAS_NODES_LIMIT {
                    format!("aliases make more than {ALIAS_NODES_LIMIT} values of this text")
                } else {
                    return Ok(value.clone());
                }
            }
        };
        Err(self.mistake(marker, Mistake::Yaml(problem)))
    }

    fn remember_and_attach(&mut self, value: Value, anchor: usize) -> Result<(), ConfigError> {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let origin = value.origin.clone();
        self.attach(value, origin)
    }

    /// Puts a finished value where it belongs; `origin` is where it is used, which for an alias isn't its own.
    fn attach(&mut self, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(frame) = self.stack.last_mut() else {
            self.document = Some(value);
            return Ok(());
        };
        match &mut frame.open {
            Open::List(items) => items.push(value),
            Open::Map { entries, merged, key } => match std::mem::replace(key, PendingKey::None) {
                PendingKey::None => match read_key(value, origin, entries) {
                    Ok(pending) => *key = pending,
                    Err(error) => {
                        self.errors.push(error);
                        *key = PendingKey::Refused;
                    }
                },
                PendingKey::Key(name, origin) => entries.push(Entry { key: name, origin, value }),
                PendingKey::Merge(origin) => match merge_sources(value) {
                    Some(sources) => merged.extend(sources),
                    None => {
                        let problem = "the value of << must be a map or a list of maps".to_owned();
                        self.errors.push(ConfigError { origin, mistake: Mistake::Yaml(problem) });
                    }
                },
                PendingKey::Refused => {}
            },
        }
        Ok(())
    }
}

fn scalar_content(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Content {
    let tagged_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    let plain = matches!(style, ScalarStyle::Plain) && !tagged_text;
    if plain && scalar::is_null(&text) {
        return Content::Null;
    }
    Content::Scalar { text: text.into_owned(), plain }
}

fn read_key(value: Value, origin: Origin, entries: &[Entry]) -> Result<PendingKey, ConfigError> {
    let text = match value.content {
        Content::Scalar { text, plain: true } if text == "<<" => return Ok(PendingKey::Merge(origin)),
        Content::Scalar { text, .. } => text,
        Content::Null | Content::List(_) | Content::Map(_) => {
            let mistake = Mistake::Yaml("a key must be a plain word".to_owned());
            return Err(ConfigError { origin, mistake });
        }
    };
    if let Some(first) = entries.iter().find(|entry| entry.key == text) {
        let first_line = match &first.origin {
            Origin::File { line, .. } => *line,
            Origin::Default | Origin::Variable(_) => 1,
        };
        return Err(ConfigError { origin, mistake: Mistake::DuplicateKey { key: text, first_line } });
    }
    Ok(PendingKey::Key(text, origin))
}

/// The maps that a `<<` names, the earlier ones winning.
fn merge_sources(value: Value) -> Option<Vec<Value>> {
    match value.content {
        Content::Map(_) => Some(vec![value]),
        Content::List(items) if items.iter().all(|item| matches!(item.content, Content::Map(_))) => {
            Some(items)
        }
        Content::Null | Content::Scalar { .. } | Content::List(_) => None,
    }
}

#[cfg(test)]
mod tests;
