//! Challenge, token, rights.

mod token;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use http::header::AUTHORIZATION;
use larder_oci::RepoName;

use crate::check::{Base, Challenge, Told, Visit, base};
use crate::finding::{Hop, Row, Stage};
use crate::hop::{self, Front};
use crate::net::{Answer, Ask, Client, Scheme, Trouble};
use crate::secret::Login;

pub(crate) use token::TokenService;

pub(super) const STAGE: Stage = Stage::Login;

/// What may be asked with the login that there is.
pub(crate) struct Session {
    pub(crate) client: Client,
    login: Option<Login>,
    service: Option<TokenService>,
    /// Scope → token; `None` where the service gave none.
    tokens: Mutex<BTreeMap<String, Option<String>>>,
}

impl Session {
    /// Asks about a repository, with a right to what `actions` say (`pull`, `pull,push`, …).
    pub(crate) async fn ask(
        &self,
        repository: &RepoName,
        actions: &str,
        ask: Ask,
    ) -> Result<Answer, Trouble> {
        let Some(service) = &self.service else {
            let ask = match &self.login {
                Some(login) => ask.header(AUTHORIZATION, &login.basic()),
                None => ask,
            };
            return self.client.ask(ask).await;
        };
        let scope = format!("repository:{repository}:{actions}");
        let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&scope).cloned();
        let token = match known {
            Some(token) => token,
            None => {
                let token = service.token(&scope, self.login.as_ref()).await.ok().map(|given| given.token);
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, token.clone());
                token
            }
        };
        let ask = match token {
            Some(token) => ask.header(AUTHORIZATION, &format!("Bearer {token}")),
            None => ask,
        };
        self.client.ask(ask).await
    }

    /// Whether a login is used.
    pub(crate) fn has_login(&self) -> bool {
        self.login.is_some()
    }
}

/// Logs in as clients do. `None` when nothing more can be asked.
pub(crate) async fn check(visit: &mut Visit<'_, '_>, client: &Client, base: &Base) -> Option<Session> {
    let mut login = visit.options.login.clone();
    if login.is_some() && !visit.is_trusted {
        visit.skip(STAGE, "the login isn't sent to a server whose certificate isn't believed");
        login = None;
    }
    let session = |login: Option<Login>, service: Option<TokenService>| Session {
        client: client.clone(),
        login,
        service,
        tokens: Mutex::default(),
    };
    match &base.challenge {
        None => {
            visit.good(STAGE, "no login is asked for");
            Some(session(login, None))
        }
        Some(Challenge::Basic) => {
            let Some(login) = login else {
                visit.skip(
                    STAGE,
                    format!(
                        "nothing more can be asked without a login: docker login {}, or --user",
                        visit.target.authority()
                    ),
                );
                return None;
            };
            basic(visit, client, base, &login).await.then(|| session(Some(login), None))
        }
        Some(Challenge::Bearer { realm, service }) => {
            let service = realm_checked(visit, client, realm, service).await?;
            token::check(visit, &service, login.as_ref()).await.then(|| session(login, Some(service)))
        }
    }
}

/// User and password with every request.
async fn basic(visit: &mut Visit<'_, '_>, client: &Client, base: &Base, login: &Login) -> bool {
    let asked = client.ask(Ask::get("/v2/").header(AUTHORIZATION, &login.basic())).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(trouble) => {
            let told = Told::failure(
                visit.front_hop(),
                format!("GET /v2/ with a login: {trouble}"),
                "without a login it answers",
                "look at the log of the registry at this moment",
            );
            visit.find(STAGE, Row::LoginRefused, told);
            return false;
        }
    };
    match answer.status {
        StatusCode::OK => {
            visit.good(STAGE, format!("logged in as {} ({})", login.user, login.source));
            true
        }
        StatusCode::UNAUTHORIZED => {
            let alien = client.ask(Ask::get("/v2/").header(AUTHORIZATION, "Larder-Doctor arrives")).await;
            let tells_apart = answer.body != base.answer.body
                || alien.is_ok_and(|alien| alien.body != base.answer.body || alien.status != answer.status);
            let (row, told) = if base.is_foreign {
                refused_behind(visit, login, &answer)
            } else {
                refused(visit, login, &answer, tells_apart)
            };
            visit.find(STAGE, row, told);
            false
        }
        status if status.is_server_error() && !hop::is_registrys(&answer) => {
            let who = hop::hop(&answer, visit.front.as_ref());
            let seen = format!("GET /v2/ with a login answers {}", hop::words(&answer));
            let told = base::foreign(visit.front.as_ref(), who, seen);
            visit.find(STAGE, Row::ChallengeForeign, told);
            false
        }
        _ => {
            let told = Told::failure(
                hop::hop(&answer, visit.front.as_ref()),
                format!("GET /v2/ with the login of {} answers {}", login.user, hop::words(&answer)),
                "the login is taken, but this user may do nothing here",
                format!(
                    "on the registry's machine: larder access explain {} pull REPOSITORY",
                    quoted(&login.user)
                ),
            );
            visit.find(STAGE, Row::Denied, told);
            false
        }
    }
}

fn refused(visit: &Visit<'_, '_>, login: &Login, answer: &Answer, tells_apart: bool) -> (Row, Told) {
    let seen =
        format!("the login of {} ({}) is answered with {}", login.user, login.source, hop::words(answer));
    if !tells_apart && visit.front.is_some() {
        return (
            Row::AuthorizationDropped,
            Told::failure(
                visit.front_hop(),
                format!("{seen}: the same words as without any login"),
                "the proxy doesn't pass the Authorization header on; or the password is wrong and this registry says no more",
                match visit.front {
                    Some(Front::Traefik) => {
                        "take the middleware that sets Authorization (headers.customRequestHeaders) or removes it (forwardAuth, basicAuth) \
                         off this router, then ask the registry itself: curl -u USER http://REGISTRY:5000/v2/"
                    }
                    _ => {
                        "pass it on (nginx: proxy_set_header Authorization $http_authorization;), then ask the registry itself: curl -u \
                         USER http://REGISTRY:5000/v2/"
                    }
                },
            ),
        );
    }
    let cause = if login.user.contains('$') || login.password.is_empty() {
        "user or password lost a part: a shell or compose file took the text after `$` for a variable"
    } else {
        "the name or the password is wrong; or, at registry:2, the htpasswd line isn't bcrypt"
    };
    let fix = format!(
        "docker login -u {} {}   # and on the registry's machine: larder user verify {}",
        quoted(&login.user),
        visit.target.authority(),
        quoted(&login.user)
    );
    (Row::LoginRefused, Told::failure(Hop::Registry, seen, cause, fix))
}

/// A login that is refused where a proxy asked for it: by the proxy, or by the registry that it never reached.
fn refused_behind(visit: &Visit<'_, '_>, login: &Login, answer: &Answer) -> (Row, Told) {
    let seen =
        format!("the login of {} ({}) is answered with {}", login.user, login.source, hop::words(answer));
    let who = visit.front_hop();
    if !hop::is_registrys(answer) {
        return (Row::ChallengeForeign, base::foreign(visit.front.as_ref(), who, seen));
    }
    let cause = "the proxy asks for the login, takes it and doesn't pass it on (Traefik: basicAuth with removeHeader), or passes it on \
                 to a registry that has other users: the registry behind it asks for one, too";
    let fix = match visit.front {
        Some(Front::Traefik) => {
            "let the registry alone check passwords: take the middleware basicAuth off this router and its entry point"
        }
        _ => "let the registry alone check passwords, and let the proxy pass Authorization on",
    };
    (Row::AuthorizationDropped, Told::failure(who, seen, cause, fix))
}

/// A word as a shell takes it literally.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@');
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The token service, if its address can be used from here.
async fn realm_checked(
    visit: &mut Visit<'_, '_>,
    client: &Client,
    realm: &str,
    service: &str,
) -> Option<TokenService> {
    let set_public = "tell the registry its public address (http.host: https://NAME, or auth.token.realm), or let the proxy send \
                      Host and X-Forwarded-Proto";
    let Some(endpoint) = base::host_of(realm) else {
        let told = Told::failure(
            Hop::Registry,
            format!("the token service is named as {realm:?}"),
            "that is no whole URL, so that clients don't know whom to ask",
            set_public,
        );
        visit.find(STAGE, Row::RealmUnreachable, told);
        return None;
    };
    if endpoint.scheme == Scheme::Http && client.endpoint.scheme == Scheme::Https {
        let told = Told::failure(
            Hop::Registry,
            format!("the registry is reached by https, and names its token service as {realm}"),
            "it doesn't know that TLS ends before it: the proxy doesn't send X-Forwarded-Proto, or sends http; clients then send \
             passwords in the clear, or to a closed port",
            set_public,
        );
        visit.find(STAGE, Row::RealmScheme, told);
        return None;
    }
    match Client::to(endpoint.clone(), client.trust.clone()).await {
        Ok(client) => {
            visit.good(STAGE, format!("tokens are given by {endpoint}"));
            TokenService::new(client, realm, service)
        }
        Err(trouble) => {
            let told = Told::failure(
                Hop::TokenService(endpoint.host.clone()),
                format!("the token service {realm} can't be reached: {trouble}"),
                "the registry names it by an address that only its own network knows, such as a container's name; or it is down",
                set_public,
            );
            visit.find(STAGE, Row::RealmUnreachable, told);
            None
        }
    }
}
