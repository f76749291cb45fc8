use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::shorten;
use crate::name::{NameError, RepoName, is_component};

/// The longest pattern, in bytes: twice as much as the names that it could match.
const LONGEST_PATTERN: usize = 510;

/// Which repositories a rule, a key or a grant is about, such as `team/**`. Cheap to clone.
///
/// A pattern is written like a repository's name, with two additions:
///
/// - `*` stands for any number of characters, none included, within one component: `team/*` matches
///   `team/app` and neither `team` nor `team/app/cache`; `team/app-*` matches `team/app-1`.
/// - `**`, as a whole component, stands for any number of components, none included: `team/**` matches
///   `team`, `team/app` and `team/app/cache`; `**/cache` matches `cache` and `team/app/cache`; `**` matches
///   every repository.
///
/// Nothing else has a meaning of its own, and a pattern always matches whole names. A component without `*` that
/// no name could have is refused, as it would never match and nobody would be told.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryPattern(Arc<str>);

/// Why a text is not a pattern of repository names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there.
    #[error("the repository pattern is empty; `**` matches every repository")]
    Empty,
    /// Longer than any that is needed.
    #[error("the repository pattern has {0} bytes; at most {LONGEST_PATTERN} are allowed")]
    TooLong(usize),
    /// `**` beside other characters, where it would look as if it crossed a slash.
    #[error(
        "`{component}` can't be part of a repository pattern: `**` stands alone between slashes, as in `team/**`; \
         within a part write `*`"
    )]
    StarsInComponent {
        /// The first offending component.
        component: String,
    },
    /// A component that can't match a part of any name.
    #[error("the repository pattern can't match any name: {0}")]
    NeverMatches(NameError),
}

impl RepositoryPattern {
    /// Whether the repository of this name is meant. Takes at most the product of the two lengths in steps.
    pub fn matches(&self, repository: &RepoName) -> bool {
        let parts: Vec<&str> = self.0.split('/').collect();
        let components: Vec<&str> = repository.components().collect();
        matches_sequence(&parts, &components, |part| *part == ANY_COMPONENTS, component_matches)
    }

    /// The pattern of every repository, `**`.
    pub fn everything() -> RepositoryPattern {
        RepositoryPattern(ANY_COMPONENTS.into())
    }

    /// Whether there is no name that it leaves out.
    pub fn is_everything(&self) -> bool {
        self.0.split('/').all(|part| part == ANY_COMPONENTS)
    }

    /// What every name that is meant begins with: the pattern up to its first wildcard.
    pub fn beginning(&self) -> &str {
        let up_to_star = self.0.split_once('*').map_or(self.as_str(), |(start, _)| start);
        // `team/**` means `team`, too.
        let is_any = self.0.get(up_to_star.len()..).is_some_and(|rest| rest.starts_with(ANY_COMPONENTS));
        up_to_star.strip_suffix('/').filter(|_| is_any).unwrap_or(up_to_star)
    }

    /// A pattern like this one that would mean the name, if the difference is a likely slip: `team/*` where `team/**`
    /// was meant, or a repository's name where what is below it was meant as well.
    pub fn wider_for(&self, name: &RepoName) -> Option<RepositoryPattern> {
        let (start, last) =
            self.0.rsplit_once('/').map_or(("", self.as_str()), |(start, last)| (start, last));
        let wider = match (start, last) {
            (_, ANY_COMPONENTS) => return None,
            ("", "*") => RepositoryPattern::everything(),
            (_, "*") => RepositoryPattern(format!("{start}/{ANY_COMPONENTS}").into()),
            _ => RepositoryPattern(format!("{self}/{ANY_COMPONENTS}").into()),
        };
        (!self.matches(name) && wider.matches(name)).then_some(wider)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const ANY_COMPONENTS: &str = "**";

fn component_matches(part: &&str, component: &&str) -> bool {
    matches_sequence(part.as_bytes(), component.as_bytes(), |part| *part == b'*', |part, byte| part == byte)
}

/// Whether the parts match the items one by one, where some parts stand for any number of items.
///
/// Only the last of these ever has to take more than it did: if what follows an earlier one can be matched
/// at all, it can be where it was found first, which leaves the most to the rest.
fn matches_sequence<Part, Item>(
    parts: &[Part],
    items: &[Item],
    stands_for_any: impl Fn(&Part) -> bool,
    stands_for: impl Fn(&Part, &Item) -> bool,
) -> bool {
    let (mut next_part, mut next_item) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while let Some(item) = items.get(next_item) {
        match (parts.get(next_part), last_any) {
            (Some(part), _) if stands_for_any(part) => {
                next_part += 1;
                last_any = Some((next_part, next_item));
            }
            (Some(part), _) if stands_for(part, item) => {
                (next_part, next_item) = (next_part + 1, next_item + 1)
            }
            (_, Some((part_after, items_taken))) => {
                (next_part, next_item) = (part_after, items_taken + 1);
                last_any = Some((next_part, next_item));
            }
            (_, None) => return false,
        }
    }
    parts.iter().skip(next_part).all(stands_for_any)
}

impl FromStr for RepositoryPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > LONGEST_PATTERN {
            return Err(PatternError::TooLong(text.len()));
        }
        for part in text.split('/') {
            if part != ANY_COMPONENTS && part.contains(ANY_COMPONENTS) {
                return Err(PatternError::StarsInComponent { component: shorten(part) });
            }
            if !could_match(part) {
                return Err(PatternError::NeverMatches(name_error(part)));
            }
        }
        Ok(RepositoryPattern(text.into()))
    }
}

/// With a star in it a component is judged by its characters alone.
fn could_match(part: &str) -> bool {
    let in_names = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'*');
    if part.contains('*') { part.bytes().all(in_names) } else { is_component(part) }
}

/// In the words that a name with this component is refused with.
fn name_error(part: &str) -> NameError {
    let lower = part.to_ascii_lowercase();
    if lower != part && could_match(&lower) {
        return NameError::UpperCase { name: shorten(part), suggestion: shorten(&lower) };
    }
    NameError::Component { component: shorten(part) }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RepositoryPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RepositoryPattern> for String {
    fn from(pattern: RepositoryPattern) -> String {
        pattern.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests;
