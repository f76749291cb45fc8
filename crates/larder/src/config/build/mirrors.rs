//! What of a cache doesn't work for dockerd, whose mirrors are asked without a login.

use larder_auth::{Effect, Who};
use larder_oci::Action;

use super::Reader;
use crate::config::{
    typed::{Access, Auth, Upstream},
    value::Origin,
};

/// The one registry that dockerd has mirrors for.
const DOCKER_HUB: &str = "docker.io";

impl Reader<'_> {
    /// Says it where a mirror of Docker Hub lets nobody pull without a login. dockerd then goes on to Docker Hub without a
    /// word: all works, and the cache stays empty.
    pub(super) fn mirrors_without_login(
        &mut self,
        upstreams: &[Upstream],
        auth: &Auth,
        access: Option<&Access>,
    ) {
        // Larder's own list of upstreams says nothing of what the operator means.
        let is_meant = |key| self.set_value(key).is_some_and(|value| value.origin != Origin::Default);
        if !is_meant("proxy.remoteurl") && !is_meant("upstreams") {
            return;
        }
        let wants_login = matches!(auth, Auth::Htpasswd { .. } | Auth::Token(_));
        let is_mirror = |upstream: &Upstream| {
            upstream.prefix.is_none() || upstream.namespaces.iter().any(|name| name == DOCKER_HUB)
        };
        let lets_anybody_pull = access.is_some_and(|access| {
            access.rules.iter().any(|rule| {
                rule.effect == Effect::May
                    && rule.who.contains(&Who::Anonymous)
                    && rule.actions.contains(&Action::Pull)
            })
        });
        if wants_login && !lets_anybody_pull && upstreams.iter().any(is_mirror) {
            let sentence = "everybody has to log in, and dockerd shows no login to a mirror: where this registry is among \
                            its registry-mirrors, it goes past it to Docker Hub without a word. Pulls by this registry's own \
                            name work; for mirrors write access: {rules: [{who: anonymous, may: pull}, {who: \
                            authenticated, may: all}]}.";
            self.report.note(&self.section_origin("auth"), sentence);
        }
    }
}
