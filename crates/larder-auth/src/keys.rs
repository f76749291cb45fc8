//! API keys: passwords for programs, each with rights and an end of its own.
//!
//! A key is made on the server (`larder key create`), which keeps only what it needs to recognise it: a public key
//! of Ed25519 and what the key is good for ([`KeyRecord`]). The holder has the private half. So whoever reads the
//! file, or a backup of it, can't log in with what stands there.
//!
//! A holder can *narrow* a key without the server: add a [`Narrowing`], and get a key that can do less and can be
//! given away ([`chain`] has how that holds). Why not HMACs, as macaroons have them: who verifies an HMAC could have
//! made it, so that the server would have to keep the keys' secrets. Why not a library: biscuit brings a language of
//! rules and a second stack of cryptography for what is three lines of text and a hundred of code here.
//!
//! What a key may is what the policy lets its owner do, where the key's scopes and all narrowings agree, until the
//! first of its ends. A key without owner is a robot: the rules know it as `key:NAME`, a name that no user can have.

mod chain;
mod file;
mod last_use;
mod limits;

use std::path::PathBuf;
use std::sync::Arc;

use larder_oci::{Action, Actor, Resource};

use crate::clock::{Clock, unix_seconds};
use crate::error::AuthError;
use crate::followed_file::{FollowedFile, Kind};
use crate::secret::Password;
use chain::PresentedKey;
use last_use::LastUse;

pub use chain::{create_key, narrow_key};
pub use file::{KeyId, KeyRecord, KeyTable};
pub use last_use::{LastUses, parse_last_uses};
pub use limits::{KeyActions, KeyScope, KeyScopeError, Narrowing};

/// What stands before a key's name where it is named among users.
pub const KEY_PREFIX: &str = "key:";

/// The largest file of keys that is read: some 50,000 keys.
const LARGEST_FILE_BYTES: u64 = 16 << 20;

/// The keys of this registry.
pub struct Keys {
    /// `None` where there are none by construction.
    file: Option<FollowedFile<KeyTable>>,
    last_use: LastUse,
}

/// A key that somebody has shown: he may do what its owner may, as far as the key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    record: Arc<KeyRecord>,
    narrowings: Arc<[Narrowing]>,
}

/// Why a key doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// Revoked, or another registry's.
    Unknown,
    /// It isn't what it says: changed, cut, or put together from several.
    Forged,
    /// Its time is over, or a narrowing's is.
    Expired,
    /// Its owner is no user any more.
    OwnerGone,
}

impl KeyProblem {
    /// A sentence for the client and the log.
    pub fn message(self) -> &'static str {
        match self {
            KeyProblem::Unknown => {
                "the API key was revoked, or another registry made it; make a new one with larder key create"
            }
            KeyProblem::Forged => "the API key is damaged; copy it again, whole",
            KeyProblem::Expired => "the API key has expired; make a new one with larder key create",
            KeyProblem::OwnerGone => {
                "the API key's owner is no longer a user of this registry; ask another user for one"
            }
        }
    }
}

impl Keys {
    /// No keys at all.
    pub fn none() -> Keys {
        Keys { file: None, last_use: LastUse::default() }
    }

    /// The keys in this file, which need not be there yet: it is read again when it changes. `last_uses` is
    /// what is known of their use before this process.
    ///
    /// Errors: [`AuthError::FileUnreadable`] and [`AuthError::KeysFileMistaken`]; either must keep the server
    /// from starting.
    pub fn open(path: impl Into<PathBuf>, last_uses: LastUses) -> Result<Keys, AuthError> {
        let kind = Kind {
            name: "file of API keys",
            content: "keys",
            largest_bytes: LARGEST_FILE_BYTES,
            parse: KeyTable::parse,
            when_absent: Some(KeyTable::default),
        };
        let file = FollowedFile::open(path.into(), kind)?;
        Ok(Keys { file: Some(file), last_use: LastUse::after(last_uses) })
    }

    /// What was last used when, if that has changed since this was asked before: for whoever keeps it. No pull
    /// writes anything.
    pub fn last_uses_if_changed(&self) -> Option<LastUses> {
        self.last_use.if_changed()
    }

    /// Whether there is a key of this name, without its prefix.
    pub fn knows_name(&self, name: &str) -> bool {
        self.current().is_some_and(|table| table.find_by_name(name).is_some())
    }

    /// Whose key the password is, if it has a key's form. Costs a signature check for each narrowing: no more
    /// than a millisecond, so it may be done on an async thread.
    pub(crate) fn recognise(
        &self,
        password: &Password,
        is_user: impl Fn(&str) -> bool,
        clock: &Clock,
    ) -> Option<Result<Arc<KeyHolder>, KeyProblem>> {
        let presented = PresentedKey::read(password)?;
        Some(presented.and_then(|presented| {
            let record = self.find(presented.id()).ok_or(KeyProblem::Unknown)?;
            let narrowings = presented.verify(record.public_key())?;
            self.admit(record, narrowings.into(), is_user, clock)
        }))
    }

    /// The holder of a key that was recognised before: it may be revoked or over since.
    pub(crate) fn recall(
        &self,
        id: KeyId,
        narrowings: &Arc<[Narrowing]>,
        is_user: impl Fn(&str) -> bool,
        clock: &Clock,
    ) -> Result<Arc<KeyHolder>, KeyProblem> {
        let record = self.find(id).ok_or(KeyProblem::Unknown)?;
        self.admit(record, Arc::clone(narrowings), is_user, clock)
    }

    fn admit(
        &self,
        record: Arc<KeyRecord>,
        narrowings: Arc<[Narrowing]>,
        is_user: impl Fn(&str) -> bool,
        clock: &Clock,
    ) -> Result<Arc<KeyHolder>, KeyProblem> {
        let now = unix_seconds(clock());
        let holder = KeyHolder { record, narrowings };
        if holder.end().is_some_and(|end| now >= end) {
            return Err(KeyProblem::Expired);
        }
        if holder.record.owner.as_deref().is_some_and(|owner| !is_user(owner)) {
            return Err(KeyProblem::OwnerGone);
        }
        self.last_use.note(holder.record.id, now);
        Ok(Arc::new(holder))
    }

    fn find(&self, id: KeyId) -> Option<Arc<KeyRecord>> {
        self.current()?.find(id).map(Arc::clone)
    }

    fn current(&self) -> Option<Arc<KeyTable>> {
        self.file.as_ref().map(FollowedFile::current)
    }
}

impl KeyHolder {
    /// Who acts: the key's owner; a robot is itself.
    pub fn actor(&self) -> Actor {
        Actor::User(match &self.record.owner {
            Some(owner) => Arc::clone(owner),
            None => self.name_in_rules(),
        })
    }

    /// What rules call it: `key:NAME`.
    pub fn name_in_rules(&self) -> Arc<str> {
        format!("{KEY_PREFIX}{}", self.record.name).into()
    }

    /// What the server knows about the key.
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }

    pub(crate) fn narrowings(&self) -> &Arc<[Narrowing]> {
        &self.narrowings
    }

    /// Whether the key goes that far; what its owner may is another question.
    pub fn covers(&self, action: Action, resource: &Resource) -> bool {
        limits::cover(&self.record.scopes, &self.narrowings, action, resource)
    }

    /// When it ends, in seconds since 1970.
    pub fn end(&self) -> Option<u64> {
        let ends = self.narrowings.iter().filter_map(|narrowing| narrowing.until);
        ends.chain(self.record.expires).min()
    }
}

#[cfg(test)]
mod tests;
