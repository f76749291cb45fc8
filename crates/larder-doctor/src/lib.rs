//! The other side: a registry as its clients meet it.
//!
//! Registries seldom fail at storing bytes. They fail where client, proxy, registry and upstream meet, and what the
//! client then says is about something else: a proxy that cuts after a minute is an `EOF`, a header that it swallowed a
//! wrong password. So a [`Doctor`] walks the real protocol, one hop after the other, from a name to the bytes of a
//! layer read back, and says of what it finds what was seen, what the true cause is, at which hop, and one thing to do.
//!
//! It speaks for itself: a small HTTP/1.1 and TLS stack of its own (`net`), because a client library hides what
//! matters here, such as the second at which a connection was cut, or the chain of a certificate that isn't believed.
//! No check trusts a status alone: every claim about a hop is made from something that only this hop does.
//!
//! Nothing is written to the registry unless it is asked for, and then only below a repository that is named before.
//! Secrets are read only to log in to the very host that they are stored for, and never shown.

mod finding;
mod target;
mod journal;
mod secret;

mod net;
mod hop;
mod machine;
mod check;
mod doctor;
mod canary;
mod files;
mod fetch;
mod bench;

pub use bench::{Measured, measure};
pub use doctor::{Doctor, Options};
pub use fetch::{FetchError, Fetched, fetch, time_at};
pub use files::{ClientFile, ClientPlan, ClientProgram, MergeError, ProxyPlan, ProxyProgram};
pub use finding::{Finding, Hop, Row, Severity, Stage};
pub use journal::{Entry, Journal, Outcome};
pub use machine::Machine;
pub use secret::{Login, Password};
pub use target::{Target, TargetError};
