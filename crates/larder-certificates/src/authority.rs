//! Larder's own authority: made once, and from then on the one thing that clients have to trust.
//!
//! Below its directory lie `ca.crt`, which everybody may have; `ca.key`, which nobody may; and `server.pem`, the server's certificate
//! with its key. The first two are never replaced by anybody but the operator: a new authority would have to
//! be trusted anew by each client. The third is made again whenever it is due.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use larder_storage::replace_file;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

use crate::names::usable;
use crate::{Certificate, Validity};

/// Ten years: as long as a house keeps its machines. Nothing renews it.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 86_400);

/// As public authorities have it, so that each renewal is nothing special. No client refuses so short a life.
const SERVER_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// Clients whose clocks are behind by less believe a certificate that has just been made.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// An authority in a directory of its own.
#[derive(Clone, Debug)]
pub struct Authority {
    directory: PathBuf,
    now: fn() -> SystemTime,
}

/// What an authority has to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// The authority's certificate, PEM: what clients have to trust.
    pub authority: String,
    /// SHA-256 of it as `openssl x509 -fingerprint` shows it, to compare by eye.
    pub fingerprint: String,
    /// The names and addresses in the server's certificate.
    pub names: Vec<String>,
    /// From when to when that counts.
    pub validity: Validity,
    /// From when to when the authority counts.
    pub authority_validity: Validity,
    /// Whether the server's certificate has just been made.
    pub is_new: bool,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The authority is there and can't be used.
    #[error(
        "the registry's own authority can't be used: {problem}. Put {} and {} back from a backup; or remove both to have a new \
         one made, which every client has to trust anew", certificate.display(), key.display()
    )]
    Unusable {
        /// What is wrong.
        problem: String,
        /// Its certificate's file.
        certificate: PathBuf,
        /// Its key's file.
        key: PathBuf,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Made(#[from] rcgen::Error),
}

impl Authority {
    /// The authority in this directory, which need not exist yet.
    pub fn at(directory: PathBuf, now: fn() -> SystemTime) -> Authority {
        Authority { directory, now }
    }

    /// The file with the server's certificate and its key.
    pub fn server(&self) -> PathBuf {
        self.directory.join("server.pem")
    }

    fn certificate(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    fn key(&self) -> PathBuf {
        self.directory.join("ca.key")
    }

    /// Makes the authority if there is none, and the server's certificate if it is due, for these names and addresses: when a third
    /// of its life is left, when it lacks a name, when another authority signed it. Names that no certificate can have are left out.
    ///
    /// Blocks on the disk.
    pub fn provide(&self, names: &[String]) -> Result<Provided, AuthorityError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|source| failed("create", &self.directory, source))?;
        let authority = match self.read()? {
            Some(authority) => authority,
            None => self.make()?,
        };
        let mut names: Vec<String> = names.iter().filter(|name| usable(name)).cloned().collect();
        names.sort();
        names.dedup();
        let found = read(&self.server())?.as_deref().and_then(Certificate::of_pem);
        let now = (self.now)();
        let is_good = |leaf: &Certificate| {
            leaf.signed_by.as_ref() == Some(&authority.key_identifier)
                && !leaf.validity.is_renewal_due(now)
                && names.iter().all(|name| leaf.names.contains(name))
        };
        let (leaf, is_new) = match found.filter(is_good) {
            Some(leaf) => (leaf, false),
            None => (self.sign(&authority, &names, now)?, true),
        };
        Ok(Provided {
            fingerprint: authority.fingerprint,
            authority: authority.pem,
            authority_validity: authority.validity,
            names: leaf.names,
            validity: leaf.validity,
            is_new,
        })
    }

    /// `None` if it was never made. A key without a certificate was never shown to anybody: the making was interrupted.
    fn read(&self) -> Result<Option<Signing>, AuthorityError> {
        let unusable = |problem: &str| AuthorityError::Unusable {
            problem: problem.to_owned(),
            certificate: self.certificate(),
            key: self.key(),
        };
        let Some(pem) = read(&self.certificate())? else { return Ok(None) };
        let key = read(&self.key())?.ok_or_else(|| unusable("its key is not there"))?;
        let key = KeyPair::from_pem(&key).map_err(|_| unusable("its key's file holds no key"))?;
        let signing =
            Signing::new(pem, key).ok_or_else(|| unusable("its certificate's file holds no certificate"))?;
        if signing.public_key != signing.issuer.key().public_key_raw() {
            return Err(unusable("certificate and key don't go together"));
        }
        if (self.now)() >= signing.validity.end {
            return Err(unusable("it has ended"));
        }
        Ok(Some(signing))
    }

    fn make(&self) -> Result<Signing, AuthorityError> {
        let now = (self.now)();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Larder");
        params.distinguished_name.push(DnType::CommonName, format!("Larder's own authority on {host}"));
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + AUTHORITY_LIFE).into();
        let pem = params.self_signed(&key)?.pem();
        let write = |path: PathBuf, text: &str, mode| {
            replace_file(&path, text.as_bytes(), Some(mode)).map_err(|source| failed("write", &path, source))
        };
        // In this order: a certificate that is there has its key.
        write(self.key(), &key.serialize_pem(), SECRET)?;
        write(self.certificate(), &pem, PUBLIC)?;
        Signing::new(pem, key).ok_or(AuthorityError::Made(rcgen::Error::CouldNotParseCertificate))
    }

    fn sign(
        &self,
        authority: &Signing,
        names: &[String],
        now: SystemTime,
    ) -> Result<Certificate, AuthorityError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Larder");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + SERVER_LIFE).min(authority.validity.end).into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let pem = params.signed_by(&key, &authority.issuer)?.pem();
        let text = format!("{}{pem}", key.serialize_pem());
        replace_file(&self.server(), text.as_bytes(), Some(SECRET))
            .map_err(|source| failed("write", &self.server(), source))?;
        Certificate::of_pem(&pem).ok_or(AuthorityError::Made(rcgen::Error::CouldNotParseCertificate))
    }

    /// How long to wait before it is worth a look whether the server's certificate is due.
    pub const LOOK_EVERY: Duration = Duration::from_secs(3600);
}

/// An authority that can sign.
struct Signing {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    fingerprint: String,
    key_identifier: Vec<u8>,
    public_key: Vec<u8>,
    validity: Validity,
}

impl Signing {
    fn new(pem: String, key: KeyPair) -> Option<Signing> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let key_identifier =
            parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            })?;
        Some(Signing {
            fingerprint: fingerprint(&der),
            key_identifier,
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            validity: Validity::of(&parsed),
            issuer: Issuer::from_ca_cert_der(&der, key).ok()?,
            pem,
        })
    }
}

fn fingerprint(der: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

fn read(path: &Path) -> Result<Option<String>, AuthorityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path, source)),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
