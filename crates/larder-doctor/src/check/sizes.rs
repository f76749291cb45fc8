//! How large a body may be, and who says so.

use std::time::Duration;

use http::StatusCode;

use crate::canary::Canary;
use crate::check::push::upload;
use crate::check::{Session, Told, Visit};
use crate::finding::{Row, Stage};
use crate::hop::{self, Front};
use crate::net::{Answer, Pace, Payload, Trouble, pattern};

const STAGE: Stage = Stage::Push;
const MB: u64 = 1_000_000;

/// Sizes that are really sent, without a length, as docker sends them: above nginx's 1 MB, and above 10 MB.
const SENT: [u64; 2] = [2 * MB, 12 * MB];
/// Sizes that are only announced, the largest first: above the limits of Cloudflare's plans (500, 200 and 100 MB). A hop
/// with a limit refuses an announcement at once, so that nothing of it has to be sent.
const ANNOUNCED: [u64; 4] = [600 * MB, 210 * MB, 110 * MB, 12 * MB];
/// How long a refusal of an announcement may take.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    for size in SENT.into_iter().filter(|size| *size <= visit.options.sent_at_most) {
        visit.journal.begin(STAGE, format!("a layer of {} MB is sent", size / MB));
        let Some(begun) = upload::begun(session, canary).await else { return };
        let bytes = pattern(canary.seed, usize::try_from(size).unwrap_or(usize::MAX));
        let sent =
            upload::patch(session, canary, &begun.path, Payload::chunked(bytes, Pace::Full), None).await;
        upload::cancel(session, canary, &begun).await;
        if !passes(visit, sent, size) {
            return;
        }
    }
    let mut refused = None;
    for size in ANNOUNCED {
        match announce(session, canary, size).await {
            Some(answer) => refused = Some((answer, size)),
            None => break,
        }
    }
    match refused {
        Some((answer, size)) => {
            let (row, told) = limit(visit, &answer, size);
            visit.find(STAGE, row, told);
        }
        None => visit
            .good(STAGE, format!("a layer of {} MB is not refused", ANNOUNCED.first().map_or(0, |s| s / MB))),
    }
}

/// The answer to an announcement, if it is a refusal for its size.
async fn announce(session: &Session, canary: &Canary, size: u64) -> Option<Answer> {
    let begun = upload::begun(session, canary).await?;
    let payload = Payload::announcing(size, pattern(canary.seed, 1000));
    let answer = upload::patch(session, canary, &begun.path, payload, Some(PATIENCE)).await;
    upload::cancel(session, canary, &begun).await;
    answer.ok().filter(|answer| answer.status == StatusCode::PAYLOAD_TOO_LARGE)
}

fn passes(visit: &mut Visit<'_, '_>, sent: Result<Answer, Trouble>, size: u64) -> bool {
    match sent {
        Ok(answer) if answer.status == StatusCode::ACCEPTED => {
            visit.good(STAGE, format!("a layer of {} MB gets through", size / MB));
            true
        }
        Ok(answer) if answer.status == StatusCode::PAYLOAD_TOO_LARGE => {
            let (row, told) = limit(visit, &answer, size);
            visit.find(STAGE, row, told);
            false
        }
        Ok(answer) => {
            let told = Told::failure(
                hop::hop(&answer, visit.front.as_ref()),
                format!("a layer of {} MB is answered with {}", size / MB, hop::words(&answer)),
                "smaller ones get through",
                "look at the logs of the proxy and the registry at this moment",
            );
            visit.find(STAGE, Row::UploadFailed, told);
            false
        }
        Err(trouble) => {
            let told = Told::failure(
                visit.front_hop(),
                format!("a layer of {} MB: {trouble}", size / MB),
                "a hop ends the connection in the middle of the body, at a size or at a time: clients say `EOF` and retry",
                "look at the proxy's log at this moment; raise its limits on body size and time",
            );
            visit.find(STAGE, Row::CutWhileSending, told);
            false
        }
    }
}

/// What a 413 means, by who gives it.
pub(crate) fn limit(visit: &Visit<'_, '_>, answer: &Answer, size: u64) -> (Row, Told) {
    let front = hop::front(answer).or_else(|| visit.front.clone());
    let is_registrys = hop::is_registrys(answer);
    let fix = match &front {
        _ if is_registrys => "raise the registry's limit on bodies",
        Some(Front::Nginx) => {
            "client_max_body_size 0;   # in an ingress: nginx.ingress.kubernetes.io/proxy-body-size: \"0\""
        }
        Some(Front::Cloudflare) => {
            "let the registry's name bypass Cloudflare (DNS only, the grey cloud): its plans end at 100, 200 and 500 MB a request"
        }
        Some(Front::Traefik) => {
            "take maxRequestBodyBytes out of the buffering middleware, or the middleware off this router"
        }
        Some(Front::Apache) => "LimitRequestBody 0",
        Some(Front::Caddy) => "take request_body max_size out of the Caddyfile",
        _ => "raise the limit on request bodies of what stands in front",
    };
    let told = Told::failure(
        hop::hop(answer, front.as_ref()),
        format!("a body of {} is answered with {}", in_words(size), hop::words(answer)),
        if is_registrys {
            "the registry itself limits bodies"
        } else {
            "a proxy in front limits the size of a body, and the registry never sees larger ones: `413 Request Entity Too Large`"
        },
        fix,
    );
    (Row::BodyLimit, told)
}

fn in_words(size: u64) -> String {
    if size >= MB { format!("{} MB", size / MB) } else { format!("{} KB", size / 1000) }
}
