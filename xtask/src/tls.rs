//! A certificate authority and a server certificate for a ring, in the forms that the clients want.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::failure::Result;
use crate::places::Ring;

pub(crate) struct Authority {
    /// A directory with just `ca.crt`: what docker, podman and skopeo call a certs.d directory.
    pub(crate) certs_dir: PathBuf,
    pub(crate) ca: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Certificate and key in one file, as haproxy wants them.
    pub(crate) pair: PathBuf,
}

impl Authority {
    pub(crate) fn make(ring: &Ring, addresses: &[&str]) -> Result<Self> {
        let dir = ring.make_dir("tls")?;
        let certs_dir = ring.make_dir("tls/certs.d")?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Larder test ring CA");
        let ca_key = KeyPair::generate()?;
        let ca_certificate = params.self_signed(&ca_key)?;
        let issuer = Issuer::new(params, ca_key);

        let names: Vec<String> = addresses.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "Larder test ring");
        params.use_authority_key_identifier_extension = true;
        let leaf_key = KeyPair::generate()?;
        let leaf = params.signed_by(&leaf_key, &issuer)?;

        let authority = Self {
            ca: certs_dir.join("ca.crt"),
            certs_dir,
            certificate: dir.join("server.crt"),
            key: dir.join("server.key"),
            pair: dir.join("server.pem"),
        };
        fs::write(&authority.ca, ca_certificate.pem())?;
        fs::write(&authority.certificate, leaf.pem())?;
        fs::write(&authority.key, leaf_key.serialize_pem())?;
        fs::write(&authority.pair, format!("{}{}", leaf.pem(), leaf_key.serialize_pem()))?;
        Ok(authority)
    }
}
