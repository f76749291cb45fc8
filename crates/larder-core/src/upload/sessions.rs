use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use larder_oci::{RepoName, UploadId};
use larder_storage::Staged;
use tokio::sync::{OwnedMutexGuard, watch};

/// Sessions whose hash is remembered between requests. Each costs an open file and a hash state;
/// beyond this the longest unused are forgotten and read again if their client comes back.
const REMEMBERED: usize = 256;

/// The upload sessions that this process has seen.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<HashMap<(RepoName, UploadId), Arc<Session>>>,
}

struct Session {
    /// What the session's file holds; locked by the request that writes it.
    content: Arc<tokio::sync::Mutex<Content>>,
    /// How often the session was taken over: whoever holds it watches this.
    turns: watch::Sender<u64>,
}

#[derive(Default)]
struct Content {
    staged: Option<Staged>,
    last_used: Option<SystemTime>,
}

/// One request's turn at a session; nobody else has one until it is dropped.
pub(crate) struct Turn {
    content: OwnedMutexGuard<Content>,
    later: LaterTurns,
}

/// Tells one request when a newer one asks for its session.
#[derive(Clone)]
pub(crate) struct LaterTurns {
    turns: watch::Receiver<u64>,
    own: u64,
}

/// A turn at a session whose content is known.
pub(crate) struct Held(Turn);

impl Sessions {
    pub(crate) fn insert(&self, repository: RepoName, id: UploadId, staged: Staged, now: SystemTime) {
        let content = Content { staged: Some(staged), last_used: Some(now) };
        let mut table = self.lock();
        table.insert((repository, id), Arc::new(Session::new(content)));
        if table.len() > REMEMBERED {
            forget_longest_unused(&mut table);
        }
    }

    /// Stops whoever writes the session and waits for the turn.
    pub(crate) async fn take_over(&self, repository: &RepoName, id: UploadId) -> Turn {
        let session = self.session(repository, id);
        let mut own = 0;
        session.turns.send_modify(|turns| {
            *turns += 1;
            own = *turns;
        });
        let later = LaterTurns { turns: session.turns.subscribe(), own };
        Turn { content: Arc::clone(&session.content).lock_owned().await, later }
    }

    /// The turn, if nobody has it; stops nobody.
    pub(crate) fn take_if_idle(&self, repository: &RepoName, id: UploadId) -> Option<Turn> {
        let session = self.session(repository, id);
        let content = Arc::clone(&session.content).try_lock_owned().ok()?;
        let turns = session.turns.subscribe();
        let own = *turns.borrow();
        Some(Turn { content, later: LaterTurns { turns, own } })
    }

    /// Returns when nobody writes the session, or after `patience`.
    pub(crate) async fn wait_until_idle(&self, repository: &RepoName, id: UploadId, patience: Duration) {
        let session = self.lock().get(&(repository.clone(), id)).cloned();
        if let Some(session) = session {
            // Whether it was the one or the other makes no difference to the caller.
            let _ = tokio::time::timeout(patience, session.content.lock()).await;
        }
    }

    fn session(&self, repository: &RepoName, id: UploadId) -> Arc<Session> {
        let mut table = self.lock();
        if table.len() > REMEMBERED {
            forget_longest_unused(&mut table);
        }
        let session = table
            .entry((repository.clone(), id))
            .or_insert_with(|| Arc::new(Session::new(Content::default())));
        Arc::clone(session)
    }

    pub(crate) fn forget(&self, repository: &RepoName, id: UploadId) {
        self.lock().remove(&(repository.clone(), id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(RepoName, UploadId), Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room by a quarter, so that a full table isn't searched at each new session.
fn forget_longest_unused(table: &mut HashMap<(RepoName, UploadId), Arc<Session>>) {
    let mut idle: Vec<(Option<SystemTime>, (RepoName, UploadId))> = table
        .iter()
        // Counted once, nobody is on the way to the session's lock; then nobody must hold it either.
        .filter(|(_, session)| Arc::strong_count(session) == 1)
        .filter_map(|(key, session)| {
            session.content.try_lock().ok().map(|content| (content.last_used, key.clone()))
        })
        .collect();
    idle.sort();
    for (_, key) in idle.into_iter().take(REMEMBERED / 4) {
        table.remove(&key);
    }
}

impl Session {
    fn new(content: Content) -> Session {
        Session { content: Arc::new(tokio::sync::Mutex::new(content)), turns: watch::Sender::new(0) }
    }
}

impl LaterTurns {
    /// Completes when there is one; also if it came before this was called.
    pub(crate) async fn came(&self) {
        if self.turns.clone().wait_for(|latest| *latest > self.own).await.is_err() {
            // The session is gone from memory: nobody can ask for it any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Turn {
    pub(crate) fn take_staged(&mut self) -> Option<Staged> {
        self.content.staged.take()
    }
}

impl Held {
    pub(crate) fn new(mut turn: Turn, staged: Staged, now: SystemTime) -> Held {
        turn.content.staged = Some(staged);
        turn.content.last_used = Some(now);
        Held(turn)
    }

    /// Tells when somebody else asks for the session.
    pub(crate) fn later_turns(&self) -> LaterTurns {
        self.0.later.clone()
    }

    pub(crate) fn staged(&self) -> Option<&Staged> {
        self.0.content.staged.as_ref()
    }

    pub(crate) fn staged_mut(&mut self) -> Option<&mut Staged> {
        self.0.content.staged.as_mut()
    }

    pub(crate) fn take_staged(&mut self) -> Option<Staged> {
        self.0.take_staged()
    }
}
