//! The stages of a visit, each in a file of its own, and what they hand on to each other.

mod resolve;
mod connect;
mod tls;
mod base;
mod challenge;
mod machine;
mod login;
mod mirrors;
mod push;
mod sizes;
mod slow;
mod manifests;
mod pull;
mod delete;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use larder_oci::RepoName;

use crate::canary::Canary;
use crate::doctor::Options;
use crate::finding::{Finding, Hop, Row, Severity, Stage};
use crate::hop::Front;
use crate::journal::Journal;
use crate::net::{Client, Endpoint, Scheme, Trust};
use crate::target::Target;

pub(crate) use base::{Base, http_date};
pub(crate) use challenge::Challenge;
pub(crate) use login::{Session, TokenService};
pub(crate) use manifests::accepting;

/// One examination on its way.
pub(crate) struct Visit<'v, 'j> {
    pub(crate) target: &'v Target,
    /// Whose rights are looked at, and where a canary goes.
    pub(crate) repository: RepoName,
    pub(crate) options: &'v Options,
    pub(crate) journal: &'v mut Journal<'j>,
    pub(crate) trust: Arc<Trust>,
    /// What stands in front of the registry, as soon as it has shown itself.
    pub(crate) front: Option<Front>,
    /// Whether the certificate is believed, or there is none: whether a secret may be sent.
    pub(crate) is_trusted: bool,
}

impl Visit<'_, '_> {
    /// Walks all stages as far as they lead.
    pub(crate) async fn walk(&mut self) {
        let Some(addresses) = resolve::check(self).await else { return };
        let Some(address) = connect::check(self, &addresses).await else { return };
        let Some((client, verdict)) = tls::check(self, address).await else { return };
        let base = base::check(self, &client).await;
        let spoken = machine::spoken(self, &client, verdict.as_ref());
        machine::check(self, &spoken);
        let Some(base) = base else { return };
        let Some(session) = login::check(self, &client, &base).await else { return };
        if self.options.mirrors {
            mirrors::check(self, &session, &spoken).await;
        }
        if !self.options.write {
            pull::existing(self, &session).await;
            self.skip(Stage::Push, "nothing is written without --write");
            return;
        }
        let canary = Canary::new(self.repository.clone(), self.options.seed);
        self.journal
            .begin(Stage::Push, format!("a canary is written to {} and taken away again", canary.repository));
        if push::check(self, &session, &canary).await {
            // Both wait for most of their time, and neither minds the other.
            slow::check(self, &session, &canary).await;
            sizes::check(self, &session, &canary).await;
            manifests::check(self, &session, &canary).await;
            pull::canary(self, &session, &canary).await;
            delete::check(self, &session, &canary).await;
        }
    }

    pub(crate) fn good(&mut self, stage: Stage, what: impl Into<String>) {
        self.journal.good(stage, what);
    }

    pub(crate) fn skip(&mut self, stage: Stage, why: impl Into<String>) {
        self.journal.skip(stage, why);
    }

    /// Writes down a finding.
    pub(crate) fn find(&mut self, stage: Stage, row: Row, what: Told) {
        self.journal.find(Finding {
            row,
            severity: what.severity,
            stage,
            seen: what.seen,
            cause: what.cause,
            hop: what.hop,
            fix: what.fix,
        });
    }

    /// The hop that is to blame when a connection ends without a word.
    pub(crate) fn front_hop(&self) -> Hop {
        self.front.as_ref().map_or_else(|| Hop::Proxy("in front of the registry".to_owned()), Front::hop)
    }

    /// The port that clients use when the name has none.
    pub(crate) fn port(&self) -> u16 {
        let scheme = self.target.scheme.unwrap_or(Scheme::Https);
        self.target.port.unwrap_or(scheme.default_port())
    }

    /// A way to the registry itself.
    pub(crate) fn client(&self, scheme: Scheme, address: SocketAddr) -> Client {
        let endpoint = Endpoint { scheme, host: self.target.host.clone(), port: self.port() };
        Client { endpoint, address, trust: Arc::clone(&self.trust) }
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.options.clock)()
    }
}

/// The sentences of a finding.
pub(crate) struct Told {
    pub(crate) severity: Severity,
    pub(crate) hop: Hop,
    pub(crate) seen: String,
    pub(crate) cause: String,
    pub(crate) fix: String,
}

impl Told {
    /// Clients fail.
    pub(crate) fn failure(
        hop: Hop,
        seen: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Told {
        Told { severity: Severity::Failure, hop, seen: seen.into(), cause: cause.into(), fix: fix.into() }
    }

    /// Some clients will fail, or large images.
    pub(crate) fn warning(
        hop: Hop,
        seen: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Told {
        Told { severity: Severity::Warning, ..Told::failure(hop, seen, cause, fix) }
    }
}
