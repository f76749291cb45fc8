//! The file of keys: what the server keeps of each. JSON, written by `larder key`, read by the server.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::limits::KeyScope;
use crate::error::AuthError;

pub(super) const PUBLIC_KEY_BYTES: usize = 32;

/// The only version of the file that there is.
const VERSION: u32 = 1;

/// A key's number, by which the server finds it; not secret. As text: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

/// What the server knows about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its number.
    pub id: KeyId,
    /// What people call it; no two keys have the same.
    pub name: Arc<str>,
    /// Whose it is; `None` for a robot.
    pub owner: Option<Arc<str>>,
    /// What it is good for: any of these.
    pub scopes: Vec<KeyScope>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends, in seconds since 1970.
    pub expires: Option<u64>,
    /// Which private key the holder has, or its first one had.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
}

/// All keys, as one reading of the file found them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTable {
    keys: BTreeMap<KeyId, Arc<KeyRecord>>,
}

impl KeyTable {
    /// Reads the content of the file at `path`, which is only named in messages.
    ///
    /// Errors: [`AuthError::KeysFileMistaken`]. A field that isn't known is one: it might take something away.
    pub fn parse(path: &Path, content: &[u8]) -> Result<KeyTable, AuthError> {
        let mistaken = |problem: String| AuthError::KeysFileMistaken { path: path.to_owned(), problem };
        let file: WireFile = serde_json::from_slice(content).map_err(|error| mistaken(error.to_string()))?;
        if file.version != VERSION {
            return Err(mistaken(format!("it has version {}, and {VERSION} is known", file.version)));
        }
        let mut table = KeyTable::default();
        let mut names = HashSet::new();
        for key in file.keys {
            let name = key.name.clone();
            let record = key.record().map_err(|problem| mistaken(format!("key {name:?}: {problem}")))?;
            if !names.insert(Arc::clone(&record.name)) || !table.insert(record) {
                return Err(mistaken(format!("key {name:?} stands there twice")));
            }
        }
        Ok(table)
    }

    /// The file's content.
    ///
    /// Errors: [`AuthError::Broken`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuthError> {
        let keys = self.keys.values().map(|record| WireKey::of(record)).collect();
        let mut bytes = serde_json::to_vec_pretty(&WireFile { version: VERSION, keys })
            .map_err(|error| AuthError::Broken { doing: "writing the keys", source: Box::new(error) })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Adds a key; `false` if there is one with its number.
    pub fn insert(&mut self, record: KeyRecord) -> bool {
        self.keys.insert(record.id, Arc::new(record)).is_none()
    }

    /// Takes a key away.
    pub fn remove(&mut self, id: KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.remove(&id)
    }

    /// The key with this number.
    pub fn find(&self, id: KeyId) -> Option<&Arc<KeyRecord>> {
        self.keys.get(&id)
    }

    /// The key with this name.
    pub fn find_by_name(&self, name: &str) -> Option<&Arc<KeyRecord>> {
        self.keys.values().find(|record| &*record.name == name)
    }

    /// All keys, in the order of their numbers.
    pub fn records(&self) -> impl Iterator<Item = &Arc<KeyRecord>> {
        self.keys.values()
    }
}

impl KeyRecord {
    pub(super) fn public_key(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public_key
    }
}

impl From<[u8; 8]> for KeyId {
    fn from(bytes: [u8; 8]) -> KeyId {
        KeyId(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<KeyId, hex::FromHexError> {
        let mut id = [0; 8];
        hex::decode_to_slice(text, &mut id)?;
        Ok(KeyId(id))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    version: u32,
    keys: Vec<WireKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    id: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    scopes: Vec<String>,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    public_key: String,
}

impl WireKey {
    fn of(record: &KeyRecord) -> WireKey {
        WireKey {
            id: record.id.to_string(),
            name: record.name.as_ref().to_owned(),
            owner: record.owner.as_ref().map(|owner| owner.as_ref().to_owned()),
            scopes: record.scopes.iter().map(KeyScope::to_string).collect(),
            created: record.created,
            expires: record.expires,
            public_key: URL_SAFE_NO_PAD.encode(record.public_key),
        }
    }

    fn record(self) -> Result<KeyRecord, String> {
        let scopes = self.scopes.iter().map(|scope| scope.parse()).collect::<Result<Vec<KeyScope>, _>>();
        let public_key = URL_SAFE_NO_PAD.decode(self.public_key).ok();
        let public_key = public_key.and_then(|bytes| bytes.try_into().ok());
        Ok(KeyRecord {
            id: self.id.parse().map_err(|_| "its id is no number of 16 hexadecimal digits")?,
            name: self.name.into(),
            owner: self.owner.map(Arc::from),
            scopes: scopes.map_err(|error| error.to_string())?,
            created: self.created,
            expires: self.expires,
            public_key: public_key.ok_or("its public_key is none")?,
        })
    }
}
