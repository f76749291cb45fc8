//! What this machine's own programs are told about the registry.

use crate::check::Visit;
use crate::finding::Stage;
use crate::machine::Spoken;
use crate::net::{Client, Verdict};

const STAGE: Stage = Stage::Machine;

/// What the registry was seen to be, before files that speak of it are read.
pub(crate) fn spoken(visit: &Visit<'_, '_>, client: &Client, verdict: Option<&Verdict>) -> Spoken {
    let vouching = match verdict {
        Some(Verdict::TrustedByFile(files)) => files.clone(),
        _ => Vec::new(),
    };
    Spoken {
        authority: visit.target.authority(),
        endpoint: client.endpoint.clone(),
        vouching,
        by_system: matches!(verdict, Some(Verdict::Trusted)),
    }
}

pub(crate) fn check(visit: &mut Visit<'_, '_>, spoken: &Spoken) {
    let Some(machine) = &visit.options.machine else { return };
    let troubles = machine.examine(spoken);
    if troubles.is_empty() {
        visit
            .good(STAGE, "the files of docker, containerd, k3s, podman and BuildKit say nothing wrong of it");
    }
    for (row, told) in troubles {
        visit.find(STAGE, row, told);
    }
}
