//! Who is asked, what for, and with what.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::canary::repository_of;
use crate::check::Visit;
use crate::fetch::trust_of;
use crate::journal::Journal;
use crate::machine::Machine;
use crate::secret::Login;
use crate::target::Target;

/// How far an examination goes, and with what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a canary may be written.
    pub write: bool,
    /// Whether this machine's engines are made to pull a canary through the mirrors that they are told of. Writes it to the registry.
    pub mirrors: bool,
    /// The login to use. Sent only over a connection whose certificate is believed, or that was written down as plain.
    pub login: Option<Login>,
    /// Files with further authorities that count as the machine's own.
    pub authorities: Vec<PathBuf>,
    /// Seconds that a slow upload takes: longer than the timeouts that it is to find. Zero leaves it out.
    pub slow: Duration,
    /// The longest upload that is really sent, in bytes; longer ones are only announced.
    pub sent_at_most: u64,
    /// The time. Passed in, so that a wrong clock can be tested.
    pub clock: fn() -> SystemTime,
    /// Makes the canary's name and bytes different from every other's.
    pub seed: u64,
    /// The machine whose programs' files are read; `None` leaves them alone.
    pub machine: Option<Machine>,
    /// What the environment says about HTTP proxies: (variable, value), as it is set.
    pub environment: Vec<(String, String)>,
}

impl Default for Options {
    /// Reads only, with the machine's clock and authorities.
    fn default() -> Options {
        Options {
            write: false,
            mirrors: false,
            login: None,
            authorities: Vec::new(),
            slow: Duration::from_secs(75),
            sent_at_most: 12 << 20,
            clock: SystemTime::now,
            seed: rand::random(),
            machine: None,
            environment: Vec::new(),
        }
    }
}

/// Examines one registry.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// Which one.
    pub target: Target,
    /// How.
    pub options: Options,
}

impl Doctor {
    /// Examines the registry, and writes down what is seen as it is seen.
    ///
    /// # Errors
    /// A file with authorities that can't be read. Whatever is wrong with the registry is a finding.
    pub async fn examine(&self, journal: &mut Journal<'_>) -> std::io::Result<()> {
        let options = &self.options;
        let (machine, authority) = (options.machine.as_ref(), self.target.authority());
        let trust = Arc::new(trust_of(&options.authorities, machine, &authority, (options.clock)())?);
        let repository = repository_of(&self.target, self.options.seed).map_err(std::io::Error::other)?;
        let mut visit = Visit {
            target: &self.target,
            repository,
            options: &self.options,
            journal,
            trust,
            front: None,
            is_trusted: false,
        };
        visit.walk().await;
        Ok(())
    }
}
