use proptest::prelude::*;

use super::{Challenge, choose};

fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
    Some(Challenge::Bearer {
        realm: realm.to_owned(),
        service: service.map(str::to_owned),
        scope: scope.map(str::to_owned),
    })
}

#[test]
fn what_registries_send_is_read() {
    let cases = [
        (
            vec![
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
            ],
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/nginx:pull"),
            ),
        ),
        (
            vec![r#"Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws""#],
            bearer("https://public.ecr.aws/token/", Some("public.ecr.aws"), Some("aws")),
        ),
        // Any case, no quotes, blanks after commas.
        (
            vec!["bearer REALM=https://a.example/token, service=x"],
            bearer("https://a.example/token", Some("x"), None),
        ),
        (vec![r#"Basic realm="Registry""#], Some(Challenge::Basic)),
        (vec!["basic"], Some(Challenge::Basic)),
        // Both offered, in one header or in two, in either order.
        (
            vec![r#"Basic realm="a, b", Bearer realm="https://a.example/t""#],
            bearer("https://a.example/t", None, None),
        ),
        (
            vec![r#"Basic realm="a""#, r#"Bearer realm="https://a.example/t""#],
            bearer("https://a.example/t", None, None),
        ),
        // What we can't answer is passed over.
        (vec![r#"Negotiate abc==, Basic realm="x""#], Some(Challenge::Basic)),
        (vec![r#"Digest realm="x", nonce="y""#], None),
        (vec![r#"Bearer service="x""#], None),
        (vec![r#"Bearer realm="a\"b""#], bearer("a\"b", None, None)),
        (vec![""], None),
        (vec![], None),
    ];
    for (headers, expected) in cases {
        assert_eq!(choose(headers.clone()), expected, "{headers:?}");
    }
}

proptest! {
    #[test]
    fn anything_is_read_without_a_panic(text in ".{0,200}") {
        let _ = choose([text.as_str()]);
    }

    #[test]
    fn what_is_quoted_comes_back(realm in "[ -~]{1,40}", service in "[ -~]{1,40}") {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let header = format!(r#"Bearer realm="{}",service="{}""#, quote(&realm), quote(&service));
        prop_assert_eq!(choose([header.as_str()]), bearer(&realm, Some(&service), None));
    }
}
