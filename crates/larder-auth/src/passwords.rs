//! Checking passwords without letting that be felt.
//!
//! bcrypt is slow on purpose, and docker sends the same password with every token request, five at once.
//! So there are four layers before it runs: a memory of recent answers that holds no password
//! ([`memory`]), one run for all who ask the same at the same time ([`flights`]), a growing pause for
//! whoever was wrong too often ([`guesses`]), and a queue for as many runs as there are cores, off the async
//! threads, in which no flood of wrong passwords makes the others wait ([`turns`]).
//!
//! Refused passwords are remembered as well: a dockerd with a mirror sends its Docker Hub password with
//! every pull, and would make each of them cost a bcrypt run for nothing.

mod flights;
mod guesses;
mod memory;
mod turns;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::clock::Clock;
use crate::error::AuthError;
use crate::htpasswd::shorten;
use crate::origin::{Neighbourhood, Origin};
use crate::secret::Password;
use crate::users::{UserTables, Users};
use flights::Flights;
use guesses::{Guesses, Pair};
use memory::Memory;
use turns::{Lane, Turns};

/// The most answers remembered. An entry is some 100 bytes; a thousand different logins within ten minutes
/// is a large company, and one that is forgotten costs one bcrypt run.
const MOST_REMEMBERED: usize = 1_000;

/// How long an answer counts. Longer would save nothing that is felt; the users file's change ends it at
/// once anyway.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// For how many passwords, and for how long, it is known that they were right. That lets nobody in: it says
/// only that whoever sends one isn't guessing.
const MOST_FAMILIAR: usize = 4_000;
const FAMILIAR_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Checks users and passwords against the users files.
pub struct Passwords {
    users: RwLock<Arc<Users>>,
    turns: Arc<Turns>,
    flights: Arc<Flights>,
    guesses: Arc<Guesses>,
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

/// What is remembered of a password whatever the users files hold now.
const OF_ALL_GENERATIONS: u64 = 0;

/// A keyed hash of user and password: equal for equal ones, and useless without the key of this process.
type Fingerprint = [u8; 32];

/// What a bcrypt run leaves behind, even when nobody waits for it any more.
struct Notes {
    fingerprints: Hmac<Sha256>,
    verified: Mutex<Memory>,
    refused: Mutex<Memory>,
    familiar: Mutex<Memory>,
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
        let memory = |most, lifetime| Mutex::new(Memory::new(most, lifetime));
        let notes = Notes {
            fingerprints: Hmac::new(&block.into()),
            verified: memory(MOST_REMEMBERED, REMEMBERED_FOR),
            refused: memory(MOST_REMEMBERED, REMEMBERED_FOR),
            familiar: memory(MOST_FAMILIAR, FAMILIAR_FOR),
            runs_done: AtomicU64::new(0),
            clock,
        };
        Passwords {
            users: RwLock::new(users.into()),
            turns: Arc::new(Turns::new(runs_at_once.get())),
            flights: Arc::default(),
            guesses: Arc::default(),
            notes: Arc::new(notes),
        }
    }

    /// Whether this password belongs to this user, as of the users file now.
    ///
    /// An unknown user costs the time of a known one.
    ///
    /// Errors: [`AuthError::TooManyGuesses`] when this user was given wrong passwords from there too often,
    /// and [`AuthError::TooManyLogins`] when it can't be checked soon: in both cases nothing was found out.
    /// [`AuthError::Broken`].
    ///
    /// # Cancel safety
    ///
    /// A caller that leaves doesn't stop a bcrypt run that has begun; its answer is remembered for the
    /// others, and its core stays counted until it ends.
    pub async fn verify(
        &self,
        user: &str,
        password: &Password,
        origin: &Origin,
    ) -> Result<Verdict, AuthError> {
        let table = self.users().current();
        let fingerprint = self.notes.fingerprint(user, password.expose());
        if let Some(verdict) = self.notes.recall(&fingerprint, &table) {
            return Ok(verdict);
        }
        let seat = self.flights.board(fingerprint).seat().await;
        if let Some(verdict) = self.notes.recall(&fingerprint, &table) {
            return Ok(verdict);
        }
        let neighbourhood = origin.neighbourhood();
        let (lane, guess) = if self.notes.is_familiar(&fingerprint) {
            (Lane::Familiar, None)
        } else {
            let now = self.notes.now();
            let pair = self.notes.pair(user, neighbourhood);
            let guess = self
                .guesses
                .admit(pair, neighbourhood, now)
                .map_err(|wait| AuthError::TooManyGuesses { user: shorten(user), wait })?;
            (self.guesses.lane(neighbourhood, now), Some(guess))
        };
        let turn = self.turns.take(lane, neighbourhood).await?;
        let notes = Arc::clone(&self.notes);
        let (user, password) = (user.to_owned(), password.clone());
        let run = tokio::task::spawn_blocking(move || {
            let verdict = check(&table, &user, &password)?;
            notes.runs_done.fetch_add(1, Ordering::Relaxed);
            notes.remember(fingerprint, &table, verdict.clone());
            match (guess, &verdict) {
                (Some(guess), Verdict::Verified(_)) => guess.was_right(notes.now()),
                (Some(guess), Verdict::UnknownUser | Verdict::WrongPassword) => guess.was_wrong(notes.now()),
                (None, _) => {}
            }
            drop((seat, turn));
            Ok(verdict)
        });
        let broken = |source| AuthError::Broken { doing: "checking a password", source };
        run.await.map_err(|error| broken(error.into()))?
    }

    /// Whether there is such a user, as of the users file now.
    pub fn knows(&self, user: &str) -> bool {
        self.users().current().contains(user)
    }

    /// What tells this user's password from another, if there is such a user: of its hash, which has a salt, so that it
    /// says nothing about the password.
    pub(crate) fn mark_of(&self, user: &str) -> Option<String> {
        self.users().current().find(user).map(|(.., hash)| hash.mark())
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
    fn fingerprint(&self, user: &str, password: &[u8]) -> Fingerprint {
        let mut hmac = self.fingerprints.clone();
        hmac.update(&(user.len() as u64).to_le_bytes());
        hmac.update(user.as_bytes());
        hmac.update(password);
        hmac.finalize().into_bytes().into()
    }

    /// The user as asked for from there: of names that come from outside none is kept.
    fn pair(&self, user: &str, neighbourhood: Neighbourhood) -> Pair {
        self.fingerprint(user, &neighbourhood.to_bytes())
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Whether this was right lately, whatever the users file holds now.
    fn is_familiar(&self, fingerprint: &Fingerprint) -> bool {
        let familiar = self.familiar.lock().unwrap_or_else(PoisonError::into_inner);
        familiar.recall(fingerprint, OF_ALL_GENERATIONS, self.now()).is_some()
    }

    fn recall(&self, fingerprint: &Fingerprint, table: &UserTables) -> Option<Verdict> {
        let now = self.now();
        [&self.verified, &self.refused].into_iter().find_map(|memory| {
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.recall(fingerprint, table.generation(), now)
        })
    }

    /// Refused ones have a memory of their own, so that guessing doesn't push out those who belong here.
    fn remember(&self, fingerprint: Fingerprint, table: &UserTables, verdict: Verdict) {
        let memory = match verdict {
            Verdict::Verified(_) => {
                let mut familiar = self.familiar.lock().unwrap_or_else(PoisonError::into_inner);
                familiar.remember(fingerprint, OF_ALL_GENERATIONS, self.now(), verdict.clone());
                &self.verified
            }
            Verdict::UnknownUser | Verdict::WrongPassword => &self.refused,
        };
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.remember(fingerprint, table.generation(), self.now(), verdict);
    }
}

#[cfg(test)]
mod tests;
