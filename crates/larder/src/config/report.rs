//! What is said about a configuration: mistakes, which stop the start, and warnings, which don't. Both are collected
//! until everything has been read, so that an operator corrects a file once and not once per mistake.

use super::value::Origin;
use std::fmt;
use thiserror::Error;

/// One mistake, at the place where it was made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{origin}: {mistake}")]
pub(crate) struct ConfigError {
    /// Where it was made.
    pub(crate) origin: Origin,
    /// What it is.
    pub(crate) mistake: Mistake,
}

/// The kinds of mistakes. None of them repeats a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Mistake {
    /// The file can't be read.
    #[error("cannot read the config file: {0}")]
    Unreadable(String),
    /// The text is larger than any configuration.
    #[error("the config file has {bytes} bytes, and Larder reads at most {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The text isn't YAML, or not of the kind that a configuration may be.
    #[error("{0}")]
    Yaml(String),
    /// The same key stands twice in one map; registry:2 would silently take the last.
    #[error("{key:?} was already written in line {first_line}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stood first.
        first_line: usize,
    },
    /// A key that the table doesn't have.
    #[error("unknown key {key:?} {}{}{}", place(.below), suggestion(.nearest.as_deref()), instead(.below, .key))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The path of the section it stands in, empty at the top.
        below: String,
        /// The known key it probably means.
        nearest: Option<String>,
    },
    /// A value that can't be what the key takes.
    #[error("{key:?} must be {expected}, not {found}")]
    WrongKind {
        /// The key's path.
        key: String,
        /// What it takes.
        expected: String,
        /// What stands there, in general words.
        found: &'static str,
    },
    /// A value of the right kind that makes no sense.
    #[error("{key:?} {problem}")]
    Invalid {
        /// The key's path.
        key: String,
        /// What is wrong with it, as the end of a sentence that starts with the key.
        problem: String,
    },
    /// A key that has to be there.
    #[error("{key:?} is missing: {why}")]
    Missing {
        /// The key's path.
        key: &'static str,
        /// Why it is needed and what to write.
        why: &'static str,
    },
    /// Two or more of what there can be only one of.
    #[error("{section:?} must name exactly one {what}, and names {named}")]
    NotExactlyOne {
        /// The section.
        section: &'static str,
        /// What there can be only one of.
        what: &'static str,
        /// Each of them, with its origin.
        named: String,
    },
    /// A key of registry:2 that Larder can't honour yet and must not ignore.
    #[error("{key:?} is not supported yet: {why}")]
    NotYet {
        /// The key's path.
        key: String,
        /// What is missing, and what that would mean.
        why: &'static str,
    },
    /// An environment variable whose path leads nowhere although its start is known.
    #[error("the item number {index} leaves a gap: {list:?} has {length} items, counted from 0")]
    IndexBeyondEnd {
        /// The list's path.
        list: String,
        /// The item asked for.
        index: usize,
        /// How many there are.
        length: usize,
    },
    /// A secret by its variable and by the one that names its file.
    #[error("{key:?} is set by {other} already; keep one of the two")]
    SecretTwice {
        /// The key's path.
        key: String,
        /// The variable that holds the secret itself.
        other: String,
    },
    /// An environment variable that isn't text.
    #[error("the variable's value is not UTF-8")]
    NotUtf8,
}

fn place(below: &str) -> String {
    if below.is_empty() { "at the top level".to_owned() } else { format!("below {below:?}") }
}

/// What takes the place of what other registries have and Larder has not.
fn instead(below: &str, key: &str) -> &'static str {
    match (below, key) {
        ("auth", "ldap" | "oidc" | "oauth" | "oauth2" | "openid") => {
            "; users stand in htpasswd files, or a server that asks such a directory gives out tokens: auth.token"
        }
        _ => "",
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default()
}

/// Every mistake of a configuration, in the order of the file, then of the variables' names. Displays one line each.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

/// Collects what is found on the way.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<ConfigError>,
    warnings: Vec<(Origin, String)>,
    notes: Vec<(Origin, String)>,
}

/// What an operator should know about a configuration without mistakes: one sentence each, with its place in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remarks {
    /// What doesn't do what it says, or probably isn't meant.
    pub(crate) warnings: Vec<String>,
    /// What is passed over without a loss.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(super) fn error(&mut self, origin: &Origin, mistake: Mistake) {
        self.errors.push(ConfigError { origin: origin.clone(), mistake });
    }

    /// Adds mistakes that were found together.
    pub(super) fn errors(&mut self, errors: impl IntoIterator<Item = ConfigError>) {
        self.errors.extend(errors);
    }

    /// Adds a warning: a sentence that can be read alone, to which the origin is put in front.
    pub(super) fn warn(&mut self, origin: &Origin, sentence: impl Into<String>) {
        self.warnings.push((origin.clone(), sentence.into()));
    }

    /// Adds a note: a sentence as for a warning, about what is passed over without a loss.
    pub(super) fn note(&mut self, origin: &Origin, sentence: impl Into<String>) {
        self.notes.push((origin.clone(), sentence.into()));
    }

    /// The remarks when nothing is wrong, else all the mistakes.
    pub(super) fn finish(mut self) -> Result<Remarks, ConfigErrors> {
        if !self.errors.is_empty() {
            self.errors.sort_by(|left, right| left.origin.cmp(&right.origin));
            return Err(ConfigErrors(self.errors));
        }
        Ok(Remarks { warnings: in_order(self.warnings), notes: in_order(self.notes) })
    }
}

fn in_order(mut sentences: Vec<(Origin, String)>) -> Vec<String> {
    sentences.sort();
    sentences.into_iter().map(|(origin, sentence)| format!("{origin}: {sentence}")).collect()
}
