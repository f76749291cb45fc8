use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn settings(directory: &std::path::Path) -> AcmeSettings {
    AcmeSettings {
        // Nobody listens there.
        directory_url: "https://127.0.0.1:1/directory".to_owned(),
        directory_authorities: None,
        email: None,
        hosts: vec!["a.example.com".to_owned()],
        proof: Proof::TlsAlpn,
        first_pause: Duration::from_secs(300),
        kept_in: directory.to_owned(),
    }
}

fn pem(name: &str) -> String {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
    format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
}

/// An authority of which only what is asked without a signature answers, by path: (status and further headers, body). Returns its address.
async fn authority(answers: &'static [(&'static str, &'static str, &'static str)]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let address = base.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let (_, head, body) = answers.iter().find(|(at, ..)| path.starts_with(at)).expect("a known path");
            let body = body.replace("BASE", &base);
            let answer = format!(
                "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    });
    address
}

/// Waits until it is so; a test that waits for ever fails by the runner's limit.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn what_one_authority_has_given_lies_apart_from_what_another_has() {
    let mut settings = settings(std::path::Path::new("/d"));
    assert_eq!(settings.certificate(), std::path::Path::new("/d/127.0.0.1-1-directory/certificate.pem"));
    settings.directory_url = "https://ca.lan/../x/".to_owned();
    assert_eq!(settings.certificate(), std::path::Path::new("/d/ca.lan-..-x/certificate.pem"));
    assert_eq!(settings.authority(), "ca.lan");
}

#[tokio::test]
async fn a_failure_is_a_trouble_and_a_reload_ends_the_pause() {
    let directory = tempfile::tempdir().expect("a directory");
    let acme = Arc::new(Acme::new(settings(directory.path()), SystemTime::now));
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(Arc::clone(&acme).keep(|| {}, stop.clone()));
    until(|| acme.trouble().is_some()).await;
    let trouble = acme.trouble().expect("a trouble");
    assert_eq!(trouble.kind, "certificate-order");
    assert!(
        trouble.reason.starts_with("the certificate of a.example.com could not be got: 127.0.0.1:1 can't be asked: it can't be reached"),
        "{trouble:?}"
    );
    assert!(
        trouble.reason.contains("The next try is at ") && trouble.fix.contains("HTTPS_PROXY"),
        "{trouble:?}"
    );
    assert_eq!(acme.numbers(), OrderNumbers { issued: 0, failed: 1 });
    let more = vec!["b.example.com".to_owned(), "a.example.com".to_owned()];
    acme.take_up(AcmeSettings { hosts: more, ..settings(directory.path()) });
    until(|| acme.numbers().failed == 2).await;
    until(|| acme.trouble().is_some_and(|trouble| trouble.reason.contains("b.example.com and 1 more"))).await;
    assert_eq!(acme.trouble().expect("a trouble").since, trouble.since, "it is the same trouble");
    stop.cancel();
    keeping.await.expect("ended");
}

#[tokio::test]
async fn nobody_is_asked_where_a_certificate_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = settings(directory.path());
    let files = settings.files();
    drop(files.lock().expect("the directory"));
    files.keep_certificate(&pem("a.example.com")).expect("kept");
    let found = files.found().expect("looked");
    assert!(matches!(
        Pace::default().step(found.as_ref(), &settings.hosts, SystemTime::now()),
        Step::Wait(_)
    ));
    // A life of thousands of years, of which two thirds are not over.
    let acme = Arc::new(Acme::new(settings, SystemTime::now));
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(Arc::clone(&acme).keep(|| {}, stop.clone()));
    tokio::task::yield_now().await;
    stop.cancel();
    keeping.await.expect("ended");
    assert_eq!((acme.numbers(), acme.trouble()), (OrderNumbers::default(), None));
}

#[tokio::test]
async fn who_finds_another_one_ordering_waits_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = settings(directory.path());
    let files = settings.files();
    let lock = files.lock().expect("a lock").expect("free");
    let acme = Acme::new(settings.clone(), SystemTime::now);
    assert!(matches!(acme.attempt(&settings, &Why::Missing).await, Ok(Tried::Elsewhere)));
    // And takes what that one has got.
    files.keep_certificate(&pem("a.example.com")).expect("kept");
    drop(lock);
    assert!(matches!(acme.attempt(&settings, &Why::Missing).await, Ok(Tried::Elsewhere)));
    assert_eq!(acme.numbers(), OrderNumbers::default());
}

#[tokio::test]
async fn what_cannot_be_written_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    larder_storage::replace_file(&file, b"", None).expect("written");
    let acme = Arc::new(Acme::new(settings(&file), SystemTime::now));
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(Arc::clone(&acme).keep(|| {}, stop.clone()));
    until(|| acme.trouble().is_some()).await;
    let trouble = acme.trouble().expect("a trouble");
    assert!(trouble.reason.contains("could not read") && trouble.fix.contains("write there"), "{trouble:?}");
    stop.cancel();
    keeping.await.expect("ended");
}

#[tokio::test]
async fn an_authority_that_names_a_pause_gets_it() {
    const ANSWERS: &[(&str, &str, &str)] = &[(
        "/dir",
        "429 Too Many Requests\r\nRetry-After: 7200",
        r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates already issued"}"#,
    )];
    let directory = tempfile::tempdir().expect("a directory");
    let directory_url = format!("{}/dir", authority(ANSWERS).await);
    let settings = AcmeSettings { directory_url, ..settings(directory.path()) };
    let acme = Acme::new(settings.clone(), SystemTime::now);
    let (refusal, told) = acme.attempt(&settings, &Why::Missing).await.err().expect("refused");
    let mut pace = Pace::default();
    let pause = acme.fail(&mut pace, &settings, &refusal, told);
    assert!(pause > Duration::from_secs(7000) && pause <= Duration::from_secs(7200), "{pause:?}");
    let trouble = acme.trouble().expect("a trouble");
    assert!(
        trouble.reason.contains("asked too often") && trouble.reason.contains("too many certificates"),
        "{trouble:?}"
    );
    assert!(trouble.fix.contains("staging"), "{trouble:?}");
    acme.keep_pause(&settings, SystemTime::now() + pause).await;

    // The next process keeps to it, and says so, until somebody reads the configuration again.
    let next = Arc::new(Acme::new(settings.clone(), SystemTime::now));
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(Arc::clone(&next).keep(|| {}, stop.clone()));
    until(|| next.trouble().is_some()).await;
    assert_eq!(next.trouble().map(|trouble| trouble.reason), Some(trouble.reason));
    assert_eq!(next.numbers(), OrderNumbers::default());
    next.take_up(settings);
    until(|| next.numbers().failed == 1).await;
    stop.cancel();
    keeping.await.expect("ended");
}

#[tokio::test]
async fn an_authority_that_is_down_is_told_from_a_wrong_address() {
    const DOWN: &[(&str, &str, &str)] = &[("/dir", "503 Service Unavailable", "<html>")];
    const WRONG: &[(&str, &str, &str)] = &[("/dir", "200 OK", "<html>")];
    for (answers, expected) in [(DOWN, "it answers 503"), (WRONG, "is no ACME directory")] {
        let directory = tempfile::tempdir().expect("a directory");
        let directory_url = format!("{}/dir", authority(answers).await);
        let settings = AcmeSettings { directory_url, ..settings(directory.path()) };
        let acme = Acme::new(settings.clone(), SystemTime::now);
        let (refusal, _) = acme.attempt(&settings, &Why::Missing).await.err().expect("refused");
        let reason = words::explain(&refusal, &settings).reason;
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn an_authority_may_say_when_a_certificate_is_to_be_renewed() {
    const ANSWERS: &[(&str, &str, &str)] = &[
        (
            "/dir",
            "200 OK",
            r#"{"newNonce":"BASE/n","newAccount":"BASE/a","newOrder":"BASE/o","renewalInfo":"BASE/renewal"}"#,
        ),
        // The identifiers of the key and the number below, in base64url (RFC 9773, section 4.1).
        (
            "/renewal/AQID.BAU",
            "200 OK\r\nRetry-After: 21600",
            r#"{"suggestedWindow":{"start":"2001-01-01T00:00:00Z","end":"2001-01-03T00:00:00Z"}}"#,
        ),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let directory_url = format!("{}/dir", authority(ANSWERS).await);
    let settings = AcmeSettings { directory_url: directory_url.clone(), ..settings(directory.path()) };
    let acme = Acme::new(settings.clone(), SystemTime::now);
    let validity =
        crate::Validity { begin: SystemTime::now(), end: SystemTime::now() + Duration::from_secs(9_000_000) };
    let certificate = Certificate {
        names: settings.hosts.clone(),
        validity,
        signed_by: Some(vec![1, 2, 3]),
        serial: vec![4, 5],
    };
    let mut pace = Pace::default();
    // Without an account there is nobody to ask as.
    assert_eq!(acme.ask_when(&settings, &certificate, &mut pace).await, LONGEST_PAUSE);
    let key = rcgen::KeyPair::generate().expect("a key");
    let kept = serde_json::json!({
        "credentials": {"id": "BASE/acct/1", "key_pkcs8": base64(&key.serialize_der()), "directory": directory_url},
        "email": null,
    });
    drop(settings.files().lock().expect("the directory"));
    settings.files().keep_account(&kept.to_string()).expect("kept");
    let again = acme.ask_when(&settings, &certificate, &mut pace).await;
    assert!(again > Duration::from_secs(21_500) && again <= LONGEST_PAUSE, "{again:?}");
    let step = pace.step(Some(&certificate), &settings.hosts, SystemTime::now());
    assert_eq!(step, Step::Order(Why::Asked), "the window is long over");
}

/// As an account's file has it, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
            << (8 * (3 - three.len()));
        (0..=three.len()).for_each(|index| text.push(char::from(DIGITS[number >> (18 - 6 * index) & 63])));
    }
    text
}
