//! Tokens of upstreams' token servers (Docker's token specification), kept until shortly before they expire and
//! fetched once however many ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode};
use larder_core::UpstreamFailure;
use reqwest::{Response, Url};
use serde::Deserialize;

use crate::accounts::Credentials;
use crate::base_url::host_and_port;
use crate::secret::Secret;
use crate::transport::{Failed, Question, Transport};

/// What a token lives if its server doesn't say (Docker's token specification).
const LIFETIME_UNTOLD: Duration = Duration::from_secs(60);

/// The longest that a token is kept, whatever its server says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A token is not used any more when so little of its life is left: a request must get through with it.
const SPARE: Duration = Duration::from_secs(10);

/// The most tokens that are remembered; then those that have expired are forgotten, or all.
const MOST_TOKENS: usize = 4096;

/// The longest answer of a token server, in bytes. Tokens with many claims have tens of kilobytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Named in requests that carry a refresh token.
const CLIENT_ID: &str = "larder";

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenFor {
    /// The account's place among the upstream's.
    pub(crate) account: usize,
    /// The token server.
    pub(crate) realm: Url,
    /// Whom the token is shown to.
    pub(crate) service: Option<String>,
    /// What it must cover.
    pub(crate) scope: String,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// The token server doesn't believe the account, or gives it nothing.
    Refused(StatusCode),
    /// It doesn't answer, or not with a token.
    Failed(Failed),
}

#[derive(Default)]
pub(crate) struct Tokens {
    slots: Mutex<HashMap<TokenFor, Slot>>,
}

/// Held while its token is fetched: whoever wants the same waits here.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

#[derive(Clone)]
struct Token {
    secret: Secret,
    good_until: Instant,
}

/// An answer of a token server.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// The header with a token for this, from memory or anew.
    pub(crate) async fn authorization(
        &self,
        transport: &Transport,
        wanted: &TokenFor,
        credentials: &Credentials,
        from_scheme: &str,
    ) -> Result<HeaderValue, NoToken> {
        let slot = self.slot(wanted);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| token.good_until > Instant::now()) {
            return bearer(&token.secret, &wanted.realm);
        }
        let token = fetch(transport, wanted, credentials, from_scheme).await?;
        let header = bearer(&token.secret, &wanted.realm);
        *slot = Some(token);
        header
    }

    /// The upstream doesn't believe this token: the next is fetched, unless that has been done already.
    pub(crate) async fn distrust(&self, wanted: &TokenFor, header: &HeaderValue) {
        let slot = self.slot(wanted);
        let mut slot = slot.lock().await;
        let is_same =
            |token: &mut Token| bearer(&token.secret, &wanted.realm).is_ok_and(|same| same == header);
        slot.take_if(is_same);
    }

    fn slot(&self, wanted: &TokenFor) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST_TOKENS && !slots.contains_key(wanted) {
            let now = Instant::now();
            // One that is being fetched can't be looked at, and is kept.
            slots.retain(|_, slot| {
                slot.try_lock()
                    .map_or(true, |token| token.as_ref().is_some_and(|token| token.good_until > now))
            });
            if slots.len() >= MOST_TOKENS {
                slots.clear();
            }
        }
        Arc::clone(slots.entry(wanted.clone()).or_default())
    }
}

fn bearer(token: &Secret, realm: &Url) -> Result<HeaderValue, NoToken> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
        NoToken::Failed(Failed::garbled(realm, "gives a token that fits into no header", None))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

async fn fetch(
    transport: &Transport,
    wanted: &TokenFor,
    credentials: &Credentials,
    from_scheme: &str,
) -> Result<Token, NoToken> {
    let forbidden = |forbidden| {
        let words = format!("is a token server that Larder doesn't ask: {forbidden}");
        NoToken::Failed(Failed::garbled(&wanted.realm, &words, None))
    };
    let reach = transport.written_down.admit(&wanted.realm, from_scheme).map_err(forbidden)?;
    if *credentials != Credentials::Anonymous && !transport.written_down.may_learn_passwords(&wanted.realm) {
        let words = "is a token server on another site than the upstream, and isn't told its password; if it \
                     belongs to it, add it to the upstream's hosts";
        return Err(NoToken::Failed(Failed::garbled(&wanted.realm, words, None)));
    }
    let question = question(wanted, credentials);
    let answer = transport.ask(&question, reach).await.map_err(NoToken::Failed)?;
    let status = answer.status();
    match status {
        StatusCode::OK => read(answer, &wanted.realm).await.map_err(NoToken::Failed),
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND => Err(NoToken::Refused(status)),
        StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = crate::rate_limit::retry_after(answer.headers());
            Err(NoToken::Failed(Failed {
                failure: UpstreamFailure::RateLimited { retry_after },
                host: host_and_port(&wanted.realm),
                words: "gives no token at the moment: too many were asked for".to_owned(),
                cause: None,
            }))
        }
        _ => Err(NoToken::Failed(Failed {
            failure: UpstreamFailure::Failed { status: status.as_u16() },
            host: host_and_port(&wanted.realm),
            words: format!("gives no token: it answered {status}"),
            cause: None,
        })),
    }
}

fn question(wanted: &TokenFor, credentials: &Credentials) -> Question {
    let mut url = wanted.realm.clone();
    if let Credentials::RefreshToken(token) = credentials {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose());
        form.append_pair("client_id", CLIENT_ID).append_pair("scope", &wanted.scope);
        if let Some(service) = &wanted.service {
            form.append_pair("service", service);
        }
        return Question { form: Some(form.finish()), ..Question::new(Method::POST, url) };
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &wanted.service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &wanted.scope);
        if let Credentials::Password { username, .. } = credentials {
            query.append_pair("account", username);
        }
    }
    Question { authorization: credentials.basic(), ..Question::new(Method::GET, url) }
}

async fn read(mut answer: Response, realm: &Url) -> Result<Token, Failed> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| Failed::of(realm, error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > LONGEST_ANSWER {
            return Err(Failed::garbled(realm, "gives a token of more than a megabyte", None));
        }
    }
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| {
        Failed::garbled(realm, "gives no token but something else", Some(Arc::new(error)))
    })?;
    let token = if answer.access_token.is_empty() { answer.token } else { answer.access_token };
    if token.is_empty() {
        return Err(Failed::garbled(realm, "answers without a token", None));
    }
    let lifetime = answer.expires_in.map_or(LIFETIME_UNTOLD, Duration::from_secs);
    let lifetime = lifetime.min(LONGEST_LIFETIME);
    let good_until = Instant::now() + lifetime.saturating_sub(SPARE.min(lifetime / 10));
    Ok(Token { secret: Secret::from(token), good_until })
}
