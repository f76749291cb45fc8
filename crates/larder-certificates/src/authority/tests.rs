use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls_pki_types::{ServerName, UnixTime};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

thread_local! {
    /// The day that it is, since 1970; each test has a thread, and so a calendar, of its own.
    static TODAY: AtomicU64 = const { AtomicU64::new(20_000) };
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH
        + DAY * u32::try_from(TODAY.with(|today| today.load(Ordering::Relaxed))).expect("a day")
}

fn days_pass(days: u64) {
    TODAY.with(|today| today.fetch_add(days, Ordering::Relaxed));
}

fn of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn authority() -> (tempfile::TempDir, Authority) {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Authority::at(directory.path().join("tls"), now);
    (directory, authority)
}

fn server_pem(authority: &Authority) -> String {
    fs::read_to_string(authority.server()).expect("a certificate")
}

/// As a client judges it that trusts the authority and nobody else.
fn is_believed(provided: &Provided, authority: &Authority, name: &str) -> bool {
    let root = CertificateDer::from_pem_slice(provided.authority.as_bytes()).expect("an authority");
    let leaf = CertificateDer::from_pem_slice(server_pem(authority).as_bytes()).expect("a certificate");
    let anchors = [webpki::anchor_from_trusted_cert(&root).expect("an anchor")];
    let certificate = webpki::EndEntityCert::try_from(&leaf).expect("a leaf");
    let time = UnixTime::since_unix_epoch(now().duration_since(SystemTime::UNIX_EPOCH).expect("later"));
    let usage = webpki::KeyUsage::server_auth();
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    certificate.verify_for_usage(algorithms, &anchors, &[], time, usage, None, None).is_ok()
        && certificate.verify_is_valid_for_subject_name(&ServerName::try_from(name).expect("a name")).is_ok()
}

#[test]
fn whoever_trusts_the_authority_believes_the_server_by_each_of_its_names() {
    let (_directory, authority) = authority();
    let provided =
        authority.provide(&of(&["nas.lan", "192.0.2.7", "fd00::7", "not a name"])).expect("provided");
    for name in ["nas.lan", "192.0.2.7", "fd00::7"] {
        assert!(is_believed(&provided, &authority, name), "{name}");
    }
    assert!(!is_believed(&provided, &authority, "other.lan"));
    assert_eq!(provided.names, ["192.0.2.7", "fd00::7", "nas.lan"]);
    assert_eq!(provided.fingerprint.len(), 32 * 3 - 1);
}

#[test]
fn keys_are_readable_by_nobody_else_and_the_authority_by_everybody() {
    let (_directory, authority) = authority();
    authority.provide(&of(&["nas.lan"])).expect("provided");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!([mode(&authority.key()), mode(&authority.server())], [0o600; 2]);
    assert_eq!(mode(&authority.certificate()), 0o644);
}

#[test]
fn the_authority_is_made_once_and_the_certificate_again_when_a_third_of_its_life_is_left() {
    let (_directory, authority) = authority();
    let names = of(&["nas.lan"]);
    let first = authority.provide(&names).expect("provided");
    assert!(first.is_new);
    let pem = server_pem(&authority);
    days_pass(58);
    assert!(!authority.provide(&names).expect("provided").is_new);
    assert_eq!(server_pem(&authority), pem);
    days_pass(3);
    let renewed = authority.provide(&names).expect("provided");
    assert!(renewed.is_new && renewed.validity.end > first.validity.end);
    assert_eq!(renewed.authority, first.authority);
    assert!(is_believed(&first, &authority, "nas.lan"), "who trusted the authority goes on doing so");
}

#[test]
fn a_name_that_is_missing_makes_another_certificate_and_one_too_many_does_not() {
    let (_directory, authority) = authority();
    authority.provide(&of(&["nas.lan", "192.0.2.7"])).expect("provided");
    assert!(!authority.provide(&of(&["nas.lan"])).expect("provided").is_new);
    let more = authority.provide(&of(&["nas.lan", "192.0.2.8"])).expect("provided");
    assert!(more.is_new && is_believed(&more, &authority, "192.0.2.8"));
}

#[test]
fn a_damaged_certificate_is_made_again_and_a_damaged_authority_is_named() {
    let (_directory, authority) = authority();
    let names = of(&["nas.lan"]);
    let first = authority.provide(&names).expect("provided");
    let write = |path: &Path, text: &str| replace_file(path, text.as_bytes(), None).expect("written");
    write(&authority.server(), "nothing");
    assert!(authority.provide(&names).expect("provided").is_new);
    let key = fs::read_to_string(authority.key()).expect("a key");
    let other = KeyPair::generate().expect("a key").serialize_pem();
    for (text, words) in [("nothing", "holds no key"), (other.as_str(), "don't go together")] {
        write(&authority.key(), text);
        let error = authority.provide(&names).expect_err("unusable").to_string();
        assert!(error.contains(words) && error.contains("ca.key"), "{error}");
    }
    write(&authority.key(), &key);
    write(&authority.certificate(), "nothing");
    assert!(authority.provide(&names).is_err());
    write(&authority.certificate(), &first.authority);
    assert_eq!(authority.provide(&names).expect("provided").authority, first.authority);
}

#[test]
fn a_certificate_of_another_authority_is_replaced() {
    let (_one, authority) = authority();
    let (_other, another) = self::authority();
    let names = of(&["nas.lan"]);
    authority.provide(&names).expect("provided");
    another.provide(&names).expect("provided");
    replace_file(&authority.server(), server_pem(&another).as_bytes(), None).expect("written");
    let provided = authority.provide(&names).expect("provided");
    assert!(provided.is_new && is_believed(&provided, &authority, "nas.lan"));
}

#[test]
fn a_clock_that_was_wrong_costs_a_certificate_and_no_trust() {
    let (_directory, authority) = authority();
    let names = of(&["nas.lan"]);
    authority.provide(&names).expect("provided");
    // Two years ahead, and back.
    days_pass(730);
    assert!(authority.provide(&names).expect("provided").is_new);
    TODAY.with(|today| today.fetch_sub(730, Ordering::Relaxed));
    let provided = authority.provide(&names).expect("provided");
    assert!(provided.is_new && is_believed(&provided, &authority, "nas.lan"));
}

#[test]
fn an_authority_near_its_end_signs_nothing_beyond_it_and_then_nothing() {
    let (_directory, authority) = authority();
    let names = of(&["nas.lan"]);
    authority.provide(&names).expect("provided");
    days_pass(3640);
    let last = authority.provide(&names).expect("provided");
    assert!(last.validity.end <= now() + DAY * 10 && is_believed(&last, &authority, "nas.lan"));
    days_pass(10);
    assert!(authority.provide(&names).expect_err("ended").to_string().contains("it has ended"));
}
