//! The HTTP client of other registries: what `larder-core` asks of an upstream, asked over the wire.
//!
//! An upstream is one or several URLs, a list of accounts, and what its answers have said so far. Which URL is
//! asked is `mirrors.rs`, as whom `accounts.rs` and `tokens.rs`, how often what its rate limit allows `rate_limit.rs`,
//! how far a redirect may lead `reach.rs`. `ask.rs` puts them together for one question. Nothing is asked before
//! somebody asks, and nothing is kept here but tokens and measurements: the cache is core's.
//!
//! **A closed list.** Only hosts that the operator wrote down are dialled for a name. From there an upstream may
//! lead to hosts on the open Internet (its CDN, its token server), without our credentials unless they are for it.

mod settings;
mod base_url;
mod known;
mod secret;
mod remote;
mod ask;
mod stream;
mod lists;
mod mirrors;
mod rate_limit;
mod accounts;
mod challenge;
mod tokens;
mod proxies;
mod transport;
mod reach;
mod traffic;
mod snapshot;

pub use base_url::{BaseUrl, BaseUrlError};
pub use known::{KNOWN, KnownRegistry, Quirks, known};
pub use proxies::EnvironmentProxies;
pub use remote::RemoteRegistry;
pub use secret::Secret;
pub use settings::{AccountSettings, CredentialSource, ProxyUrl, Settings};
pub use snapshot::{AccountSnapshot, UpstreamSnapshot, UrlSnapshot};
pub use traffic::{Kind, Outcome};
pub use transport::TransportError;
