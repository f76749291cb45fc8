//! All users: those of one htpasswd file, or of several.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::warn;

use crate::error::AuthError;
use crate::htpasswd::UserTable;
use crate::password_hash::{PasswordHash, prevailing_stand_in};
use crate::users_file::UsersFile;

/// The users of several htpasswd files, each read again when it changes. A user whom several files have is
/// the first one's: only its password counts.
#[derive(Debug)]
pub struct Users {
    files: Vec<UsersFile>,
    state: Mutex<Arc<UserTables>>,
}

/// What the files held at one time.
#[derive(Debug)]
pub(crate) struct UserTables {
    tables: Vec<Arc<UserTable>>,
    generation: u64,
    stand_in: PasswordHash,
}

impl Users {
    /// Reads the files for the first time. A user that more than one of them has is warned of.
    ///
    /// Errors: as [`UsersFile::open`].
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Users, AuthError> {
        let files = paths.into_iter().map(UsersFile::open).collect::<Result<Vec<_>, _>>()?;
        let users = Users::of_files(files);
        users.warn_of_namesakes();
        Ok(users)
    }

    fn of_files(files: Vec<UsersFile>) -> Users {
        const FIRST_GENERATION: u64 = 1;
        let tables = files.iter().map(UsersFile::current).collect();
        Users { files, state: Mutex::new(Arc::new(UserTables::new(tables, FIRST_GENERATION))) }
    }

    /// The users as of now. Blocks as [`UsersFile::current`] does, once for each file.
    pub(crate) fn current(&self) -> Arc<UserTables> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tables: Vec<_> = self.files.iter().map(UsersFile::current).collect();
        let same = std::iter::zip(&tables, &state.tables).all(|(new, old)| Arc::ptr_eq(new, old));
        if !same {
            *state = Arc::new(UserTables::new(tables, state.generation.saturating_add(1)));
        }
        Arc::clone(&state)
    }

    /// The file that this user's password counts in; `None` if no file has him.
    pub fn file_of(&self, user: &str) -> Option<&Path> {
        let (file, ..) = self.current().find(user)?;
        self.files.get(file).map(UsersFile::path)
    }

    /// Makes what was found out with the users before count no more.
    pub(crate) fn begin_after(&self, before: &Users) {
        let generation = before.current().generation.saturating_add(1);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = Arc::new(UserTables::new(state.tables.clone(), generation));
    }

    fn warn_of_namesakes(&self) {
        let tables = self.current();
        for (index, (table, file)) in std::iter::zip(&tables.tables, &self.files).enumerate() {
            for user in table.names() {
                let Some((first, ..)) = tables.find(user).filter(|(first, ..)| *first < index) else {
                    continue;
                };
                let Some(first) = self.files.get(first) else { continue };
                warn!(
                    user = &**user, counts = %first.path().display(), ignored = %file.path().display(),
                    "two users files have this user; only the password in the first counts"
                );
            }
        }
    }
}

impl From<UsersFile> for Users {
    fn from(file: UsersFile) -> Users {
        Users::of_files(vec![file])
    }
}

impl From<UsersFile> for Arc<Users> {
    fn from(file: UsersFile) -> Arc<Users> {
        Arc::new(file.into())
    }
}

impl UserTables {
    fn new(tables: Vec<Arc<UserTable>>, generation: u64) -> UserTables {
        let stand_in = prevailing_stand_in(tables.iter().flat_map(|table| table.hashes()));
        UserTables { tables, generation, stand_in }
    }

    /// The first file that has the user, by its place; his name and his password's hash.
    pub(crate) fn find(&self, user: &str) -> Option<(usize, &Arc<str>, &PasswordHash)> {
        self.tables
            .iter()
            .enumerate()
            .find_map(|(file, table)| table.find(user).map(|(name, hash)| (file, name, hash)))
    }

    pub(crate) fn contains(&self, user: &str) -> bool {
        self.find(user).is_some()
    }

    /// What was found out with one generation says nothing of another.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// What the password of an unknown user is checked against, so that it takes as long as a known one's:
    /// its kind and cost are those that most users' hashes have.
    pub(crate) fn stand_in(&self) -> &PasswordHash {
        &self.stand_in
    }
}

#[cfg(test)]
mod tests;
