//! The users table: Apache's htpasswd format as registry:2 reads it, with more kinds of hashes.
//!
//! registry:2 loads lines with other hashes than bcrypt and then refuses their users for ever without a word.
//! Here a line that can never work is an error, so that the one who wrote it hears of it, not the one who logs in.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use crate::error::{AuthError, LineProblem, UsersFileMistake};
use crate::password_hash::{HIGHEST_COST, LOWEST_COST, PasswordHash};
use crate::passwords::Verdict;
use crate::secret::Password;

/// The bcrypt cost of registry:2's own hashes: about 60 ms on one core.
pub const DEFAULT_COST: u32 = 10;

/// bcrypt reads no further than this.
const LONGEST_PASSWORD: usize = 72;

/// The users and their hashes, as one reading of the file found them.
#[derive(Debug)]
pub struct UserTable {
    users: HashMap<Arc<str>, PasswordHash>,
}

/// One line for an htpasswd file, without line end, that registry:2, Apache and nginx read as well.
///
/// Errors: [`AuthError::LoginUnusable`] for a user name that the format can't hold, for a password that is
/// empty or longer than bcrypt reads, and for a cost out of range.
pub fn htpasswd_line(
    user: &str,
    password: &Password,
    cost: u32,
    salt: [u8; 16],
) -> Result<String, AuthError> {
    let unusable = |reason: &'static str| AuthError::LoginUnusable { reason: reason.into() };
    if user.is_empty() {
        return Err(unusable("the user name is empty"));
    }
    if user.contains(':') || user.contains(char::is_control) {
        return Err(unusable("a user name can't hold `:` or control characters"));
    }
    if user.trim() != user || user.starts_with('#') {
        return Err(unusable("a user name can't begin with `#` or have spaces around it"));
    }
    match password.expose().len() {
        0 => return Err(unusable("the password is empty")),
        1..=LONGEST_PASSWORD => {}
        _ => return Err(unusable("the password has more than 72 bytes, and bcrypt would ignore the rest")),
    }
    if !(LOWEST_COST..=HIGHEST_COST).contains(&cost) {
        return Err(AuthError::LoginUnusable {
            reason: format!("the bcrypt cost must be {LOWEST_COST} to {HIGHEST_COST}, not {cost}").into(),
        });
    }
    let parts = bcrypt::hash_with_salt(password.expose(), cost, salt)
        .map_err(|error| AuthError::Broken { doing: "hashing the password", source: Box::new(error) })?;
    // Apache's older libraries know 2a and 2y, but not 2b; all three name the same computation.
    Ok(format!("{user}:{}", parts.format_for_version(bcrypt::Version::TwoY)))
}

impl UserTable {
    /// Reads the content of the file at `path`, which is only named in messages.
    ///
    /// Errors: [`AuthError::UsersFileMistaken`] with every line that can't stand.
    pub fn parse(path: &Path, content: &[u8]) -> Result<UserTable, AuthError> {
        let mut users = HashMap::new();
        let mut mistakes = Vec::new();
        // Windows editors put a mark of three bytes in front, which would become part of the first name.
        let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
        for (line, text) in (1..).zip(content.split(|&byte| byte == b'\n')) {
            match parse_line(text) {
                Ok(None) => {}
                Ok(Some((user, hash))) => {
                    if users.insert(Arc::from(user), hash).is_some() {
                        warn!(
                            path = %path.display(), line, user,
                            "the users file names a user twice; the later line counts"
                        );
                    }
                }
                Err((user, problem)) => {
                    mistakes.push(UsersFileMistake { line, user: user.map(shorten), problem });
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(AuthError::UsersFileMistaken { path: path.to_owned(), mistakes });
        }
        Ok(UserTable { users })
    }

    /// Whether there is such a user.
    pub fn contains(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// What the table says to this password. Takes milliseconds to seconds: never on an async thread,
    /// where [`Passwords`](crate::Passwords) is asked instead.
    pub fn check(&self, user: &str, password: &Password) -> Result<Verdict, AuthError> {
        match self.find(user) {
            None => Ok(Verdict::UnknownUser),
            Some((name, hash)) if hash.matches(password)? => Ok(Verdict::Verified(Arc::clone(name))),
            Some(_) => Ok(Verdict::WrongPassword),
        }
    }

    /// Users in the table.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.users.keys()
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = &PasswordHash> {
        self.users.values()
    }

    pub(crate) fn find(&self, user: &str) -> Option<(&Arc<str>, &PasswordHash)> {
        self.users.get_key_value(user)
    }
}

type LineMistake<'a> = (Option<&'a str>, LineProblem);

/// A user and his hash; or `None` for a line that says nothing.
fn parse_line(line: &[u8]) -> Result<Option<(&str, PasswordHash)>, LineMistake<'_>> {
    let line = std::str::from_utf8(line).map_err(|_| (None, LineProblem::NotUtf8))?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (user, rest) = line.split_once(':').ok_or((None, LineProblem::NoColon))?;
    if user.is_empty() {
        return Err((None, LineProblem::NoUser));
    }
    // Apache allows further fields and registry:2 doesn't look past the hash.
    let hash = rest.split(':').next().unwrap_or(rest);
    PasswordHash::parse(hash).map(|hash| Some((user, hash))).map_err(|problem| (Some(user), problem))
}

/// Cuts a name from outside to a length that may be repeated in a message.
pub(crate) fn shorten(name: &str) -> String {
    const LONGEST_ECHO: usize = 80;
    name.chars().take(LONGEST_ECHO).collect()
}

#[cfg(test)]
mod tests;
