//! `/v2/`: what answers there, and how it asks for a login.

mod nameless;

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{DATE, LOCATION, SERVER, WWW_AUTHENTICATE};

use crate::check::{Challenge, Told, Visit};
use crate::finding::{Hop, Row, Severity, Stage};
use crate::hop::{self, API_VERSION, Front};
use crate::net::{Answer, Ask, Client, Endpoint, Scheme, Trouble};

const STAGE: Stage = Stage::Base;

/// Tokens have a leeway of about a minute (distribution gives 60 s); a clock that is further off breaks logins.
const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// What `/v2/` said.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// How it asks for a login; `None` when it answers without.
    pub(crate) challenge: Option<Challenge>,
    /// Whether it is a proxy that asks, and not the registry.
    pub(crate) is_foreign: bool,
    /// The answer to a request without a login.
    pub(crate) answer: Answer,
}

pub(crate) async fn check(visit: &mut Visit<'_, '_>, client: &Client) -> Option<Base> {
    let answer = match client.ask(Ask::get("/v2/")).await {
        Ok(answer) => answer,
        Err(trouble) => {
            no_answer(visit, client, &trouble);
            return None;
        }
    };
    visit.front = match hop::front(&answer).or_else(|| visit.front.take()) {
        Some(front) => Some(front),
        None => nameless::front(client, &answer).await,
    };
    clock(visit, &answer);
    if let Some((row, told)) = not_a_registry(visit, client, &answer).await {
        visit.find(STAGE, row, told);
        return None;
    }
    // A proxy that asks for the login itself lacks more than a header, and that is said below.
    let is_foreign =
        challenges(&answer).iter().any(|challenge| is_foreign(visit.front.as_ref(), &answer, challenge));
    if !is_foreign {
        api_version(visit, &answer);
    }
    let front = visit.front.as_ref().map_or(String::new(), |front| format!(", behind {}", front.name()));
    match answer.status {
        StatusCode::UNAUTHORIZED => {
            let challenge = challenge(visit, client, &answer)?;
            visit.good(STAGE, format!("/v2/ asks for a login ({}){front}", challenge.scheme()));
            Some(Base { challenge: Some(challenge), is_foreign, answer })
        }
        _ => {
            visit.good(STAGE, format!("/v2/ answers as a registry does, without a login{front}"));
            Some(Base { challenge: None, is_foreign, answer })
        }
    }
}

fn no_answer(visit: &mut Visit<'_, '_>, client: &Client, trouble: &Trouble) {
    let (row, cause) = match trouble {
        Trouble::Silent { .. } => {
            (Row::SlowFirstByte, "the connection is taken, but nobody answers: the registry behind it hangs")
        }
        _ => (Row::BaseStatus, "what listens there takes the connection and then ends it"),
    };
    let told = Told::failure(
        visit.front_hop(),
        format!("GET {}/v2/: {trouble}", client.endpoint),
        cause,
        "look at the log of the proxy in front, and whether the registry behind it runs",
    );
    visit.find(STAGE, row, told);
}

/// Why this is no registry's answer; `None` when it is one.
async fn not_a_registry(visit: &Visit<'_, '_>, client: &Client, answer: &Answer) -> Option<(Row, Told)> {
    let seen = format!("GET {}/v2/ answers {}", client.endpoint, hop::words(answer));
    let server = answer.header(SERVER).unwrap_or_default();
    if server.starts_with("AirTunes") || server.starts_with("AirPlay") {
        return Some((
            Row::AirPlay,
            Told::failure(
                Hop::Proxy("AirPlay receiver of macOS".to_owned()),
                format!("{seen}, Server: {server}"),
                "the AirPlay receiver of macOS has port 5000, and the registry isn't asked at all",
                "let the registry listen on another port, such as 5001; or switch AirPlay Receiver off in System Settings",
            ),
        ));
    }
    let who = hop::hop(answer, visit.front.as_ref());
    let login_page =
        "leave the path /v2/ out of the login for browsers; the registry asks for passwords itself";
    if answer.status.is_redirection() {
        let to = answer.header(LOCATION).unwrap_or("nowhere");
        return Some((
            Row::LoginPage,
            Told::failure(
                who,
                format!("{seen} ({to})"),
                "a login for browsers (forward-auth, single sign-on) or a redirect stands before the registry; clients can't fill \
                 in pages",
                login_page,
            ),
        ));
    }
    let is_page = hop::is_html(answer) && !hop::is_registrys(answer);
    if is_page && answer.status.is_success() {
        let page = answer.text().to_ascii_lowercase();
        if ["log in", "login", "sign in", "password"].iter().any(|word| page.contains(word)) {
            return Some((
                Row::LoginPage,
                Told::failure(
                    who,
                    seen,
                    "a login page for browsers stands before the registry; clients say `invalid character '<'`",
                    login_page,
                ),
            ));
        }
        return Some((Row::Html, web_page(who, seen)));
    }
    match answer.status {
        StatusCode::OK | StatusCode::UNAUTHORIZED => None,
        StatusCode::NOT_FOUND => Some((Row::NoRouteForV2, no_route(visit, client, who, seen).await)),
        StatusCode::TOO_MANY_REQUESTS => Some((
            Row::TooManyRequests,
            Told::failure(
                who,
                seen,
                "a limit on requests from this address is reached",
                "wait, or log in: limits are higher then",
            ),
        )),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Some((
            Row::BaseStatus,
            Told::failure(
                who,
                seen,
                "the proxy in front is there, and the registry behind it doesn't answer it",
                "start the registry, and compare its address with the one in the proxy's configuration",
            ),
        )),
        status if status.is_server_error() && asks_in_its_place(answer) => {
            Some((Row::ChallengeForeign, foreign(visit.front.as_ref(), who, seen)))
        }
        _ if is_page => Some((Row::Html, web_page(who, seen))),
        _ => Some((
            Row::BaseStatus,
            Told::failure(
                who,
                seen,
                "clients understand only 200 and 401 there",
                "send the path /v2/ of this host to the registry unchanged",
            ),
        )),
    }
}

fn web_page(who: Hop, seen: String) -> Told {
    Told::failure(
        who,
        seen,
        "a web page comes where the registry's JSON should: clients say `invalid character '<' looking for beginning of value`",
        "send the path /v2/ of this host to the registry, and nothing else before it",
    )
}

/// nginx, asked to check a hash that its libc doesn't know, answers 500 to whoever logs in.
fn asks_in_its_place(answer: &Answer) -> bool {
    answer.headers.contains_key(WWW_AUTHENTICATE) && !hop::is_registrys(answer)
}

/// What it means that a proxy asks for the password.
pub(crate) fn foreign(front: Option<&Front>, who: Hop, seen: String) -> Told {
    match front {
        Some(Front::Traefik) => Told::failure(
            who,
            seen,
            "a middleware of Traefik (basicAuth) asks for the password in the registry's place. A client has one login for both: the \
             registry knows nobody, and one that asks for a login itself can't be used",
            "let the registry check passwords (auth.htpasswd), and take the middleware basicAuth off this router and its entry point",
        ),
        _ => Told::failure(
            who,
            seen,
            "the proxy asks for the password in the registry's place, and can't check it (nginx with bcrypt hashes: crypt_r() failed)",
            "let the registry check passwords (auth.htpasswd), and take auth_basic out of the proxy",
        ),
    }
}

async fn no_route(visit: &Visit<'_, '_>, client: &Client, who: Hop, seen: String) -> Told {
    // Some other spelling may be routed.
    let slashless = client.ask(Ask::get("/v2")).await;
    if slashless.is_ok_and(|answer| hop::is_registrys(&answer) && answer.status != StatusCode::NOT_FOUND) {
        return Told::failure(
            who,
            format!("{seen}, but /v2 without the slash reaches a registry"),
            "the proxy's rule is for /v2 alone",
            "make the rule a prefix: location /v2/ { … }, or path prefix /v2",
        );
    }
    if visit.front == Some(Front::Traefik) {
        return no_router(visit, client, who, seen);
    }
    Told::failure(
        who,
        seen,
        "what answers has no route for /v2/ of this host, or it is no registry",
        "send the path /v2/ of this host to the registry, unchanged",
    )
}

/// Traefik's 404. It also comes over TLS where a router of the very name serves plain HTTP.
fn no_router(visit: &Visit<'_, '_>, client: &Client, who: Hop, seen: String) -> Told {
    let host = &visit.target.host;
    let (over_tls, label) = match client.endpoint.scheme {
        Scheme::Https => ("its router has no tls, ", " and traefik.http.routers.registry.tls=true"),
        Scheme::Http => ("", ""),
    };
    Told::failure(
        who,
        seen,
        format!(
            "`404 page not found`: no router of Traefik is for this host and the path /v2/ on this entry point. Its rule has another name, \
             {over_tls}its container doesn't run, is unhealthy or isn't enabled, or a file of it has a mistake"
        ),
        format!(
            "give Traefik a router for it: larder proxy traefik {host}; by labels: \
             traefik.http.routers.registry.rule=Host(`{host}`){label}. Traefik's log and dashboard say which routers it has"
        ),
    )
}

/// Whether the 401 is a proxy's own: a page, or what Traefik's basicAuth says. The registry answers in JSON.
fn is_foreign(front: Option<&Front>, answer: &Answer, challenge: &Challenge) -> bool {
    let is_traefiks = front == Some(&Front::Traefik)
        && matches!(challenge, Challenge::Basic)
        && answer.text() == "401 Unauthorized\n";
    !hop::is_registrys(answer) && (hop::is_html(answer) || is_traefiks)
}

fn api_version(visit: &mut Visit<'_, '_>, answer: &Answer) {
    if answer.headers.contains_key(API_VERSION) {
        return;
    }
    let told = Told::warning(
        visit.front_hop(),
        "the answer lacks the header Docker-Distribution-Api-Version",
        "old docker clients then take it for a registry of the first version, and say 404; a proxy drops it, or the registry never \
         sent it",
        "let the proxy pass it on; nginx: add_header Docker-Distribution-Api-Version registry/2.0 always;",
    );
    visit.find(STAGE, Row::ApiVersionMissing, told);
}

fn challenges(answer: &Answer) -> Vec<Challenge> {
    let values = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.filter_map(Challenge::read).collect()
}

fn challenge(visit: &mut Visit<'_, '_>, client: &Client, answer: &Answer) -> Option<Challenge> {
    let challenges = challenges(answer);
    // docker takes a Bearer before a Basic one.
    let best =
        challenges.iter().find(|one| matches!(one, Challenge::Bearer { .. })).or_else(|| challenges.first());
    match best {
        Some(challenge) if is_foreign(visit.front.as_ref(), answer, challenge) => {
            let who = hop::hop(answer, visit.front.as_ref());
            let seen =
                format!("the 401 of {}/v2/ is not the registry's: {}", client.endpoint, hop::words(answer));
            let told = foreign(visit.front.as_ref(), who, seen);
            visit.find(STAGE, Row::ChallengeForeign, Told { severity: Severity::Warning, ..told });
            Some(challenge.clone())
        }
        Some(challenge) => Some(challenge.clone()),
        None => {
            let who = hop::hop(answer, visit.front.as_ref());
            let who = if who == Hop::Registry && visit.front.is_some() { visit.front_hop() } else { who };
            let told = Told::failure(
                who,
                format!("GET {}/v2/ answers 401 without a WWW-Authenticate header", client.endpoint),
                "a proxy replaces or strips the header by which the registry asks for the login; clients then never send one, and say \
                 `unauthorized: authentication required` with the right password",
                "let the header through: in nginx remove `proxy_hide_header WWW-Authenticate;`, in forward-auth leave /v2/ out",
            );
            visit.find(STAGE, Row::ChallengeMissing, told);
            None
        }
    }
}

/// The registry's clock, by the `Date` of its answer.
fn clock(visit: &mut Visit<'_, '_>, answer: &Answer) {
    let Some(theirs) = answer.header(DATE).and_then(http_date) else { return };
    let ours = visit.now();
    let (behind, difference) = match theirs.duration_since(ours) {
        Ok(difference) => ("behind", difference),
        Err(ahead) => ("ahead of", ahead.duration()),
    };
    // Dates have whole seconds.
    if difference <= CLOCK_LEEWAY {
        return;
    }
    let told = Told::warning(
        Hop::Client,
        format!("this machine's clock is {} s {behind} the registry's", difference.as_secs()),
        "one of both is wrong; tokens and certificates then are too old or too young: `token not to be used before …`",
        "on both machines: sudo timedatectl set-ntp true",
    );
    visit.find(STAGE, Row::ClockWrong, told);
}

/// The time of an HTTP `Date` header (RFC 9110, 5.6.7: the one form that may be sent).
pub(crate) fn http_date(text: &str) -> Option<SystemTime> {
    let mut words = text.split_whitespace().skip(1);
    let day: u64 = words.next()?.parse().ok()?;
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let time = words.next()?;
    humantime::parse_rfc3339(&format!("{year:04}-{month:02}-{day:02}T{time}Z")).ok()
}

/// A URL's host, if it is a whole URL.
pub(crate) fn host_of(url: &str) -> Option<Endpoint> {
    Endpoint::of_url(url).map(|(endpoint, _)| endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        let time = http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("RFC 9110's example");
        assert_eq!(time, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(http_date("yesterday"), None);
    }
}
