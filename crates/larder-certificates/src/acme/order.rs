//! One order, from the account to the chain (RFC 8555, section 7).

use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::Der;
use serde_json::{Value, json};

use super::AcmeSettings;
use super::challenges::{ChallengeCertificate, Challenges, Proof, Shown};
use super::files::{FileError, Files, whole};
use super::transport::{Transport, TransportError};
use crate::Certificate;

/// How often an order is asked about, and for how long: an authority asks from several places, and takes its time.
const ASKING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// What RFC 8555 calls an account that isn't there any more.
const UNKNOWN_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("{0} holds no account")]
    Account(String),
    /// Some step of the protocol.
    #[error(transparent)]
    Protocol(#[from] Error),
    /// The proofs of these hosts didn't convince.
    #[error("the proof of a host failed")]
    Proof(Vec<(String, Problem)>),
    /// The authority wants another kind of proof.
    #[error("no such proof is offered")]
    NoProof { host: String, offered: Vec<String> },
    #[error("the chain can't be used: {0}")]
    Chain(&'static str),
    #[error("a key or a request could not be made")]
    Made(#[from] rcgen::Error),
    #[error("{0}")]
    Ended(String),
}

/// Gets a certificate; key and chain in one PEM text.
pub(super) async fn order(
    settings: &AcmeSettings,
    files: &Files,
    transport: &Transport,
    challenges: &Challenges,
) -> Result<String, Refusal> {
    let (account, is_kept) = match kept(settings, files, transport).await? {
        Some(account) => (account, true),
        None => (create(settings, files, transport).await?, false),
    };
    match order_with(&account, settings, challenges).await {
        // A private authority that was set up anew, or an account that was closed.
        Err(Refusal::Protocol(Error::Api(problem)))
            if is_kept && problem.r#type.as_deref() == Some(UNKNOWN_ACCOUNT) =>
        {
            tracing::warn!(
                account = account.id(),
                "the certificate authority doesn't know the registry's account any more; another one is made"
            );
            let account = create(settings, files, transport).await?;
            order_with(&account, settings, challenges).await
        }
        other => other,
    }
}

/// When the authority would have a certificate renewed, from when to when, and after how long to ask again (RFC 9773); `None` where it has
/// no opinion, or no account has been made.
pub(super) async fn window(
    settings: &AcmeSettings,
    files: &Files,
    transport: &Transport,
    certificate: &Certificate,
) -> Result<Option<(SystemTime, SystemTime, Duration)>, Refusal> {
    let Some(key) = &certificate.signed_by else { return Ok(None) };
    let Some(account) = kept(settings, files, transport).await? else { return Ok(None) };
    let about = CertificateIdentifier::new(Der::from_slice(key), Der::from_slice(&certificate.serial));
    match account.renewal_info(&about).await {
        Ok((info, again)) => {
            Ok(Some((info.suggested_window.start.into(), info.suggested_window.end.into(), again)))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The account that was made before.
async fn kept(
    settings: &AcmeSettings,
    files: &Files,
    transport: &Transport,
) -> Result<Option<Account>, Refusal> {
    let Some(text) = files.kept_account()? else { return Ok(None) };
    let broken = || Refusal::Account(files.account().display().to_string());
    let mut kept: Value = serde_json::from_str(&text).map_err(|_| broken())?;
    let credentials = kept.get_mut("credentials").map(Value::take).ok_or_else(broken)?;
    let again: AccountCredentials = serde_json::from_value(credentials).map_err(|_| broken())?;
    let account = Account::builder_with_http(Box::new(transport.clone())).from_credentials(again).await?;
    let email = kept.get("email").and_then(Value::as_str);
    if email != settings.email.as_deref() {
        let contacts = contacts(settings);
        let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
        match account.update_contacts(&contacts).await {
            Ok(()) => {
                let mut kept: Value = serde_json::from_str(&text).map_err(|_| broken())?;
                if let Some(kept) = kept.as_object_mut() {
                    kept.insert("email".to_owned(), json!(settings.email));
                }
                files.keep_account(&format!("{kept:#}"))?;
            }
            // Found out, and healed, by the order.
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(UNKNOWN_ACCOUNT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(account))
}

/// Another account; it is on the disk before anything is ordered with it.
async fn create(settings: &AcmeSettings, files: &Files, transport: &Transport) -> Result<Account, Refusal> {
    let contacts = contacts(settings);
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    // As registry:2 does: whoever names the authority agrees to its terms.
    let wanted =
        NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = Account::builder_with_http(Box::new(transport.clone()))
        .create(&wanted, settings.directory_url.clone(), None)
        .await?;
    let text = json!({ "credentials": serde_json::to_value(&credentials).map_err(Error::from)?, "email": settings.email });
    files.keep_account(&format!("{text:#}"))?;
    tracing::info!(account = account.id(), "an account was made at the certificate authority");
    Ok(account)
}

fn contacts(settings: &AcmeSettings) -> Vec<String> {
    settings.email.iter().map(|email| format!("mailto:{email}")).collect()
}

async fn order_with(
    account: &Account,
    settings: &AcmeSettings,
    challenges: &Challenges,
) -> Result<String, Refusal> {
    let identifiers: Vec<Identifier> = settings.hosts.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let shown = prove(&mut order, settings.proof, challenges).await?;
    let status = order.poll_ready(&ASKING).await;
    drop(shown);
    match status {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(failed_proofs(&mut order).await?.unwrap_or_else(|| ended(&mut order))),
        // The order tells less than the proofs do.
        Err(Error::Api(problem)) => {
            return Err(failed_proofs(&mut order).await?.unwrap_or(Refusal::Protocol(Error::Api(problem))));
        }
        Err(error) => return Err(error.into()),
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(settings.hosts.clone())?;
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&ASKING).await?;
    let pem = format!("{}{chain}", key.serialize_pem());
    let certificate =
        whole(&pem).ok_or(Refusal::Chain("its first certificate isn't for the registry's key"))?;
    let names = |host: &String| certificate.names.iter().any(|name| name.eq_ignore_ascii_case(host));
    if !settings.hosts.iter().all(names) {
        return Err(Refusal::Chain("its first certificate doesn't name all hosts"));
    }
    Ok(pem)
}

/// Shows what proves each host that isn't proven yet, and has the authority look.
async fn prove(order: &mut Order, proof: Proof, challenges: &Challenges) -> Result<Vec<Shown>, Refusal> {
    let kind = match proof {
        Proof::TlsAlpn => ChallengeType::TlsAlpn01,
        Proof::Http => ChallengeType::Http01,
    };
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let host = authorization.identifier().to_string();
        let offered = authorization.challenges.iter().map(|one| name(&one.r#type)).collect();
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(Refusal::NoProof { host, offered });
        };
        let answer = challenge.key_authorization();
        shown.push(match proof {
            Proof::TlsAlpn => {
                let made = ChallengeCertificate::make(&host, answer.digest().as_ref())?;
                challenges.show_certificate(&host, made)
            }
            Proof::Http => challenges.show_token(&challenge.token, answer.as_str()),
        });
        match challenge.set_ready().await {
            Ok(()) => {}
            Err(Error::Api(problem)) => return Err(Refusal::Proof(vec![(host, problem)])),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(shown)
}

fn name(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::DeviceAttest01 => "device-attest-01".to_owned(),
        ChallengeType::Unknown(name) => name.clone(),
        _ => "another".to_owned(),
    }
}

/// What the authority has to say about the hosts that it was not convinced of.
async fn failed_proofs(order: &mut Order) -> Result<Option<Refusal>, Refusal> {
    let mut failed = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        let host = authorization.identifier().to_string();
        if let Some(problem) = authorization.challenges.iter().find_map(|one| one.error.clone()) {
            failed.push((host, problem));
        }
    }
    Ok((!failed.is_empty()).then_some(Refusal::Proof(failed)))
}

fn ended(order: &mut Order) -> Refusal {
    Refusal::Ended(format!("the order has become {:?}", order.state().status).to_lowercase())
}
