//! What was refused lately, and who pulled: what an operator looks at before he looks at logs.
//!
//! Refusals of one kind for one client are one problem with a count. Ordinary ones are none: the challenge that begins every
//! login, the HEAD that asks whether a layer is there.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};
use larder_auth::Refusal;
use larder_core::RegistryError;
use larder_oci::RepoName;
use serde_json::{Value, json};

use crate::app::App;
use crate::forwarded;
use crate::request::{Answer, Call, Failure};
use crate::respond;
use crate::route::Route;

/// The kind of a TLS hello to the plain port.
const HELLO: &str = "wrong-protocol";
/// What the doctor provokes: an upload that is cut, a session that there isn't.
const PROVOKED: [&str; 2] = ["upload-cut", "upload-unknown"];
/// More than an operator reads; the one that was seen least lately makes room.
const MOST_PROBLEMS: usize = 200;
/// More proxies than stand before a registry.
const MOST_FRONTS: usize = 50;
/// A page of clients, and some memory.
const MOST_CLIENTS: usize = 1000;
/// Within this, a client that spoke TLS to the plain port and now speaks plain HTTP only tried: docker, podman and containerd
/// try TLS first wherever they are told that plain HTTP will do.
const PROBE: Duration = Duration::from_secs(5);
/// Of a text from outside, as much as says what it is.
const LONGEST_TEXT: usize = 200;

/// What was refused lately, and who pulled.
#[derive(Default)]
pub(crate) struct Problems {
    refused: Mutex<Vec<Problem>>,
    /// Whether there may be a hello among them that a request can still explain; so that requests don't lock for nothing.
    hellos: AtomicBool,
    /// The one that was seen last stands last.
    fronts: Mutex<Vec<Front>>,
    /// By a hash of address, agent and door.
    clients: Mutex<HashMap<u64, Seen>>,
}

/// Refusals of one kind for one client.
struct Problem {
    kind: &'static str,
    client: IpAddr,
    user: Option<String>,
    repository: Option<String>,
    reason: String,
    hop: &'static str,
    fix: String,
    first: SystemTime,
    last: SystemTime,
    count: u64,
    /// How many of them came so close after each other that one answer to what they were about counts for all.
    in_a_row: u64,
}

/// A proxy that stands before the registry, by the headers that it adds.
struct Front {
    proxy: IpAddr,
    is_trusted: bool,
    /// Whether it tells whose requests they are.
    names_client: bool,
    proto: Option<String>,
    host: Option<String>,
    via: Option<String>,
    last: SystemTime,
}

/// A client that pulled.
struct Seen {
    client: IpAddr,
    agent: String,
    door: Option<String>,
    last_pull: SystemTime,
    pulls: u64,
}

/// A refusal in words: its kind, whose doing it is, and what to do.
struct Explained {
    kind: &'static str,
    reason: String,
    hop: &'static str,
    fix: String,
}

impl Problems {
    fn note(
        &self,
        client: IpAddr,
        user: Option<String>,
        repository: Option<String>,
        explained: Explained,
        now: SystemTime,
    ) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.iter_mut().find(|known| {
            known.kind == explained.kind
                && known.client == client
                && known.user == user
                && known.repository == repository
        });
        if let Some(known) = known {
            let pause = now.duration_since(known.last).unwrap_or_default();
            known.in_a_row = if pause <= PROBE { known.in_a_row + 1 } else { 1 };
            known.last = now;
            known.count += 1;
            known.reason = explained.reason;
            return;
        }
        if refused.len() >= MOST_PROBLEMS
            && let Some(oldest) =
                refused.iter().enumerate().min_by_key(|(_, known)| known.last).map(|(place, _)| place)
        {
            refused.swap_remove(oldest);
        }
        let Explained { kind, reason, hop, fix } = explained;
        refused.push(Problem {
            kind,
            client,
            user,
            repository,
            reason,
            hop,
            fix,
            first: now,
            last: now,
            count: 1,
            in_a_row: 1,
        });
    }

    /// A connection that speaks TLS to the plain port. Taken back if the client then [speaks](Problems::note_plain) plain HTTP.
    pub(crate) fn note_hello(&self, client: IpAddr, words: &str, now: SystemTime) {
        self.note_protocol(HELLO, client, words, now);
        self.hellos.store(true, Ordering::Release);
    }

    /// A connection that speaks plain HTTP to the TLS port.
    pub(crate) fn note_plain_to_tls(&self, client: IpAddr, words: &str, now: SystemTime) {
        self.note_protocol("plain-to-tls", client, words, now);
    }

    /// A request of a registry's client by plain HTTP: the hellos just before it only asked whether there is TLS.
    pub(crate) fn note_plain(&self, client: IpAddr, now: SystemTime) {
        if !self.hellos.load(Ordering::Acquire) {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |problem: &Problem| {
            problem.kind == HELLO && now.duration_since(problem.last).unwrap_or_default() <= PROBE
        };
        let place = refused.iter().position(|problem| problem.client == client && is_fresh(problem));
        if let Some(problem) = place.and_then(|place| refused.get_mut(place)) {
            problem.count = problem.count.saturating_sub(problem.in_a_row);
            problem.in_a_row = 0;
        }
        refused.retain(|problem| problem.count > 0);
        // Under the lock, so that no hello is missed that is noted meanwhile.
        self.hellos.store(refused.iter().any(is_fresh), Ordering::Release);
    }

    fn note_protocol(&self, kind: &'static str, client: IpAddr, words: &str, now: SystemTime) {
        let explained = Explained {
            kind,
            reason: words.to_owned(),
            hop: "client",
            fix: "larder client docker http://REGISTRY (or podman, containerd) prints what that client has to be told; or give the \
                  registry a certificate"
                .to_owned(),
        };
        self.note(client, None, None, explained, now);
    }

    /// What a proxy in front says of itself and of its clients, for whoever looks how requests get here.
    pub(crate) fn note_front(&self, proxy: IpAddr, headers: &HeaderMap, is_trusted: bool, now: SystemTime) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(shortened);
        let names_client = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
        let proto =
            text("x-forwarded-proto").or_else(|| text("forwarded").as_deref().and_then(forwarded_proto));
        let (host, via) = (text("x-forwarded-host"), text("via"));
        // X-Real-IP is never read, and yet a sign: it is in nearly all examples for nginx.
        let is_front = names_client || headers.contains_key("x-real-ip");
        if !is_front && proto.is_none() && host.is_none() && via.is_none() {
            return;
        }
        let front = Front { proxy, is_trusted, names_client, proto, host, via, last: now };
        // As with pulls: no request waits for this list.
        let Ok(mut fronts) = self.fronts.try_lock() else { return };
        fronts.retain(|known| known.proxy != proxy);
        if fronts.len() >= MOST_FRONTS {
            fronts.remove(0);
        }
        fronts.push(front);
    }

    /// A proxy that says `http` of requests that reached it by `https`, as `http.host` says that they do.
    pub(crate) fn note_forwarded(&self, proxy: IpAddr, headers: &HeaderMap, public_url: Option<&str>) {
        let is_public = public_url.is_some_and(|url| url.starts_with("https://"));
        let said = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
        if is_public && said == Some("http") {
            let explained = Explained {
                kind: "proxy-scheme",
                reason: "the proxy in front sends X-Forwarded-Proto: http, and http.host says that clients come by https"
                    .to_owned(),
                hop: "proxy",
                fix: "nginx: proxy_set_header X-Forwarded-Proto $scheme; (larder proxy nginx prints the whole file)".to_owned(),
            };
            self.note(proxy, None, None, explained, SystemTime::now());
        }
    }

    /// A manifest went to a client.
    pub(crate) fn note_pull(&self, client: IpAddr, agent: &[u8], door: Option<&str>) {
        let mut hasher = DefaultHasher::new();
        (client, agent, door).hash(&mut hasher);
        let key = hasher.finish();
        // Whoever loses the race for the list is seen with his next pull; no pull waits for it.
        let Ok(mut clients) = self.clients.try_lock() else { return };
        let now = SystemTime::now();
        if let Some(seen) = clients.get_mut(&key) {
            seen.last_pull = now;
            seen.pulls += 1;
            return;
        }
        if clients.len() >= MOST_CLIENTS {
            let oldest = clients.iter().min_by_key(|(_, seen)| seen.last_pull).map(|(key, _)| *key);
            oldest.map(|key| clients.remove(&key));
        }
        let agent = shortened(&String::from_utf8_lossy(agent));
        let door = door.map(str::to_owned);
        clients.insert(key, Seen { client, agent, door, last_pull: now, pulls: 1 });
    }

    fn to_json(&self) -> Value {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.sort_by_key(|problem| std::cmp::Reverse(problem.last));
        let problems: Vec<Value> = refused.iter().map(problem_json).collect();
        let fronts = self.fronts.lock().unwrap_or_else(PoisonError::into_inner);
        let fronts: Vec<Value> = fronts.iter().rev().map(front_json).collect();
        json!({ "problems": problems, "fronts": fronts })
    }

    fn clients_json(&self) -> Value {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen: Vec<&Seen> = clients.values().collect();
        seen.sort_by_key(|seen| std::cmp::Reverse(seen.last_pull));
        let clients: Vec<Value> = seen
            .into_iter()
            .map(|seen| {
                json!({
                    "client": seen.client.to_string(),
                    "agent": seen.agent,
                    "upstream": seen.door,
                    "last_pull": date(seen.last_pull),
                    "pulls": seen.pulls,
                })
            })
            .collect();
        json!({ "clients": clients })
    }
}

/// The scheme in a `Forwarded` header, as its first hop tells it.
fn forwarded_proto(value: &str) -> Option<String> {
    let parts = value.split([',', ';']).map(str::trim);
    let proto =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("proto"))?;
    Some(proto.1.trim_matches('"').to_owned())
}

fn front_json(front: &Front) -> Value {
    json!({
        "proxy": front.proxy.to_string(),
        "trusted": front.is_trusted,
        "names_client": front.names_client,
        "proto": front.proto,
        "host": front.host,
        "via": front.via,
        "last": date(front.last),
    })
}

fn problem_json(problem: &Problem) -> Value {
    json!({
        "kind": problem.kind,
        "client": problem.client.to_string(),
        "user": problem.user,
        "repository": problem.repository,
        "reason": problem.reason,
        "hop": problem.hop,
        "fix": problem.fix,
        "first": date(problem.first),
        "last": date(problem.last),
        "count": problem.count,
    })
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

impl App {
    /// What stands first, then what was refused.
    pub(crate) async fn all_problems(&self) -> Value {
        let mut told = self.problems.to_json();
        if let Some(problems) = told.get_mut("problems").and_then(Value::as_array_mut) {
            problems.splice(0..0, self.standing_problems(SystemTime::now()).await);
        }
        told
    }
}

impl Call {
    /// `GET /api/v1/problems`
    pub(crate) async fn problems(&self) -> Answer {
        self.may_administer().await?;
        Ok(respond::json(StatusCode::OK, &self.app.all_problems().await))
    }

    /// `GET /api/v1/clients`
    pub(crate) async fn clients(&self) -> Answer {
        self.may_administer().await?;
        Ok(respond::json(StatusCode::OK, &self.app.problems.clients_json()))
    }

    /// Remembers what an operator should hear of.
    pub(crate) fn note_problem(&self, failure: &Failure) {
        let Ok(route) = &self.route() else { return };
        let Some(explained) = self.explained(route, failure) else { return };
        // What the doctor tries is told by the doctor.
        if PROVOKED.contains(&explained.kind) && self.is_our_own() {
            return;
        }
        let user = match failure {
            Failure::Refused(refused) => refused.0.user().map(shortened),
            _ => None,
        };
        let repository = route.repository().map(|name| name.as_str().to_owned());
        self.app.problems.note(self.client_address(), user, repository, explained, SystemTime::now());
    }

    /// Where to look for an image that isn't there. A mirror of Docker Hub under an address that isn't known for one has
    /// `library/alpine` and no `alpine`.
    fn where_else(&self, repository: &str) -> String {
        let list = format!(
            "compare the image's name and tag with what is there: curl REGISTRY/v2/{repository}/tags/list"
        );
        let is_plain_cache = |door: &crate::Door| door.prefix.is_none() && !door.has_library;
        if !repository.contains('/') && self.options.doors.iter().any(is_plain_cache) {
            return format!(
                "{list}; where a mirror of Docker Hub is the upstream, its own images are library/{repository}"
            );
        }
        list
    }

    fn explained(&self, route: &Route, failure: &Failure) -> Option<Explained> {
        let is_head = self.parts.method == Method::HEAD;
        let repository = route.repository().map_or("REPOSITORY", |name| name.as_str());
        let explained = |kind, reason: String, hop, fix: &str| {
            Some(Explained { kind, reason: shortened(&reason), hop, fix: fix.to_owned() })
        };
        match failure {
            Failure::Refused(refused) => {
                let refusal = &refused.0;
                match refusal {
                    Refusal::LoginNeeded => None,
                    Refusal::UnknownUser { user } | Refusal::WrongPassword { user } => explained(
                        "wrong-login",
                        refusal.to_string(),
                        "client",
                        &format!(
                            "docker login with the right password; larder user verify {user} says whether one is"
                        ),
                    ),
                    other => explained("login-unusable", other.to_string(), "client", "docker login again"),
                }
            }
            Failure::Denied(denied) => {
                let has_login = self.parts.headers.contains_key(AUTHORIZATION);
                if denied.authenticating_could_help() && !has_login {
                    return None;
                }
                explained(
                    "denied",
                    denied.reason.to_string(),
                    "registry",
                    &format!("larder access explain USER ACTION {repository} says which rule it is"),
                )
            }
            Failure::ClientGone(reason) => explained(
                "upload-cut",
                reason.clone(),
                "client or proxy",
                "if it happens again at the same second, a proxy has a time limit: larder doctor REGISTRY --write on the client's \
                 machine names it",
            ),
            Failure::Request(error) => {
                explained("bad-request", error.detail.to_string(), "client", "update the client")
            }
            Failure::Registry(error) => {
                let reason = error.to_string();
                match error {
                    RegistryError::BlobUnknown { .. } if is_head => None,
                    RegistryError::ManifestUnknown { .. } if is_head => None,
                    RegistryError::RepositoryUnknown { .. }
                    | RegistryError::ManifestUnknown { .. }
                    | RegistryError::BlobUnknown { .. } => {
                        explained("not-there", reason, "client", &self.where_else(repository))
                    }
                    RegistryError::UploadUnknown { .. } => explained(
                        "upload-unknown",
                        reason,
                        "proxy",
                        "let all requests of an upload reach this process, with their paths unchanged",
                    ),
                    RegistryError::DigestMismatch { .. } => explained(
                        "bytes-changed",
                        reason,
                        "network or proxy",
                        "something on the way changes or loses bytes: larder doctor REGISTRY --write on the client's machine",
                    ),
                    RegistryError::NoSpace(_) => {
                        explained("no-space", reason, "registry", "free space, or a larger disk: df -h")
                    }
                    RegistryError::Maintenance { .. } => explained(
                        "maintenance",
                        reason,
                        "registry",
                        "larder maintenance status says since when and why; larder maintenance off ends it",
                    ),
                    RegistryError::ReadOnly | RegistryError::DeletesDisabled => explained(
                        "switched-off",
                        reason,
                        "registry",
                        "storage.maintenance.readonly and storage.delete.enabled say what is allowed",
                    ),
                    _ => explained("refused", reason, "registry", "the log has more under this time"),
                }
            }
        }
    }

    /// Whether the doctor asks, or another command of Larder's own.
    fn is_our_own(&self) -> bool {
        let agent = self.parts.headers.get(USER_AGENT);
        agent.is_some_and(|agent| agent.as_bytes().starts_with(b"larder-doctor/"))
    }

    /// Plain HTTP from who may have tried TLS before: clients of registries, and commands of Larder's own.
    pub(crate) fn note_plain(&self, route: &Route) {
        if route.is_registrys() || self.is_our_own() {
            self.app.problems.note_plain(self.peer_address().ip(), SystemTime::now());
        }
    }

    /// What the proxy in front says of the scheme, against what was promised.
    pub(crate) fn note_forwarded(&self) {
        let (proxy, headers) = (self.peer_address().ip(), &self.parts.headers);
        self.app.problems.note_forwarded(proxy, headers, self.options.public_url.as_deref());
        let is_trusted = forwarded::is_trusted(proxy, &self.options.trusted_proxies);
        self.app.problems.note_front(proxy, headers, is_trusted, SystemTime::now());
    }

    /// A manifest that went out, by which door, to whom.
    pub(crate) fn note_pull_of(&self, name: &RepoName) {
        let agent = self.parts.headers.get(USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
        let prefixes = self.options.doors.iter().filter_map(|door| door.prefix.as_ref());
        let door = prefixes
            .map(RepoName::as_str)
            .find(|prefix| name.as_str().strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')));
        self.app.problems.note_pull(self.client_address(), agent, door);
    }
}

#[cfg(test)]
mod tests;
