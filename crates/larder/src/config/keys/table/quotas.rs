//! `quotas`, Larder's own: how much repositories may hold together.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("quotas", Sections, "", "How much repositories may hold together. A push that would exceed one of the quotas of its repository is denied; what is there stays."),
    own("quotas[].in", OneOrMore, "", "The repositories that are meant, such as `team/**`, all of them together; all when left out."),
    own("quotas[].maxbytes", Size, "", "The most bytes of what their manifests name, each content counted once. With `maxtags` or alone."),
    own("quotas[].maxtags", Integer, "", "The most tags."),
    own("quotas[].cached", Boolean, "false", "Whether what was fetched from upstreams counts, too. Fetching is never denied."),
];
