//! Which repositories a rule is about: `*` stands for anything within one part of a name between slashes,
//! `**` for any number of parts, none included. zot's users write the same.

use std::fmt;
use std::str::FromStr;

use larder_oci::RepoName;

/// The longest pattern: no repository's name is longer.
const LONGEST_PATTERN: usize = 255;

/// A pattern of repository names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Text with `*`s, for one part of the name.
    One(String),
    /// `**`
    Any,
}

/// Why a text is no pattern, and what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing there.
    #[error("is empty; write ** for every repository")]
    Empty,
    /// Longer than any name.
    #[error("has {0} bytes, and no repository's name has more than {LONGEST_PATTERN}")]
    TooLong(usize),
    /// Two slashes in a row, or one at either end.
    #[error("has a slash too many; names look like team/app, and patterns like team/*")]
    EmptyPart,
    /// A letter that no repository's name can have.
    #[error("holds {0:?}, which no repository's name can hold; the only wildcards are * and **")]
    Letter(char),
    /// `**` beside other text.
    #[error("has ** beside other letters; between slashes ** stands alone, as in team/**")]
    CrowdedStars,
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Glob, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > LONGEST_PATTERN {
            return Err(GlobError::TooLong(text.len()));
        }
        let part = |part: &str| match part {
            "" => Err(GlobError::EmptyPart),
            "**" => Ok(Part::Any),
            _ if part.contains("**") => Err(GlobError::CrowdedStars),
            _ => match part.chars().find(|&letter| !may_stand_in_a_pattern(letter)) {
                Some(letter) => Err(GlobError::Letter(letter)),
                None => Ok(Part::One(part.to_owned())),
            },
        };
        let mut parts = text.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        // `**/**` says no more than `**`, and would take longer to try.
        parts.dedup_by(|one, other| *one == Part::Any && *other == Part::Any);
        Ok(Glob { parts })
    }
}

fn may_stand_in_a_pattern(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '.' | '_' | '-' | '*')
}

impl Glob {
    /// The pattern of every repository, `**`.
    pub fn everything() -> Glob {
        Glob { parts: vec![Part::Any] }
    }

    /// Whether there is no name that it leaves out.
    pub fn is_everything(&self) -> bool {
        self.parts == [Part::Any]
    }

    /// Whether the name is meant.
    pub fn matches(&self, name: &RepoName) -> bool {
        let components: Vec<&str> = name.components().collect();
        matches_parts(&self.parts, &components)
    }

    /// What every name that is meant begins with: the pattern up to its first wildcard.
    pub(crate) fn beginning(&self) -> String {
        let mut beginning = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            let slash = if index == 0 { "" } else { "/" };
            match part {
                // None included: `team/**` means `team`, too.
                Part::Any => return beginning,
                Part::One(text) => match text.split_once('*') {
                    Some((start, _)) => return format!("{beginning}{slash}{start}"),
                    None => beginning.push_str(&format!("{slash}{text}")),
                },
            }
        }
        beginning
    }

    /// A pattern like this one that would mean the name, if the difference is a likely slip: `team/*` where
    /// `team/**` was meant, or a repository's name where what is below it was meant as well.
    pub(crate) fn wider_for(&self, name: &RepoName) -> Option<Glob> {
        let mut wider = self.clone();
        match wider.parts.last_mut() {
            Some(last) if *last == Part::One("*".to_owned()) => *last = Part::Any,
            Some(Part::One(_)) => wider.parts.push(Part::Any),
            Some(Part::Any) | None => return None,
        }
        (!self.matches(name) && wider.matches(name)).then_some(wider)
    }
}

/// Tries the parts from the left. When it comes to nothing, the latest `**` takes one more component and
/// the rest is tried again; an earlier one need never be asked again, so this is quadratic at worst.
fn matches_parts(parts: &[Part], components: &[&str]) -> bool {
    greedy(
        parts.len(),
        components.len(),
        |at| parts.get(at) == Some(&Part::Any),
        |at, component| match (parts.get(at), components.get(component)) {
            (Some(Part::One(pattern)), Some(text)) => matches_text(pattern.as_bytes(), text.as_bytes()),
            _ => false,
        },
    )
}

fn matches_text(pattern: &[u8], text: &[u8]) -> bool {
    greedy(
        pattern.len(),
        text.len(),
        |at| pattern.get(at) == Some(&b'*'),
        |at, letter| pattern.get(at) == text.get(letter),
    )
}

/// Matching with stars over any sequence: `is_star` tells the wildcards of the pattern, `fits` whether an
/// item of the pattern that isn't one fits an item of the text.
fn greedy(
    pattern_length: usize,
    text_length: usize,
    is_star: impl Fn(usize) -> bool,
    fits: impl Fn(usize, usize) -> bool,
) -> bool {
    let (mut in_pattern, mut in_text) = (0, 0);
    // Behind the latest star, and the first item of the text that it hasn't taken.
    let mut retry: Option<(usize, usize)> = None;
    while in_text < text_length {
        if in_pattern < pattern_length && is_star(in_pattern) {
            in_pattern += 1;
            retry = Some((in_pattern, in_text));
        } else if in_pattern < pattern_length && fits(in_pattern, in_text) {
            in_pattern += 1;
            in_text += 1;
        } else if let Some((behind_star, taken)) = &mut retry {
            *taken += 1;
            (in_pattern, in_text) = (*behind_star, *taken);
        } else {
            return false;
        }
    }
    (in_pattern..pattern_length).all(is_star)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let slash = if index == 0 { "" } else { "/" };
            match part {
                Part::One(text) => write!(f, "{slash}{text}")?,
                Part::Any => write!(f, "{slash}**")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
