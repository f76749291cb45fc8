//! Whether a hop takes a body in whole before it passes anything on.
//!
//! An upload that nobody began is refused by the registry as soon as it sees the request's head. So a request is sent
//! whose body takes a while: a refusal that comes before its end has come through; one that comes only after it was held
//! up. The body keeps coming, because proxies written in Go read on for 256 KiB before they pass an early answer back.

use std::time::Duration;

use http::StatusCode;

use crate::canary::Canary;
use crate::check::push::upload;
use crate::check::{Session, Told, Visit};
use crate::finding::{Row, Stage};
use crate::hop::{self, Front};
use crate::net::{Pace, Payload, pattern};

/// The body: 50 pieces, one each 0.1 s. Longer than a registry listens to a body that it refuses (Larder: 3 s), at whose end
/// Apache passes the refusal on, though it buffers nothing.
const PIECES: usize = 50;
const PIECE: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(100);
/// What comes within this time was not held up to the end. A refusal takes a second at most: Larder and registry:2 read on for a moment.
const EARLY: Duration = Duration::from_secs(2);

pub(super) async fn check(visit: &mut Visit<'_, '_>, session: &Session, canary: &Canary) {
    let nobodys =
        format!("/v2/{}/blobs/uploads/00000000-0000-4000-8000-{:012x}", canary.repository, canary.seed >> 16);
    let pace = Pace::Steady { piece: PIECE, pause: PAUSE };
    let payload = Payload::chunked(pattern(canary.seed, PIECES * PIECE), pace);
    let Ok(answer) = upload::patch(session, canary, &nobodys, payload, None).await else {
        visit.skip(Stage::Push, "whether a hop buffers uploads can't be told: the refusal doesn't come");
        return;
    };
    let is_refusal = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST);
    if !is_refusal || !hop::is_registrys(&answer) {
        visit.skip(
            Stage::Push,
            format!("whether a hop buffers uploads can't be told: {}", hop::words(&answer)),
        );
        return;
    }
    if answer.after < EARLY {
        visit.good(Stage::Push, "uploads reach the registry while they are sent");
        return;
    }
    let Some(front) = visit.front.clone() else {
        // The registry itself may read a body before it looks at its path.
        visit.skip(Stage::Push, "whether a hop buffers uploads can't be told: no proxy shows itself");
        return;
    };
    let fix = match front {
        Front::Nginx => "proxy_request_buffering off; proxy_http_version 1.1;",
        Front::Traefik => "take the buffering middleware off this router",
        Front::Haproxy => "no option http-buffer-request",
        _ => "switch the buffering of request bodies off",
    };
    let told = Told::warning(
        front.hop(),
        format!(
            "a refusal that the registry gives at once arrives {:.0} s later, when the body has ended",
            answer.after.as_secs_f64()
        ),
        "the proxy takes each layer in whole, onto its own disk, before the registry sees a byte: pushes stall at 100 %, and large \
         ones end in 500 or 504",
        fix,
    );
    visit.find(Stage::Push, Row::Buffered, told);
}
