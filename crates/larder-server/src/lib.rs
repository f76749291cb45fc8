//! HTTP, and nothing else: routes, headers, status codes, bodies, TLS, limits, drain.
//!
//! What may be done is decided by `larder-auth`, what is done by `larder-core`. Here each of their
//! answers becomes a response, in one place each: [`error`] holds the table of errors.

mod server;
mod listener;
mod places;
mod limits;
mod long_answers;
mod connection;
mod linger;
mod local_user;
mod tls;
mod app;
mod aside;
mod request;
mod forwarded;
mod network;
mod route;
mod doors;
mod cache;
mod challenge;
mod manifests;
mod blobs;
mod uploads;
mod warm;
mod discover;
mod token;
mod api;
mod retention;
mod status;
mod usage;
mod control;
mod content;
mod condition;
mod body;
mod received;
mod outlet;
mod respond;
mod error;
mod access_log;
mod request_log;
mod audit;
mod events;
mod metrics;
mod health;
mod debug;
mod problems;
mod standing;
mod setup;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

pub use access_log::AccessLog;
pub use app::{About, App, CertificateTroubles, Observers, Options};
pub use audit::{Audit, AuditTrail};
pub use cache::{AccountReport, UpstreamReport, UpstreamReports, UrlReport};
pub use challenge::ChallengeServer;
pub use control::ask_running;
pub use debug::{Debug, DebugServer};
pub use doors::Door;
pub use health::{Check, CheckUrl, CheckUrlError, DEFAULT_TIMEOUT, Health, Subject};
pub use limits::Limits;
pub use metrics::Metrics;
pub use network::{Network, NetworkError};
pub use server::{BoundServer, ServeError, probe};
pub use setup::{OwnAuthority, Reached, SetupPage};
pub use status::status_report;
pub use tls::{CertificateName, CipherSuite, ClientCertificates, Tls, TlsError, TlsFiles};
