//! An upload that takes long: who hangs up, and at what second.

use std::time::Duration;

use http::StatusCode;

use crate::canary::Canary;
use crate::check::push::upload;
use crate::check::{Session, Told, Visit};
use crate::finding::{Hop, Row, Stage};
use crate::hop::{self, Front};
use crate::net::{Answer, Pace, Payload, Trouble, pattern};

const STAGE: Stage = Stage::Push;

/// Pieces of the slow upload in a second.
const PIECES_A_SECOND: u32 = 2;
/// Bytes in each.
const PIECE: usize = 1000;
/// Before and after the silence.
const BESIDE_SILENCE: usize = 64 << 10;
/// From the last byte to the answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Sends slowly for `Options::slow`, and beside that keeps silent for as long in the middle of a body.
pub(crate) async fn check(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    let length = visit.options.slow;
    if length.is_zero() {
        visit.skip(STAGE, "slow uploads are left out");
        return;
    }
    visit.journal.begin(STAGE, format!("slow uploads, for {} s", length.as_secs()));
    let pause = Duration::from_secs(1) / PIECES_A_SECOND;
    let pieces = usize::try_from(length.as_millis() / pause.as_millis().max(1)).unwrap_or(usize::MAX);
    let steady = Payload::chunked(
        pattern(canary.seed, PIECE.saturating_mul(pieces + 1)),
        Pace::Steady { piece: PIECE, pause },
    );
    let silent = Payload::chunked(
        pattern(canary.seed, 2 * BESIDE_SILENCE),
        Pace::Pause { after: BESIDE_SILENCE, pause: length },
    );
    let limit = length + ANSWER;
    let (steady, silent) =
        tokio::join!(send(session, canary, steady, limit), send(session, canary, silent, limit));
    let steady_end = end(&steady);
    match &steady_end {
        None => visit.good(STAGE, format!("a slow upload of {} s gets through", length.as_secs())),
        Some(second) => {
            let hop = culprit(visit, &steady);
            let (fix, _) = fixes(front(visit, &steady).as_ref());
            let told = Told::failure(
                hop,
                format!("an upload that sends all the time is ended after {second:.0} s: {}", words(&steady)),
                "a hop limits how long a request may take in all; layers that take longer end in `EOF` and `Retrying in N seconds` \
                 for ever",
                fix,
            );
            visit.find(STAGE, Row::CutWhileSending, told);
        }
    }
    match end(&silent) {
        None => {
            visit.good(STAGE, format!("a silence of {} s in an upload is waited for", length.as_secs()));
        }
        // The same limit, met a second time.
        Some(_) if steady_end.is_some() => {}
        Some(second) => {
            let hop = culprit(visit, &silent);
            let (_, fix) = fixes(front(visit, &silent).as_ref());
            let told = Told::warning(
                hop,
                format!(
                    "an upload in which nothing is sent for a while is ended after {second:.0} s: {}",
                    words(&silent)
                ),
                "a hop ends connections on which nothing moves; a client that waits for a disk or compresses a large layer falls silent",
                fix,
            );
            visit.find(STAGE, Row::CutWhileSilent, told);
        }
    }
}

async fn send(
    session: &Session,
    canary: &Canary,
    payload: Payload,
    limit: Duration,
) -> Result<Answer, Trouble> {
    let begun = upload::begin(session, canary).await?;
    let Some(upload) = upload::Upload::of(&begun) else { return Ok(begun) };
    let answer = upload::patch(session, canary, &upload.path, payload, Some(limit)).await;
    upload::cancel(session, canary, &upload).await;
    answer
}

/// The second at which it was ended, if it was.
fn end(sent: &Result<Answer, Trouble>) -> Option<f64> {
    match sent {
        Ok(answer) if answer.status == StatusCode::ACCEPTED => None,
        Ok(answer) => Some(answer.after.as_secs_f64()),
        Err(Trouble::Cut { after, .. } | Trouble::Silent { after, .. }) => Some(after.as_secs_f64()),
        Err(Trouble::Dial(_) | Trouble::Tls(_)) => Some(0.0),
    }
}

fn words(sent: &Result<Answer, Trouble>) -> String {
    match sent {
        Ok(answer) => hop::words(answer),
        Err(Trouble::Cut { .. }) => "the connection is closed without an answer".to_owned(),
        Err(trouble) => trouble.to_string(),
    }
}

/// What stands in front, by its last word or by its earlier ones.
fn front(visit: &Visit<'_, '_>, sent: &Result<Answer, Trouble>) -> Option<Front> {
    sent.as_ref().ok().and_then(hop::front).or_else(|| visit.front.clone())
}

fn culprit(visit: &Visit<'_, '_>, sent: &Result<Answer, Trouble>) -> Hop {
    match (sent, &visit.front) {
        (Ok(answer), front) => hop::hop(answer, front.as_ref()),
        (Err(_), Some(front)) => front.hop(),
        (Err(_), None) => visit.front_hop(),
    }
}

/// One limit is for both.
const TRAEFIK: &str = "in Traefik's static configuration: entryPoints.websecure.transport.respondingTimeouts.readTimeout=0 (websecure: the \
                       entry point's name; its own 60 s are for a whole request); then start Traefik again";

/// What to write down for the whole time, and for silence.
fn fixes(front: Option<&Front>) -> (&'static str, &'static str) {
    match front {
        Some(Front::Nginx) => (
            "client_body_timeout 15m; proxy_send_timeout 15m; proxy_read_timeout 15m;",
            "client_body_timeout 15m; proxy_send_timeout 15m; proxy_read_timeout 15m;",
        ),
        Some(Front::Haproxy) => (
            "timeout client 15m, timeout server 15m, and no option http-buffer-request",
            "timeout client 15m, timeout server 15m",
        ),
        Some(Front::Caddy) => (
            "servers { timeouts { read_body 0 } } in the Caddyfile's global options",
            "servers { timeouts { read_body 0 } } in the Caddyfile's global options",
        ),
        Some(Front::Apache) => (
            "RequestReadTimeout body=0, Timeout 900, ProxyTimeout 900",
            "RequestReadTimeout body=0, Timeout 900, ProxyTimeout 900",
        ),
        Some(Front::Traefik) => (TRAEFIK, TRAEFIK),
        // Not every Traefik shows itself; 60 s in all is its default.
        _ => (
            "raise the limit on reading a request: Traefik: --entryPoints.websecure.transport.respondingTimeouts.readTimeout=0; \
             nginx: client_body_timeout 15m; a load balancer: its idle timeout",
            "raise the idle timeout of the proxy or load balancer to 15 minutes",
        ),
    }
}
