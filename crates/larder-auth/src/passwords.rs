//! Checking passwords without letting that be felt.
//!
//! bcrypt is slow on purpose, and docker sends the same password with every token request, five at once.
//! So there are three layers before it runs: a memory of recent answers that holds no password
//! ([`memory`]), one run for all who ask the same at the same time ([`flights`]), and a limit of as many
//! runs as there are cores, off the async threads.
//!
//! Refused passwords are remembered as well: a dockerd with a mirror sends its Docker Hub password with
//! every pull, and would make each of them cost a bcrypt run for nothing.

mod flights;
mod memory;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::error::AuthError;
use crate::secret::Password;
use crate::users::{UserTables, Users};
use flights::Flights;
use memory::Memory;

/// Checks users and passwords against the users files.
pub struct Passwords {
    users: RwLock<Arc<Users>>,
    runs: Arc<Semaphore>,
    flights: Arc<Flights>,
    notes: Arc<Notes>,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this user.
    Verified(Arc<str>),
    /// There is no such user. For the log only: who asks must not learn which of the two was wrong.
    UnknownUser,
    /// There is, and this isn't the password.
    WrongPassword,
}

/// A keyed hash of user and password: equal for equal ones, and useless without the key of this process.
type Fingerprint = [u8; 32];

/// What a bcrypt run leaves behind, even when nobody waits for it any more.
struct Notes {
    fingerprints: Hmac<Sha256>,
    verified: Mutex<Memory>,
    refused: Mutex<Memory>,
    runs_done: AtomicU64,
    clock: Clock,
}

impl Passwords {
    /// `memory_key` is fresh randomness of this process; `runs_at_once` should be the number of cores.
    pub fn new(
        users: impl Into<Arc<Users>>,
        memory_key: [u8; 32],
        runs_at_once: NonZeroUsize,
        clock: Clock,
    ) -> Passwords {
        // A key shorter than a block of the hash is filled up with zeros (RFC 2104, section 2).
        let mut block = [0; 64];
        if let Some(head) = block.first_chunk_mut() {
            *head = memory_key;
        }
        let notes = Notes {
            fingerprints: Hmac::new(&block.into()),
            verified: Mutex::default(),
            refused: Mutex::default(),
            runs_done: AtomicU64::new(0),
            clock,
        };
        Passwords {
            users: RwLock::new(users.into()),
            runs: Arc::new(Semaphore::new(runs_at_once.get())),
            flights: Arc::default(),
            notes: Arc::new(notes),
        }
    }

    /// Whether this password belongs to this user, as of the users file now.
    ///
    /// An unknown user costs the time of a known one.
    ///
    /// Errors: [`AuthError::TooManyLogins`] when the queue is full, [`AuthError::Broken`].
    ///
    /// # Cancel safety
    ///
    /// A caller that leaves doesn't stop a bcrypt run that has begun; its answer is remembered for the
    /// others, and its core stays counted until it ends.
    pub async fn verify(&self, user: &str, password: &Password) -> Result<Verdict, AuthError> {
        let table = self.users().current();
        let fingerprint = self.notes.fingerprint(user, password);
        if let Some(verdict) = self.notes.recall(&fingerprint, &table) {
            return Ok(verdict);
        }
        let turn = self.flights.board(fingerprint)?.turn().await;
        if let Some(verdict) = self.notes.recall(&fingerprint, &table) {
            return Ok(verdict);
        }
        let broken = |source| AuthError::Broken { doing: "checking a password", source };
        let permit = Arc::clone(&self.runs).acquire_owned().await.map_err(|error| broken(error.into()))?;
        let notes = Arc::clone(&self.notes);
        let (user, password) = (user.to_owned(), password.clone());
        let run = tokio::task::spawn_blocking(move || {
            let verdict = check(&table, &user, &password)?;
            notes.runs_done.fetch_add(1, Ordering::Relaxed);
            notes.remember(fingerprint, &table, verdict.clone());
            drop((turn, permit));
            Ok(verdict)
        });
        run.await.map_err(|error| broken(error.into()))?
    }

    /// Whether there is such a user, as of the users file now.
    pub fn knows(&self, user: &str) -> bool {
        self.users().current().contains(user)
    }

    /// The users that count now.
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other files for the users', and forgets what was found out with the ones before.
    pub(crate) fn replace_users(&self, users: Arc<Users>) {
        let mut current = self.users.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, &users) {
            users.begin_after(&current);
            *current = users;
        }
    }

    /// bcrypt runs since the start: a metric.
    pub fn runs_done(&self) -> u64 {
        self.notes.runs_done.load(Ordering::Relaxed)
    }
}

/// One bcrypt run, whether there is such a user or not.
fn check(table: &UserTables, user: &str, password: &Password) -> Result<Verdict, AuthError> {
    let found = table.find(user);
    let matches = found.map_or(table.stand_in(), |(.., hash)| hash).matches(password)?;
    Ok(match found {
        None => Verdict::UnknownUser,
        Some(_) if !matches => Verdict::WrongPassword,
        Some((_, user, _)) => Verdict::Verified(Arc::clone(user)),
    })
}

impl Notes {
    /// HMAC-SHA256 of user and password. The user's length goes first: a separator could be part of either.
    fn fingerprint(&self, user: &str, password: &Password) -> Fingerprint {
        let mut hmac = self.fingerprints.clone();
        hmac.update(&(user.len() as u64).to_le_bytes());
        hmac.update(user.as_bytes());
        hmac.update(password.expose());
        hmac.finalize().into_bytes().into()
    }

    fn recall(&self, fingerprint: &Fingerprint, table: &UserTables) -> Option<Verdict> {
        let now = (self.clock)();
        [&self.verified, &self.refused].into_iter().find_map(|memory| {
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.recall(fingerprint, table.generation(), now)
        })
    }

    /// Refused ones have a memory of their own, so that guessing doesn't push out those who belong here.
    fn remember(&self, fingerprint: Fingerprint, table: &UserTables, verdict: Verdict) {
        let memory = match verdict {
            Verdict::Verified(_) => &self.verified,
            Verdict::UnknownUser | Verdict::WrongPassword => &self.refused,
        };
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.remember(fingerprint, table.generation(), (self.clock)(), verdict);
    }
}

#[cfg(test)]
mod tests;
