use super::*;

const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

fn parse(declared: Option<&str>, body: &str) -> Result<Manifest, ManifestError> {
    let declared = declared.map(|text| text.parse::<MediaType>().unwrap());
    Manifest::parse(body.as_bytes(), declared.as_ref())
}

#[test]
fn an_oci_image_may_leave_its_type_to_the_header() {
    let body = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":null,"x":{{"y":1}}}}"#);
    let manifest = parse(Some(MediaType::OCI_MANIFEST), &body).unwrap();
    assert_eq!(manifest.media_type, MediaType::OCI_MANIFEST);
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    assert_eq!(manifest.references().map(|(role, _)| role).collect::<Vec<_>>(), [Role::Config]);
    assert_eq!(Manifest::parse_stored(body.as_bytes()).unwrap(), manifest);
}

#[test]
fn each_fault_has_its_own_words() {
    let oci = MediaType::OCI_MANIFEST;
    let index = MediaType::OCI_INDEX;
    let docker = MediaType::DOCKER_MANIFEST;
    let cases: Vec<(Option<&str>, String, &str)> = vec![
        (None, "".into(), "can't be read"),
        (None, "[]".into(), "can't be read"),
        (None, r#"{"schemaVersion":2}"#.into(), "no `mediaType`"),
        (Some(oci), r#"{"schemaVersion":2}"#.into(), "needs `config`"),
        (Some(index), r#"{"schemaVersion":2}"#.into(), "needs `manifests`"),
        (Some(oci), format!(r#"{{"schemaVersion":1,"config":{CONFIG}}}"#), "must be 2, it is 1"),
        (Some(oci), format!(r#"{{"config":{CONFIG}}}"#), "must be 2, it is 0"),
        (Some(docker), format!(r#"{{"schemaVersion":2,"config":{CONFIG}}}"#), "must carry that `mediaType`"),
        (
            Some(oci),
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"manifests":[]}}"#),
            "can't have `manifests`",
        ),
        (Some(index), r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.into(), "can't have `layers`"),
        (Some("text/plain"), r#"{"schemaVersion":2}"#.into(), "`text/plain` are not accepted"),
        (
            Some(index),
            format!(r#"{{"schemaVersion":2,"mediaType":"{oci}","config":{CONFIG}}}"#),
            "Content-Type is",
        ),
        (
            Some(oci),
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"config":{CONFIG}}}"#),
            "duplicate field",
        ),
        (
            Some(oci),
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"Layers":[]}}"#),
            "`Layers` would be read as `layers`",
        ),
        (
            Some(oci),
            r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:no","size":1}}"#.into(),
            "hex digits",
        ),
        (
            Some(oci),
            format!(r#"{{"schemaVersion":2,"config":{}}}"#, CONFIG.replace(":2}", ":-2}")),
            "can't be read",
        ),
    ];
    for (declared, body, words) in cases {
        let error = parse(declared, &body).unwrap_err().to_string();
        assert!(error.contains(words), "{body}\n{error}");
    }
}

#[test]
fn the_artifact_type_of_a_referrer_follows_the_specification() {
    let image = format!(r#"{{"schemaVersion":2,"artifactType":"a/b","config":{CONFIG},"subject":{CONFIG}}}"#);
    let manifest = parse(Some(MediaType::OCI_MANIFEST), &image).unwrap();
    assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
    assert!(manifest.subject.is_some());
    let empty = image.replace(r#""a/b""#, r#""""#);
    let manifest = parse(Some(MediaType::OCI_MANIFEST), &empty).unwrap();
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    assert_eq!(parse(Some(MediaType::OCI_INDEX), index).unwrap().artifact_type, None);
}

#[test]
fn stored_bytes_without_a_type_are_served_by_their_shape() {
    let cases = [
        (r#"{"schemaVersion":2,"manifests":[]}"#, Some(MediaType::OCI_INDEX)),
        (r#"{"schemaVersion":2,"config":{},"layers":[]}"#, Some(MediaType::OCI_MANIFEST)),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#, Some(MediaType::DOCKER_SCHEMA1)),
        (r#"{"mediaType":"a/b"}"#, Some("a/b")),
        ("{}", None),
        ("not json", None),
    ];
    for (body, expected) in cases {
        let found = stored_media_type(body.as_bytes());
        assert_eq!(found.as_ref().map(MediaType::as_str), expected, "{body}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Manifest::parse(&bytes, None);
        let _ = stored_media_type(&bytes);
    }
}
