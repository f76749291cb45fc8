use larder_doctor::{Options, Row};

use crate::support::*;

const REGISTRYS: &[(&str, &str)] =
    &[("content-type", "application/json"), ("docker-distribution-api-version", "registry/2.0")];
const NGINX: &[(&str, &str)] = &[("content-type", "text/html"), ("server", "nginx/1.22.1")];

type Case = (&'static str, Fault, Row, &'static str, &'static str, &'static str);

async fn all(cases: Vec<Case>) {
    for (what, fault, row, hop, cause, fix) in cases {
        let registry = Registry::start(fault).await;
        let target = format!("{}/team/app", registry.host());
        visit(&target, writing()).await.found(what, row, hop, cause, fix);
    }
}

#[tokio::test]
async fn uploads_that_cannot_begin() {
    all(vec![
        (
            "no right",
            Fault::At("POST /v2/", 403, REGISTRYS, r#"{"errors":[{"code":"DENIED"}]}"#),
            Row::Denied,
            "registry",
            "may not push",
            "larder access explain",
        ),
        (
            "a cache",
            Fault::At("POST /v2/", 405, REGISTRYS, r#"{"errors":[{"code":"UNSUPPORTED"}]}"#),
            Row::ReadOnly,
            "registry",
            "pull-through cache",
            "proxy.remoteurl",
        ),
        (
            "a full disk",
            Fault::At("POST /v2/", 507, REGISTRYS, r#"{"errors":[{"code":"UNAVAILABLE"}]}"#),
            Row::NoSpace,
            "registry",
            "disk is full",
            "df -h",
        ),
        (
            "a slash that is taken away",
            Fault::At(
                "POST /v2/",
                301,
                &[("location", "/v2/team/app/blobs/uploads"), ("server", "Caddy")],
                "",
            ),
            Row::PathRewritten,
            "proxy Caddy",
            "slash",
            "unchanged",
        ),
        (
            "a registry that fails",
            Fault::At("POST /v2/", 500, REGISTRYS, r#"{"errors":[{"code":"UNKNOWN"}]}"#),
            Row::UploadRefused,
            "registry",
            "can't be begun",
            "registry's log",
        ),
        (
            "a registry that can't store",
            Fault::At("PUT /v2/x/blobs/", 500, REGISTRYS, r#"{"errors":[{"code":"UNKNOWN"}]}"#),
            Row::UploadFailed,
            "registry",
            "can't be stored",
            "rights of the directory",
        ),
        (
            "a firewall",
            Fault::At("POST /v2/", 403, NGINX, "<html><title>403 Forbidden</title></html>"),
            Row::MethodRefused,
            "proxy nginx",
            "POST",
            "allow GET",
        ),
    ])
    .await;
}

#[tokio::test]
async fn locations_that_lead_elsewhere() {
    all(vec![
        (
            "another scheme",
            Fault::Location("https://{}"),
            Row::LocationScheme,
            "proxy",
            "X-Forwarded-Proto",
            "relativeurls",
        ),
        (
            "the port is lost",
            Fault::Location("http://127.0.0.1"),
            Row::LocationHost,
            "proxy",
            "without the port",
            "$http_host",
        ),
        (
            "an inner name",
            Fault::Location("http://registry:5000"),
            Row::LocationHost,
            "proxy",
            "another Host",
            "$http_host",
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_that_do_not_get_through() {
    all(vec![
        (
            "no chunks",
            Fault::At("PATCH ", 411, NGINX, "<html><title>411 Length Required</title></html>"),
            Row::ChunkedRefused,
            "proxy nginx",
            "docker sends every layer so",
            "chunked_transfer_encoding on",
        ),
        (
            "no PATCH",
            Fault::At("PATCH ", 405, NGINX, "<html><title>405 Not Allowed</title></html>"),
            Row::MethodRefused,
            "proxy nginx",
            "PATCH",
            "allow GET",
        ),
        (
            "nginx's megabyte",
            Fault::Limit(1 << 20),
            Row::BodyLimit,
            "proxy nginx",
            "413",
            "client_max_body_size 0;",
        ),
        (
            "Cloudflare's hundred",
            Fault::AnnouncedLimit(100_000_000),
            Row::BodyLimit,
            "proxy Cloudflare",
            "limits the size",
            "DNS only",
        ),
        ("replicas", Fault::Replicas, Row::SessionLost, "registry", "several replicas", "http.secret"),
        (
            "bytes that change",
            Fault::Altered,
            Row::BytesChanged,
            "registry",
            "other bytes than were sent",
            "go around the proxy",
        ),
        (
            "bytes that change on the way back",
            Fault::AlteredBack,
            Row::BytesChanged,
            "registry",
            "inspection",
            "go around the proxy",
        ),
        (
            "buffers",
            Fault::Buffered,
            Row::Buffered,
            "proxy nginx",
            "onto its own disk",
            "proxy_request_buffering off;",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_mount_that_is_refused() {
    // The first POST of all is an ordinary one, so the fault is in the query's answer alone.
    let fault = Fault::At("POST /v2/team/app/blobs/uploads/?mount", 403, REGISTRYS, "{}");
    let registry = Registry::start(fault).await;
    let visited = visit(&format!("{}/team/app", registry.host()), writing()).await;
    visited.found("a mount", Row::MountRefused, "registry", "201 and 202", "upgrade the registry");
}

#[tokio::test]
async fn manifests_that_are_not_taken_or_not_kept() {
    let registry = Registry::start(Fault::At(
        "PUT /v2/team/app/manifests/larder-doctor-12345678-attested",
        400,
        REGISTRYS,
        r#"{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}"#,
    ))
    .await;
    let visited = visit(&format!("{}/team/app", registry.host()), writing()).await;
    visited.found(
        "an attestation",
        Row::ManifestRefused,
        "registry",
        "that kind of manifest",
        "--provenance=false",
    );
    assert_eq!(visited.exit_code, 17);
    let registry = Registry::start(Fault::Converted).await;
    let visited = visit(&registry.host(), writing()).await;
    assert!(
        visited.findings.iter().all(|finding| finding.row == Row::ManifestChanged),
        "{:?}",
        visited.findings
    );
    assert_eq!(visited.findings.len(), 6);
    all(vec![(
        "no referrers",
        Fault::At("GET /v2/team/app/referrers/", 404, REGISTRYS, "{}"),
        Row::ReferrersMissing,
        "registry",
        "referrers API",
        "upgrade",
    )])
    .await;
}

#[tokio::test]
async fn deletion_that_is_switched_off_leaves_the_canary_and_says_so() {
    let fault = Fault::At("DELETE /v2/team/app/manifests/", 405, REGISTRYS, r#"{"errors":[]}"#);
    let registry = Registry::start(fault).await;
    let visited = visit(&format!("{}/team/app", registry.host()), writing()).await;
    visited.found("deletion", Row::DeleteDisabled, "registry", "switched off", "storage.delete.enabled");
    assert!(visited.findings[0].seen.contains("stays in team/app"), "{:?}", visited.findings);
}

#[tokio::test]
async fn a_large_layer_is_sent_only_with_leave() {
    let registry = Registry::start(Fault::Limit(5_000_000)).await;
    let options = Options { sent_at_most: 2_000_000, ..writing() };
    visit(&registry.host(), options).await.nothing("2 MB get through a limit of 5");
    let visited = visit(&registry.host(), writing()).await;
    assert_eq!(visited.findings[0].row, Row::BodyLimit);
    assert!(visited.findings[0].seen.contains("12 MB"), "{:?}", visited.findings);
}
