//! Every route with every method for everybody: who gets through, and who is turned away. A route or a method that is
//! missing here fails the test.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::*;

/// What a request takes, in the repository `lab/app` or as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Nothing,
    /// To be somebody.
    Login,
    /// To have come with a password or a key: a token gets no further token.
    Account,
    /// To see something at all.
    Catalog,
    Pull,
    Push,
    Delete,
    Admin,
}

use Right::{Account, Admin, Catalog, Delete, Login, Nothing, Pull, Push};

/// The route as `src/route.rs` names it, a method, a path, and what it takes.
type Row = (&'static str, &'static str, &'static str, Right);

const SESSION: &str = "/v2/lab/app/blobs/uploads/6b3c9a93-af5d-473f-a4ce-9710022185cd";
const MANIFEST: &str = "/v2/lab/app/manifests/one";
const BLOB: &str =
    "/v2/lab/app/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000";
const REFERRERS: &str =
    "/v2/lab/app/referrers/sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Deletions last: what they take away, nobody else finds.
const ROWS: &[Row] = &[
    ("Root", "GET", "/", Nothing),
    ("Health", "GET", "/healthz", Nothing),
    ("Ready", "GET", "/readyz", Nothing),
    ("Setup", "GET", "/setup", Nothing),
    ("SetupAuthority", "GET", "/setup/ca.crt", Nothing),
    ("BaseWithoutSlash", "GET", "/v2", Nothing),
    ("Token", "GET", "/auth/token?scope=repository:lab/app:pull", Account),
    ("Token", "POST", "/auth/token", Nothing),
    ("Base", "GET", "/v2/", Login),
    ("Catalog", "GET", "/v2/_catalog", Catalog),
    ("Tags", "GET", "/v2/lab/app/tags/list", Pull),
    ("Manifest", "GET", MANIFEST, Pull),
    ("Blob", "GET", BLOB, Pull),
    ("Referrers", "GET", REFERRERS, Pull),
    ("Manifest", "PUT", "/v2/lab/app/manifests/two", Push),
    ("Uploads", "POST", "/v2/lab/app/blobs/uploads/", Push),
    ("Upload", "GET", SESSION, Push),
    ("Upload", "PATCH", SESSION, Push),
    ("Upload", "PUT", SESSION, Push),
    ("Upload", "DELETE", SESSION, Push),
    ("Problems", "GET", "/api/v1/problems", Admin),
    ("Clients", "GET", "/api/v1/clients", Admin),
    ("Gc", "GET", "/api/v1/gc", Admin),
    ("Gc", "POST", "/api/v1/gc?dry_run=true", Admin),
    ("Gc", "POST", "/api/v1/gc?now=true&everything=true&delete_untagged=true", Admin),
    ("Removals", "GET", "/api/v1/removals", Admin),
    ("Removals", "GET", "/api/v1/removals?repository=lab/app", Push),
    ("Undo", "POST", "/api/v1/undo?repository=lab/app&id=7", Push),
    ("Undo", "POST", "/api/v1/undo?repository=lab/app&to=2026-01-01T00:00:00Z", Push),
    ("History", "GET", "/api/v1/history?repository=lab/app&tag=one", Pull),
    ("Cache", "GET", "/api/v1/cache", Catalog),
    ("Warm", "GET", "/api/v1/cache/warm", Admin),
    ("Warm", "POST", "/api/v1/cache/warm?image=docker.io/library/nginx:1", Admin),
    ("Retention", "GET", "/api/v1/retention", Admin),
    ("Retention", "POST", "/api/v1/retention", Admin),
    ("Status", "GET", "/api/v1/status", Admin),
    ("Usage", "GET", "/api/v1/du", Admin),
    ("Usage", "GET", "/api/v1/du?of=lab/app:one", Admin),
    ("Quotas", "GET", "/api/v1/quotas", Admin),
    ("Maintenance", "GET", "/api/v1/maintenance", Admin),
    ("Maintenance", "PUT", "/api/v1/maintenance?on=true", Admin),
    ("Maintenance", "PUT", "/api/v1/maintenance?on=false", Admin),
    ("Manifest", "DELETE", MANIFEST, Delete),
    ("Blob", "DELETE", BLOB, Delete),
];

/// Who asks, by the name of a user of [`GateKind::EachRight`], and what he has.
const NOBODY: (&str, &[Right]) = ("nobody", &[Nothing]);
const OTHERS: &[(&str, &[Right])] = &[
    ("stranger", &[Nothing, Login, Account]),
    ("reader", &[Nothing, Login, Account, Catalog, Pull]),
    ("pusher", &[Nothing, Login, Account, Catalog, Pull, Push]),
    ("remover", &[Nothing, Login, Account, Catalog, Pull, Delete]),
    // What belongs to the keeper, who may do everything, and is narrower than he.
    ("token to pull", &[Nothing, Login, Pull]),
    ("token for another repository", &[Nothing, Login]),
    ("key to pull", &[Nothing, Login, Account, Catalog, Pull]),
    // Last: nothing is left after him.
    ("keeper", &[Nothing, Login, Account, Catalog, Pull, Push, Delete, Admin]),
];

async fn token(server: &Server, scope: &str) -> String {
    let login = get(format!("/auth/token?scope={scope}")).basic("keeper", EACH_PASSWORD);
    let reply = server.ask(login).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    format!("Bearer {}", reply.json()["token"].as_str().unwrap())
}

/// The `Authorization` of each; `None` for nobody's.
async fn credentials(server: &Server, who: &str) -> Option<String> {
    let basic = |user: &str, password: &str| format!("Basic {}", base64(&format!("{user}:{password}")));
    Some(match who {
        "nobody" => return None,
        "token to pull" => token(server, "repository:lab/app:pull").await,
        "token for another repository" => token(server, "repository:lab/other:pull,push,delete").await,
        "key to pull" => basic("keeper", &api_key().0),
        user => basic(user, EACH_PASSWORD),
    })
}

async fn world() -> Server {
    let server = Setup::gate(GateKind::EachRight).start().await;
    let keeper = |request: Request| request.basic("keeper", EACH_PASSWORD);
    for bytes in [CONFIG, LAYER] {
        let target = format!("/v2/lab/app/blobs/uploads/?digest={}", digest_of(bytes));
        assert_eq!(server.ask(keeper(post(target, bytes))).await.status, 201);
    }
    let manifest = put(MANIFEST, image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST);
    assert_eq!(server.ask(keeper(manifest)).await.status, 201);
    server
}

fn request(method: &str, target: &str) -> Request {
    match method {
        "GET" => get(target),
        "HEAD" => head(target),
        "POST" => post(target, ""),
        "PUT" if target.contains("/manifests/") => {
            put(target, image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST)
        }
        "PUT" => put(target, ""),
        "PATCH" => patch(target, "x"),
        "DELETE" => delete(target),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn nobody_gets_through_without_the_right_to() {
    let server = world().await;
    let mut wrong = Vec::new();
    for (who, rights) in std::iter::once(&NOBODY).chain(OTHERS) {
        let credentials = credentials(&server, who).await;
        for (_, method, target, takes) in ROWS {
            let methods: &[&str] = if *method == "GET" { &["GET", "HEAD"] } else { &[method] };
            for method in methods {
                let mut request = request(method, target);
                if let Some(credentials) = &credentials {
                    request = request.with("Authorization", credentials);
                }
                let status = server.ask(request).await.status;
                let got_through = !matches!(status, 401 | 403);
                if got_through != rights.contains(takes) || status >= 500 {
                    wrong.push(format!("{who}: {method} {target} takes {takes:?}: {status}"));
                }
            }
        }
        if *who != "keeper" && *who != "pusher" && *who != "remover" {
            let image = server.ask(get(MANIFEST).basic("keeper", EACH_PASSWORD)).await;
            assert_eq!(image.status, 200, "{who} took something away");
        }
        if *who == "remover" {
            let manifest = put(MANIFEST, image(OCI_MANIFEST)).with("Content-Type", OCI_MANIFEST);
            assert_eq!(server.ask(manifest.basic("keeper", EACH_PASSWORD)).await.status, 201);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_route_and_every_method_is_in_the_table() {
    let server = world().await;
    let mut methods: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for (route, method, target, _) in ROWS {
        methods.entry(route).or_insert((target, BTreeSet::new())).1.insert(method);
    }
    let variants: BTreeSet<&str> = ["enum Route {", "enum Api {"].into_iter().flat_map(variants).collect();
    assert_eq!(variants, methods.keys().copied().collect());
    for (route, (target, here)) in methods {
        let reply = server.ask(options(target)).await;
        let told = reply.header("Allow").unwrap().to_owned();
        let told: BTreeSet<&str> = told.split(", ").filter(|method| *method != "HEAD").collect();
        assert_eq!(told, here, "{route}");
    }
}

/// The variants of an enum of `route.rs`, without `Api`, which stands for those of the other.
fn variants(head: &str) -> Vec<&'static str> {
    let source = include_str!("../../src/route.rs");
    let (_, body) = source.split_once(head).expect(head);
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let names = lines.map(|line| line.split(['(', ',']).next().unwrap());
    names.filter(|name| *name != "Api").collect()
}
