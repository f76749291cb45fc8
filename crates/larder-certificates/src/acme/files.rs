//! What is kept of an authority, in a directory for it alone: `certificate.pem` (key and chain), `account.json`, `lock`, and `pause.json` if it
//! has once asked for one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use larder_storage::replace_file;
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::Certificate;

const SECRET: u32 = 0o600;

#[derive(Clone, Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

/// What couldn't be done with a file.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}", path.display())]
pub(super) struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Files {
    pub(super) fn at(directory: PathBuf) -> Files {
        Files { directory }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub(super) fn account(&self) -> PathBuf {
        self.directory.join("account.json")
    }

    /// What is known of the certificate; `None` if there is none, or one that no client could be shown.
    pub(super) fn found(&self) -> Result<Option<Certificate>, FileError> {
        Ok(read(&self.certificate())?.as_deref().and_then(whole))
    }

    /// The account as it was kept.
    pub(super) fn kept_account(&self) -> Result<Option<String>, FileError> {
        read(&self.account())
    }

    pub(super) fn keep_account(&self, text: &str) -> Result<(), FileError> {
        write(&self.account(), text)
    }

    /// What it said when it wanted a pause last.
    pub(super) fn kept_pause(&self) -> Result<Option<String>, FileError> {
        read(&self.directory.join("pause.json"))
    }

    pub(super) fn keep_pause(&self, text: &str) -> Result<(), FileError> {
        write(&self.directory.join("pause.json"), text)
    }

    /// Key and chain in one file: they change together.
    pub(super) fn keep_certificate(&self, pem: &str) -> Result<(), FileError> {
        write(&self.certificate(), pem)
    }

    /// Held while one orders, so that of several registries with this directory only one does; `None` while another one holds it.
    pub(super) fn lock(&self) -> Result<Option<File>, FileError> {
        let failed = |action, path: &Path, source| FileError { action, path: path.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|source| failed("create", &self.directory, source))?;
        let path = self.directory.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| failed("open", &path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path, source)),
        }
    }
}

/// The certificate in a PEM text that also holds its key.
pub(super) fn whole(pem: &str) -> Option<Certificate> {
    let key = KeyPair::from_pem(pem).ok()?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    let goes_together = *parsed.public_key().subject_public_key.data == *key.public_key_raw();
    Certificate::of_der(&der).filter(|_| goes_together)
}

fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { action: "read", path: path.to_owned(), source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), FileError> {
    replace_file(path, text.as_bytes(), Some(SECRET)).map_err(|source| FileError {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn pem(name: &str) -> String {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[test]
    fn what_is_kept_is_secret_and_what_is_damaged_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::at(directory.path().join("a/b"));
        assert_eq!(files.found().expect("looked"), None);
        let _lock = files.lock().expect("the directory").expect("free");
        files.keep_certificate(&pem("a.example.com")).expect("kept");
        files.keep_account("{}").expect("kept");
        assert_eq!(files.found().expect("looked").expect("there").names, ["a.example.com"]);
        for path in [files.certificate(), files.account()] {
            assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        let another = pem("b.example.com");
        let (key, _) = another.split_once("-----BEGIN CERT").expect("two parts");
        let (_, chain) = pem("a.example.com")
            .split_once("-----END PRIVATE KEY-----\n")
            .map(|(key, chain)| (key.to_owned(), chain.to_owned()))
            .expect("two parts");
        for damaged in [String::new(), key.to_owned(), chain.clone(), format!("{key}{chain}")] {
            files.keep_certificate(&damaged).expect("kept");
            assert_eq!(files.found().expect("looked"), None, "{damaged}");
        }
    }

    #[test]
    fn one_orders_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::at(directory.path().to_owned());
        let lock = files.lock().expect("a lock").expect("free");
        assert!(files.lock().expect("a lock").is_none());
        drop(lock);
        assert!(files.lock().expect("a lock").is_some());
    }
}
