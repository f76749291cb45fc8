//! `cache` and `proxy.ttl`: how much of what was fetched is kept, and how fast what nobody waits for is fetched.

use std::time::Duration;

use larder_core::{DEFAULT_BACKGROUND_BANDWIDTH, Keep, KeptImages, WarmEntry, WarmImage, parse_image};
use larder_oci::RepositoryPattern;

use super::super::typed::CacheBounds;
use super::Reader;
use super::upstreams::{Item, tag_pattern};
use crate::config::{platform::Wanted, report::Mistake, value::Value};

/// As long as registry:2.
const UNUSED_FOR: Duration = Duration::from_secs(168 * 3600);

/// How often what is fetched ahead is fetched anew.
const WARM_EVERY: Duration = Duration::from_secs(24 * 3600);

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
            warm: self.warm(),
        }
    }

    /// Bytes in a second; 0 is an answer of its own, for no bound.
    fn background_bandwidth(&mut self) -> u64 {
        const KEY: &str = "cache.backgroundbandwidth";
        let Some((number, origin)) = self.size(KEY) else { return DEFAULT_BACKGROUND_BANDWIDTH };
        u64::try_from(number).unwrap_or_else(|_| {
            self.invalid(KEY, origin, "must be a number of bytes in a second, or 0 for no bound");
            DEFAULT_BACKGROUND_BANDWIDTH
        })
    }

    fn warm(&mut self) -> Vec<WarmEntry> {
        let items = self.set_value("cache.warm").map(Value::items).unwrap_or_default();
        items.iter().flat_map(|item| Item { reader: self, item, path: "cache.warm[]" }.warm()).collect()
    }

    /// A number of bytes; nothing, and 0, mean none.
    fn bound_in_bytes(&mut self, key: &str) -> Option<u64> {
        let (number, origin) = self.size(key)?;
        match u64::try_from(number) {
            Ok(number) => (number > 0).then_some(number),
            Err(_) => {
                self.invalid(key, origin, "must be a number of bytes, or 0 for no bound");
                None
            }
        }
    }
}

impl Item<'_, '_> {
    fn warm(mut self) -> Vec<WarmEntry> {
        let mut platforms = Vec::new();
        let written = self.texts("platforms");
        for (text, origin) in &written {
            match text.parse::<Wanted>() {
                Ok(wanted) => platforms.push(wanted),
                Err(error) => self.invalid("platforms", origin, format!("holds a wrong one: {error}")),
            }
        }
        let platforms = Wanted::platforms(&platforms);
        let every = self.duration("every").unwrap_or(WARM_EVERY);
        let (every, is_pinned) = ((every > Duration::ZERO).then_some(every), self.boolean("pin", false));
        let images = self.texts("images");
        if images.is_empty() {
            let why = "they are what is fetched, such as docker.io/library/nginx:1";
            let mistake = Mistake::Missing { key: "cache.warm[].images", why };
            self.reader.report.error(&self.item.origin, mistake);
        }
        let mut entries = Vec::new();
        for (text, origin) in images {
            match parse_image(text) {
                Ok((repository, reference)) => {
                    let image = WarmImage { repository, reference, platforms: platforms.clone() };
                    entries.push(WarmEntry { image, every, is_pinned });
                }
                Err(error) => self.invalid("images", origin, format!("holds {text:?}: {error}")),
            }
        }
        entries
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
