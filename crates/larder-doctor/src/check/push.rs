//! Bytes on their way in: the session, where it leads, and what each hop lets through.

mod buffering;
pub(crate) mod upload;

use http::{Method, StatusCode};

use crate::canary::Canary;
use crate::check::{Session, Told, Visit};
use crate::finding::{Hop, Row, Stage};
use crate::hop::{self, Front};
use crate::net::{Answer, Ask, Endpoint, Pace, Payload, Scheme, Trouble, pattern};

use upload::{PUSH, Upload};

const STAGE: Stage = Stage::Push;

/// Requests of one upload on connections of their own: enough to meet every one of a few replicas.
const CONNECTIONS: usize = 8;
/// Bytes of each.
const STEP: usize = 1000;

/// Uploads a layer as docker does, and reads it back. False when the rest can't be looked at.
pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) -> bool {
    let Some(upload) = begin(visit, session, canary).await else { return false };
    location(visit, session, &upload);
    if !layer(visit, session, canary, upload).await || !read_back(visit, session, canary).await {
        return false;
    }
    if !sessions(visit, session, canary).await {
        return false;
    }
    buffering::check(visit, session, canary).await;
    mount(visit, session, canary).await;
    true
}

async fn begin(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) -> Option<Upload> {
    let doing = format!("POST /v2/{}/blobs/uploads/", canary.repository);
    let answer = match upload::begin(session, canary).await {
        Ok(answer) => answer,
        Err(trouble) => {
            unanswered(visit, &doing, &trouble);
            return None;
        }
    };
    if answer.status == StatusCode::ACCEPTED {
        let upload = Upload::of(&answer);
        if upload.is_none() {
            let told = Told::failure(
                hop::hop(&answer, visit.front.as_ref()),
                format!("{doing} answers 202 without a Location that can be used"),
                "a hop strips the header that says where the upload goes on",
                "let the proxy pass Location on",
            );
            visit.find(STAGE, Row::LocationHost, told);
        }
        return upload;
    }
    let (row, told) = not_begun(visit, session, &answer, &doing);
    visit.find(STAGE, row, told);
    None
}

fn not_begun(visit: &Visit<'_, '_>, session: &Session, answer: &Answer, doing: &str) -> (Row, Told) {
    let who = hop::hop(answer, visit.front.as_ref());
    let seen = format!("{doing} answers {}", hop::words(answer));
    let is_registrys = hop::is_registrys(answer);
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_registrys => {
            let cause = if session.has_login() {
                "the login is good, but its user may not push there"
            } else {
                "nobody is logged in, and only users may push"
            };
            (
                Row::Denied,
                Told::failure(
                    who,
                    seen,
                    cause,
                    "on the registry's machine: larder access explain USER push REPOSITORY",
                ),
            )
        }
        StatusCode::METHOD_NOT_ALLOWED if is_registrys => (
            Row::ReadOnly,
            Told::failure(
                who,
                seen,
                "the registry takes nothing in: registry:2 does so as a pull-through cache, any other when it is read-only",
                "push to another host; or take proxy.remoteurl or storage.maintenance.readonly out of the configuration",
            ),
        ),
        StatusCode::INSUFFICIENT_STORAGE => (Row::NoSpace, no_space(who, seen)),
        StatusCode::SERVICE_UNAVAILABLE if is_registrys => (
            Row::ReadOnly,
            Told::failure(
                who,
                seen,
                "the registry takes nothing in for now: it is read-only, or full",
                "wait, or look at its log",
            ),
        ),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::FORBIDDEN => {
            (Row::MethodRefused, method_refused(who, seen, "POST"))
        }
        status if status.is_redirection() || (status == StatusCode::NOT_FOUND && !is_registrys) => (
            Row::PathRewritten,
            Told::failure(
                who,
                seen,
                "a hop changes the path: it takes the slash at its end away, or has no route for what is below /v2/",
                "pass the path on unchanged: in nginx `proxy_pass http://registry:5000;` without a slash or path at its end",
            ),
        ),
        _ => (
            Row::UploadRefused,
            Told::failure(
                who,
                seen,
                "an upload can't be begun there",
                "look at the registry's log at this moment",
            ),
        ),
    }
}

fn no_space(who: Hop, seen: String) -> Told {
    Told::failure(
        who,
        seen,
        "the registry's disk is full",
        "free space: larder garbage-collect, or a larger disk; df -h on the registry's machine",
    )
}

fn method_refused(who: Hop, seen: String, method: &str) -> Told {
    Told::failure(
        who,
        seen,
        format!("a hop doesn't let {method} through: a web application firewall, or a rule for GET alone"),
        "allow GET, HEAD, POST, PUT, PATCH and DELETE below /v2/",
    )
}

fn unanswered(visit: &mut Visit<'_, '_>, doing: &str, trouble: &Trouble) {
    let told = Told::failure(
        visit.front_hop(),
        format!("{doing}: {trouble}"),
        "the request was taken and never answered",
        "look at the logs of the proxy and the registry at this moment",
    );
    visit.find(STAGE, Row::UploadRefused, told);
}

/// Where the registry sends the upload on to. A path alone is always right.
fn location(visit: &mut Visit<'_, '_>, session: &Session, upload: &Upload) {
    let asked = &session.client.endpoint;
    let Some((endpoint, _)) = Endpoint::of_url(&upload.location) else {
        visit.good(STAGE, "an upload begins, and goes on where it began");
        return;
    };
    let forwarded = match &visit.front {
        Some(Front::Apache) => {
            "Apache: RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}, ProxyPreserveHost On"
        }
        Some(Front::Haproxy) => "HAProxy: http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        _ => "nginx: proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Host $http_host;",
    };
    let seen =
        format!("asked at {asked}, the registry sends the upload on to {}", shortened(&upload.location));
    let fix = format!("{forwarded} or let the registry send paths alone: http.relativeurls: true");
    if endpoint.scheme != asked.scheme {
        let cause = if asked.scheme == Scheme::Https {
            "the registry doesn't know that TLS ends before it: X-Forwarded-Proto is missing or overwritten by an inner proxy"
        } else {
            "the registry believes that it is reached by https: X-Forwarded-Proto or http.host says so"
        };
        visit.find(STAGE, Row::LocationScheme, Told::failure(visit.front_hop(), seen, cause, fix));
    } else if endpoint != *asked {
        let cause = if endpoint.host == asked.host {
            "the proxy passes the Host header on without the port"
        } else {
            "the proxy sends the registry another Host than the client's, or http.host names another one"
        };
        visit.find(STAGE, Row::LocationHost, Told::failure(visit.front_hop(), seen, cause, fix));
    } else {
        visit.good(STAGE, "an upload begins, and goes on where it began");
    }
}

/// A `Location` has a long state in its query, which says nothing.
fn shortened(location: &str) -> String {
    location.split('?').next().unwrap_or(location).to_owned()
}

/// docker's way: a PATCH without a length, then an empty PUT.
async fn layer(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary, upload: Upload) -> bool {
    let payload = Payload::chunked(canary.layer.bytes.clone(), Pace::Full);
    let patched = upload::patch(session, canary, &upload.path, payload, None).await;
    let answer = match patched {
        Ok(answer) => answer,
        Err(trouble) => {
            unanswered(visit, "PATCH of a layer without a length, as docker sends it", &trouble);
            return false;
        }
    };
    if answer.status != StatusCode::ACCEPTED {
        let (row, told) = not_patched(visit, &answer);
        visit.find(STAGE, row, told);
        return false;
    }
    let next = Upload::of(&answer).unwrap_or(upload);
    let finished = upload::finish(session, canary, &next, &canary.layer.digest, Payload::none()).await;
    match finished {
        Ok(answer) if answer.status == StatusCode::CREATED => {
            visit.good(STAGE, "a layer is taken in chunks of no announced length, as docker sends it");
            true
        }
        Ok(answer) => {
            let (row, told) = not_finished(visit, &answer);
            visit.find(STAGE, row, told);
            false
        }
        Err(trouble) => {
            unanswered(visit, "PUT at the end of a layer", &trouble);
            false
        }
    }
}

fn not_patched(visit: &Visit<'_, '_>, answer: &Answer) -> (Row, Told) {
    let who = hop::hop(answer, visit.front.as_ref());
    let seen = format!("PATCH of a layer answers {}", hop::words(answer));
    let is_registrys = hop::is_registrys(answer);
    match answer.status {
        StatusCode::LENGTH_REQUIRED => (
            Row::ChunkedRefused,
            Told::failure(
                who,
                seen,
                "a hop refuses bodies without a length, and docker sends every layer so",
                "let it speak HTTP/1.1 with chunks: nginx: chunked_transfer_encoding on; proxy_http_version 1.1;",
            ),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => super::sizes::limit(visit, answer, canary_size()),
        StatusCode::NOT_FOUND if is_registrys => (Row::SessionLost, session_lost(who, seen)),
        StatusCode::INSUFFICIENT_STORAGE => (Row::NoSpace, no_space(who, seen)),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN | StatusCode::NOT_IMPLEMENTED
            if !is_registrys =>
        {
            (Row::MethodRefused, method_refused(who, seen, "PATCH"))
        }
        StatusCode::NOT_FOUND => (Row::MethodRefused, method_refused(who, seen, "PATCH")),
        _ => (
            Row::UploadFailed,
            Told::failure(who, seen, "the bytes aren't taken", "look at the registry's log at this moment"),
        ),
    }
}

const fn canary_size() -> u64 {
    256 << 10
}

fn not_finished(visit: &Visit<'_, '_>, answer: &Answer) -> (Row, Told) {
    let who = hop::hop(answer, visit.front.as_ref());
    let words = hop::words(answer);
    let seen = format!("PUT at the end of a layer answers {words}");
    if answer.text().contains("DIGEST_INVALID") {
        return (
            Row::BytesChanged,
            Told::failure(
                who,
                seen,
                "the registry hashes other bytes than were sent: something on the way or below its storage (NFS with async) changes \
                 or loses some",
                "go around the proxy once to see which; mount network storage with sync",
            ),
        );
    }
    match answer.status {
        StatusCode::NOT_FOUND if hop::is_registrys(answer) => (Row::SessionLost, session_lost(who, seen)),
        StatusCode::INSUFFICIENT_STORAGE => (Row::NoSpace, no_space(who, seen)),
        _ if words.to_ascii_lowercase().contains("no space left") => (Row::NoSpace, no_space(who, seen)),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN | StatusCode::NOT_IMPLEMENTED
            if !hop::is_registrys(answer) =>
        {
            (Row::MethodRefused, method_refused(who, seen, "PUT"))
        }
        _ => (
            Row::UploadFailed,
            Told::failure(
                who,
                seen,
                "the layer can't be stored",
                "look at the registry's log at this moment: rights of the directory, the disk",
            ),
        ),
    }
}

fn session_lost(who: Hop, seen: String) -> Told {
    Told::failure(
        who,
        seen,
        "the upload isn't known where the next request of it arrives: several replicas without shared state, or with different \
         http.secret: `blob upload unknown`",
        "let all requests of a client reach one replica, or give the replicas one storage and the same http.secret",
    )
}

/// Reads the layer back and compares.
async fn read_back(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) -> bool {
    let path = format!("/v2/{}/blobs/{}", canary.repository, canary.layer.digest);
    let read = super::pull::blob(visit, session, &canary.repository, &path).await;
    let Some(answer) = read else { return false };
    if answer.body == canary.layer.bytes {
        visit.good(STAGE, "what comes back is what was sent, byte for byte");
        return true;
    }
    let told = Told::failure(
        hop::hop(&answer, visit.front.as_ref()),
        format!(
            "a layer of {} bytes comes back as {} other ones",
            canary.layer.bytes.len(),
            answer.body.len()
        ),
        "something on the way (inspection, compression) or the storage below the registry changes bytes: `filesystem layer \
         verification failed`",
        "go around the proxy once to see which; leave the registry out of inspection and compression",
    );
    visit.find(STAGE, Row::BytesChanged, told);
    false
}

/// Every request of this upload comes on a connection of its own. Where one isn't known, no later check means anything.
async fn sessions(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) -> bool {
    let Some(mut upload) = upload::begun(session, canary).await else { return false };
    for number in 0..CONNECTIONS {
        let payload = Payload::whole(pattern(canary.seed.wrapping_add(number as u64), STEP));
        match upload::patch(session, canary, &upload.path, payload, None).await {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                upload = Upload::of(&answer).unwrap_or(upload);
            }
            Ok(answer) => {
                let who = hop::hop(&answer, visit.front.as_ref());
                let seen = format!(
                    "request {} of one upload, on a new connection, answers {}",
                    number + 2,
                    hop::words(&answer)
                );
                visit.find(STAGE, Row::SessionLost, session_lost(who, seen));
                return false;
            }
            Err(trouble) => {
                unanswered(visit, "PATCH on a new connection", &trouble);
                return false;
            }
        }
    }
    visit.good(STAGE, format!("an upload is known on {CONNECTIONS} connections after another"));
    upload::cancel(session, canary, &upload).await;
    true
}

/// A layer of a repository that isn't there: the answer must be an upload, not a refusal (OCI Distribution
/// Specification, "Mounting a blob from another repository").
async fn mount(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    let absent = crate::canary::Blob::new(pattern(!canary.seed, 100)).digest;
    let path =
        format!("/v2/{}/blobs/uploads/?mount={absent}&from={}-absent", canary.repository, canary.repository);
    match session.ask(&canary.repository, PUSH, Ask::new(Method::POST, path)).await {
        Ok(answer) if answer.status == StatusCode::ACCEPTED => {
            visit.good(STAGE, "a layer that can't be mounted is asked for instead");
            if let Some(upload) = Upload::of(&answer) {
                upload::cancel(session, canary, &upload).await;
            }
        }
        Ok(answer) => {
            let told = Told::failure(
                hop::hop(&answer, visit.front.as_ref()),
                format!("asking to mount a layer of another repository answers {}", hop::words(&answer)),
                "clients ask so for every layer that they believe to be there, and end at anything but 201 and 202: \
                 `failed commit on ref … 403`",
                "upgrade the registry; until then push with a fresh builder cache",
            );
            visit.find(STAGE, Row::MountRefused, told);
        }
        Err(trouble) => unanswered(visit, "POST to mount a layer", &trouble),
    }
}
