//! `access`, Larder's own: who may do what.

use super::super::{Key, Kind::*};
use super::own;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    own("access", Section, "", "Who may do what. Without it every user may do everything."),
    own("access.groups", Anything, "", "A map from a group's name to its users: a list, or `{htpasswd: FILE}` for everybody in a file."),
    own("access.rules", Sections, "", "What some rule allows and none forbids is allowed, in whatever order they stand."),
    own("access.rules[].who", OneOrMore, "", "Required. Users, groups, `anonymous` for whoever comes, `authenticated` for whoever is logged in."),
    own("access.rules[].may", OneOrMore, "", "What they may do: `pull`, `push`, `delete`, `list`, `admin`, or `all`."),
    own("access.rules[].may_not", OneOrMore, "", "What they may not do, whatever else allows it; instead of `may`."),
    own("access.rules[].in", OneOrMore, "", "The repositories that are meant, such as `team/**`; all when left out."),
];
