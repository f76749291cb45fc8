use super::files::config;
use super::*;
use crate::config::{self, Environment, Source};

fn arguments(shape: Shape, directory: &Path) -> Plan {
    Plan {
        shape,
        into: directory.join("etc"),
        data: directory.join("data"),
        port: 5443,
        user: "alice".to_owned(),
        tls: if shape == Shape::Team { Tls::Own { names: Vec::new() } } else { Tls::None },
        upstreams: if shape == Shape::Home { UPSTREAMS.map(str::to_owned).to_vec() } else { Vec::new() },
        program: PROGRAM.into(),
    }
}

fn run_once(plan: &Plan) -> String {
    let mut out = Vec::new();
    write_files(plan, false, &mut out).expect("written");
    String::from_utf8(out).expect("text")
}

/// What comes of these answers, and what was said.
fn answered(arguments: &Arguments, answers: &str) -> (Result<Plan, String>, String) {
    let mut out = Vec::new();
    let planned = plan(arguments, Some(&mut answers.as_bytes()), &mut out).map_err(|error| error.to_string());
    (planned, String::from_utf8(out).expect("text"))
}

#[test]
fn what_is_left_out_is_asked_for() {
    let (planned, said) =
        answered(&Arguments::default(), "team\nrelative\n/srv/etc\n\n99999\n443\nbob\nnever\noff\n");
    let planned = planned.expect("a plan");
    assert_eq!((planned.shape, planned.port, planned.user.as_str()), (Shape::Team, 443, "bob"));
    assert_eq!((&planned.into, &planned.data), (&"/srv/etc".into(), &"/var/lib/larder".into()));
    assert!(
        said.contains("\"relative\" can't be that.") && said.contains("\"99999\" can't be that."),
        "{said}"
    );
    assert!(matches!(planned.tls, Tls::None), "{said}");
    assert_eq!(said.matches("]: ").count(), 9, "{said}");
}

#[test]
fn what_was_given_is_not_asked_for_and_silence_takes_what_is_proposed() {
    let given = Arguments {
        shape: Some(Shape::Home),
        into: Some("/a".into()),
        data: Some("/b".into()),
        port: Some(1),
        user: Some("eve".to_owned()),
        tls: Some(TlsWish::Auto),
        ..Arguments::default()
    };
    assert_eq!(answered(&given, "").1, "");
    let (planned, _) = answered(&Arguments::default(), "");
    let planned = planned.expect("a plan");
    assert_eq!((planned.shape, planned.port, planned.user.as_str()), (Shape::Home, 5000, "admin"));
    let nobody = plan(&Arguments::default(), None::<&mut &[u8]>, &mut Vec::new()).expect("a plan");
    assert_eq!(nobody.into, Path::new("/etc/larder"));
}

#[test]
fn a_team_without_a_certificate_has_larders_own() {
    let own = config(&arguments(Shape::Team, Path::new("/d")));
    assert!(own.contains("auto: true") && !own.contains("certificate:"), "{own}");
    let tls = Tls::Files { certificate: "/c.pem".into(), key: "/k.pem".into() };
    let brought = config(&Plan { tls, ..arguments(Shape::Team, Path::new("/d")) });
    assert!(brought.contains("certificate: \"/c.pem\"") && !brought.contains("auto:"), "{brought}");
}

#[test]
fn what_is_written_is_a_configuration_without_mistakes_or_warnings() {
    for shape in [Shape::Home, Shape::Team] {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = arguments(shape, directory.path());
        let told = run_once(&arguments);
        assert!(told.contains("made the user alice"), "{told}");
        let environment = Environment::default();
        let path = arguments.into.join("config.yml");
        let source = Source::choose(Some(&path), None, &environment, false).expect("a source");
        let loaded = config::load(&source, &environment).expect("a good configuration");
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{shape:?}");
        assert_eq!(loaded.config.http.addr.port, 5443);
    }
}

#[test]
fn what_is_there_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = arguments(Shape::Home, directory.path());
    run_once(&arguments);
    let users = std::fs::read_to_string(users(&arguments)).expect("users");
    let told = run_once(&arguments);
    assert_eq!(told.matches("stays as it is").count(), 4, "{told}");
    assert_eq!(std::fs::read_to_string(super::users(&arguments)).expect("users"), users);
}

#[test]
fn printing_writes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = arguments(Shape::Team, directory.path());
    let mut out = Vec::new();
    write_files(&arguments, true, &mut out).expect("written");
    let told = String::from_utf8(out).expect("text");
    assert!(told.contains("auto: true") && told.contains("ExecStart="), "{told}");
    assert!(!arguments.into.try_exists().expect("looked"));
}

#[test]
fn a_house_may_have_tls_and_the_names_that_its_machine_does_not_know() {
    let given = Arguments {
        tls: Some(TlsWish::Auto),
        names: vec!["nas.lan".to_owned(), "192.0.2.7".to_owned()],
        upstreams: vec!["none".to_owned()],
        ..Arguments::default()
    };
    let house = plan(&given, None::<&mut &[u8]>, &mut Vec::new()).expect("a plan");
    let text = config(&house);
    assert!(text.contains("    auto: true\n    names: [\"nas.lan\", \"192.0.2.7\"]\n"), "{text}");
    assert!(!text.contains("upstreams"), "{text}");
    assert!(text.contains("{who: anonymous, may: pull}"), "{text}");
    let plain = config(&plan(&Arguments::default(), None::<&mut &[u8]>, &mut Vec::new()).expect("a plan"));
    assert!(plain.ends_with("upstreams:\n  - name: \"docker.io\"\n  - name: \"ghcr.io\"\n  - name: \"quay.io\"\n  - name: \"registry.k8s.io\"\n"), "{plain}");
    assert!(!plain.contains("tls:"), "{plain}");
}

#[test]
fn the_directories_are_there_for_a_service_that_may_write_nowhere_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = arguments(Shape::Home, directory.path());
    let told = run_once(&arguments);
    assert!(arguments.data.is_dir(), "{told}");
    let service = files::service(&arguments);
    assert!(service.contains(&format!("ReadWritePaths={}\n", arguments.data.display())), "{service}");
    assert!(service.contains("ExecStart=/usr/local/bin/larder serve "), "{service}");
    assert!(
        told.contains(&format!(
            "sudo install {} {PROGRAM} && ",
            std::env::current_exe().expect("this").display()
        )),
        "{told}"
    );
}

#[test]
fn a_certificate_of_lets_encrypt_is_for_a_name_and_needs_one() {
    let given = Arguments {
        tls: Some(TlsWish::Acme),
        names: vec!["registry.example.com".to_owned()],
        email: Some("you@example.com".to_owned()),
        ..Arguments::default()
    };
    let planned = plan(&given, None::<&mut &[u8]>, &mut Vec::new()).expect("a plan");
    assert_eq!(planned.port, 443);
    let text = config(&planned);
    assert!(
        text.contains("  tls:\n    letsencrypt:\n      hosts: [\"registry.example.com\"]\n      email: \"you@example.com\"\n"),
        "{text}"
    );
    let loaded =
        crate::config::Config::from_yaml(&text, "config.yml", &Environment::default()).expect("no mistakes");
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let nameless = Arguments { names: Vec::new(), ..given };
    let error = plan(&nameless, None::<&mut &[u8]>, &mut Vec::new()).err().expect("an error").to_string();
    assert!(error.contains("--name registry.example.com"), "{error}");
    // Asked at a terminal.
    let answers = "home\n\n\n443\n\nacme\nnot a name\nr.example.com\nyou@example.com\n";
    let (planned, said) = answered(&Arguments::default(), answers);
    let Tls::Ordered { names, email } = planned.expect("a plan").tls else { panic!("{said}") };
    assert_eq!((names, email.as_deref()), (vec!["r.example.com".to_owned()], Some("you@example.com")));
}
