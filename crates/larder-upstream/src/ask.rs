//! One question to an upstream: at which URL, as whom, and again if need be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use larder_core::{Allowance, UpstreamError, UpstreamFailure};
use larder_oci::RepoName;
use reqwest::Response;

use crate::accounts::{Account, Credentials};
use crate::base_url::host_and_port;
use crate::challenge::{self, Challenge};
use crate::mirrors::{Mirror, order};
use crate::reach::Reach;
use crate::remote::RemoteRegistry;
use crate::tokens::{NoToken, TokenFor};
use crate::traffic::{Kind, Outcome};
use crate::transport::{Failed, Question, chain};

/// The longest refusal that is read for its words, in bytes.
const LONGEST_REFUSAL: usize = 16 << 10;

/// So much of an upstream's own words is passed on.
const LONGEST_WORDS: usize = 200;

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) repository: &'a RepoName,
    /// What of it: `manifests/latest`.
    pub(crate) rest: String,
    /// Which part of it: `n=1000`; empty for all.
    pub(crate) query: String,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) kind: Kind,
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) host: String,
}

impl RemoteRegistry {
    /// Asks one URL after the other until one has it. `None`: all that could be asked say that it isn't there.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Option<Answer>, UpstreamError> {
        let outcome = self.ask_around(ask).await;
        self.traffic.count(
            ask.kind,
            match &outcome {
                Ok(Some(_)) => Outcome::Found,
                Ok(None) => Outcome::Missing,
                Err(failed) => match failed.failure {
                    UpstreamFailure::Unauthorized | UpstreamFailure::Denied => Outcome::Refused,
                    UpstreamFailure::RateLimited { .. } => Outcome::RateLimited,
                    _ => Outcome::Failed,
                },
            },
        );
        outcome.map_err(|failed| failed.of_upstream(&self.name))
    }

    async fn ask_around(&self, ask: &Ask<'_>) -> Result<Option<Answer>, Failed> {
        let now = Instant::now();
        let measures: Vec<_> = self.mirrors.iter().map(|mirror| mirror.measure(now)).collect();
        let order = order(&measures);
        self.measure_others(order.first().copied(), now);
        let mut failure: Option<Failed> = None;
        for mirror in order.into_iter().filter_map(|place| self.mirrors.get(place)) {
            match self.ask_mirror(mirror, ask).await {
                Ok(Some(response)) => {
                    let (mirror, host) = (Arc::clone(mirror), mirror.host.clone());
                    return Ok(Some(Answer { response, mirror, host }));
                }
                Ok(None) => {}
                Err(failed) => failure = Some(more_telling(failure, failed)),
            }
        }
        // One that could not be asked might have had it: an outage is never a "not there".
        failure.map_or(Ok(None), Err)
    }

    /// Now and then, those that aren't asked are measured by a small question.
    fn measure_others(&self, first: Option<usize>, now: Instant) {
        let mut probes = self.probes();
        while probes.try_join_next().is_some() {}
        for (place, mirror) in self.mirrors.iter().enumerate() {
            if Some(place) == first || !mirror.is_forgotten(now) {
                continue;
            }
            let (transport, mirror) = (Arc::clone(&self.transport), Arc::clone(mirror));
            probes.spawn(async move {
                let asked = Instant::now();
                let question = Question::new(Method::GET, mirror.base.base());
                match transport.ask(&question, Reach::Anywhere).await {
                    Ok(answer) if !answer.status().is_server_error() => {
                        mirror.answered(asked.elapsed(), Instant::now());
                    }
                    Ok(answer) => mirror.failed(&format!("answers {}", answer.status()), Instant::now()),
                    Err(failed) => mirror.failed(&failed.words, Instant::now()),
                }
            });
        }
    }

    /// Asks as one account after the other until one may.
    async fn ask_mirror(&self, mirror: &Mirror, ask: &Ask<'_>) -> Result<Option<Response>, Failed> {
        let mut failure: Option<Failed> = None;
        for account in self.accounts_in_turn(mirror, ask.repository, Instant::now()) {
            match self.ask_as(mirror, account, ask).await {
                Ok(found) => return Ok(found),
                Err(failed) => match failed.failure {
                    UpstreamFailure::Unauthorized
                    | UpstreamFailure::Denied
                    | UpstreamFailure::RateLimited { .. } => failure = Some(more_telling(failure, failed)),
                    _ => return Err(failed),
                },
            }
        }
        failure.map_or(Ok(None), Err)
    }

    async fn ask_as(&self, mirror: &Mirror, place: usize, ask: &Ask<'_>) -> Result<Option<Response>, Failed> {
        let Some(account) = self.accounts.get(place) else { return Ok(None) };
        let now = Instant::now();
        if mirror.standing(place, |standing| standing.is_rejected(now)).unwrap_or_default() {
            let words = format!("has refused the login of {} a short while ago", account.label());
            return Err(failed(mirror, UpstreamFailure::Unauthorized, words));
        }
        let counts = ask.kind == Kind::Manifest || !self.settings.quirks.only_manifest_gets_count;
        let allowance = mirror.standing(place, |standing| standing.rate_limit.allowance(now));
        if let Some(Allowance::Spent { renews_in }) = allowance.filter(|_| counts) {
            return Err(spent(mirror, account, renews_in));
        }
        let credentials = account.credentials(mirror.base.url().host_str().unwrap_or_default()).await;
        let credentials = credentials.map_err(|error| {
            tracing::error!(upstream = %self.name, reason = %chain(&error), "an account's password isn't known");
            let words = format!("can't be logged in at: {error}");
            failed(mirror, UpstreamFailure::Unauthorized, words)
        })?;
        let who = Who { place, account, credentials };
        let challenge = mirror.state().challenge.clone();
        let mut authorization = None;
        if let Some(challenge) = &challenge {
            authorization = self.authorize(mirror, &who, challenge, ask.repository).await?;
        }
        let mut response = self.send(mirror, ask, authorization.clone(), place, counts).await?;
        if response.status() == StatusCode::UNAUTHORIZED && is_own(mirror, &response) {
            let Some(challenge) = self.challenge(mirror, &response).await? else {
                return Err(self.not_believed(mirror, &who, response).await);
            };
            if let Some(header) = &authorization {
                if let Some(wanted) = self.token_for(place, mirror, &challenge, ask.repository)? {
                    self.tokens.distrust(&wanted, header).await;
                }
                account.forget().await;
            }
            mirror.state().challenge = Some(challenge.clone());
            let again = self.authorize(mirror, &who, &challenge, ask.repository).await?;
            if again.is_none() || (again == authorization && challenge == Challenge::Basic) {
                return Err(self.not_believed(mirror, &who, response).await);
            }
            authorization = again;
            response = self.send(mirror, ask, authorization, place, counts).await?;
        }
        self.judge(mirror, &who, ask.kind, response).await
    }

    /// Sends it, and once more if a kept connection turns out to be dead.
    async fn send(
        &self,
        mirror: &Mirror,
        ask: &Ask<'_>,
        authorization: Option<HeaderValue>,
        account: usize,
        counts: bool,
    ) -> Result<Response, Failed> {
        let mut url = mirror.base.of(ask.repository, &ask.rest);
        url.set_query(Some(ask.query.as_str()).filter(|query| !query.is_empty()));
        let (method, headers) = (ask.method.clone(), ask.headers.clone());
        let question = Question { method, url, headers, authorization, form: None };
        let asked = Instant::now();
        mirror.standing(account, |standing| {
            standing.is_used(asked);
            if counts {
                standing.rate_limit.spend();
            }
        });
        let mut outcome = self.transport.ask(&question, Reach::Anywhere).await;
        if let Err(Failed { failure: UpstreamFailure::Cut, .. }) = outcome {
            outcome = self.transport.ask(&question, Reach::Anywhere).await;
        }
        let now = Instant::now();
        match &outcome {
            Err(failed) => mirror.failed(&failed.words, now),
            Ok(response) if response.status().is_server_error() => {
                mirror.failed(&format!("answers {}", response.status()), now);
            }
            Ok(response) => {
                mirror.answered(asked.elapsed(), now);
                self.learn_limit(mirror, account, response.headers(), now);
            }
        }
        outcome
    }

    /// Keeps what an answer says of the rate limit, and tells when it becomes tight.
    fn learn_limit(&self, mirror: &Mirror, account: usize, headers: &HeaderMap, now: Instant) {
        let changed = mirror.standing(account, |standing| {
            let before = standing.rate_limit.allowance(now);
            standing.rate_limit.learn(headers, now);
            let after = standing.rate_limit.allowance(now);
            let is_same = std::mem::discriminant(&before) == std::mem::discriminant(&after);
            (!is_same).then(|| (after, standing.rate_limit.clone()))
        });
        let Some(Some((allowance, limit))) = changed else { return };
        let account = self.accounts.get(account).map(|account| account.label()).unwrap_or_default();
        let (upstream, host) = (&self.name, &mirror.host);
        let (limit, remaining) = (limit.limit.unwrap_or_default(), limit.remaining.unwrap_or_default());
        match allowance {
            Allowance::Plenty => {
                tracing::info!(%upstream, %host, account, limit, remaining, "the rate limit has renewed")
            }
            Allowance::Scarce => tracing::warn!(
                %upstream, %host, account, limit, remaining,
                "the rate limit is nearly used up: only what is not at hand is asked for"
            ),
            Allowance::Spent { renews_in } => tracing::warn!(
                %upstream, %host, account, limit, asked_again_in_s = renews_in.as_secs(),
                "the rate limit is used up: only what is at hand is served"
            ),
        }
    }

    /// What an answer means that isn't about who we are.
    async fn judge(
        &self,
        mirror: &Mirror,
        who: &Who<'_>,
        kind: Kind,
        response: Response,
    ) -> Result<Option<Response>, Failed> {
        let status = response.status();
        // registry.k8s.io has its manifests elsewhere, and it is there that one is missing.
        let is_missing_manifest =
            status == StatusCode::NOT_FOUND && matches!(kind, Kind::Manifest | Kind::ManifestHead);
        if !status.is_success() && !is_own(mirror, &response) && !is_missing_manifest {
            // A CDN knows neither accounts nor repositories: a signed URL has run out, or it is ill.
            let words = format!("redirects to {}, which answers {status}", host_and_port(response.url()));
            mirror.failed(&words, Instant::now());
            return Err(failed(mirror, UpstreamFailure::Failed { status: status.as_u16() }, words));
        }
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(response)),
            StatusCode::NOT_FOUND => {
                words_of(response).await;
                Ok(None)
            }
            StatusCode::UNAUTHORIZED => Err(self.not_believed(mirror, who, response).await),
            StatusCode::FORBIDDEN => {
                let by = self.transport.perhaps_by_proxy(response.url());
                let words = format!("denies this to {}{by}{}", who.account.label(), quoted(response).await);
                Err(failed(mirror, UpstreamFailure::Denied, words))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let now = Instant::now();
                let pause = mirror
                    .standing(who.place, |standing| standing.rate_limit.refused(response.headers(), now))
                    .unwrap_or_default();
                let words =
                    format!("answers that {} asks too much{}", who.account.label(), quoted(response).await);
                tracing::warn!(
                    upstream = %self.name, host = %mirror.host, account = %who.account.label(),
                    asked_again_in_s = pause.as_secs(), "the upstream's rate limit is used up"
                );
                Err(failed(mirror, UpstreamFailure::RateLimited { retry_after: Some(pause) }, words))
            }
            _ => {
                let by = self.transport.perhaps_by_proxy(response.url());
                let words = format!("answers {status}{by}{}", quoted(response).await);
                Err(failed(mirror, UpstreamFailure::Failed { status: status.as_u16() }, words))
            }
        }
    }

    /// How it wants to be told who we are. Some say so only at their base (gcr.io).
    async fn challenge(&self, mirror: &Mirror, response: &Response) -> Result<Option<Challenge>, Failed> {
        if let Some(challenge) = challenge_of(response.headers()) {
            return Ok(Some(challenge));
        }
        let answer =
            self.transport.ask(&Question::new(Method::GET, mirror.base.base()), Reach::Anywhere).await?;
        Ok(challenge_of(answer.headers()))
    }

    /// The header that answers the challenge; `None`: we have nothing to say.
    async fn authorize(
        &self,
        mirror: &Mirror,
        who: &Who<'_>,
        challenge: &Challenge,
        repository: &RepoName,
    ) -> Result<Option<HeaderValue>, Failed> {
        let Some(wanted) = self.token_for(who.place, mirror, challenge, repository)? else {
            return Ok(who.credentials.basic());
        };
        let scheme = mirror.base.url().scheme();
        let refused = |status: StatusCode, words: String| {
            let is_denied = status == StatusCode::FORBIDDEN;
            let failure = if is_denied { UpstreamFailure::Denied } else { UpstreamFailure::Unauthorized };
            Err(failed(mirror, failure, words))
        };
        match self.tokens.authorization(&self.transport, &wanted, &who.credentials, scheme).await {
            Ok(header) => Ok(Some(header)),
            Err(NoToken::Failed(failed)) => Err(failed),
            Err(NoToken::Refused(status)) if who.account.is_anonymous() => {
                refused(status, format!("wants a login: its token server answered {status}"))
            }
            Err(NoToken::Refused(StatusCode::UNAUTHORIZED)) => {
                self.reject(mirror, who);
                who.account.forget().await;
                refused(StatusCode::UNAUTHORIZED, format!("refused the login of {}", who.account.label()))
            }
            Err(NoToken::Refused(status)) => {
                refused(status, format!("gives {} no token: {status}", who.account.label()))
            }
        }
    }

    /// Which token is wanted, if it is one that is wanted.
    fn token_for(
        &self,
        account: usize,
        mirror: &Mirror,
        challenge: &Challenge,
        repository: &RepoName,
    ) -> Result<Option<TokenFor>, Failed> {
        let Challenge::Bearer { realm, service, scope } = challenge else { return Ok(None) };
        let base = mirror.base.base();
        let realm = base.join(realm).map_err(|error| {
            Failed::garbled(&base, "names a token server that is no URL", Some(Arc::new(error)))
        })?;
        // What is asked for is this repository and nothing more, whatever a placeholder in the challenge says.
        let own = format!("repository:{}:pull", mirror.base.name_there(repository));
        let scope = match scope {
            Some(scope) if self.settings.quirks.scope_of_challenge || !scope.starts_with("repository:") => {
                scope.clone()
            }
            _ => own,
        };
        Ok(Some(TokenFor { account, realm, service: service.clone(), scope }))
    }

    async fn not_believed(&self, mirror: &Mirror, who: &Who<'_>, response: Response) -> Failed {
        let is_basic = mirror.state().challenge == Some(Challenge::Basic);
        let words = quoted(response).await;
        if who.account.is_anonymous() {
            return failed(mirror, UpstreamFailure::Unauthorized, format!("wants a login{words}"));
        }
        if is_basic {
            self.reject(mirror, who);
        }
        failed(
            mirror,
            UpstreamFailure::Unauthorized,
            format!("doesn't accept {}{words}", who.account.label()),
        )
    }

    /// Passes an account over for a while; others, and nobody in particular, may still do.
    fn reject(&self, mirror: &Mirror, who: &Who<'_>) {
        tracing::error!(
            upstream = %self.name, host = %mirror.host, account = %who.account.label(),
            "the upstream refuses this login; it is tried again in some minutes, and others are used meanwhile"
        );
        mirror.reject(who.place, Instant::now());
    }
}

/// As whom something is asked.
struct Who<'a> {
    place: usize,
    account: &'a Account,
    credentials: Credentials,
}

/// Whether the answer is the upstream's own, and not that of a host that it redirected to.
fn is_own(mirror: &Mirror, response: &Response) -> bool {
    response.url().origin() == mirror.base.url().origin()
}

fn challenge_of(headers: &HeaderMap) -> Option<Challenge> {
    challenge::choose(headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

fn failed(mirror: &Mirror, failure: UpstreamFailure, words: String) -> Failed {
    Failed { failure, host: mirror.host.clone(), words, cause: None }
}

fn spent(mirror: &Mirror, account: &Account, renews_in: Duration) -> Failed {
    let words = format!(
        "has a rate limit that {} has used up; it is asked again in {} s",
        account.label(),
        renews_in.as_secs().max(1)
    );
    failed(mirror, UpstreamFailure::RateLimited { retry_after: Some(renews_in) }, words)
}

/// Of two failures the one that a client should hear of: when to come back, before who refuses.
fn more_telling(before: Option<Failed>, now: Failed) -> Failed {
    let rank = |failed: &Failed| match failed.failure {
        UpstreamFailure::RateLimited { .. } => 2,
        UpstreamFailure::Unauthorized | UpstreamFailure::Denied => 1,
        _ => 3,
    };
    match before {
        Some(before) if rank(&before) >= rank(&now) => before,
        _ => now,
    }
}

/// The upstream's own words, in brackets.
async fn quoted(response: Response) -> String {
    words_of(response).await.map(|words| format!(" ({words})")).unwrap_or_default()
}

/// The message of a registry's refusal. Reads the answer to its end, so that its connection can be used again.
async fn words_of(mut response: Response) -> Option<String> {
    let mut bytes = Vec::new();
    // A moment: nobody waits for an explanation.
    let read = async {
        while let Ok(Some(piece)) = response.chunk().await {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LONGEST_REFUSAL {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), read).await.ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let error = answer.get("errors")?.get(0)?;
    let message = error.get("message").or_else(|| error.get("code"))?.as_str()?;
    let plain: String = message.chars().filter(|c| !c.is_control()).take(LONGEST_WORDS).collect();
    (!plain.is_empty()).then_some(plain)
}
