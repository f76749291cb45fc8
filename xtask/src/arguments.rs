//! The command line: a command, then `--name value` pairs and flags. Unknown names are an error.

use crate::failure::{Result, fail};

/// Arguments that take no value.
const FLAGS: &[&str] = &["slice", "profile"];

pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    pub(crate) fn parse(words: &[String], known: &[&str]) -> Result<Self> {
        let mut pairs = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--").filter(|name| known.contains(name)) else {
                fail!("unknown argument {word:?}; known here: {known:?}");
            };
            if FLAGS.contains(&name) {
                pairs.push((name.to_owned(), String::new()));
                continue;
            }
            let Some(value) = words.next() else { fail!("--{name} wants a value") };
            pairs.push((name.to_owned(), value.clone()));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) => Ok(number),
                Err(_) => fail!("--{name} wants a number, not {text:?}"),
            },
        }
    }
}
