use larder_doctor::Options;

use crate::support::*;

#[tokio::test]
async fn of_a_registry_without_faults_nothing_is_found() {
    let registry = Registry::start(Fault::None).await;
    let visited = visit(&registry.host(), writing()).await;
    visited.nothing("open");
    assert!(visited.good.iter().any(|line| line == "the canary is taken away again"), "{:?}", visited.good);
    assert!(visited.good.iter().any(|line| line.contains("byte for byte")), "{:?}", visited.good);
}

#[tokio::test]
async fn basic_and_tokens_are_spoken() {
    let registry = Registry::start(Fault::Basic).await;
    visit(&registry.host(), writing()).await.nothing("Basic");
    let claims = |now: u64| {
        format!(
            r#"{{"iat":{now},"nbf":{now},"exp":{},"access":[{{"name":"team/app","actions":["pull","push"]}}]}}"#,
            now + 300
        )
    };
    let registry = Registry::start(Fault::Bearer { realm: "{}/token", claims }).await;
    visit(&format!("{}/team/app", registry.host()), writing()).await.nothing("Bearer");
}

#[tokio::test]
async fn tls_by_a_known_authority_is_nothing_to_speak_of() {
    let authority = Authority::new("Lab CA");
    let registry = authority.shows(&Leaf::default()).start(Fault::Basic).await;
    let options = Options { authorities: vec![authority.file.clone()], ..writing() };
    visit(&registry.host(), options).await.nothing("TLS");
}

#[tokio::test]
async fn without_leave_nothing_is_written() {
    let registry = Registry::start(Fault::None).await;
    let visited = visit(&format!("{}/team/app", registry.host()), reading()).await;
    assert!(visited.skipped.iter().any(|line| line.contains("--write")), "{:?}", visited.skipped);
    // The repository isn't there, so that reading ends at once; a push would have made it.
    assert_eq!(visited.findings.len(), 1, "{:?}", visited.findings);
}
