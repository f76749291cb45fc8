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
