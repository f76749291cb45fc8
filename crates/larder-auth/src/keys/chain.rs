//! The text of a key, and how it is narrowed.
//!
//! A key is a chain of pairs of Ed25519 keys. The server knows the first public key. Each narrowing is a block: what
//! it takes away, and the next public key, signed by the private key before. The text ends with the last private key
//! and holds no other. So whoever has a narrowed key can add blocks, as he has the last private key; he can't take
//! away or change one, since for that he would need a private key that was dropped when the block was made.
//!
//! `larder_key_` and in base64url: the key's number (8 bytes); for each block the length of its text (2 bytes, big
//! endian), the text, the next public key (32) and the signature (64); the last private key (32).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::KeyProblem;
use super::file::{KeyId, PUBLIC_KEY_BYTES};
use super::limits::Narrowing;
use crate::error::AuthError;
use crate::secret::Password;

/// What a key begins with: programs that look for leaked secrets find it, and no password is taken for one.
const BEGINNING: &str = "larder_key_";

/// Who narrows a key is seldom the third to do so; each block costs a signature check.
const MOST_BLOCKS: usize = 16;

/// A block's text: two patterns of the greatest length and the rest.
const LONGEST_NARROWING: usize = 1200;

const SEED_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// What is signed begins with this, so that no signature made for something else counts here.
const SIGNED: &[u8] = b"larder key narrowing 1\0";

/// A key as it came, cut into its parts and not verified.
pub(super) struct PresentedKey {
    id: KeyId,
    blocks: Vec<Block>,
    seed: [u8; SEED_BYTES],
}

struct Block {
    text: Vec<u8>,
    next: [u8; PUBLIC_KEY_BYTES],
    signature: [u8; SIGNATURE_BYTES],
}

/// A new key with this number, and what the server keeps of it. `seed` is fresh randomness.
///
/// Errors: [`AuthError::Broken`].
pub fn create_key(
    id: KeyId,
    seed: [u8; SEED_BYTES],
) -> Result<(Password, [u8; PUBLIC_KEY_BYTES]), AuthError> {
    let public = public_key_of(&pair(&seed)?)?;
    Ok((PresentedKey { id, blocks: Vec::new(), seed }.text(), public))
}

/// The key, narrowed further. `seed` is fresh randomness.
///
/// Errors: [`AuthError::KeyUnusable`] for a text that is no key, a narrowing that takes nothing away, and a key
/// that was narrowed too often; [`AuthError::Broken`].
pub fn narrow_key(
    key: &Password,
    narrowing: &Narrowing,
    seed: [u8; SEED_BYTES],
) -> Result<Password, AuthError> {
    let unusable = |reason: &'static str| AuthError::KeyUnusable { reason: reason.into() };
    let Some(Ok(mut key)) = PresentedKey::read(key) else {
        return Err(unusable("this is no API key: one begins with larder_key_ and is copied whole"));
    };
    let text = narrowing.to_string().into_bytes();
    if narrowing.is_nothing() {
        return Err(unusable("nothing was said that would narrow the key: add --in, --may or --for"));
    }
    if key.blocks.len() >= MOST_BLOCKS {
        return Err(unusable("the key was narrowed sixteen times, and can't be once more"));
    }
    if text.len() > LONGEST_NARROWING {
        return Err(unusable("these are too many repositories for one key: name them by a pattern"));
    }
    let next = public_key_of(&pair(&seed)?)?;
    let signature = pair(&key.seed)?.sign(&signed(key.id, &text, &next));
    let signature = signature.as_ref().try_into().map_err(|_| unusable("the signature has no known form"))?;
    key.blocks.push(Block { text, next, signature });
    key.seed = seed;
    Ok(key.text())
}

impl PresentedKey {
    /// Reads a password that has a key's form; `None` for one that hasn't.
    pub(super) fn read(password: &Password) -> Option<Result<PresentedKey, KeyProblem>> {
        let text = password.expose().strip_prefix(BEGINNING.as_bytes())?;
        const LONGEST: usize = MOST_BLOCKS * (LONGEST_NARROWING + 200) * 4 / 3;
        let bytes = (text.len() <= LONGEST).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten();
        Some(bytes.and_then(|bytes| PresentedKey::of_bytes(&bytes)).ok_or(KeyProblem::Forged))
    }

    fn of_bytes(bytes: &[u8]) -> Option<PresentedKey> {
        let (id, mut rest) = bytes.split_first_chunk()?;
        let mut blocks = Vec::new();
        while rest.len() > SEED_BYTES {
            let (length, after) = rest.split_first_chunk()?;
            let (text, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            let (next, after) = after.split_first_chunk()?;
            let (signature, after) = after.split_first_chunk()?;
            blocks.push(Block { text: text.to_vec(), next: *next, signature: *signature });
            rest = after;
        }
        let seed = rest.try_into().ok()?;
        (blocks.len() <= MOST_BLOCKS).then_some(PresentedKey { id: KeyId(*id), blocks, seed })
    }

    fn text(&self) -> Password {
        let mut bytes = self.id.0.to_vec();
        for Block { text, next, signature } in &self.blocks {
            // No block is made with a longer text.
            bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(text);
            bytes.extend(next);
            bytes.extend(signature);
        }
        bytes.extend(self.seed);
        Password::from(format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(bytes)).as_str())
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// What was taken away from the key that the server made with this public key, if this one was made from it.
    pub(super) fn verify(&self, first: &[u8; PUBLIC_KEY_BYTES]) -> Result<Vec<Narrowing>, KeyProblem> {
        let mut signer = first;
        let mut narrowings = Vec::new();
        for Block { text, next, signature } in &self.blocks {
            UnparsedPublicKey::new(&ED25519, signer)
                .verify(&signed(self.id, text, next), signature)
                .map_err(|_| KeyProblem::Forged)?;
            let text = std::str::from_utf8(text).map_err(|_| KeyProblem::Forged)?;
            narrowings.push(text.parse().map_err(|()| KeyProblem::Forged)?);
            signer = next;
        }
        let holds = pair(&self.seed).ok().and_then(|pair| public_key_of(&pair).ok());
        if holds.as_ref() == Some(signer) { Ok(narrowings) } else { Err(KeyProblem::Forged) }
    }
}

fn signed(id: KeyId, text: &[u8], next: &[u8; PUBLIC_KEY_BYTES]) -> Vec<u8> {
    // The text needs no mark of its end: what follows it has a fixed length.
    [SIGNED, &id.0, text, next].concat()
}

fn pair(seed: &[u8; SEED_BYTES]) -> Result<Ed25519KeyPair, AuthError> {
    Ed25519KeyPair::from_seed_unchecked(seed)
        .map_err(|error| AuthError::Broken { doing: "making a key of its seed", source: Box::new(error) })
}

fn public_key_of(pair: &Ed25519KeyPair) -> Result<[u8; PUBLIC_KEY_BYTES], AuthError> {
    let public = pair.public_key().as_ref();
    public
        .try_into()
        .map_err(|error| AuthError::Broken { doing: "reading a public key", source: Box::new(error) })
}
