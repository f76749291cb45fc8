use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// What stands before the name of a certificate's holder where it stands among users: no user can be called so.
pub const CERTIFICATE_PREFIX: &str = "certificate:";

/// Where a request comes from: what is known of its sender before any credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address: behind a trusted proxy, the one that the proxy tells.
    pub address: IpAddr,
    /// Whom the certificate names that the client has proven to hold, if one was asked for and its holder is to be
    /// known by it: with [`CERTIFICATE_PREFIX`].
    pub certificate: Option<Arc<str>>,
}

/// The part of an address that stands for one household, office or machine: what is counted and bounded for
/// guesses is counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Neighbourhood(IpAddr);

impl Origin {
    /// Somebody at this address.
    pub fn at(address: IpAddr) -> Origin {
        Origin { address, certificate: None }
    }

    /// The same, with a verified certificate that names this holder, given without prefix.
    pub fn with_certificate(self, holder: &str) -> Origin {
        Origin { certificate: Some(format!("{CERTIFICATE_PREFIX}{holder}").into()), ..self }
    }

    pub(crate) fn neighbourhood(&self) -> Neighbourhood {
        Neighbourhood(match self.address.to_canonical() {
            address @ IpAddr::V4(_) => address,
            // Whoever has one IPv6 address has the whole /64.
            IpAddr::V6(address) => {
                const NETWORK: u128 = u128::MAX << 64;
                Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
            }
        })
    }
}

impl Neighbourhood {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }
}
