//! A server in this process, a client that sends bytes as they are told, and images to push.

mod client;
mod images;
mod server;
mod webhook;

use std::time::Duration;

pub(crate) use client::{Client, Reply, Request, base64, delete, get, head, options, patch, post, put};
pub(crate) use images::*;
pub(crate) use server::{
    ALICE, BOB, CAROL, EACH_PASSWORD, GateKind, Server, Setup, api_key, certificate, write,
};
pub(crate) use webhook::{Message, Webhook};

/// Longer than anything here takes on a loaded machine: over it, the server hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What comes of a future, which must not hang.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the server hangs")
}

/// Asks again until the answer is yes.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    within(async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
