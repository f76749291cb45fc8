//! Requests of those who mean harm, or know no better. Whatever they send is refused in order or does no
//! more than it says, and the server answers the next one.

mod bodies;
mod credentials;
mod framing;
mod headers;
mod parameters;
mod paths;

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;

/// A request and what must come of it.
struct Case {
    what: String,
    request: Vec<u8>,
    status: u16,
    answer: Answer,
}

/// What stands in the body.
#[derive(Clone, Copy)]
enum Answer {
    /// The error envelope, with this code throughout.
    Code(&'static str),
    /// No envelope: it went well, or the request is not below `/v2/`, or is no HTTP request at all.
    Other,
}

/// The names of all headers that the server may send: whatever else stands in a head was smuggled in.
const HEADERS: [&str; 22] = [
    "Accept-Ranges",
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "Docker-Content-Digest",
    "Docker-Distribution-Api-Version",
    "Docker-Upload-Uuid",
    "Etag",
    "Link",
    "Location",
    "Oci-Chunk-Min-Length",
    "Oci-Filters-Applied",
    "Oci-Subject",
    "Oci-Tag",
    "Range",
    "Www-Authenticate",
    "content-length",
    "date",
];

fn refused(what: impl Into<String>, request: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Case {
    Case { what: what.into(), request: request.into(), status, answer: Answer::Code(code) }
}

fn otherwise(what: impl Into<String>, request: impl Into<Vec<u8>>, status: u16) -> Case {
    Case { what: what.into(), request: request.into(), status, answer: Answer::Other }
}

/// A request with these bytes as its target, whatever they are.
fn get_raw(target: &[u8]) -> Vec<u8> {
    [b"GET ", target, b" HTTP/1.1\r\nHost: registry.lab\r\n\r\n"].concat()
}

/// Panics so far in this process. One in a task of the server's would otherwise only close a connection.
fn panics() -> usize {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
    SEEN.load(Ordering::Relaxed)
}

/// What is wrong with what came of it.
async fn suffer(server: &Server, case: &Case) -> Option<String> {
    let mut client = server.connect().await;
    client.send_what_is_taken(&case.request).await;
    client.half_close_if_open().await;
    let Some(reply) = client.reply_or_end(case.request.starts_with(b"HEAD")).await else {
        return Some("no answer".to_owned());
    };
    if reply.status != case.status {
        return Some(format!("{} instead of {}: {}", reply.status, case.status, reply.text()));
    }
    if let Answer::Code(code) = case.answer {
        let codes = reply.codes();
        if !codes.iter().all(|each| each == code) {
            return Some(format!("{codes:?} instead of {code}"));
        }
    }
    let mut names = reply.head.split("\r\n").skip(1).map(|line| line.split(':').next().unwrap());
    if let Some(name) = names.find(|name| !HEADERS.contains(name)) {
        return Some(format!("a header {name}"));
    }
    let after = server.ask(get("/healthz")).await.status;
    (after != 200).then(|| format!("the server answers {after} afterwards"))
}

/// Gives how many there were.
async fn suffer_all(server: &Server, cases: Vec<Case>) -> usize {
    let before = panics();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Some(problem) = suffer(server, case).await {
            let short = |text: &str| text.chars().take(200).collect::<String>();
            wrong.push(format!("{}: {}", short(&case.what), short(&problem)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(panics(), before, "something panicked");
    cases.len()
}

#[tokio::test]
async fn everything_at_once() {
    let open = Server::open().await;
    open.push_image("lab/app", "one").await;
    let location = open.ask(post("/v2/lab/app/blobs/uploads/", "")).await.location();
    let mut count = 0;
    for cases in [
        paths::cases(),
        parameters::cases(&location),
        headers::cases(&location),
        framing::cases(),
        bodies::cases(),
    ] {
        count += suffer_all(&open, cases).await;
    }
    let guarded = Setup::gate(GateKind::Tokens).start().await;
    count += suffer_all(&guarded, credentials::cases()).await;
    assert!(count > 300, "{count} cases");
    // What was there is there, and nothing else has come in.
    assert_eq!(open.ask(get("/v2/lab/app/manifests/one")).await.text(), image(OCI_MANIFEST));
    let catalog = open.ask(get("/v2/_catalog")).await;
    assert_eq!(catalog.text(), "{\"repositories\":[\"lab/app\"]}\n");
}

/// What an attacker may put into a `Link` through a manifest and a filter of his own.
#[tokio::test]
async fn no_header_can_be_smuggled_into_a_link() {
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    let kind = r#"a\r\nX-Injected: 1\r\n\r\n>; rel=\"next\", <http://evil/>\u0000ü"#;
    for note in ["1", "2"] {
        let manifest = referrer(&subject, kind, note);
        server.push_manifest("lab/app", &digest_of(&manifest), &manifest).await;
    }
    let filter = "a%0D%0AX-Injected:%201%0D%0A%0D%0A%3E;%20rel=%22next%22,%20%3Chttp://evil/%3E%00%C3%BC";
    let target = format!("/v2/lab/app/referrers/{subject}?n=1&artifactType={filter}");
    let reply = server.ask(get(target)).await;
    let link = reply.header("Link").expect("a second page");
    assert_eq!(link.matches(['<', '>']).count(), 2, "{link}");
    assert!(link.ends_with(">; rel=\"next\"") && link.contains("artifactType=a%0D%0AX-Injected"), "{link}");
    assert_eq!(reply.header("X-Injected"), None);
    let next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    let second = server.ask(get(next)).await;
    assert_eq!(second.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(second.header("Link"), None);
}

/// Odd, but a manifest: it comes back as it went in, and lists that mention it still work.
#[tokio::test]
async fn odd_manifests_are_kept_as_they_came() {
    let server = Server::open().await;
    let subject = server.push_image("lab/app", "one").await;
    let good = referrer(&subject, "application/x", "a");
    let in_front = |text: &str| good.replacen('{', &format!("{{{text},"), 1);
    let odd = [
        good.replace("\"size\":11", "\"size\":18446744073709551615"),
        good.replace("\"size\":7", "\"size\":9223372036854775808"),
        good.replace("\"note\":\"a\"", "\"\\u0000\":\"\\u0000\\ud83d\\ude00\""),
        good.replace("application/x", &"x".repeat(300_000)),
        good.replace("\"artifactType\":\"application/x\"", "\"artifactType\":\"\""),
        good.replace("\"artifactType\":\"application/x\"", "\"artifactType\":null"),
        in_front(&format!("\"x\":{}{}", "[".repeat(50_000), "]".repeat(50_000))),
        in_front("\"x\":1,\"x\":2,\"Xy\":7"),
        format!("\n\t {good}\n\n"),
    ];
    for manifest in &odd {
        let digest = server.push_manifest("lab/app", "odd", manifest).await;
        for reference in ["odd", &digest] {
            let got = server.ask(get(format!("/v2/lab/app/manifests/{reference}"))).await;
            assert!((got.status, got.text().as_str()) == (200, manifest), "{}", &manifest[..100]);
        }
    }
    let listed = server.ask(get(format!("/v2/lab/app/referrers/{subject}"))).await;
    assert_eq!(listed.json()["manifests"].as_array().unwrap().len(), odd.len());
    for manifest in &odd {
        let target = format!("/v2/lab/app/manifests/{}", digest_of(manifest));
        assert_eq!(server.ask(delete(target)).await.status, 202);
    }
}

/// Lengths that are added to what is there already.
#[tokio::test]
async fn a_length_near_the_end_of_all_numbers_is_no_overflow() {
    let server = Server::open().await;
    let before = panics();
    for length in [u64::MAX - 2, u64::MAX - 3, u64::MAX / 2 + 1] {
        let location = server.ask(post("/v2/lab/app/blobs/uploads/", "")).await.location();
        assert_eq!(server.ask(patch(&location, "begun")).await.status, 202);
        let digest = digest_of(b"begun and ended");
        let mut client = server.connect().await;
        let head =
            format!("PUT {location}?digest={digest} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send(format!("{head} and ended")).await;
        client.half_close().await;
        let reply = client.reply_or_end(false).await.expect("an answer");
        assert!((400..600).contains(&reply.status), "{}", reply.text());
        assert_eq!(server.ask(get(format!("/v2/lab/app/blobs/{digest}"))).await.status, 404);
    }
    assert_eq!(panics(), before, "something panicked");
}

/// An answer doesn't grow with what is asked: an image has 127 layers at most, so that many are named.
#[tokio::test]
async fn not_every_one_of_a_thousand_mistakes_is_told() {
    let server = Server::open().await;
    let digests: Vec<String> = (0..1000).map(|at| format!("sha256:{at:064x}")).collect();
    let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
    let manifest = index(OCI_INDEX, OCI_MANIFEST, &digests);
    let reply = server.put_manifest("lab/app", "one", OCI_INDEX, manifest).await;
    assert_eq!((reply.status, reply.codes().len()), (400, 128));
}
