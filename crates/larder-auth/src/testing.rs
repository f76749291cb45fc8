//! What several tests share: a clock moved by hand, a users file, a table with two users.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Clock;
use crate::origin::Origin;
use crate::passwords::Passwords;
use crate::users_file::UsersFile;

/// `htpasswd -nbB -C 4 bob s3cret`, and alice with the password `pass:word`.
pub(crate) const USERS: &str = "\
alice:$2y$05$yyL.4KO5LhGAyhXrqai31.2CaxJe5xIWEOm6sI5Fr0o4PE81qHzde
bob:$2y$04$VMVseOXacx7aBW7FmNcUSeoEQczfRUS/8nxWLBLrlPccMmOjKy1My
";

/// 2026-03-01T12:00:00Z
pub(crate) const NOON: u64 = 1_772_366_400;

/// A clock that stands at noon until it is moved.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicU64>);

impl HandClock {
    pub(crate) fn at_noon() -> HandClock {
        HandClock(Arc::new(AtomicU64::new(NOON)))
    }

    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Arc::new(move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed)))
    }
}

/// A directory with a users file, for as long as it lives.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn with_users(content: &str) -> Home {
        let home = Home { directory: tempfile::tempdir().unwrap() };
        home.write(content);
        home
    }

    pub(crate) fn users_path(&self) -> PathBuf {
        self.directory.path().join("htpasswd")
    }

    pub(crate) fn write(&self, content: &str) {
        write(&self.users_path(), content.as_bytes());
    }

    pub(crate) fn passwords(&self, clock: &HandClock) -> Arc<Passwords> {
        let users = UsersFile::open(self.users_path()).unwrap();
        Arc::new(Passwords::new(users, [7; 32], NonZeroUsize::new(2).unwrap(), clock.clock()))
    }
}

/// Where most tests' requests come from.
pub(crate) fn at_home() -> Origin {
    Origin::at([192, 168, 1, 7].into())
}

pub(crate) fn write(path: &Path, content: &[u8]) {
    std::fs::File::create(path).unwrap().write_all(content).unwrap();
}
