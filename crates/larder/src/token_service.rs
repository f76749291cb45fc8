//! Larder's token endpoint for other registries: the key that signs their tokens, and the certificate they know it by.

use std::io;
use std::path::Path;

use larder_auth::{Gate, ServiceKey};
use larder_storage::replace_file;
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::config::Config;

/// Key and certificate, readable by nobody else, and the certificate alone, for the others.
const KEY: &str = "larder/token-service.pem";
const CERTIFICATE: &str = "larder/token-service.crt";

const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenServiceError {
    #[error(
        "tokenservice needs a token endpoint, which this configuration hasn't: start without a config file, or let \
         `anonymous` do something in access"
    )]
    NoEndpoint,
    #[error("could not {action} {path}")]
    Io { action: &'static str, path: String, source: io::Error },
    #[error("a key for tokens could not be made")]
    Made(#[from] rcgen::Error),
    #[error(
        "{path} holds no key and certificate; remove it to have new ones made, and give the other registries the new certificate"
    )]
    Unusable { path: String },
}

/// The gate that also serves the registries of `tokenservice.services`, if there are any.
///
/// # Errors
/// There is no token endpoint, or the key can't be used.
pub(crate) fn at(gate: Gate, config: &Config) -> Result<Gate, TokenServiceError> {
    if config.token_services.is_empty() {
        return Ok(gate);
    }
    let issuer = gate.token_endpoint().ok_or(TokenServiceError::NoEndpoint)?.service().to_owned();
    let root = &config.storage.root_directory;
    let key = key(root)?;
    for service in &config.token_services {
        tracing::info!(
            %service, %issuer, rootcertbundle = %root.join(CERTIFICATE).display(),
            "tokens are given out for another registry: its auth.token needs these, and this registry's /auth/token as realm"
        );
    }
    Ok(gate.with_other_services(config.token_services.clone(), key))
}

/// The key of this data directory, made at the first start that needs it. It outlives restarts, as others know it.
fn key(root: &Path) -> Result<ServiceKey, TokenServiceError> {
    let (path, certificate) = (root.join(KEY), root.join(CERTIFICATE));
    let failed = |action, path: &Path, source| TokenServiceError::Io {
        action,
        path: path.display().to_string(),
        source,
    };
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "Larder tokens");
            let pair = KeyPair::generate()?;
            let signed = params.self_signed(&pair)?.pem();
            let pem = format!("{}{signed}", pair.serialize_pem()).into_bytes();
            // The certificate first: with the key there, it is never made again.
            replace_file(&certificate, signed.as_bytes(), Some(PUBLIC))
                .map_err(|source| failed("write", &certificate, source))?;
            replace_file(&path, &pem, Some(SECRET)).map_err(|source| failed("write", &path, source))?;
            pem
        }
        Err(source) => return Err(failed("read", &path, source)),
    };
    ServiceKey::parse(&pem).map_err(|_| TokenServiceError::Unusable { path: path.display().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_a_damaged_one_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("larder")).unwrap();
        key(root.path()).unwrap();
        let first = std::fs::read(root.path().join(KEY)).unwrap();
        let certificate = std::fs::read_to_string(root.path().join(CERTIFICATE)).unwrap();
        assert!(String::from_utf8_lossy(&first).ends_with(&certificate), "what others are given is its own");
        assert!(!certificate.contains("PRIVATE"));
        assert_eq!(std::fs::metadata(root.path().join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        key(root.path()).unwrap();
        assert_eq!(std::fs::read(root.path().join(KEY)).unwrap(), first);
        replace_file(&root.path().join(KEY), b"rubbish", None).unwrap();
        assert!(matches!(key(root.path()), Err(TokenServiceError::Unusable { .. })));
    }
}
