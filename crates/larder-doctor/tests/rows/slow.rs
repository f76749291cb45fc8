use std::time::Duration;

use larder_doctor::{Options, Row};

use crate::support::*;

fn patient() -> Options {
    Options { slow: Duration::from_secs(4), ..writing() }
}

#[tokio::test]
async fn a_limit_on_the_whole_upload_is_told_with_its_second() {
    let registry = Registry::start(Fault::Cut(Duration::from_secs(2))).await;
    let visited = visit(&registry.host(), patient()).await;
    visited.found("the cut", Row::CutWhileSending, "in front of the registry", "Retrying in", "readTimeout");
    assert!(visited.findings[0].seen.contains("after 2 s"), "{:?}", visited.findings);
    assert_eq!(visited.exit_code, 16);
}

#[tokio::test]
async fn traefik_is_known_by_its_answer_to_another_host() {
    let registry = Registry::start(Fault::Routed(Duration::from_secs(2))).await;
    let visited = visit(&registry.host(), patient()).await;
    visited.found("the cut", Row::CutWhileSending, "proxy Traefik", "Retrying in", "readTimeout=0");
    assert!(visited.findings[0].seen.ends_with("after 2 s: 504 Gateway Timeout"), "{:?}", visited.findings);
}

#[tokio::test]
async fn a_limit_on_silence_is_told_from_one_on_the_whole() {
    let registry = Registry::start(Fault::CutSilence(Duration::from_secs(2))).await;
    let visited = visit(&registry.host(), patient()).await;
    visited.found(
        "the silence",
        Row::CutWhileSilent,
        "proxy nginx",
        "nothing moves",
        "client_body_timeout 15m",
    );
    assert!(visited.findings[0].seen.contains("after 2 s: 408"), "{:?}", visited.findings);
}

#[tokio::test]
async fn a_slow_upload_that_gets_through_is_nothing() {
    let registry = Registry::start(Fault::None).await;
    let options = Options { slow: Duration::from_secs(1), ..writing() };
    visit(&registry.host(), options).await.nothing("slow");
}
