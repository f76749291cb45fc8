use super::*;

fn doors() -> Vec<Door> {
    let door = |prefix: Option<&str>, has_library, namespaces: &[&str], host_names: &[&str]| Door {
        prefix: prefix.map(|prefix| prefix.parse().unwrap()),
        has_library,
        namespaces: namespaces.iter().map(|&each| each.to_owned()).collect(),
        host_names: host_names.iter().map(|&each| each.to_owned()).collect(),
    };
    vec![
        door(Some("docker.io"), true, &["docker.io", "index.docker.io"], &[]),
        door(Some("ghcr.io"), false, &["ghcr.io"], &["ghcr.lab"]),
        door(None, false, &["lab.example"], &[]),
    ]
}

/// The repository that a request is about, or why it is about none.
fn meant(port: Option<usize>, host: &str, target: &str) -> Result<String, RouteError> {
    let doors = doors();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.parse().unwrap());
    let uri: Uri = target.parse().unwrap();
    let namespace = uri.query().and_then(|query| query.strip_prefix("ns=")).map(str::to_owned);
    let port = port.map(|place| &doors[place]);
    let knock = Knock { port, headers: &headers, uri: &uri, namespace };
    enter(&doors, &knock, uri.path()).map(|route| route.repository().unwrap().to_string())
}

fn by_name(target: &str) -> String {
    meant(None, "larder.lab:5000", target).unwrap()
}

#[test]
fn a_prefix_is_the_name_itself() {
    assert_eq!(by_name("/v2/ghcr.io/owner/app/tags/list"), "ghcr.io/owner/app");
    assert_eq!(by_name("/v2/team/app/tags/list"), "team/app");
}

#[test]
fn the_same_image_has_one_name_here() {
    assert_eq!(by_name("/v2/docker.io/nginx/tags/list"), "docker.io/library/nginx");
    assert_eq!(by_name("/v2/docker.io/library/nginx/tags/list"), "docker.io/library/nginx");
    assert_eq!(by_name("/v2/ghcr.io/app/tags/list"), "ghcr.io/app");
    // Below the root a short name may be one of our own.
    assert_eq!(by_name("/v2/nginx/tags/list"), "nginx");
}

#[test]
fn containerds_namespace_chooses_the_door() {
    assert_eq!(by_name("/v2/library/nginx/manifests/1?ns=docker.io"), "docker.io/library/nginx");
    assert_eq!(by_name("/v2/nginx/manifests/1?ns=index.docker.io"), "docker.io/library/nginx");
    assert_eq!(by_name("/v2/owner/app/manifests/1?ns=ghcr.io"), "ghcr.io/owner/app");
    assert_eq!(by_name("/v2/owner/app/manifests/1?ns=lab.example"), "owner/app");
    // With override_path the path has it, and goes before.
    assert_eq!(by_name("/v2/ghcr.io/owner/app/manifests/1?ns=docker.io"), "ghcr.io/owner/app");
}

#[test]
fn a_namespace_that_is_not_written_down_is_nobodys() {
    let refused = meant(None, "x", "/v2/owner/app/manifests/1?ns=evil.example");
    assert_eq!(refused, Err(RouteError::Namespace("evil.example".to_owned())));
}

#[test]
fn without_upstreams_a_namespace_is_passed_over() {
    let (headers, uri) = (HeaderMap::new(), Uri::from_static("/v2/a/tags/list?ns=x"));
    let knock = Knock { port: None, headers: &headers, uri: &uri, namespace: Some("x".to_owned()) };
    let route = enter(&[], &knock, "/v2/a/tags/list").unwrap();
    assert_eq!(route.repository().unwrap().as_str(), "a");
}

#[test]
fn a_path_in_front_chooses_the_door() {
    assert_eq!(by_name("/docker.io/v2/library/nginx/manifests/1"), "docker.io/library/nginx");
    assert_eq!(by_name("/ghcr.io/v2/owner/app/manifests/1"), "ghcr.io/owner/app");
    assert!(meant(None, "x", "/quay.io/v2/owner/app/manifests/1").is_err());
}

#[test]
fn a_host_name_and_a_port_have_one_upstream_alone() {
    for (port, host) in [(None, "ghcr.lab"), (None, "GHCR.lab:5000"), (Some(1), "larder.lab")] {
        let of = |target| meant(port, host, target).unwrap();
        assert_eq!(of("/v2/owner/app/manifests/1"), "ghcr.io/owner/app");
        assert_eq!(of("/v2/owner/app/manifests/1?ns=docker.io"), "ghcr.io/owner/app");
        // As it stands in our own Location headers.
        assert_eq!(of("/v2/ghcr.io/owner/app/manifests/1"), "ghcr.io/owner/app");
        assert_eq!(of("/v2/docker.io/library/nginx/manifests/1"), "ghcr.io/docker.io/library/nginx");
    }
    assert_eq!(meant(Some(0), "x", "/v2/nginx/manifests/1").unwrap(), "docker.io/library/nginx");
}

#[test]
fn scopes_are_in_the_names_that_hold_here() {
    let doors = doors();
    let (headers, uri) = (HeaderMap::new(), Uri::from_static("/auth/token"));
    let scope = |port: Option<usize>, text| {
        let port = port.map(|place| &doors[place]);
        let knock = Knock { port, headers: &headers, uri: &uri, namespace: None };
        Door::scope(&doors, &knock, text)
    };
    assert_eq!(scope(Some(0), "repository:library/nginx:pull"), "repository:docker.io/library/nginx:pull");
    assert_eq!(
        scope(None, "repository:docker.io/nginx:pull,push"),
        "repository:docker.io/library/nginx:pull,push"
    );
    for same in ["repository:team/app:pull", "registry:catalog:*", "repository:A:pull", "x", "repository"] {
        assert_eq!(scope(None, same), same);
    }
}

#[test]
fn a_prefix_alone_is_a_base_of_its_own_and_what_is_no_prefix_is_not() {
    let doors = doors();
    let headers = HeaderMap::new();
    let entered = |target: &str| {
        let uri: Uri = target.parse().unwrap();
        let knock = Knock { port: None, headers: &headers, uri: &uri, namespace: None };
        enter(&doors, &knock, uri.path())
    };
    for target in ["/v2/ghcr.io/", "/v2/ghcr.io", "/v2/docker.io/?ns=docker.io", "/v2/"] {
        assert_eq!(entered(target), Ok(Route::Base), "{target}");
    }
    for target in ["/v2/evil.example/", "/v2/ghcr.io//", "/v2//", "/v2/lab.example/"] {
        assert!(entered(target).is_err(), "{target}");
    }
}
