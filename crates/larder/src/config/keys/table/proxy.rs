//! `proxy`: the registry that this one fetches from.

use super::super::{
    Key,
    Kind::*,
    Status::{self, Unneeded, Works},
};
use super::key;

const NO_TIMEOUT: Status = Unneeded("Storing what was fetched waits for nobody, and nobody for it.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("proxy", Section, Works, "", "The registry whose images are fetched and kept. It owns all names that no item of `upstreams` has as its prefix."),
    key("proxy.remoteurl", Url, Works, "", "Its address, such as `https://registry-1.docker.io`. Where there is no `auth`, nobody can push into such a cache nor delete from it, as with registry:2."),
    key("proxy.username", Text, Works, "", "The user to log in with there; without it nobody in particular."),
    key("proxy.password", Secret, Works, "", "That user's password."),
    key("proxy.exec", Section, Works, "", "A program that knows user and password, instead of these two."),
    key("proxy.exec.command", Text, Works, "", "The program: a docker credential helper, run with `get` and the host on its standard input."),
    key("proxy.exec.lifetime", Duration, Works, "", "How long its answer counts; left out for ever, with `0s` for one use."),
    key("proxy.ttl", Duration, Works, "168h", "How long what was fetched, from any upstream, is kept after it was last pulled; `0s` for ever. Tags, manifests and layers go together; what another image needs stays, and so does what was pushed."),
    key("proxy.cachewritetimeout", Duration, NO_TIMEOUT, "", "How long storing what was fetched may take."),
];
