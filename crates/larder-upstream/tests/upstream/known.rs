use larder_core::{Allowance, Upstream as _, UpstreamFailure};
use larder_upstream::{KNOWN, RemoteRegistry};

use crate::support::*;

/// How a public registry answers.
#[derive(Clone, Copy)]
struct Habits {
    name: &'static str,
    /// The path of its token server, whom the token is for, and the scope that its challenge names.
    challenge: Option<(&'static str, &'static str, &'static str)>,
    /// It says so at `/v2/` alone.
    challenges_at_base_only: bool,
    /// `HEAD` of a blob is answered 401 whoever asks.
    refuses_blob_heads: bool,
    /// The scope that its token must have.
    scope: &'static str,
    /// `HEAD` of a manifest is free.
    free_heads: bool,
}

const OWN: &str = "repository:library/nginx:pull";

const PLAIN: Habits = Habits {
    name: "",
    challenge: None,
    challenges_at_base_only: false,
    refuses_blob_heads: false,
    scope: OWN,
    free_heads: false,
};

const HABITS: [Habits; 7] = [
    Habits {
        name: "docker.io",
        challenge: Some(("/token", "registry.docker.io", OWN)),
        free_heads: true,
        ..PLAIN
    },
    Habits { name: "ghcr.io", challenge: Some(("/token", "ghcr.io", "repository:user/image:pull")), ..PLAIN },
    Habits { name: "quay.io", challenge: Some(("/v2/auth", "quay.io", OWN)), ..PLAIN },
    Habits { name: "registry.k8s.io", challenge: Some(("/token", "registry.k8s.io", OWN)), ..PLAIN },
    Habits {
        name: "gcr.io",
        challenge: Some(("/v2/token", "gcr.io", "")),
        challenges_at_base_only: true,
        ..PLAIN
    },
    Habits { name: "mcr.microsoft.com", ..PLAIN },
    Habits {
        name: "public.ecr.aws",
        challenge: Some(("/token/", "public.ecr.aws", "aws")),
        refuses_blob_heads: true,
        scope: "aws",
        ..PLAIN
    },
];

fn answer(habits: Habits, request: &Request) -> Reply {
    let is_at_base = request.target == "/v2/";
    if let Some((realm, service, scope)) = habits.challenge {
        if request.target.split('?').next() == Some(realm) {
            return Reply::ok(r#"{"token":"t","expires_in":300}"#);
        }
        if request.header("authorization") != Some("Bearer t") {
            if habits.challenges_at_base_only && !is_at_base {
                return Reply::new(401);
            }
            let challenge = format!(r#"Bearer realm="{realm}",service="{service}",scope="{scope}""#);
            return Reply::challenge(challenge);
        }
    }
    match request.method.as_str() {
        "HEAD" if request.target.contains("/blobs/") && habits.refuses_blob_heads => Reply::new(401),
        _ if request.target.contains("/blobs/") => Reply::ok("abcdefg"),
        "GET" => Reply::manifest("{}")
            .with("ratelimit-limit", "100;w=21600")
            .with("ratelimit-remaining", "0;w=21600"),
        _ => Reply::manifest("{}"),
    }
}

#[tokio::test]
async fn each_known_registry_is_asked_in_the_way_that_it_answers() {
    assert_eq!(HABITS.map(|habits| habits.name), KNOWN.map(|registry| registry.name));
    for (habits, registry) in HABITS.into_iter().zip(KNOWN) {
        let name = registry.name;
        let peer = Peer::start(move |request| answer(habits, request)).await;
        let mut settings = peer.settings();
        settings.quirks = registry.quirks;
        let client = RemoteRegistry::new(settings).unwrap();

        assert_eq!(client.blob_size(&repository(), &blob()).await.unwrap(), Some(Some(7)), "{name}");
        let asks_heads = peer.asked().iter().any(|asked| asked.method == "HEAD");
        assert_eq!(asks_heads, !habits.refuses_blob_heads, "{name}");
        assert_eq!(manifest(&client).await.unwrap().as_deref(), Some("{}"), "{name}");

        // One token for all of it, asked for by nobody in particular, for this repository and no other.
        let tokens: Vec<Request> =
            peer.asked().into_iter().filter(|asked| asked.target.contains("scope=")).collect();
        let expected = habits.challenge.map(|(realm, service, _)| {
            let scope = habits.scope.replace(':', "%3A").replace('/', "%2F");
            format!("GET {realm}?service={service}&scope={scope}")
        });
        let lines: Vec<String> = tokens.iter().map(Request::line).collect();
        assert_eq!(lines, Vec::from_iter(expected), "{name}");
        assert!(tokens.iter().all(|asked| asked.header("authorization").is_none()), "{name}");

        // That was the last manifest which the window allows.
        assert!(matches!(client.allowance(&repository()), Allowance::Spent { .. }), "{name}");
        let before = peer.asked().len();
        let head = client.head_manifest(&repository(), &tag("latest")).await;
        if habits.free_heads {
            assert_eq!(head.unwrap().unwrap().digest, Some(blob()), "{name}");
            assert_eq!(peer.asked().len(), before + 1, "{name}");
        } else {
            let failure = head.unwrap_err().failure;
            assert!(matches!(failure, UpstreamFailure::RateLimited { .. }), "{name}: {failure:?}");
            assert_eq!(peer.asked().len(), before, "{name}");
        }
    }
}
