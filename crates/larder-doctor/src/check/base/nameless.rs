//! What stands in front and names itself nowhere: Traefik, by what it does.
//!
//! It routes by the host that is asked for, and where no router is for it, it answers in Go's own words. A registry
//! doesn't look at the host: the same path of a host that nobody has leads to the same answer there.

use http::header::HOST;

use crate::hop::{self, Front};
use crate::net::{Answer, Ask, Client};

/// A name that is nobody's (RFC 2606).
const NOBODY: &str = "larder-doctor.invalid";

/// What gave `answer` to `/v2/`, or passed it on.
pub(super) async fn front(client: &Client, answer: &Answer) -> Option<Front> {
    let other = if hop::is_nameless_404(answer) {
        // Nothing is routed at all, not even the root: a program in Go that serves something has that.
        Ask::get("/")
    } else {
        Ask::get("/v2/").header(HOST, NOBODY)
    };
    let other = client.ask(other).await.ok()?;
    hop::is_nameless_404(&other).then_some(Front::Traefik)
}
