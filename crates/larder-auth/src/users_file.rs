use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use crate::error::AuthError;
use crate::htpasswd::UserTable;

/// The largest users file that is read: some 200,000 users. Above that it is the wrong file.
const LARGEST_FILE_BYTES: u64 = 16 << 20;

/// An htpasswd file that is read again when it changes.
///
/// It is looked at (one `stat`) on each use instead of being watched: so a user added is a user admitted at
/// once, on network mounts and in containers too, where notifications don't arrive. A change that can't be
/// read leaves the users as they were; it is logged once, not once per request.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Arc<UserTable>,
    /// The file whose content was last understood or refused; `None` while the file can't be read.
    seen: Option<Stamp>,
}

/// What tells one content of the file from another without reading it.
///
/// The size alone says little, as all bcrypt hashes are of one length. The time of the last change of the
/// inode is in it because tools that set the modification time back can't set that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

impl UsersFile {
    /// Reads the file for the first time.
    ///
    /// Errors: [`AuthError::UsersFileUnreadable`] and [`AuthError::UsersFileMistaken`]. Either must keep
    /// the server from starting.
    pub fn open(path: impl Into<PathBuf>) -> Result<UsersFile, AuthError> {
        let path = path.into();
        let (stamp, content) =
            read(&path).map_err(|source| AuthError::UsersFileUnreadable { path: path.clone(), source })?;
        let table = UserTable::parse(&path, &content)?;
        if table.user_count() == 0 {
            warn!(path = %path.display(), "the users file is empty, so nobody can log in: larder user add <user>");
        }
        Ok(UsersFile { path, state: Mutex::new(State { table: Arc::new(table), seen: Some(stamp) }) })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The users as of now: the file is read again if it has changed since. Blocks for a `stat`, and for
    /// the reading of a small file once per change.
    pub fn current(&self) -> Arc<UserTable> {
        let found = std::fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(stamp) if state.seen == Some(stamp) => {}
            Ok(_) => self.read_again(&mut state),
            Err(error) => self.keep_the_old(&mut state, &error),
        }
        Arc::clone(&state.table)
    }

    fn read_again(&self, state: &mut State) {
        let (stamp, content) = match read(&self.path) {
            Ok(read) => read,
            Err(error) => return self.keep_the_old(state, &error),
        };
        // Somebody else may have read this very change between our `stat` and the lock.
        if state.seen == Some(stamp) {
            return;
        }
        state.seen = Some(stamp);
        match UserTable::parse(&self.path, &content) {
            Ok(table) => {
                info!(path = %self.path.display(), users = table.user_count(), "the users file was read again");
                state.table = Arc::new(table);
            }
            Err(mistaken) => error!(
                path = %self.path.display(), error = %mistaken,
                "the users file has changed and can't be used; the users from before stay valid"
            ),
        }
    }

    /// The next use tries again, as what failed may pass; only the first failure is logged.
    fn keep_the_old(&self, state: &mut State, failure: &io::Error) {
        if state.seen.take().is_some() {
            error!(
                path = %self.path.display(), error = %failure,
                "the users file can't be read any more; the users from before stay valid"
            );
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// The stamp is taken before the content: whatever is written while we read makes the next stamp differ.
fn read(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut content = Vec::new();
    file.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {LARGEST_FILE_BYTES} bytes, so it is hardly a users file"),
        ));
    }
    Ok((stamp, content))
}

#[cfg(test)]
mod tests;
