//! Notifications: distribution's webhooks, from a queue that survives a restart.
//!
//! Each endpoint has a queue of its own on the disk and a task of its own that posts what lies in it, strictly in
//! order, one event a request. A change of a repository (push, mount, delete) is on the disk of every endpoint's
//! queue before its client hears that it is done; pulls are gathered for a moment and written together, without
//! waiting for the disk. An endpoint that is down so costs a push nothing but the writing down.
//!
//! **At least once.** An event stays queued until its endpoint has answered. When Larder is killed between the
//! endpoint's answer and noting it, the one event in flight is sent again, with the same `id`. After a loss of power
//! it may be the events of the last second.
//!
//! **Bounded.** A queue that is full forgets the oldest pulls first, then the oldest changes, and says so
//! once. What an endpoint refuses (4xx) for a day is set aside in a file, so that the others get through.
//!
//! What is sent is `envelope.rs`, what lies on the disk `queue.rs`, when it is sent `delivery.rs`.

mod settings;
mod notifications;
mod event;
mod envelope;
mod queue;
mod delivery;
mod post;
mod refused;
mod counters;

pub use counters::EndpointSnapshot;
pub use event::{Action, Request};
pub use notifications::{Notifications, NotifyError};
pub use settings::{EndpointSettings, Generation, Settings};
