use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::secret::BearerToken;
use crate::token::Content;

/// The most tokens remembered. A client uses one for as many requests as it has layers; a thousand are the
/// clients of some minutes in a large company. One is some hundred bytes, the longest 32 KiB.
const MOST_TOKENS: usize = 1000;

/// Tokens whose signatures were found good, and what they say: a client shows the same token with each of its
/// requests. Only what can never change is remembered. Whether the time is right, and whoever is named is still
/// there, is asked anew each time.
pub(crate) struct VerifiedTokens {
    tokens: Cache<String, Verified>,
}

#[derive(Clone)]
struct Verified {
    content: Arc<Content>,
    generation: u64,
}

impl VerifiedTokens {
    pub(crate) fn new() -> VerifiedTokens {
        VerifiedTokens { tokens: Cache::new(MOST_TOKENS) }
    }

    /// What the token says, if it was found good with the keys of this generation, or else what `verify` finds.
    pub(crate) fn content<E>(
        &self,
        token: &BearerToken,
        generation: u64,
        verify: impl FnOnce() -> Result<Content, E>,
    ) -> Result<Arc<Content>, E> {
        if let Some(known) = self.tokens.get(token.expose()).filter(|known| known.generation == generation) {
            return Ok(known.content);
        }
        let content = Arc::new(verify()?);
        let verified = Verified { content: Arc::clone(&content), generation };
        self.tokens.insert(token.expose().to_owned(), verified);
        Ok(content)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use larder_oci::Actor;

    use super::*;

    fn content() -> Result<Content, ()> {
        Ok(Content { actor: Actor::Anonymous, access: [].into(), key: None, not_before: 0, expires: 0 })
    }

    #[test]
    fn what_was_verified_is_not_verified_again_until_the_keys_change() {
        let tokens = VerifiedTokens::new();
        let token = BearerToken::from("a.b.c".to_owned());
        assert!(tokens.content(&token, 1, || Err(())).is_err());
        assert!(tokens.content(&token, 1, content).is_ok(), "what was refused is not remembered");
        assert!(tokens.content(&token, 1, || Err(())).is_ok());
        assert!(tokens.content(&token, 2, || Err(())).is_err());
        assert!(tokens.content(&BearerToken::from("a.b.d".to_owned()), 1, || Err(())).is_err());
    }

    #[test]
    fn the_memory_has_a_bound() {
        let tokens = VerifiedTokens::new();
        for number in 0..10 * MOST_TOKENS {
            tokens.content(&BearerToken::from(number.to_string()), 1, content).unwrap();
        }
        assert!(tokens.len() <= MOST_TOKENS, "{}", tokens.len());
    }
}
