use super::*;
use std::path::PathBuf;

/// What `larder config check` prints on both streams, and whether it is content.
fn check_of(text: &str, variables: &[(&str, &str)]) -> (String, String, bool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yml");
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let (output, errors, is_content) = run_on(&path, variables);
    let plain = |text: String| text.replace(&path.display().to_string(), "config.yml");
    (plain(output), plain(errors), is_content)
}

fn run_on(path: &Path, variables: &[(&str, &str)]) -> (String, String, bool) {
    let environment: Environment =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let command = cli::Config::Check { config: Some(path.to_owned()), data: None };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = run(&command, &environment, false, &mut output, &mut errors).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output), text(errors), code == ExitCode::SUCCESS)
}

const FIVE_MISTAKES: &str = "\
version: 0.1
log:
  level: loud
storage:
  filesystem:
    rootdirectory: /var/lib/registry
  delete:
    enable: true
http:
  addr: 5000
  tls:
    certificate: /etc/larder/registry.pem
auth:
  htpaswd:
    realm: Registry
    path: /auth/htpasswd
";

#[test]
fn a_file_with_five_mistakes() {
    let (output, errors, is_content) = check_of(FIVE_MISTAKES, &[]);
    assert_eq!(output, "");
    assert_eq!(
        errors,
        "\
config.yml:3:10: \"log.level\" must be one of error, warn, info, debug, not another word
config.yml:8:5: unknown key \"enable\" below \"storage.delete\"; did you mean \"enabled\"?
config.yml:10:9: \"http.addr\" is \"5000\"; write host:port, or :5000 for every interface
config.yml:12:18: \"http.tls.key\" is missing: a certificate needs its private key
config.yml:14:3: unknown key \"htpaswd\" below \"auth\"; did you mean \"htpasswd\"?
5 mistakes: Larder does not start with config.yml
"
    );
    assert!(!is_content);
}

#[test]
fn a_good_file_is_printed_whole() {
    let text = "\
version: 0.1
storage:
  filesystem:
    rootdirectory: /srv/registry
  cache:
    blobdescriptor: inmemory
http:
  addr: :5000
redis:
  addr: redis:6379
";
    let (output, errors, is_content) = check_of(text, &[("REGISTRY_HTTP_ADDR", ":8082")]);
    assert!(is_content);
    assert_eq!(
        errors,
        "\
note: config.yml:5:3: \"storage.cache\" has no effect, and needs none. Larder finds blobs in its own way, with or without a cache named here.
warning: config.yml:9:1: \"redis\" is ignored. Larder doesn't connect to Redis and needs no cache there.
"
    );
    let lines =
        ["  addr: :8082", "# REGISTRY_HTTP_ADDR", "    rootdirectory: /srv/registry", "# config.yml:4\n"];
    for expected in lines {
        assert!(output.contains(expected), "{expected}\n{output}");
    }
}

/// What a start would refuse, the check refuses; what a start would make, it doesn't miss.
#[test]
fn the_files_that_are_named_are_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let write = |name: &str, text: &str| -> PathBuf {
        std::fs::File::create(at(name)).unwrap().write_all(text.as_bytes()).unwrap();
        at(name)
    };
    let config = |users: &Path| {
        let text = format!(
            "version: 0.1\nstorage: filesystem\nauth: {{htpasswd: {{realm: r, path: {}}}}}\n",
            users.display()
        );
        write("config.yml", &text)
    };
    let (output, _, is_content) = run_on(&config(&at("missing")), &[]);
    assert!(is_content && output.contains("realm: r"), "{output}");
    let users = write("users", "ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n");
    let certificate = write("certificate.pem", "nothing of the kind");
    let name = certificate.display().to_string();
    let tls = [("REGISTRY_HTTP_TLS_CERTIFICATE", name.as_str()), ("REGISTRY_HTTP_TLS_KEY", name.as_str())];
    let (output, errors, is_content) = run_on(&config(&users), &tls);
    assert!(!is_content && output.is_empty(), "{output}");
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].starts_with("http.tls: ") && lines[0].contains("certificate.pem"), "{errors}");
    assert!(lines[1].contains("users") && lines[1].contains("ada"), "{errors}");
    assert!(lines[2].starts_with("2 mistakes: Larder does not start with "), "{errors}");
}

#[test]
fn the_schema_is_json() {
    let mut output = Vec::new();
    run(&cli::Config::Schema, &Environment::default(), false, &mut output, &mut Vec::new()).unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(schema["properties"]["http"]["properties"]["addr"]["default"], ":5000");
}
