//! Hashes of passwords: bcrypt, which registry:2 reads, and what else is kept and strong, sha-crypt and
//! Argon2. Each was checked to be one before it is believed.

use std::fmt;

use argon2::{Argon2, PasswordVerifier as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha_crypt::{PasswordHashRef, ShaCrypt};
use sha2::{Digest as _, Sha256};

use crate::error::{AuthError, HashKind, LineProblem};
use crate::htpasswd::DEFAULT_COST;
use crate::secret::Password;

/// bcrypt's own lower bound.
pub(crate) const LOWEST_COST: u32 = 4;
/// The upper bound of the `htpasswd` tool: one check takes 8 seconds, and each further step doubles that.
pub(crate) const HIGHEST_COST: u32 = 17;

/// sha-crypt's own lower bound, and what it takes for granted.
pub(crate) const FEWEST_ROUNDS: u32 = 1_000;
const ROUNDS_UNSAID: u32 = 5_000;
/// Some two seconds; sha-crypt itself would take a thousand times that.
pub(crate) const MOST_ROUNDS: u32 = 3_000_000;

/// One check of Argon2 holds so much memory, and as many of them run at once as there are cores.
pub(crate) const MOST_ARGON2_KIB: u32 = 256 << 10;
/// Memory times passes: some four seconds.
const MOST_ARGON2_WORK: u64 = 4 << 20;
/// Lanes are computed one after the other.
const MOST_ARGON2_LANES: u32 = 64;

/// What sha-crypt and Argon2 read of a password; sha-crypt's time grows with the square of its length. A longer
/// one is wrong.
const LONGEST_PASSWORD: usize = 1024;

/// A hash that was checked to be one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash {
    /// In the spelling that the library takes.
    text: String,
    cost: Cost,
}

/// The kind of a hash and what it costs to check, cheap ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Sha256Crypt { rounds: u32 },
    Sha512Crypt { rounds: u32 },
    Bcrypt { cost: u32 },
    Argon2 { variant: Variant, version: u32, kib: u32, passes: u32, lanes: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Variant {
    D,
    I,
    Id,
}

impl PasswordHash {
    /// Reads what stands behind a user's name.
    pub(crate) fn parse(text: &str) -> Result<PasswordHash, LineProblem> {
        if let Some(rest) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix)) {
            return bcrypt_hash(rest);
        }
        if text.starts_with("$5$") || text.starts_with("$6$") {
            return sha_crypt_hash(text);
        }
        if text.starts_with("$argon2") {
            return argon2_hash(text);
        }
        Err(LineProblem::OtherHash(kind_of(text)))
    }

    /// Differs from other hashes' marks, and tells nothing of this one.
    pub(crate) fn mark(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.text))
    }

    /// Whether the password has this hash. Takes milliseconds to seconds: never on an async thread.
    ///
    /// With bcrypt, a password of more than 72 bytes counts by its first 72, as registry:2 has it (Go's
    /// bcrypt refuses longer ones where it makes hashes, never where it compares) and as `htpasswd` hashes it.
    pub(crate) fn matches(&self, password: &Password) -> Result<bool, AuthError> {
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| AuthError::Broken {
            doing: "checking a password",
            source,
        };
        let password = password.expose();
        if let Cost::Bcrypt { .. } = self.cost {
            return bcrypt::verify(password, &self.text).map_err(|error| broken(Box::new(error)));
        }
        // Too long is wrong, and takes the time that wrong takes.
        let (password, fits) = match password.get(..LONGEST_PASSWORD) {
            Some(beginning) => (beginning, password.len() == LONGEST_PASSWORD),
            None => (password, true),
        };
        let outcome = match self.cost {
            Cost::Argon2 { .. } => Argon2::default().verify_password(password, self.text.as_str()),
            Cost::Sha256Crypt { .. } | Cost::Sha512Crypt { .. } | Cost::Bcrypt { .. } => {
                let hash =
                    PasswordHashRef::new(&self.text).map_err(|error| broken(error.to_string().into()))?;
                ShaCrypt::SHA512.verify_password(password, hash)
            }
        };
        match outcome {
            Ok(()) => Ok(fits),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(broken(error.to_string().into())),
        }
    }

    /// A hash that belongs to nobody and takes as long as this one: salt and hash are all zeros, which `.`
    /// stands for, and Argon2's `A`.
    fn of_nobody(cost: Cost) -> PasswordHash {
        let text = match cost {
            Cost::Bcrypt { cost } => format!("$2b${cost:02}${:.<53}", ""),
            Cost::Sha256Crypt { rounds } => format!("$5$rounds={rounds}${:.<16}${:.<43}", "", ""),
            Cost::Sha512Crypt { rounds } => format!("$6$rounds={rounds}${:.<16}${:.<86}", "", ""),
            Cost::Argon2 { variant, version, kib, passes, lanes } => {
                let (salt, hash) = (STANDARD_NO_PAD.encode([0; 16]), STANDARD_NO_PAD.encode([0; 32]));
                format!("${}$v={version}$m={kib},t={passes},p={lanes}${salt}${hash}", variant.name())
            }
        };
        PasswordHash { text, cost }
    }
}

/// What to check an unknown user's password against: a hash of nobody, of the kind and cost that most have. Of
/// two that are equally frequent it is the dearer one's.
pub(crate) fn prevailing_stand_in<'a>(hashes: impl Iterator<Item = &'a PasswordHash>) -> PasswordHash {
    let mut counts = std::collections::BTreeMap::new();
    for hash in hashes {
        *counts.entry(hash.cost).or_insert(0_usize) += 1;
    }
    let prevailing = counts.into_iter().max_by_key(|&(cost, count)| (count, cost)).map(|(cost, _)| cost);
    PasswordHash::of_nobody(prevailing.unwrap_or(Cost::Bcrypt { cost: DEFAULT_COST }))
}

/// `<cost>$<22 characters of salt><31 characters of hash>`
fn bcrypt_hash(text: &str) -> Result<PasswordHash, LineProblem> {
    let parse = || {
        let (cost, encoded) = text.split_once('$')?;
        if cost.len() != 2 || !is_number(cost) || encoded.len() != 53 {
            return None;
        }
        let (salt, hash) = encoded.split_at_checked(22)?;
        // The last characters of both hold a few bits that mean nothing. Some libraries fill them, Go's
        // bcrypt (so registry:2) ignores them and the bcrypt crate doesn't: decode and spell them anew.
        let salt = LENIENT.decode(salt).ok()?;
        let hash = LENIENT.decode(hash).ok()?;
        let text = format!("$2b${cost}${}{}", LENIENT.encode(salt), LENIENT.encode(hash));
        Some((text, cost.parse().ok()?))
    };
    let (text, cost) = parse().ok_or(LineProblem::BrokenBcrypt)?;
    let in_range = (LOWEST_COST..=HIGHEST_COST).contains(&cost);
    if in_range {
        Ok(PasswordHash { text, cost: Cost::Bcrypt { cost } })
    } else {
        Err(LineProblem::Cost(cost))
    }
}

/// `$5$` or `$6$`, `rounds=<number>$` or nothing, at most 16 characters of salt, `$`, 43 or 86 of hash.
fn sha_crypt_hash(text: &str) -> Result<PasswordHash, LineProblem> {
    let broken = LineProblem::BrokenShaCrypt;
    let (is_sha256, rest) = match (text.strip_prefix("$5$"), text.strip_prefix("$6$")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(broken),
    };
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (number, rest) = rest.split_once('$').ok_or(broken)?;
            if !is_number(number) || number.starts_with('0') {
                return Err(broken);
            }
            (number.parse().map_err(|_| broken)?, rest)
        }
        None => (ROUNDS_UNSAID, rest),
    };
    let (salt, hash) = rest.split_once('$').ok_or(broken)?;
    let length = if is_sha256 { 43 } else { 86 };
    let spelled_right =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
    if salt.is_empty()
        || salt.len() > 16
        || hash.len() != length
        || !spelled_right(salt)
        || !spelled_right(hash)
    {
        return Err(broken);
    }
    if !(FEWEST_ROUNDS..=MOST_ROUNDS).contains(&rounds) {
        return Err(LineProblem::Rounds(rounds));
    }
    let cost = if is_sha256 { Cost::Sha256Crypt { rounds } } else { Cost::Sha512Crypt { rounds } };
    Ok(PasswordHash { text: text.to_owned(), cost })
}

/// `$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>`
fn argon2_hash(text: &str) -> Result<PasswordHash, LineProblem> {
    let broken = || LineProblem::BrokenArgon2;
    let hash = argon2::PasswordHash::new(text).map_err(|_| broken())?;
    let params = argon2::Params::try_from(&hash).map_err(|_| broken())?;
    let variant = [Variant::D, Variant::I, Variant::Id]
        .into_iter()
        .find(|variant| variant.name() == hash.algorithm.as_str())
        .ok_or_else(broken)?;
    let version = hash.version.unwrap_or(19);
    argon2::Version::try_from(version).map_err(|_| broken())?;
    let salt_length = hash.salt.as_ref().map_or(0, |salt| salt.len());
    if salt_length < argon2::MIN_SALT_LEN || hash.hash.is_none() || !params.data().is_empty() {
        return Err(broken());
    }
    let (kib, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    let work = u64::from(kib).saturating_mul(passes.into());
    if kib > MOST_ARGON2_KIB || work > MOST_ARGON2_WORK || lanes > MOST_ARGON2_LANES {
        return Err(LineProblem::Argon2TooDear);
    }
    let cost = Cost::Argon2 { variant, version, kib, passes, lanes };
    Ok(PasswordHash { text: text.to_owned(), cost })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Variant::D => "argon2d",
            Variant::I => "argon2i",
            Variant::Id => "argon2id",
        }
    }
}

impl fmt::Debug for PasswordHash {
    /// Hashes can be guessed at offline, so they don't go into logs either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}]", self.cost)
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// What somebody put there instead.
fn kind_of(hash: &str) -> HashKind {
    let by_prefix = [
        ("$apr1$", HashKind::Apr1),
        ("{SHA}", HashKind::Sha1),
        ("$1$", HashKind::Md5Crypt),
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

#[cfg(test)]
mod tests;
