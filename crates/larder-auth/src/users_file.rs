use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use crate::error::AuthError;
use crate::followed_file::{FollowedFile, Kind};
use crate::htpasswd::UserTable;

/// The largest users file that is read: some 200,000 users. Above that it is the wrong file.
pub(crate) const LARGEST_FILE_BYTES: u64 = 16 << 20;

/// An htpasswd file that is read again when it changes. A change that can't be read leaves the users as they
/// were; it is logged once, not once per request.
#[derive(Debug)]
pub struct UsersFile(FollowedFile<UserTable>);

impl UsersFile {
    /// Reads the file for the first time.
    ///
    /// Errors: [`AuthError::FileUnreadable`] and [`AuthError::UsersFileMistaken`]. Either must keep
    /// the server from starting.
    pub fn open(path: impl Into<PathBuf>) -> Result<UsersFile, AuthError> {
        let kind = Kind {
            name: "users file",
            content: "users",
            largest_bytes: LARGEST_FILE_BYTES,
            parse: UserTable::parse,
            when_absent: None,
        };
        let file = FollowedFile::open(path.into(), kind)?;
        if file.current().user_count() == 0 {
            let path = file.path().display();
            warn!(%path, "the users file is empty, so nobody can log in: larder user add <user>");
        }
        Ok(UsersFile(file))
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The users as of now: the file is read again if it has changed since. Blocks for a `stat`, and for
    /// the reading of a small file once per change.
    pub fn current(&self) -> Arc<UserTable> {
        self.0.current()
    }
}
