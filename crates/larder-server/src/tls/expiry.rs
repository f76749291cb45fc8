//! When the certificate that is shown ends: for the log, the problems and the metrics.

use std::sync::Arc;
use std::time::SystemTime;

use larder_certificates::{Certificate, Keeper, Nearness, Trouble};

use super::live::{Tls, Watched};

impl Tls {
    /// What there is to know of the certificate that new connections are shown.
    pub(crate) fn shown(&self) -> Option<Arc<Certificate>> {
        self.set_up().shown
    }

    /// What is wrong with it, if something is.
    pub(crate) fn trouble(&self, now: SystemTime) -> Option<Trouble> {
        let (keeper, fix) = {
            let watched = self.watched();
            (watched.files.keeper, fix(&watched))
        };
        let shown = self.shown()?;
        shown.validity.trouble(keeper, &shown.names, &fix, now)
    }

    /// Tells the log, once for each time that the end has come nearer.
    pub(super) fn notice(&self, watched: &mut Watched, now: SystemTime) {
        let Some(shown) = self.shown() else { return };
        let keeper = watched.files.keeper;
        let nearness = shown.validity.nearness(keeper, now);
        if nearness == watched.noticed {
            return;
        }
        watched.noticed = nearness;
        let Some(trouble) = shown.validity.trouble(keeper, &shown.names, &fix(watched), now) else { return };
        match nearness {
            Nearness::Far | Nearness::Month | Nearness::Week => {
                tracing::warn!(fix = trouble.fix, "{}", trouble.reason);
            }
            Nearness::Day | Nearness::Ended | Nearness::NotYet => {
                tracing::error!(fix = trouble.fix, "{}", trouble.reason);
            }
        }
    }
}

fn fix(watched: &Watched) -> String {
    let path = watched.files.certificate.display();
    match watched.files.keeper {
        Keeper::Operator => {
            format!(
                "put a renewed certificate at {path}, and its key beside it; they are taken up by themselves"
            )
        }
        Keeper::OwnAuthority => {
            format!(
                "the registry renews it by itself and could not: its log says why; it must be able to write {path}"
            )
        }
        Keeper::Acme => {
            "the registry renews it by itself and could not: its log and its other problems say why"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
