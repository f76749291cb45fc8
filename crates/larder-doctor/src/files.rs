//! Files for the other side: what a client, or a proxy in front, has to be told about a registry.
//!
//! Everything here is text and nothing is written: whoever has leave to write takes [`ClientFile::merged`], which adds to
//! what a file already says and takes nothing away.

mod client;
mod merge;
mod proxy;

pub use client::{ClientFile, ClientPlan, ClientProgram};
pub use merge::MergeError;
pub use proxy::{ProxyPlan, ProxyProgram};
