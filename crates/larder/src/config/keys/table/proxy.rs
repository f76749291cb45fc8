//! `proxy`: the registry that this one fetches from.

use super::super::{
    Key,
    Kind::*,
    Status::{self, NotYet, Unneeded, Works},
};
use super::key;

const NO_PROXY: Status =
    NotYet("Larder can't fetch from another registry, and would answer 404 for all that it should fetch.");
const NO_PROXY_OPTIONS: Status = Unneeded("Without proxy.remoteurl it has no effect in registry:2 either.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("proxy", Section, Works, "", "The registry whose images are fetched and kept."),
    key("proxy.remoteurl", Url, NO_PROXY, "", "Its address."),
    key("proxy.username", Text, NO_PROXY_OPTIONS, "", "The user to log in with there."),
    key("proxy.password", Secret, NO_PROXY_OPTIONS, "", "That user's password."),
    key("proxy.ttl", Duration, NO_PROXY_OPTIONS, "", "How long what was fetched is kept."),
    key("proxy.exec", Section, NO_PROXY_OPTIONS, "", "A program that knows user and password."),
    key("proxy.exec.command", Text, NO_PROXY_OPTIONS, "", "The program."),
    key("proxy.exec.lifetime", Duration, NO_PROXY_OPTIONS, "", "How long what it said holds."),
    key("proxy.cachewritetimeout", Duration, NO_PROXY_OPTIONS, "", "How long storing what was fetched may take."),
];
