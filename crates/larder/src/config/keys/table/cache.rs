//! `cache`, Larder's own: how much of what was fetched is kept.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("cache", Section, "", "How much of what was fetched is kept, from all upstreams together; `proxy.ttl` says how long. What was pushed isn't meant."),
    own("cache.maxbytes", Integer, "0", "The most bytes; beyond them goes first what was last pulled longest ago. 0 for as many as there is room for."),
    own("cache.minfreebytes", Integer, "0", "So many bytes of the disk stay free: what was fetched makes room. 0 for no such bound."),
    own("cache.backgroundbandwidth", Integer, "67108864", "So many bytes a second come at most of blobs that no client waits for any more, all of them together. 0 for no such bound."),
    own("cache.keep", Texts, "", "Images that always stay: patterns of their repositories' names here, such as `ghcr.io/team/**`, also with one of tags, such as `docker.io/library/nginx:1.*` or `**:X.Y.Z`."),
];
