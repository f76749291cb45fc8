use super::*;

#[test]
fn scopes_as_clients_send_them() {
    let repository = |name: &str| Resource::Repository(name.parse().unwrap());
    let cases = [
        ("repository:team/app:pull,push", repository("team/app"), vec![Action::Pull, Action::Push]),
        ("repository:team/app:push,pull", repository("team/app"), vec![Action::Pull, Action::Push]),
        ("repository:a:*", repository("a"), vec![Action::All]),
        ("repository:a:pull,fly", repository("a"), vec![Action::Pull]),
        ("registry:catalog:*", Resource::Catalog, vec![Action::All]),
        (
            "repository(plugin):a:pull",
            Resource::Other("repository(plugin):a:pull".into()),
            vec![Action::Pull],
        ),
        (
            "repository:host:5000/a:pull",
            Resource::Other("repository:host:5000/a:pull".into()),
            vec![Action::Pull],
        ),
    ];
    for (text, resource, actions) in cases {
        let scope: Scope = text.parse().unwrap();
        assert_eq!(scope.resource, resource, "{text}");
        assert_eq!(scope.actions.into_iter().collect::<Vec<_>>(), actions, "{text}");
    }
    for text in ["", "repository", "repository:a"] {
        assert!(text.parse::<Scope>().is_err(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(repository|registry|[a-z]{0,4}):?\\PC{0,40}") {
        if let Ok(scope) = text.parse::<Scope>() {
            let _ = scope.to_string();
        }
    }
}
