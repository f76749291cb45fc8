use super::*;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn known_hashes_come_out_as_published() {
    assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
    assert_eq!(
        Digest::sha256(b"{}").to_string(),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    let sha512 = Digest::of(Algorithm::Sha512, b"abc").to_string();
    assert!(sha512.starts_with("sha512:ddaf35a193617abacc417349ae204131"), "{sha512}");
}

#[test]
fn a_digest_parses_only_in_its_canonical_spelling() {
    let cases: &[(&str, bool)] = &[
        (EMPTY, true),
        ("sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", false),
        ("sha256:e3b0", false),
        ("sha256:", false),
        ("sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", false),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", false),
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", false),
        ("sha256:baddigeststring", false),
        ("sha256:é3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85", false),
        ("", false),
        (":", false),
    ];
    for (text, valid) in cases {
        assert_eq!(text.parse::<Digest>().is_ok(), *valid, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_parses_or_is_refused_and_what_parses_prints_the_same(text in "\\PC{0,150}") {
        if let Ok(digest) = text.parse::<Digest>() {
            proptest::prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn hashing_in_pieces_equals_hashing_at_once(bytes: Vec<u8>, cut in 0usize..4096) {
        for algorithm in Algorithm::ALL {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut hasher = Hasher::new(algorithm);
            hasher.update(head);
            hasher.update(tail);
            proptest::prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &bytes));
        }
    }

    #[test]
    fn a_digest_survives_text_and_raw_bytes(bytes: Vec<u8>) {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, &bytes);
            proptest::prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            proptest::prop_assert_eq!(Digest::from_hash(algorithm, digest.hash()), Some(digest));
        }
    }
}
