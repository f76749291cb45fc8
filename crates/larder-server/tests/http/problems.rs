//! What an operator hears of refusals and of who pulls, and what `/setup` tells whom.

use larder_server::{Options, Reached};

use crate::support::*;

async fn problems(server: &Server) -> Vec<serde_json::Value> {
    let reply = server.ask(get("/api/v1/problems").basic(ALICE.0, ALICE.1)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["problems"].as_array().unwrap().clone()
}

#[tokio::test]
async fn refusals_are_gathered_and_ordinary_ones_left_out() {
    let server = Setup::gate(GateKind::TokensForUsers).start().await;
    // The challenge that begins every login, and the question that begins every push.
    server.ask(get("/v2/")).await;
    server.ask(get("/v2/team/app/manifests/one")).await;
    server.ask(head(format!("/v2/team/app/blobs/{}", digest_of(LAYER))).basic(ALICE.0, ALICE.1)).await;
    assert_eq!(problems(&server).await, Vec::<serde_json::Value>::new());
    for _ in 0..3 {
        server.ask(get("/v2/").basic(ALICE.0, "guess")).await;
    }
    server.ask(get("/v2/team/app/manifests/one").basic(ALICE.0, ALICE.1)).await;
    let told = problems(&server).await;
    let kinds: Vec<&str> = told.iter().map(|problem| problem["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["not-there", "wrong-login"], "{told:#?}");
    assert_eq!(told[0]["repository"], "team/app");
    assert_eq!((told[1]["count"].as_u64(), told[1]["user"].as_str()), (Some(3), Some(ALICE.0)));
    assert!(told[1]["fix"].as_str().unwrap().contains("larder user verify alice"), "{told:#?}");
}

#[tokio::test]
async fn a_user_without_the_right_is_told_so() {
    let server = Setup::gate(GateKind::Rules).start().await;
    // Nobody may administer there.
    let refused = server.ask(get("/api/v1/problems").basic(ALICE.0, ALICE.1)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("lets alice administer"), "{}", refused.text());
}

#[tokio::test]
async fn only_who_may_administer_hears_of_them() {
    let server = Setup::gate(GateKind::Rules).start().await;
    for path in ["/api/v1/problems", "/api/v1/clients"] {
        assert_eq!(server.ask(get(path)).await.status, 401, "{path}");
        assert_eq!(server.ask(get(path).basic(CAROL.0, CAROL.1)).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn who_pulled_is_listed_with_his_agent() {
    let server = Server::open().await;
    for bytes in [CONFIG, LAYER] {
        server.ask(post(format!("/v2/team/app/blobs/uploads/?digest={}", digest_of(bytes)), bytes)).await;
    }
    let manifest = put("/v2/team/app/manifests/one", image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST);
    assert_eq!(server.ask(manifest).await.status, 201);
    for _ in 0..2 {
        server.ask(get("/v2/team/app/manifests/one").with("User-Agent", "docker/29.1")).await;
    }
    server.ask(head("/v2/team/app/manifests/one").with("User-Agent", "asks only")).await;
    let told = server.ask(get("/api/v1/clients")).await.json();
    let clients = told["clients"].as_array().unwrap();
    assert_eq!(clients.len(), 1, "{told}");
    assert_eq!((clients[0]["agent"].as_str(), clients[0]["pulls"].as_u64()), (Some("docker/29.1"), Some(2)));
    assert_eq!(clients[0]["client"], "127.0.0.1");
}

#[tokio::test]
async fn a_tls_hello_to_the_plain_port_is_a_problem() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::open().await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let told = server.ask(get("/api/v1/problems")).await.json();
    assert_eq!(told["problems"][0]["kind"], "wrong-protocol", "{told}");
    // docker's way to an insecure registry, and that of Larder's own commands: TLS first, and then plain.
    server.ask(get("/v2/")).await;
    let told = server.ask(get("/api/v1/problems")).await.json();
    assert_eq!(told["problems"], serde_json::json!([]), "{told}");
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
    let _ = stream.read_to_end(&mut rest).await;
    let told = server.ask(get("/api/v1/problems").with("User-Agent", "larder-doctor/1")).await.json();
    assert_eq!(told["problems"], serde_json::json!([]), "{told}");
}

#[tokio::test]
async fn what_the_doctor_provokes_is_no_problem() {
    let server = Server::open().await;
    let session = "/v2/lab/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    assert_eq!(server.ask(get(session).with("User-Agent", "larder-doctor/1")).await.status, 404);
    assert_eq!(server.ask(get("/api/v1/problems")).await.json()["problems"], serde_json::json!([]));
    assert_eq!(server.ask(get(session).with("User-Agent", "docker/29")).await.status, 404);
    assert_eq!(server.ask(get("/api/v1/problems")).await.json()["problems"][0]["kind"], "upload-unknown");
}

#[tokio::test]
async fn what_is_wrong_with_the_registry_itself_stands_first_among_the_problems() {
    let trouble = larder_certificates::Trouble {
        kind: "certificate-ends",
        reason: "it ends".to_owned(),
        fix: "renew it".to_owned(),
        since: std::time::SystemTime::UNIX_EPOCH,
    };
    let observers = larder_server::Observers {
        certificate_troubles: Some(std::sync::Arc::new(move || vec![trouble.clone()])),
        ..larder_server::Observers::default()
    };
    let server = Setup { observers, ..Setup::default() }.start().await;
    assert_eq!(server.ask(get("/v2/nobody/manifests/here")).await.status, 404);
    let told = server.ask(get("/api/v1/problems")).await.json();
    let (first, second) = (&told["problems"][0], &told["problems"][1]);
    assert_eq!((&first["kind"], &first["fix"]), (&"certificate-ends".into(), &"renew it".into()), "{told}");
    assert_eq!((&first["hop"], &first["first"]), (&"registry".into(), &"1970-01-01T00:00:00Z".into()));
    assert!(first["client"].is_null() && second["kind"] == "not-there", "{told}");
}

#[tokio::test]
async fn setup_is_text_for_programs_and_html_for_browsers() {
    let page = |reached: &Reached| format!("for {}\n== <docker>\n{{}}\n", reached.url);
    let options =
        Options { setup: Some(page), catalog_max_entries: 1000, tags_max: 1000, ..Options::default() };
    let server = Setup { options, ..Setup::default() }.start().await;
    let text = server.ask(get("/setup")).await;
    assert_eq!(text.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert!(
        text.text().starts_with("for http://") && text.text().ends_with("\n== <docker>\n{}\n"),
        "{}",
        text.text()
    );
    let html = server.ask(get("/setup").with("Accept", "text/html,*/*")).await;
    assert_eq!(html.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(html.text().contains("<h2 id=\"s0\">&lt;docker&gt;</h2>"), "{}", html.text());
    assert_eq!(server.ask(get("/setup/ca.crt")).await.status, 404, "there is no authority");
}

#[tokio::test]
async fn who_forgets_the_library_of_a_mirror_of_docker_hub_is_told_of_it() {
    use larder_server::Door;
    let root =
        Door { prefix: None, has_library: false, namespaces: vec!["hub.lab".to_owned()], host_names: vec![] };
    let options = Options { doors: vec![root], catalog_max_entries: 10, tags_max: 10, ..Options::default() };
    let server = Setup { options, ..Setup::default() }.start().await;
    for (image, hint) in [("alpine", true), ("team/app", false)] {
        server.ask(get(format!("/v2/{image}/manifests/1"))).await;
        let told = server.ask(get("/api/v1/problems")).await.json();
        let fix = told["problems"][0]["fix"].as_str().unwrap();
        assert_eq!(fix.contains("its own images are library/alpine"), hint, "{fix}");
    }
}
