//! The audit log: who did what to which repository, from where, and by which rule he could or couldn't.
//!
//! One line of JSON for each decision that matters. The line of a change is written before its client hears that it is
//! done. Of a change whose client has left before, the line says so: it may have been made.
//!
//! A request without credentials that is answered with a challenge leaves no line: nothing was decided but that
//! somebody has to log in, and clients begin everything with such a request.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{Method, Response, StatusCode};
use larder_auth::{CERTIFICATE_PREFIX, Decision, Identity, KeyHolder, TokenGrant};
use larder_oci::{Action, Actor, Digest, ErrorCode, RepoName, Resource};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::error::ApiError;
use crate::request::{Call, Failure};
use crate::respond::DOCKER_CONTENT_DIGEST;
use crate::route::{Api, Route};
use record::{Record, Scopes};

mod record;

/// The most that a line repeats of what was asked of Larder's own API, in characters.
const LONGEST_API: usize = 1_024;

/// Takes the lines of the audit log, each without a newline.
pub trait AuditTrail: Send + Sync {
    /// Takes a line without waiting for anything; one for which there is no room is counted, and that is told.
    fn offer(&self, line: &str);

    /// Takes the line of a change. What is given back ends when the line is durable, or when it can't be made so for now.
    fn keep(&self, line: &str) -> oneshot::Receiver<()>;

    /// Whether lines can't be written at present.
    fn is_failing(&self) -> bool;
}

/// What is told to the audit log.
#[derive(Clone)]
pub struct Audit {
    /// Who writes it.
    pub trail: Arc<dyn AuditTrail>,
    /// Whether pulls, lists and tokens of nobody in particular leave lines when they are allowed.
    pub pulls: bool,
    /// Whether changes are refused while lines can't be written.
    pub required: bool,
    /// Tells the time.
    pub now: fn() -> SystemTime,
}

impl Audit {
    /// Something that no request did: a start, a changed configuration.
    pub fn note(&self, action: &str, allowed: bool, reason: &str) {
        let record =
            Record { action, allowed: Some(allowed), reason: Some(reason), ..Record::at((self.now)()) };
        drop(self.trail.keep(&record.line()));
    }

    /// Something that went by a rule and not by a request.
    pub fn deleted_by_rule(
        &self,
        by: &str,
        repository: &RepoName,
        reference: &str,
        digest: &Digest,
        why: &str,
    ) {
        let digest = digest.to_string();
        let record = Record {
            action: What::Delete.word(),
            by: Some(by),
            repository: Some(repository.as_str()),
            reference: Some(reference),
            digest: Some(&digest),
            allowed: Some(true),
            reason: Some(why),
            ..Record::at((self.now)())
        };
        drop(self.trail.keep(&record.line()));
    }
}

/// What was found out while a request was answered.
#[derive(Default)]
pub(crate) struct Noted {
    who: Option<Shown>,
    scopes: Option<Scopes>,
}

impl Noted {
    /// The user that it was, if he is known.
    pub(crate) fn user(&self) -> Option<&str> {
        match &self.who.as_ref()?.actor {
            Actor::Anonymous => None,
            Actor::User(name) => Some(name),
        }
    }
}

/// Who it was, and how he proved it.
struct Shown {
    actor: Actor,
    key: Option<Arc<KeyHolder>>,
    by: &'static str,
}

/// What a request is about, for the audit log.
struct Subject {
    what: What,
    repository: Option<RepoName>,
    reference: Option<String>,
    /// What was asked of Larder's own API, if it was that.
    api: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Push,
    Delete,
    /// Begins an upload, or is one in whole.
    BeginPush,
    /// Takes part in an upload.
    Step,
    Pull,
    List,
    Login,
    Token,
}

/// A request whose line is to be written: when it is answered, or when its client has left.
pub(crate) struct Pending<'a> {
    call: &'a Call,
    audit: &'a Audit,
    subject: Subject,
    is_open: bool,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            What::Push | What::BeginPush | What::Step => "push",
            What::Delete => "delete",
            What::Pull => "pull",
            What::List => "list",
            What::Login => "login",
            What::Token => "token",
        }
    }

    fn action(self) -> Action {
        match self {
            What::Push | What::BeginPush | What::Step => Action::Push,
            What::Delete => Action::Delete,
            What::List => Action::List,
            What::Pull | What::Login | What::Token => Action::Pull,
        }
    }

    fn is_change(self) -> bool {
        matches!(self, What::Push | What::Delete | What::BeginPush)
    }
}

impl Subject {
    fn of(call: &Call, route: &Route) -> Option<Subject> {
        let method = &call.parts.method;
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let about = |what, repository: &RepoName, reference: Option<String>| {
            Some(Subject { what, repository: Some(repository.clone()), reference, api: None })
        };
        let alone = |what| Some(Subject { what, repository: None, reference: None, api: None });
        match route {
            Route::Root
            | Route::Health
            | Route::Ready
            | Route::Setup
            | Route::SetupAuthority
            | Route::Problems
            | Route::Clients
            | Route::BaseWithoutSlash => None,
            Route::Base => alone(What::Login),
            Route::Token => alone(What::Token),
            Route::Catalog => alone(What::List),
            Route::Tags(name) => about(What::List, name, None),
            Route::Referrers(name, digest) => about(What::List, name, Some(digest.to_string())),
            Route::Manifest(name, reference) => {
                let what = match *method {
                    _ if is_read => What::Pull,
                    Method::PUT => What::Push,
                    _ => What::Delete,
                };
                about(what, name, Some(reference.to_string()))
            }
            Route::Blob(name, digest) => {
                about(if is_read { What::Pull } else { What::Delete }, name, Some(digest.to_string()))
            }
            Route::Uploads(name) => {
                let digest = call.parameter("digest").or_else(|| call.parameter("mount"));
                let what = if digest.is_some() { What::BeginPush } else { What::Step };
                about(what, name, digest)
            }
            Route::Upload(name, _) if *method == Method::PUT => {
                about(What::Push, name, call.parameter("digest"))
            }
            Route::Upload(name, _) => about(What::Step, name, None),
            Route::Api(api) => Some(Subject::of_api(call, *api, method)),
        }
    }

    fn of_api(call: &Call, api: Api, method: &Method) -> Subject {
        let what = match api {
            Api::Gc | Api::Retention if *method == Method::POST => What::Delete,
            Api::Maintenance if *method == Method::PUT => What::Delete,
            Api::Warm if *method == Method::POST => What::Pull,
            Api::Undo => What::Push,
            _ => What::List,
        };
        let (repository, reference) = match api {
            Api::Undo => {
                (call.parameter("repository").and_then(|name| name.parse().ok()), call.parameter("id"))
            }
            _ => (None, None),
        };
        let target = call.parts.uri.path_and_query().map_or("", |target| target.as_str());
        let asked: String = format!("{method} {target}").chars().take(LONGEST_API).collect();
        Subject { what, repository, reference, api: Some(asked) }
    }
}

impl Call {
    pub(crate) fn begin_audit(&self, route: &Route) -> Option<Pending<'_>> {
        let audit = self.options.audit.as_ref()?;
        let subject = Subject::of(self, route)?;
        Some(Pending { call: self, audit, subject, is_open: true })
    }

    /// Remembers who it was that came with credentials, or without.
    /// Notes something for the audit log, if there is one, and for the log of requests.
    fn note_audit(&self, note: impl FnOnce(&mut Noted)) {
        if self.options.audit.is_some() || self.options.logs_requests {
            note(&mut self.noted());
        }
    }

    pub(crate) fn note_identity(&self, identity: &Identity) {
        let by = match identity {
            Identity::Anonymous if self.local_user().is_some() => "socket",
            Identity::Anonymous => "none",
            Identity::User(name) if name.starts_with(CERTIFICATE_PREFIX) => "certificate",
            Identity::User(_) => "password",
            Identity::Key(_) => "key",
            Identity::Token(_) => "token",
        };
        self.note_audit(|noted| {
            noted.who = Some(Shown { actor: identity.actor(), key: identity.key().map(Arc::clone), by });
        });
    }

    pub(crate) fn note_grant(&self, grant: &TokenGrant, asked: &[larder_oci::Scope]) {
        let by = match (&grant.key, &grant.actor) {
            (Some(_), _) => "key",
            (None, Actor::User(name)) if name.starts_with(CERTIFICATE_PREFIX) => "certificate",
            (None, Actor::User(_)) => "password",
            (None, Actor::Anonymous) => "none",
        };
        self.note_audit(|noted| {
            noted.who = Some(Shown { actor: grant.actor.clone(), key: grant.key.clone(), by });
            noted.scopes = Some(Scopes::new(asked, &grant.granted));
        });
    }
}

impl Pending<'_> {
    /// Why the request must not be answered at all: it would change something, and nobody could ever tell who did.
    pub(crate) fn refusal(&self) -> Option<ApiError> {
        let is_refused = self.audit.required
            && matches!(self.subject.what, What::Push | What::Delete | What::BeginPush | What::Step)
            && self.audit.trail.is_failing();
        let detail = "the audit log can't be written, and without it nothing may be changed here; \
            its operator finds the cause in the registry's log";
        is_refused.then(|| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, detail))
    }

    /// Writes what came of it.
    pub(crate) async fn answered(mut self, said: Said, response: &Response<Body>) {
        self.is_open = false;
        if !self.is_worth_a_line(&said, response.status()) {
            return;
        }
        let digest = response.headers().get(DOCKER_CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        let line = self.line(&said, Some(response.status()), digest);
        if self.subject.what.is_change() && matches!(said, Said::Allowed) {
            // Whoever waits hears of it in any case: that it can't be written is for the log, and for the next change.
            let _ = self.audit.trail.keep(&line).await;
        } else {
            self.audit.trail.offer(&line);
        }
    }

    fn is_worth_a_line(&self, said: &Said, status: StatusCode) -> bool {
        let came_with_nothing =
            !self.call.parts.headers.contains_key(AUTHORIZATION) && status == StatusCode::UNAUTHORIZED;
        let noted = self.call.noted();
        match (said, self.subject.what) {
            (Said::Denied { .. }, _) => !came_with_nothing,
            (Said::Refused { .. }, _) => !came_with_nothing || self.subject.what == What::Token,
            (Said::Allowed, What::Push | What::Delete | What::BeginPush) => true,
            (Said::Allowed, What::Step) => false,
            (Said::Allowed, What::Pull | What::List) => self.audit.pulls,
            (Said::Allowed, What::Login) => {
                noted.who.as_ref().is_some_and(|shown| matches!(shown.by, "password" | "key"))
            }
            (Said::Allowed, What::Token) => {
                self.audit.pulls || noted.who.as_ref().is_some_and(|shown| shown.actor != Actor::Anonymous)
            }
        }
    }

    fn line(&self, said: &Said, status: Option<StatusCode>, digest: Option<&str>) -> String {
        let (call, subject) = (self.call, &self.subject);
        let noted = call.noted();
        let shown = noted.who.as_ref();
        let decision = shown.filter(|_| matches!(said, Said::Allowed)).map(|shown| self.decision(shown));
        let (allowed, rule, reason) = match (said, &decision) {
            (Said::Allowed, None) => (None, None, None),
            (Said::Allowed, Some(decision)) => {
                (Some(true), decision.rule.as_deref(), Some(decision.reason.as_ref()))
            }
            (Said::Denied { rule, reason }, _) => (Some(false), rule.as_deref(), Some(reason.as_str())),
            (Said::Refused { reason, .. }, _) => (Some(false), None, Some(reason.as_str())),
        };
        let (claimed, action) = match said {
            Said::Refused { claimed, .. } => (claimed.as_deref(), "login"),
            Said::Allowed | Said::Denied { .. } => (None, subject.what.word()),
        };
        let (id, api) = (call.id(), subject.api.as_deref());
        // A command comes from no address.
        let from = call.local_user().is_none().then(|| call.origin().address.to_string());
        let mounted_from = match subject.what {
            What::BeginPush => call.parameter("from").filter(|_| call.parameter("mount").is_some()),
            _ => None,
        };
        let reason = match status {
            Some(_) => reason,
            None => Some("the client left before it was answered: what it asked for may have been done"),
        };
        let record = Record {
            request: Some(&id),
            user: shown.and_then(|shown| name_of(&shown.actor)).or(call.local_user().map(|user| &**user)),
            key: shown.and_then(|shown| shown.key.as_deref()).map(|key| key.record().name.as_ref()),
            by: shown.map(|shown| shown.by),
            claimed,
            from: from.as_deref(),
            action,
            repository: subject.repository.as_ref().map(RepoName::as_str),
            reference: subject.reference.as_deref(),
            api,
            digest,
            mounted_from: mounted_from.as_deref(),
            asked: noted.scopes.as_ref().map(Scopes::asked),
            granted: noted.scopes.as_ref().map(Scopes::granted),
            allowed,
            rule,
            reason,
            status: status.map(|status| status.as_u16()),
            ..Record::at((self.audit.now)())
        };
        record.line()
    }

    /// By which rule it was allowed: the decision is a function, so it can be made again for whoever asks why.
    fn decision(&self, shown: &Shown) -> Decision {
        if self.call.local_user().is_some() {
            let reason = "whoever reaches the socket in the data directory may do anything".into();
            return Decision { allowed: true, rule: None, reason };
        }
        let policy = self.call.app.gate.policy();
        let what = self.subject.what;
        let resource = match (&self.subject.repository, what) {
            (Some(name), _) => Resource::Repository(name.clone()),
            (None, What::List) => Resource::Catalog,
            (None, _) => {
                let reason = "the credentials are right".into();
                return Decision { allowed: true, rule: None, reason };
            }
        };
        let key = shown.key.as_deref();
        let decision = policy.decide_with_key(&shown.actor, key, what.action(), &resource);
        // A token for something else doesn't take away what anybody may.
        if decision.allowed { decision } else { policy.decide(&Actor::Anonymous, what.action(), &resource) }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.is_open && self.subject.what.is_change() {
            drop(self.audit.trail.keep(&self.line(&Said::Allowed, None, None)));
        }
    }
}

/// What was said to a request, as far as rights are concerned.
pub(crate) enum Said {
    /// Nothing against it; how it went, the status says.
    Allowed,
    Denied {
        rule: Option<Arc<str>>,
        reason: String,
    },
    /// The credentials weren't believed.
    Refused {
        claimed: Option<String>,
        reason: String,
    },
}

impl Said {
    pub(crate) fn of(failure: &Failure) -> Said {
        match failure {
            Failure::Denied(denied) => {
                Said::Denied { rule: denied.rule.clone(), reason: denied.reason.to_string() }
            }
            Failure::Refused(refused) => {
                Said::Refused { claimed: refused.0.user().map(str::to_owned), reason: refused.0.to_string() }
            }
            Failure::Registry(_) | Failure::Request(_) | Failure::ClientGone(_) => Said::Allowed,
        }
    }
}

fn name_of(actor: &Actor) -> Option<&str> {
    match actor {
        Actor::Anonymous => None,
        Actor::User(name) => Some(name),
    }
}
