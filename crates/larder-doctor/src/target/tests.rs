use super::*;

fn read(text: &str) -> Target {
    text.parse().expect(text)
}

#[test]
fn image_names_and_urls_are_taken_apart() {
    let target = read("registry.lan:5000/team/app:1.2");
    assert_eq!((target.host.as_str(), target.port), ("registry.lan", Some(5000)));
    assert_eq!(target.repository.as_ref().map(RepoName::as_str), Some("team/app"));
    assert_eq!(target.to_string(), "registry.lan:5000/team/app:1.2");
    let target = read("https://registry.lan/v2/");
    assert_eq!((target.scheme, target.port, target.repository), (Some(Scheme::Https), None, None));
    let target = read("http://[::1]:5000");
    assert_eq!((target.host.as_str(), target.port), ("::1", Some(5000)));
    assert_eq!(target.authority(), "[::1]:5000");
    assert!(target.is_loopback());
    assert_eq!(read("nas").host, "nas");
    assert!(!read("192.168.1.5:5000").is_loopback());
    assert!(read("127.0.0.2:5000/a@sha256:00").is_loopback());
}

#[test]
fn what_docker_would_send_to_docker_hub_is_said() {
    let error = "team/app:1".parse::<Target>().expect_err("no host");
    assert_eq!(error, TargetError::NoHost("team/app:1".to_owned()));
    assert!(error.to_string().contains("registry.lan:5000/team/app:1"), "{error}");
}

#[test]
fn capitals_come_back_in_the_form_that_works() {
    let error = "registry.lan/Team/App".parse::<Target>().expect_err("capitals");
    assert!(error.to_string().contains("use `team/app`"), "{error}");
}

#[test]
fn ports_hosts_and_tags_are_checked() {
    assert_eq!("a.b:0".parse::<Target>(), Err(TargetError::Port("0".to_owned())));
    assert_eq!("a.b:70000".parse::<Target>(), Err(TargetError::Port("70000".to_owned())));
    assert_eq!("".parse::<Target>(), Err(TargetError::Host(String::new())));
    assert_eq!("ftp://a.b".parse::<Target>(), Err(TargetError::Host("ftp://a.b".to_owned())));
    assert_eq!("a.b/c:-x".parse::<Target>(), Err(TargetError::Tag("-x".to_owned())));
}
