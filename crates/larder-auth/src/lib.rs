//! Who you are, and what you may.
//!
//! A request comes to the [`Gate`] with the value of its `Authorization` header and leaves with an
//! [`Identity`] or a [`Refusal`]. The identity goes to the [`Policy`], which decides, says why, and hands
//! out the proof (`larder_oci::Access`) without which `larder-core` does nothing. These are two steps
//! because they fail differently: a refusal says "I don't believe you", a denial says "you may not", and
//! only some of either can be healed by logging in.
//!
//! Four ways to configure it ([`AuthMode`]), as clients can't do more than these:
//!
//! - **Open**: nobody is asked, everybody may do everything. registry:2 without `auth`.
//! - **Basic**: users of an htpasswd file may do everything, nobody else anything. registry:2's `auth.htpasswd`.
//! - **Token**: Larder's own token service over the same file. It is the only way in which anonymous
//!   pulls and users can be mixed: docker and containers/image decide at `GET /v2/` whether they log in
//!   at all, so `/v2/` is challenged although pulling needs no account, and whoever has no account is
//!   given an anonymous token.
//! - **External**: tokens of another server, which says what they allow. registry:2's `auth.token`.
//!
//! What somebody may do is decided by one [`Mode`] for all repositories, or by [`Rule`]s about users, groups and
//! repositories. Nothing outside of [`Policy::decide`] asks who somebody is to learn what he may.
//!
//! This crate knows no HTTP: it reads and writes header values as text and leaves statuses to the server.
//! Passwords and tokens travel in types that mask themselves, the clock and all random bytes are passed in.

mod gate;
mod identity;
mod origin;
mod refusal;

mod policy;

mod challenge;
mod credentials;

mod token;
mod token_endpoint;
mod verified_tokens;
mod external;
mod service_key;

mod htpasswd;
mod password_hash;
mod passwords;
mod users;
mod users_file;

mod keys;

mod file_stamp;
mod followed_file;

mod clock;
mod error;
mod secret;
#[cfg(test)]
mod testing;

pub use challenge::ChallengeError;
pub use clock::Clock;
pub use credentials::Credentials;
pub use error::{AuthError, HashKind, LineProblem, UsersFileMistake};
pub use external::{ExternalSettings, ExternalTokens, Realm, SigningAlgorithm, UnknownAlgorithm};
pub use file_stamp::FileStamp;
pub use gate::{AuthMode, Gate, PolicyUnfit};
pub use htpasswd::{DEFAULT_COST, UserTable, htpasswd_line};
pub use identity::Identity;
pub use keys::{
    KEY_PREFIX, KeyActions, KeyHolder, KeyId, KeyProblem, KeyRecord, KeyScope, KeyScopeError, KeyTable, Keys,
    LastUses, Narrowing, create_key, narrow_key, parse_last_uses,
};
pub use origin::{CERTIFICATE_PREFIX, Origin};
pub use passwords::{Passwords, Verdict};
pub use policy::{
    ACTION_WORDS, Decision, Denied, Effect, Explanation, Group, Mode, Policy, Remedy, Rule, Who,
};
pub use refusal::Refusal;
pub use secret::{BearerToken, Password};
pub use service_key::ServiceKey;
pub use token::{Claims, SigningKey, TokenProblem};
pub use token_endpoint::{Login, TokenEndpoint, TokenGrant, TokenRequest};
pub use users::Users;
pub use users_file::UsersFile;
