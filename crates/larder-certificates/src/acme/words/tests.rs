use super::*;
use std::path::PathBuf;
use std::time::Duration;

fn settings(proof: Proof) -> AcmeSettings {
    AcmeSettings {
        directory_url: "https://ca.example.com/directory".to_owned(),
        directory_authorities: None,
        email: None,
        hosts: vec!["a.example.com".to_owned(), "b.example.com".to_owned()],
        proof,
        first_pause: Duration::from_secs(300),
        kept_in: PathBuf::from("/d"),
    }
}

fn problem(kind: &str, detail: &str) -> Problem {
    serde_json::from_str(&format!(r#"{{"type":"{PREFIX}{kind}","detail":"{detail}"}}"#)).expect("a problem")
}

#[test]
fn a_failed_proof_is_told_with_the_cause_the_authoritys_words_and_a_fix() {
    let failed = vec![("b.example.com".to_owned(), problem("connection", "Connection refused"))];
    let told = explain(&Refusal::Proof(failed.clone()), &settings(Proof::TlsAlpn));
    assert_eq!(
        told.reason,
        "the authority gets no connection to port 443 of b.example.com. ca.example.com says of b.example.com: \
         \"Connection refused\" (urn:ietf:params:acme:error:connection)"
    );
    assert!(
        told.fix.starts_with("let port 443 of b.example.com lead to the registry's own port"),
        "{}",
        told.fix
    );
    assert!(told.fix.contains("addr: \":80\""), "{}", told.fix);
    let told = explain(&Refusal::Proof(failed), &settings(Proof::Http));
    assert!(
        told.reason.contains("port 80") && told.fix.contains("leave http.tls.letsencrypt.addr out"),
        "{told:?}"
    );
}

#[test]
fn each_kind_of_refusal_has_words_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for (kind, reason, fix) in [
        ("connection", "gets no connection", "firewall"),
        ("dns", "finds no address of a.example.com", "A or AAAA record"),
        ("unauthorized", "somebody else than this registry answers", "dig +short"),
        ("caa", "a CAA record", "CAA 0 issue"),
        ("rateLimited", "asked too often", "staging"),
        ("rejectedIdentifier", "doesn't sign for one of these hosts", "http.tls.auto"),
        ("invalidContact", "address for messages", "http.tls.letsencrypt.email"),
        ("externalAccountRequired", "have an account with it already", "another authority"),
        ("userActionRequired", "agreed to", "browser"),
        ("serverInternal", "fault of its own", "asked again"),
        ("badNonce", "its own numbers", "asked again"),
        ("malformed", "refuses the order", "SIGHUP"),
    ] {
        let refusal = Refusal::Protocol(Error::Api(problem(kind, "its words")));
        let told = explain(&refusal, &settings(Proof::TlsAlpn));
        assert!(told.reason.contains(reason) && told.fix.contains(fix), "{kind}: {told:?}");
        assert!(told.reason.contains("\"its words\""), "{kind}: {told:?}");
        seen.insert(told.fix);
    }
    assert_eq!(seen.len(), 12);
}

#[test]
fn the_parts_of_a_compound_problem_are_told() {
    let text = format!(
        r#"{{"type":"{PREFIX}compound","detail":"see the parts","subproblems":[{{"type":"{PREFIX}caa","detail":"no","identifier":{{"type":"dns","value":"b.example.com"}}}}]}}"#
    );
    let refusal = Refusal::Protocol(Error::Api(serde_json::from_str(&text).expect("a problem")));
    let told = explain(&refusal, &settings(Proof::TlsAlpn));
    assert!(told.reason.contains("a CAA record") && told.reason.contains("b.example.com: no"), "{told:?}");
}

#[test]
fn a_proof_that_was_never_looked_at_is_told_from_one_that_was_wrong() {
    for (kind, detail, expected) in [
        (
            "unauthorized",
            "Failed to connect to 192.0.2.1:443 for the tls-alpn-01 challenge",
            "gets no connection",
        ),
        ("malformed", "Could not resolve URL", "finds no address"),
        ("unauthorized", "Cannot negotiate ALPN protocol", "somebody else"),
        ("dns", "DNS problem: NXDOMAIN looking up A for a.example.com", "finds no address"),
        ("connection", "Timeout during connect (likely firewall problem)", "gets no connection"),
    ] {
        let failed = vec![("a.example.com".to_owned(), problem(kind, detail))];
        let told = explain(&Refusal::Proof(failed), &settings(Proof::TlsAlpn));
        assert!(told.reason.contains(expected), "{detail}: {told:?}");
    }
}
