//! The registry's own certificates: where they come from when nobody brings them as files.
//!
//! An [`Authority`] of Larder's own is made once and signs the server's certificate from then on; whoever is to trust the
//! registry trusts the authority, once. An [`Acme`] gets it from somebody whom clients trust already. What is made lies in files, whole or not at all, and the server follows
//! them as it follows any certificate's.

mod acme;
mod authority;
mod certificate;
mod names;
mod trouble;
mod validity;

pub use acme::{
    Acme, AcmeSettings, ChallengeCertificate, Challenges, LETS_ENCRYPT, OrderNumbers, Proof, Shown,
};
pub use authority::{Authority, AuthorityError, Provided};
pub use certificate::Certificate;
pub use names::{of_this_machine, usable};
pub use trouble::{Keeper, Nearness, Trouble};
pub use validity::Validity;
