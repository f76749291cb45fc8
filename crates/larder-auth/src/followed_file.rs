use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info};

use crate::error::AuthError;
use crate::file_stamp::FileStamp;

/// A file that is read again when it changes.
///
/// It is looked at (one `stat`) on each use instead of being watched: so a user added is a user admitted at
/// once, on network mounts and in containers too, where notifications don't arrive. A change that can't be
/// read leaves things as they were; it is logged once, not once per request.
#[derive(Debug)]
pub(crate) struct FollowedFile<T> {
    path: PathBuf,
    kind: Kind<T>,
    state: Mutex<State<T>>,
}

/// What kind of file it is.
#[derive(Debug)]
pub(crate) struct Kind<T> {
    /// What messages call it: `users file`.
    pub(crate) name: &'static str,
    /// What messages call its content: `users`.
    pub(crate) content: &'static str,
    /// The largest that is read; above that it is the wrong file.
    pub(crate) largest_bytes: u64,
    /// Makes sense of the content of the file at a path.
    pub(crate) parse: fn(&Path, &[u8]) -> Result<T, AuthError>,
    /// What a file that isn't there means, if that is no failure.
    pub(crate) when_absent: Option<fn() -> T>,
}

#[derive(Debug)]
struct State<T> {
    content: Arc<T>,
    /// The file whose content was last understood or refused.
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    File(FileStamp),
    Absent,
    /// It can't be read; the next use tries again.
    Failed,
}

impl<T> FollowedFile<T> {
    /// Reads the file for the first time.
    ///
    /// Errors: [`AuthError::FileUnreadable`], and what the kind's `parse` says. Either must keep the server
    /// from starting.
    pub(crate) fn open(path: PathBuf, kind: Kind<T>) -> Result<FollowedFile<T>, AuthError> {
        let (seen, content) = match (read(&path, kind.largest_bytes), kind.when_absent) {
            (Ok((stamp, bytes)), _) => (Seen::File(stamp), (kind.parse)(&path, &bytes)?),
            (Err(error), Some(absent)) if is_absence(&error) => (Seen::Absent, absent()),
            (Err(source), _) => return Err(AuthError::FileUnreadable { name: kind.name, path, source }),
        };
        Ok(FollowedFile { path, kind, state: Mutex::new(State { content: Arc::new(content), seen }) })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The content as of now: the file is read again if it has changed since. Blocks for a `stat`, and for
    /// the reading of a small file once per change.
    pub(crate) fn current(&self) -> Arc<T> {
        let found = std::fs::metadata(&self.path).map(|metadata| FileStamp::from(&metadata));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(stamp) if state.seen == Seen::File(stamp) => {}
            Ok(_) => self.read_again(&mut state),
            Err(error) => self.without_file(&mut state, &error),
        }
        Arc::clone(&state.content)
    }

    fn read_again(&self, state: &mut State<T>) {
        let (stamp, bytes) = match read(&self.path, self.kind.largest_bytes) {
            Ok(read) => read,
            Err(error) => return self.without_file(state, &error),
        };
        // Somebody else may have read this very change between our `stat` and the lock.
        if state.seen == Seen::File(stamp) {
            return;
        }
        state.seen = Seen::File(stamp);
        let Kind { name, content, parse, .. } = &self.kind;
        match parse(&self.path, &bytes) {
            Ok(parsed) => {
                info!(path = %self.path.display(), "the {name} was read again");
                state.content = Arc::new(parsed);
            }
            Err(mistaken) => error!(
                path = %self.path.display(), error = %mistaken,
                "the {name} has changed and can't be used; the {content} from before stay valid"
            ),
        }
    }

    /// The next use tries again, as what failed may pass; only the first failure is logged.
    fn without_file(&self, state: &mut State<T>, failure: &io::Error) {
        let Kind { name, content, when_absent, .. } = &self.kind;
        if let Some(absent) = when_absent
            && is_absence(failure)
        {
            if state.seen != Seen::Absent {
                info!(path = %self.path.display(), "the {name} is gone");
                *state = State { content: Arc::new(absent()), seen: Seen::Absent };
            }
        } else if state.seen != Seen::Failed {
            state.seen = Seen::Failed;
            error!(
                path = %self.path.display(), error = %failure,
                "the {name} can't be read any more; the {content} from before stay valid"
            );
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The stamp is taken before the content: whatever is written while we read makes the next stamp differ.
fn read(path: &Path, largest_bytes: u64) -> io::Result<(FileStamp, Vec<u8>)> {
    let file = File::open(path)?;
    let stamp = FileStamp::from(&file.metadata()?);
    let mut content = Vec::new();
    file.take(largest_bytes.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > largest_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {largest_bytes} bytes, so it is hardly the right file"),
        ));
    }
    Ok((stamp, content))
}

#[cfg(test)]
mod tests;
