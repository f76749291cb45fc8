//! `cache`, Larder's own: how much of what was fetched is kept.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("cache", Section, "", "How much of what was fetched is kept, from all upstreams together; `proxy.ttl` says how long. What was pushed isn't meant."),
    own("cache.maxbytes", Size, "0", "The most bytes; beyond them goes first what was last pulled longest ago. 0 for as many as there is room for."),
    own("cache.minfreebytes", Size, "0", "So many bytes of the disk stay free: what was fetched makes room. 0 for no such bound."),
    own("cache.backgroundbandwidth", Size, "64MiB", "So many bytes a second come at most of blobs that no client waits for any more, all of them together. 0 for no such bound."),
    own("cache.keep", Texts, "", "Images that always stay: patterns of their repositories' names here, such as `ghcr.io/team/**`, also with one of tags, such as `docker.io/library/nginx:1.*` or `**:X.Y.Z`."),
    own("cache.warm", Sections, "", "Images that are fetched before anybody asks for them, a moment after the start and then from time to time. Only what isn't here is fetched, and nothing of an upstream whose rate limit nears its end."),
    own("cache.warm[].images", Texts, "", "Required. The images, as they are called here, such as `docker.io/library/nginx:1`; `nginx:1` means that one."),
    own("cache.warm[].platforms", Texts, "", "The platforms to fetch, such as `linux/arm64`; `all` for all. Left out, that of the machine that Larder runs on."),
    own("cache.warm[].every", Duration, "24h", "How often they are fetched anew; `0s` for once after each start. What could not be had is tried again after ten minutes."),
    own("cache.warm[].pin", Boolean, "false", "Whether they are never evicted. Otherwise each fetch counts as a pull."),
];
