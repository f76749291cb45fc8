//! `cache` and `proxy.ttl`: how much of what was fetched is kept, and how fast what nobody waits for is fetched.

use std::time::Duration;

use larder_core::{DEFAULT_BACKGROUND_BANDWIDTH, Keep, KeptImages};
use larder_oci::RepositoryPattern;

use super::super::typed::CacheBounds;
use super::Reader;
use super::upstreams::tag_pattern;

/// As long as registry:2.
const UNUSED_FOR: Duration = Duration::from_secs(168 * 3600);

impl Reader<'_> {
    pub(super) fn cache(&mut self) -> CacheBounds {
        const KEEP: &str = "cache.keep";
        // registry:2 keeps for ever what it is told to keep for no time.
        let unused_for = self.duration("proxy.ttl", UNUSED_FOR);
        let mut keep = Vec::new();
        for value in self.set_value(KEEP).map(|value| value.items()).unwrap_or_default() {
            match value.scalar().map(kept) {
                Some(Ok(pattern)) => keep.push(pattern),
                Some(Err(error)) => {
                    self.invalid(KEEP, &value.origin, format!("holds what is no pattern: {error}"));
                }
                None => {}
            }
        }
        CacheBounds {
            unused_for: (unused_for > Duration::ZERO).then_some(unused_for),
            max_bytes: self.bound_in_bytes("cache.maxbytes"),
            min_free_bytes: self.bound_in_bytes("cache.minfreebytes"),
            keep,
            background_bandwidth: self.background_bandwidth(),
        }
    }

    /// Bytes in a second; 0 is an answer of its own, for no bound.
    fn background_bandwidth(&mut self) -> u64 {
        const KEY: &str = "cache.backgroundbandwidth";
        let Some((number, origin)) = self.integer(KEY) else { return DEFAULT_BACKGROUND_BANDWIDTH };
        u64::try_from(number).unwrap_or_else(|_| {
            self.invalid(KEY, origin, "must be a number of bytes in a second, or 0 for no bound");
            DEFAULT_BACKGROUND_BANDWIDTH
        })
    }

    /// A number of bytes; nothing, and 0, mean none.
    fn bound_in_bytes(&mut self, key: &str) -> Option<u64> {
        let (number, origin) = self.integer(key)?;
        match u64::try_from(number) {
            Ok(number) => (number > 0).then_some(number),
            Err(_) => {
                self.invalid(key, origin, "must be a number of bytes, or 0 for no bound");
                None
            }
        }
    }
}

/// `library/nginx`, `team/**`, `library/nginx:1.*`, `**:X.Y.Z`.
fn kept(text: &str) -> Result<Keep, <RepositoryPattern as std::str::FromStr>::Err> {
    let (repositories, images) = match text.split_once(':') {
        None => (text, KeptImages::All),
        Some((repositories, tags)) => (repositories, KeptImages::Tagged(tag_pattern(tags))),
    };
    Ok(Keep { repositories: repositories.parse()?, images })
}

#[cfg(test)]
pub(super) mod tests;
