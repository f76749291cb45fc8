//! Bytes that are made and hashed once and then sent from memory.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::random::Random;

/// A random piece, as often as wanted: two gigabytes need not be in memory to be sent from there.
#[derive(Clone, Debug)]
pub(super) struct Content {
    piece: Arc<Vec<u8>>,
    times: usize,
    pub(super) digest: String,
}

impl Content {
    pub(super) fn new(seed: u64, piece_bytes: usize, times: usize) -> Self {
        let piece = Arc::new(Random::new(seed).bytes(piece_bytes));
        let mut content = Self { piece, times, digest: String::new() };
        let mut hash = Sha256::new();
        content.pieces().for_each(|piece| hash.update(piece));
        content.digest = format!("sha256:{}", hex::encode(hash.finalize()));
        content
    }

    /// Nothing at all, for a body with the length 0.
    pub(super) fn empty() -> Self {
        Self::new(0, 0, 0)
    }

    pub(super) fn length(&self) -> u64 {
        self.piece.len() as u64 * self.times as u64
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::repeat_n(self.piece.as_slice(), self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_digest_are_those_of_all_pieces() {
        let content = Content::new(7, 1000, 3);
        let bytes: Vec<u8> = content.pieces().flatten().copied().collect();
        assert_eq!(content.length(), 3000);
        assert_eq!(content.digest, crate::image::sha256(&bytes));
        assert_eq!(Content::empty().digest, crate::image::sha256(&[]));
    }
}
