//! The users table: Apache's htpasswd format as registry:2 reads it, bcrypt only.
//!
//! registry:2 loads lines with other hashes and then refuses their users for ever without a word. Here a
//! line that can never work is an error, so that the one who wrote it hears of it, not the one who logs in.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tracing::warn;

use crate::error::{AuthError, HashKind, LineProblem, UsersFileMistake};
use crate::passwords::Verdict;
use crate::secret::Password;

/// The bcrypt cost of registry:2's own hashes: about 60 ms on one core.
pub const DEFAULT_COST: u32 = 10;

/// bcrypt's own lower bound.
pub(crate) const LOWEST_COST: u32 = 4;
/// The upper bound of the `htpasswd` tool: one check takes 8 seconds, and each further step doubles that.
pub(crate) const HIGHEST_COST: u32 = 17;

/// bcrypt reads no further than this.
const LONGEST_PASSWORD: usize = 72;

/// The users and their hashes, as one reading of the file found them.
#[derive(Debug)]
pub struct UserTable {
    users: HashMap<Arc<str>, BcryptHash>,
    generation: u64,
    stand_in: BcryptHash,
}

/// A bcrypt hash that was checked to be one, in the canonical spelling.
pub(crate) struct BcryptHash {
    text: String,
    cost: u32,
}

/// One line for an htpasswd file, without line end, that registry:2, Apache and nginx read as well.
///
/// Errors: [`AuthError::LoginUnusable`] for a user name that the format can't hold, for a password that is
/// empty or longer than bcrypt reads, and for a cost out of range.
pub fn htpasswd_line(
    user: &str,
    password: &Password,
    cost: u32,
    salt: [u8; 16],
) -> Result<String, AuthError> {
    let unusable = |reason: &'static str| AuthError::LoginUnusable { reason: reason.into() };
    if user.is_empty() {
        return Err(unusable("the user name is empty"));
    }
    if user.contains(':') || user.contains(char::is_control) {
        return Err(unusable("a user name can't hold `:` or control characters"));
    }
    if user.trim() != user || user.starts_with('#') {
        return Err(unusable("a user name can't begin with `#` or have spaces around it"));
    }
    match password.expose().len() {
        0 => return Err(unusable("the password is empty")),
        1..=LONGEST_PASSWORD => {}
        _ => return Err(unusable("the password has more than 72 bytes, and bcrypt would ignore the rest")),
    }
    if !(LOWEST_COST..=HIGHEST_COST).contains(&cost) {
        return Err(AuthError::LoginUnusable {
            reason: format!("the bcrypt cost must be {LOWEST_COST} to {HIGHEST_COST}, not {cost}").into(),
        });
    }
    let parts = bcrypt::hash_with_salt(password.expose(), cost, salt)
        .map_err(|error| AuthError::Broken { doing: "hashing the password", source: Box::new(error) })?;
    // Apache's older libraries know 2a and 2y, but not 2b; all three name the same computation.
    Ok(format!("{user}:{}", parts.format_for_version(bcrypt::Version::TwoY)))
}

impl UserTable {
    /// Reads the content of the file at `path`, which is only named in messages. `generation` tells this
    /// reading from others.
    ///
    /// Errors: [`AuthError::UsersFileMistaken`] with every line that can't stand.
    pub fn parse(path: &Path, content: &[u8], generation: u64) -> Result<UserTable, AuthError> {
        let mut users = HashMap::new();
        let mut mistakes = Vec::new();
        // Windows editors put a mark of three bytes in front, which would become part of the first name.
        let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
        for (line, text) in (1..).zip(content.split(|&byte| byte == b'\n')) {
            match parse_line(text) {
                Ok(None) => {}
                Ok(Some((user, hash))) => {
                    if users.insert(Arc::from(user), hash).is_some() {
                        warn!(
                            path = %path.display(), line, user,
                            "the users file names a user twice; the later line counts"
                        );
                    }
                }
                Err((user, problem)) => {
                    mistakes.push(UsersFileMistake { line, user: user.map(shorten), problem });
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(AuthError::UsersFileMistaken { path: path.to_owned(), mistakes });
        }
        let stand_in = BcryptHash::of_nobody(prevailing_cost(users.values()));
        Ok(UserTable { users, generation, stand_in })
    }

    /// Whether there is such a user.
    pub fn contains(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// What the table says to this password. Takes milliseconds to seconds: never on an async thread,
    /// where [`Passwords`](crate::Passwords) is asked instead.
    pub fn check(&self, user: &str, password: &Password) -> Result<Verdict, AuthError> {
        match self.find(user) {
            None => Ok(Verdict::UnknownUser),
            Some((name, hash)) if hash.matches(password)? => Ok(Verdict::Verified(Arc::clone(name))),
            Some(_) => Ok(Verdict::WrongPassword),
        }
    }

    /// Users in the table.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// A number that each reading of the file has for itself: what was found out with one generation says
    /// nothing of another.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the password of an unknown user is checked against, so that it takes as long as a known one's:
    /// its cost is the one that most users' hashes have.
    pub(crate) fn stand_in(&self) -> &BcryptHash {
        &self.stand_in
    }

    pub(crate) fn find(&self, user: &str) -> Option<(&Arc<str>, &BcryptHash)> {
        self.users.get_key_value(user)
    }
}

impl BcryptHash {
    fn parse(text: &str) -> Result<BcryptHash, LineProblem> {
        let rest = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .ok_or_else(|| LineProblem::OtherHash(kind_of(text)))?;
        Self::parse_after_version(rest).ok_or(LineProblem::BrokenBcrypt).and_then(|hash| {
            let in_range = (LOWEST_COST..=HIGHEST_COST).contains(&hash.cost);
            if in_range { Ok(hash) } else { Err(LineProblem::Cost(hash.cost)) }
        })
    }

    /// `<cost>$<22 characters of salt><31 characters of hash>`
    fn parse_after_version(text: &str) -> Option<BcryptHash> {
        let (cost, encoded) = text.split_once('$')?;
        if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) || encoded.len() != 53 {
            return None;
        }
        let (salt, hash) = encoded.split_at_checked(22)?;
        // The last characters of both hold a few bits that mean nothing. Some libraries fill them, Go's
        // bcrypt (so registry:2) ignores them and the bcrypt crate doesn't: decode and spell them anew.
        let salt = LENIENT.decode(salt).ok()?;
        let hash = LENIENT.decode(hash).ok()?;
        let text = format!("$2b${cost}${}{}", LENIENT.encode(salt), LENIENT.encode(hash));
        Some(BcryptHash { text, cost: cost.parse().ok()? })
    }

    /// Whether the password has this hash. Takes milliseconds to seconds: never on an async thread.
    ///
    /// A password of more than 72 bytes counts by its first 72, as registry:2 has it (Go's bcrypt refuses
    /// longer ones where it makes hashes, never where it compares) and as `htpasswd` hashes it.
    pub(crate) fn matches(&self, password: &Password) -> Result<bool, AuthError> {
        bcrypt::verify(password.expose(), &self.text)
            .map_err(|error| AuthError::Broken { doing: "checking a password", source: Box::new(error) })
    }

    /// A hash that belongs to nobody: salt and hash are all zeros, which `.` stands for.
    fn of_nobody(cost: u32) -> BcryptHash {
        BcryptHash { text: format!("$2b${cost:02}${:.<53}", ""), cost }
    }
}

impl fmt::Debug for BcryptHash {
    /// Hashes can be guessed at offline, so they don't go into logs either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[bcrypt, cost {}]", self.cost)
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

type LineMistake<'a> = (Option<&'a str>, LineProblem);

/// A user and his hash; or `None` for a line that says nothing.
fn parse_line(line: &[u8]) -> Result<Option<(&str, BcryptHash)>, LineMistake<'_>> {
    let line = std::str::from_utf8(line).map_err(|_| (None, LineProblem::NotUtf8))?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (user, rest) = line.split_once(':').ok_or((None, LineProblem::NoColon))?;
    if user.is_empty() {
        return Err((None, LineProblem::NoUser));
    }
    // Apache allows further fields and registry:2 doesn't look past the hash.
    let hash = rest.split(':').next().unwrap_or(rest);
    BcryptHash::parse(hash).map(|hash| Some((user, hash))).map_err(|problem| (Some(user), problem))
}

/// What somebody put there instead of bcrypt.
fn kind_of(hash: &str) -> HashKind {
    let by_prefix = [
        ("$apr1$", HashKind::Apr1),
        ("{SHA}", HashKind::Sha1),
        ("$1$", HashKind::Md5Crypt),
        ("$5$", HashKind::Sha256Crypt),
        ("$6$", HashKind::Sha512Crypt),
        ("$2x$", HashKind::FaultyBcrypt),
    ];
    if let Some((_, kind)) = by_prefix.iter().find(|(prefix, _)| hash.starts_with(prefix)) {
        return *kind;
    }
    let crypt_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    if hash.len() == 13 && hash.bytes().all(crypt_letter) {
        return HashKind::UnixCrypt;
    }
    HashKind::PlainOrUnknown
}

/// Of two costs that are equally frequent, the dearer one.
fn prevailing_cost<'a>(hashes: impl Iterator<Item = &'a BcryptHash>) -> u32 {
    let mut counts = BTreeMap::new();
    for hash in hashes {
        *counts.entry(hash.cost).or_insert(0_usize) += 1;
    }
    counts.into_iter().max_by_key(|&(cost, count)| (count, cost)).map_or(DEFAULT_COST, |(cost, _)| cost)
}

/// Cuts a name from outside to a length that may be repeated in a message.
pub(crate) fn shorten(name: &str) -> String {
    const LONGEST_ECHO: usize = 80;
    name.chars().take(LONGEST_ECHO).collect()
}

#[cfg(test)]
mod tests;
