//! Which keys a configuration may have: distribution's whole contract and Larder's own, each key with what it takes,
//! its default, what it means and what Larder does with it. The file's check, the overlay of `REGISTRY_*` variables, the
//! suggestions and the reference page all read this one table; [`table`] says how a key or a section is added.

use Kind::{Section, Texts};

mod table;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A map of the keys that the table lists below this one.
    Section,
    /// A section that may also be written as the bare name of one of its keys (`storage: filesystem`).
    Choice,
    /// A list of sections; the table lists their keys below `name[]`.
    Sections,
    Boolean,
    Integer,
    /// Bytes: a whole number, or a decimal one with its unit. Only Larder's own keys may have it, as registry:2 stops at a unit.
    Size,
    Text,
    /// Text that no message may repeat, or `{file: PATH}` for the file that holds it.
    Secret,
    /// A URL that may hold a password: written and kept like a secret, but shown without what may be one.
    Url,
    Duration,
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A text, or a list of texts.
    OneOrMore,
    /// A map of HTTP header names to lists of texts.
    Headers,
    /// The same, of which no message may repeat the texts.
    SecretHeaders,
    /// Whatever stands there, as the options of drivers that Larder doesn't have.
    Anything,
}

/// What Larder does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// What registry:2 does.
    Works,
    /// Nothing, and nothing is lost by it: a line at start. The sentence says why.
    Unneeded(&'static str),
    /// Nothing: a warning. The sentence says what that means.
    Ignored(&'static str),
    /// Nothing, which would be a lie to ignore: an error at start. The sentence says what to do.
    NotYet(&'static str),
}

impl Status {
    /// What is said of a key that doesn't work.
    pub(super) fn sentence(self) -> Option<&'static str> {
        match self {
            Self::Works => None,
            Self::Unneeded(sentence) | Self::Ignored(sentence) | Self::NotYet(sentence) => Some(sentence),
        }
    }
}

/// One key of the contract.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The path from the top: `http.tls.clientcas`, `notifications.endpoints[].url`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) status: Status,
    /// What Larder does when nothing is written, in YAML as one would write it; empty where that is nothing.
    pub(super) default: &'static str,
    /// A sentence or two for the reference page, in Markdown.
    pub(super) meaning: &'static str,
    /// Whether distribution has no such key.
    pub(super) is_larders_own: bool,
}

impl Key {
    pub(super) fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that sets this key, with item 0 for each list on the way. In a variable `_`
    /// is the step from a section to its key, so that names lose theirs: `may_not` is `MAYNOT`.
    pub(super) fn variable(&self) -> String {
        let path = self.path.replace('_', "").replace("[]", "_0").replace('.', "_");
        format!("REGISTRY_{}", path.to_ascii_uppercase())
    }
}

/// Every key, in the order of the documentation.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    table::KEYS.iter().copied().flatten()
}

/// The storage drivers of registry:2 and registry:3: of these keys below `storage`, there must be exactly one.
pub(super) const DRIVERS: [&str; 8] =
    ["filesystem", "inmemory", "s3", "s3aws", "azure", "gcs", "oss", "swift"];

/// What a secret's file is named by: `{file: PATH}`, and so `…_FILE` in a variable.
pub(super) const SECRET_FILE: &str = "file";

/// Where distribution's names for variables differ from its names for keys, because it takes the former from the fields
/// of its Go structures: the section, what a variable says there, and what a file says.
const GO_NAMES: [(&str, &str, &str); 6] = [
    ("notifications", "EVENTCONFIG", "events"),
    ("health", "FILECHECKERS", "file"),
    ("health", "HTTPCHECKERS", "http"),
    ("health", "TCPCHECKERS", "tcp"),
    ("log.hooks[]", "MAILOPTIONS", "options"),
    ("compatibility.schema1", "TRUSTKEY", "signingkeyfile"),
];

/// A place in a configuration and what may stand there: a key of the table, or what a list or a free map holds.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) status: Status,
    /// Whether the texts below are headers that may hold passwords.
    pub(super) holds_secrets: bool,
}

impl Slot {
    /// The whole configuration.
    pub(super) fn root() -> Self {
        Self { path: String::new(), kind: Section, status: Status::Works, holds_secrets: false }
    }

    /// The keys known below this place.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        let is_section = matches!(self.kind, Section | Kind::Choice);
        all().filter(move |key| is_section && key.parent() == self.path)
    }

    /// What a key below this place leads to.
    pub(super) fn child(&self, name: &str) -> Option<Self> {
        match self.kind {
            Section | Kind::Choice => self.keys().find(|key| key.name() == name).map(Self::from),
            Kind::Headers => Some(self.inside(&format!(".{name}"), Texts)),
            Kind::SecretHeaders => Some(self.inside(&format!(".{name}"), Texts)),
            Kind::Anything => Some(self.inside(&format!(".{name}"), Kind::Anything)),
            Kind::Secret | Kind::Url => (name == SECRET_FILE).then(|| self.inside(".file", Kind::Text)),
            Kind::Sections | Kind::Boolean | Kind::Integer | Kind::Size | Kind::Text => None,
            Kind::Duration | Kind::Words(_) | Texts | Kind::OneOrMore => None,
        }
    }

    /// What each item of a list at this place is.
    pub(super) fn item(&self) -> Option<Self> {
        match self.kind {
            Kind::Sections => Some(self.inside("[]", Section)),
            Texts | Kind::OneOrMore => Some(self.inside("[]", Kind::Text)),
            Kind::Anything => Some(self.inside("[]", Kind::Anything)),
            Section
            | Kind::Choice
            | Kind::Boolean
            | Kind::Integer
            | Kind::Size
            | Kind::Text
            | Kind::Secret => None,
            Kind::Url | Kind::Duration | Kind::Words(_) | Kind::Headers | Kind::SecretHeaders => None,
        }
    }

    /// Whether what stands here is kept from messages and may come from a file.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Url)
    }

    /// Whether a map here takes names of the operator's choice.
    pub(super) fn is_free_map(&self) -> bool {
        matches!(self.kind, Kind::Headers | Kind::SecretHeaders | Kind::Anything)
    }

    /// The key below this place that one element of a variable's name means, by the file's name or by Go's.
    pub(super) fn key_of_variable(&self, element: &str) -> Option<&'static Key> {
        let go_name = GO_NAMES.iter().find(|(section, name, _)| *section == self.path && *name == element);
        self.keys().find(|key| match go_name {
            Some((_, _, name)) => key.name() == *name,
            None => key.name().replace('_', "").to_ascii_uppercase() == element,
        })
    }

    fn inside(&self, suffix: &str, kind: Kind) -> Self {
        let holds_secrets = self.holds_secrets || self.kind == Kind::SecretHeaders;
        Self { path: format!("{}{suffix}", self.path), kind, status: self.status, holds_secrets }
    }
}

impl From<&Key> for Slot {
    fn from(key: &Key) -> Self {
        Self { path: key.path.to_owned(), kind: key.kind, status: key.status, holds_secrets: false }
    }
}

#[cfg(test)]
mod tests;
