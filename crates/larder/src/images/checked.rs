//! Content that is hashed on its way: what is damaged is never passed on as whole.

use std::io::{self, Read};

use larder_oci::{Digest, Hasher};

/// A reader of so many bytes that fails at their end, or where they end too early, unless they hash to a digest.
pub(super) struct Checked<R> {
    reader: R,
    hasher: Hasher,
    digest: Digest,
    left: u64,
    problem: fn(&Digest, &Digest) -> String,
}

impl<R: Read> Checked<R> {
    /// `problem` says what is wrong, of the digest that it should have and the one that it has.
    pub(super) fn new(
        reader: R,
        digest: Digest,
        size: u64,
        problem: fn(&Digest, &Digest) -> String,
    ) -> Checked<R> {
        Checked { reader, hasher: Hasher::new(digest.algorithm()), digest, left: size, problem }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        self.left = self.left.saturating_sub(read as u64);
        if self.left == 0 || read == 0 {
            let hashed = self.hasher.clone().finish();
            if hashed != self.digest {
                let problem = (self.problem)(&self.digest, &hashed);
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], of: &[u8]) -> io::Result<Vec<u8>> {
        let problem = |_: &Digest, hashed: &Digest| format!("it is {hashed}");
        let mut read = Vec::new();
        let checked = Checked::new(bytes, Digest::sha256(of), of.len() as u64, problem);
        checked.take(of.len() as u64).read_to_end(&mut read)?;
        Ok(read)
    }

    #[test]
    fn only_what_is_whole_and_right_comes_to_its_end() {
        assert_eq!(read(b"content", b"content").unwrap(), b"content");
        assert_eq!(read(b"", b"").unwrap(), b"");
        for wrong in [b"contemt".as_slice(), b"conten", b""] {
            let error = read(wrong, b"content").unwrap_err();
            assert!(error.to_string().contains(&Digest::sha256(wrong).to_string()), "{error}");
        }
    }
}
