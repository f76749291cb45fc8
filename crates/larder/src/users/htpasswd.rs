//! The lines of an htpasswd file: `name:hash`, comments, blank lines, and whatever else somebody put there.

use super::password::Password;
use larder_auth::{AuthError, UserTable};
use std::path::Path;

/// A file's lines, as they stand; only edited users' lines ever change.
#[derive(Clone, Debug, Default)]
pub(super) struct Htpasswd {
    /// Without their line breaks, but with a `\r` where there was one.
    lines: Vec<String>,
}

/// What became of a password that was to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    WrongPassword,
    UnknownUser,
    /// The user's line can't be used; why not.
    Refused(String),
}

impl Verdict {
    pub(super) fn sentence(&self, name: &str) -> String {
        match self {
            Self::Right => format!("the password of user {name:?} is right"),
            Self::WrongPassword => format!("the password of user {name:?} is wrong"),
            Self::UnknownUser => format!("there is no user {name:?}"),
            Self::Refused(why) => format!("{why}. Set the password again with: larder user add"),
        }
    }
}

impl Htpasswd {
    pub(super) fn parse(text: &str) -> Self {
        Self { lines: text.split_terminator('\n').map(str::to_owned).collect() }
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The users' names in the order of the file, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (name, _) in self.lines.iter().filter_map(|line| user_and_hash(line)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Gives a user a line and says whether the user was there before. A name that stood on several lines keeps the
    /// first of them alone, since which one counts is a matter of the reader.
    pub(super) fn set(&mut self, name: &str, line: String) -> bool {
        let Some(place) = self.lines.iter().position(|line| is_of(line, name)) else {
            self.lines.push(line);
            return false;
        };
        self.remove(name);
        self.lines.insert(place, line);
        true
    }

    /// Removes all of a user's lines and says whether there were any.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !is_of(line, name));
        self.lines.len() < before
    }

    /// What a registry would say to this password. Of several lines of one name the last counts, as in registry:2.
    pub(super) fn verify(&self, path: &Path, name: &str, password: &Password) -> Result<Verdict, AuthError> {
        let Some(line) = self.lines.iter().rev().find(|line| is_of(line, name)) else {
            return Ok(Verdict::UnknownUser);
        };
        // The line alone, so that another user's mistake doesn't stand in this one's way.
        let table = match UserTable::parse(path, line.as_bytes()) {
            Ok(table) => table,
            Err(AuthError::UsersFileMistaken { mistakes, .. }) => {
                let problems: Vec<String> =
                    mistakes.iter().map(|mistake| mistake.problem.to_string()).collect();
                return Ok(Verdict::Refused(problems.join("; ")));
            }
            Err(error) => return Err(error),
        };
        Ok(match table.check(name, &password.secret())? {
            larder_auth::Verdict::Verified(_) => Verdict::Right,
            larder_auth::Verdict::WrongPassword => Verdict::WrongPassword,
            larder_auth::Verdict::UnknownUser => Verdict::UnknownUser,
        })
    }
}

/// A line's user and hash; `None` for a comment, a blank line, and a line that is neither.
fn user_and_hash(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with('#') { None } else { line.split_once(':') }
}

fn is_of(line: &str, name: &str) -> bool {
    user_and_hash(line).is_some_and(|(other, _)| other == name)
}
