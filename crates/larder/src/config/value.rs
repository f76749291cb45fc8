//! The configuration before it has types: a tree whose every node knows where it was written, so that a mistake
//! found late can still be reported with its line or with the name of the variable it came from.

use std::{fmt, sync::Arc};

/// Where a value was written. The order is the order in which mistakes are reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Larder's own start without a config file.
    Default,
    /// A position in the config file; line and column count from 1, columns in characters.
    File {
        /// The file's path as the operator gave it.
        path: Arc<str>,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An environment variable, by its name.
    Variable(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("built-in configuration"),
            Self::File { path, line, column } => write!(formatter, "{path}:{line}:{column}"),
            Self::Variable(name) => formatter.write_str(name),
        }
    }
}

/// One node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What a node holds. Scalars stay text until the key table says what they are meant to be: `version: 0.1` is text,
/// `threshold: 3` a number, and YAML alone can't tell the two apart.
#[derive(Clone)]
pub(super) enum Content {
    /// Nothing was written, as in a bare `inmemory:`.
    Null,
    /// Text; `plain` when it stood without quotes, so that `null` and `<<` may have their YAML meaning.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Value>),
    /// Entries in the order in which they were written.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands, which is what an unknown key's message points at.
    pub(super) origin: Origin,
    pub(super) value: Value,
}

impl fmt::Debug for Content {
    /// Scalars are masked, since any of them may be a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("Null"),
            Self::Scalar { .. } => formatter.write_str("Scalar(***)"),
            Self::List(items) => formatter.debug_list().entries(items).finish(),
            Self::Map(entries) => {
                formatter.debug_map().entries(entries.iter().map(|entry| (&entry.key, &entry.value))).finish()
            }
        }
    }
}

impl Value {
    pub(super) fn null(origin: Origin) -> Self {
        Self { content: Content::Null, origin }
    }

    pub(super) fn text(text: impl Into<String>, origin: Origin) -> Self {
        Self { content: Content::Scalar { text: text.into(), plain: false }, origin }
    }

    /// Whether the operator left this empty, which all of distribution's options take for "not set".
    pub(super) fn is_unset(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::Scalar { text, .. } => text.is_empty(),
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
        }
    }

    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            Content::Null | Content::List(_) | Content::Map(_) => None,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Null | Content::Scalar { .. } | Content::List(_) => &[],
        }
    }

    pub(super) fn items(&self) -> &[Value] {
        match &self.content {
            Content::List(items) => items,
            Content::Null | Content::Scalar { .. } | Content::Map(_) => &[],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entry at a path such as `http.tls.certificate`, set or not.
    pub(super) fn entry_at(&self, path: &str) -> Option<&Entry> {
        match path.split_once('.') {
            None => self.entry(path),
            Some((first, rest)) => self.entry(first)?.value.entry_at(rest),
        }
    }

    /// This node's entries, where nothing counts as an empty map; `None` if something else stands here.
    pub(super) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        if matches!(self.content, Content::Null) {
            self.content = Content::Map(Vec::new());
        }
        match &mut self.content {
            Content::Map(entries) => Some(entries),
            Content::Null | Content::Scalar { .. } | Content::List(_) => None,
        }
    }

    /// This node's items, where nothing counts as an empty list; `None` if something else stands here.
    pub(super) fn items_mut(&mut self) -> Option<&mut Vec<Value>> {
        if matches!(self.content, Content::Null) {
            self.content = Content::List(Vec::new());
        }
        match &mut self.content {
            Content::List(items) => Some(items),
            Content::Null | Content::Scalar { .. } | Content::Map(_) => None,
        }
    }

    /// Turns `storage: filesystem` into what it is short for, `storage: {filesystem: }`.
    pub(super) fn expand_choice(&mut self) {
        let Content::Scalar { text, .. } = &mut self.content else { return };
        if text.is_empty() {
            return;
        }
        let entry = Entry {
            key: std::mem::take(text),
            origin: self.origin.clone(),
            value: Value::null(self.origin.clone()),
        };
        self.content = Content::Map(vec![entry]);
    }

    /// The value on one line, in YAML's flow form: what a log field shows that was written as a list or a map.
    pub(super) fn flow_text(&self) -> String {
        match &self.content {
            Content::Null => String::new(),
            Content::Scalar { text, .. } => text.clone(),
            Content::List(items) => {
                format!("[{}]", items.iter().map(Value::flow_text).collect::<Vec<_>>().join(", "))
            }
            Content::Map(entries) => {
                let pairs = entries.iter().map(|entry| format!("{}: {}", entry.key, entry.value.flow_text()));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// How many maps and lists are nested here: 0 for a scalar.
    pub(super) fn depth(&self) -> usize {
        match &self.content {
            Content::Null | Content::Scalar { .. } => 0,
            Content::List(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Content::Map(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or(0),
        }
    }

    /// How many nodes this is, itself counted.
    pub(super) fn size(&self) -> usize {
        match &self.content {
            Content::Null | Content::Scalar { .. } => 1,
            Content::List(items) => 1 + items.iter().map(Value::size).sum::<usize>(),
            Content::Map(entries) => 1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>(),
        }
    }
}
