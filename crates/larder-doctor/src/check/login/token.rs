//! Tokens (distribution's "Token Authentication Specification"): who gives them, and what is in them.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::{STAGE, quoted};
use crate::check::{Told, Visit};
use crate::finding::{Hop, Row};
use crate::hop;
use crate::net::{Answer, Ask, Client, Endpoint};
use crate::secret::Login;

/// The specification's shortest life of a token; clients assume it where an answer says nothing.
const SHORTEST_LIFE: u64 = 60;
/// Registries take a token that is this much too young or too old.
const LEEWAY: Duration = Duration::from_secs(60);

/// Who gives tokens.
pub(crate) struct TokenService {
    client: Client,
    path: String,
    service: String,
}

/// A token, and when it ends by the answer's own word.
pub(crate) struct Given {
    pub(crate) token: String,
    expires_in: Option<u64>,
}

impl TokenService {
    pub(crate) fn new(client: Client, realm: &str, service: &str) -> Option<TokenService> {
        let (_, path) = Endpoint::of_url(realm)?;
        Some(TokenService { client, path, service: service.to_owned() })
    }

    /// A token for one scope, or the answer or the words instead.
    pub(crate) async fn token(
        &self,
        scope: &str,
        login: Option<&Login>,
    ) -> Result<Given, Result<Answer, String>> {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let service = self.service.replace('%', "%25").replace(' ', "%20").replace('&', "%26");
        let path = format!("{}{mark}service={service}&scope={scope}", self.path);
        let ask = match login {
            Some(login) => Ask::get(path).header(AUTHORIZATION, &login.basic()),
            None => Ask::get(path),
        };
        let answer = self.client.ask(ask).await.map_err(|trouble| Err(trouble.to_string()))?;
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let text = |name: &str| body.as_ref().and_then(|body| body.get(name)?.as_str().map(str::to_owned));
        let token = text("token").or_else(|| text("access_token")).filter(|token| !token.is_empty());
        match token {
            Some(token) if answer.status == StatusCode::OK => {
                let expires_in = body.as_ref().and_then(|body| body.get("expires_in")?.as_u64());
                Ok(Given { token, expires_in })
            }
            _ => Err(Ok(answer)),
        }
    }

    fn host(&self) -> String {
        self.client.endpoint.host.clone()
    }
}

/// Fetches a token as clients do before a pull or push, and looks at what is in it.
pub(super) async fn check(visit: &mut Visit<'_, '_>, service: &TokenService, login: Option<&Login>) -> bool {
    let repository = visit.repository.clone();
    let actions = if visit.options.write { "pull,push" } else { "pull" };
    let who = login.map_or("whoever comes without a login".to_owned(), |login| {
        format!("{} ({})", login.user, login.source)
    });
    match service.token(&format!("repository:{repository}:{actions}"), login).await {
        Ok(given) => {
            let claims = claims(&given.token);
            times(visit, service, &given, claims.as_ref());
            if login.is_some() && claims.as_ref().is_some_and(is_for_nobody) {
                let hop = match visit.front {
                    Some(_) => visit.front_hop(),
                    None => Hop::TokenService(service.host()),
                };
                visit.find(STAGE, Row::AuthorizationDropped, dropped(hop, service, &who));
                return false;
            }
            let granted = claims.as_ref().is_none_or(|claims| holds(claims, repository.as_str(), "push"));
            if visit.options.write && !granted && login.is_none() && visit.options.login.is_some() {
                visit.skip(STAGE, "a push is tried when the login can be sent: mend the certificate first");
                return false;
            }
            if visit.options.write && !granted {
                let (row, told) = no_push(service, repository.as_str(), login, &who);
                visit.find(STAGE, row, told);
                return false;
            }
            visit.good(STAGE, format!("a token to {actions} in {repository} is given to {who}"));
            true
        }
        Err(Ok(answer)) => {
            let (row, told) = refused(visit, service, &answer, login, &who);
            visit.find(STAGE, row, told);
            false
        }
        Err(Err(words)) => {
            let told = Told::failure(
                Hop::TokenService(service.host()),
                format!("asking {} for a token: {words}", service.client.endpoint),
                "the token service is there, but doesn't answer",
                "look at its log",
            );
            visit.find(STAGE, Row::RealmUnreachable, told);
            false
        }
    }
}

fn refused(
    visit: &Visit<'_, '_>,
    service: &TokenService,
    answer: &Answer,
    login: Option<&Login>,
    who: &str,
) -> (Row, Told) {
    let seen =
        format!("{} gives no token to {who}, but answers {}", service.client.endpoint, hop::words(answer));
    let hop = Hop::TokenService(service.host());
    match (answer.status, login) {
        (StatusCode::UNAUTHORIZED, Some(login)) => (
            Row::LoginRefused,
            Told::failure(
                hop,
                seen,
                "the name or the password is wrong; or the login was made at another registry",
                format!("docker login -u {} {}", quoted(&login.user), visit.target.authority()),
            ),
        ),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => (
            Row::TokenRefused,
            Told::failure(
                hop,
                seen,
                "only users get tokens there",
                format!("docker login {}, or --user", visit.target.authority()),
            ),
        ),
        _ => (
            Row::TokenRefused,
            Told::failure(
                hop,
                seen,
                "that is no token answer: the realm leads to something else, or the service fails",
                "compare the realm in WWW-Authenticate with the token service's address, and look at its log",
            ),
        ),
    }
}

/// Whether the token says that it was given to whoever comes. A service that lets anybody pull does so where no login arrives.
fn is_for_nobody(claims: &Value) -> bool {
    claims.get("sub").and_then(Value::as_str) == Some("")
}

fn dropped(hop: Hop, service: &TokenService, who: &str) -> Told {
    Told::failure(
        hop,
        format!("{} was shown the login of {who}, and gives a token for nobody", service.client.endpoint),
        "the proxy doesn't pass the Authorization header on: pulls work as for whoever comes, and pushes are denied with the right \
         password",
        "pass it on (nginx: proxy_set_header Authorization $http_authorization;), also for the path of the token service",
    )
}

fn no_push(service: &TokenService, repository: &str, login: Option<&Login>, who: &str) -> (Row, Told) {
    let seen = format!("the token for {who} doesn't hold the push in {repository} that was asked for");
    let hop = Hop::TokenService(service.host());
    match login {
        None => (
            Row::ScopeMissing,
            Told::failure(
                hop,
                seen,
                "only users may push there",
                "docker login, or --user; without --write reading alone is looked at",
            ),
        ),
        Some(login) => (
            Row::ScopeMissing,
            Told::failure(
                hop,
                seen,
                "the user may not push there: `denied: requested access to the resource is denied`",
                format!(
                    "on the registry's machine: larder access explain {} push {repository}",
                    quoted(&login.user)
                ),
            ),
        ),
    }
}

/// The token's times against this machine's clock. The registry judges by its own; both should be the same.
fn times(visit: &mut Visit<'_, '_>, service: &TokenService, given: &Given, claims: Option<&Value>) {
    let time = |name: &str| claims.and_then(|claims| claims.get(name)?.as_u64());
    let (begins, issued, ends) = (time("nbf"), time("iat"), time("exp"));
    let now = visit.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let hop = Hop::TokenService(service.host());
    let begins_at = begins.or(issued);
    let wrong = begins_at.is_some_and(|begins| begins > now + LEEWAY.as_secs())
        || ends.is_some_and(|ends| ends + LEEWAY.as_secs() < now);
    if wrong {
        let date = |seconds: Option<u64>| {
            seconds.map_or("?".to_owned(), |seconds| {
                humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
            })
        };
        let told = Told::failure(
            hop,
            format!(
                "the token counts from {} to {}, and it is {} here",
                date(begins_at),
                date(ends),
                humantime::format_rfc3339_seconds(visit.now())
            ),
            "the clocks of the token service and of this machine differ: `token is not valid yet`",
            "on both machines: sudo timedatectl set-ntp true",
        );
        visit.find(STAGE, Row::TokenClock, told);
        return;
    }
    let life = match (begins_at, ends) {
        (Some(begins), Some(ends)) => Some(ends.saturating_sub(begins)),
        _ => given.expires_in,
    };
    if let Some(life) = life.filter(|life| *life < SHORTEST_LIFE) {
        let told = Told::warning(
            hop,
            format!("tokens end after {life} s"),
            "a layer that takes longer ends in `unauthorized: authentication required` after some layers went well",
            "let tokens live for 5 minutes",
        );
        visit.find(STAGE, Row::TokenShort, told);
    }
}

/// What a JSON Web Token says. Not verified: that is the registry's, and nothing here depends on it.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
}

/// Whether the token's `access` has this right. A token that lists no rights is opaque, and may hold any.
fn holds(claims: &Value, repository: &str, action: &str) -> bool {
    let Some(access) = claims.get("access").and_then(Value::as_array) else { return true };
    access.iter().any(|one| {
        let named = one.get("name").and_then(Value::as_str) == Some(repository);
        let actions = one.get("actions").and_then(Value::as_array).into_iter().flatten();
        named && actions.filter_map(Value::as_str).any(|known| known == action || known == "*")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_looked_up_by_repository_and_action() {
        let claims: Value = serde_json::from_str(
            r#"{"access":[{"type":"repository","name":"team/app","actions":["pull"]},{"name":"own","actions":["*"]}]}"#,
        )
        .expect("JSON");
        assert!(holds(&claims, "team/app", "pull"));
        assert!(!holds(&claims, "team/app", "push"));
        assert!(holds(&claims, "own", "push"));
        assert!(!holds(&claims, "other", "pull"));
        assert!(holds(&serde_json::json!({}), "other", "pull"), "an opaque token may hold any right");
    }
}
