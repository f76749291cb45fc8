//! Logins of docker and podman: where they are, not what they are.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Machine, Spoken, Trouble, json, text};
use crate::check::Told;
use crate::finding::{Hop, Row};
use crate::secret::{Login, Password};

/// A helper that asks a desktop may wait for ever; listing takes milliseconds.
const HELPER_LIMIT: Duration = Duration::from_secs(5);

/// docker's settings, then podman's logins.
fn files(machine: &Machine) -> Vec<PathBuf> {
    let docker = machine.docker_dir();
    let mut files: Vec<PathBuf> = docker.map(|dir| dir.join("config.json")).into_iter().collect();
    files.extend(machine.home(".config/containers/auth.json"));
    files
}

/// docker's reading of a key: a host, with whatever was written around it.
fn host_of_key(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

pub(super) fn login(machine: &Machine, authority: &str) -> Option<Login> {
    files(machine).into_iter().find_map(|file| {
        // What is wrong with the file is said by `examine`.
        let config: Value = serde_json::from_str(&text(&file).ok()??).ok()?;
        let auths = config.get("auths")?.as_object()?;
        let (_, entry) = auths.iter().find(|(key, _)| host_of_key(key) == authority)?;
        let decoded = STANDARD.decode(entry.get("auth")?.as_str()?).ok()?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let source = file.display().to_string();
        Some(Login { user: user.to_owned(), password: Password::new(password), source })
    })
}

pub(super) fn examine(machine: &Machine, spoken: &Spoken) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for file in files(machine) {
        let config = match json(&file) {
            Ok(Some(config)) => config,
            Ok(None) => continue,
            Err(trouble) => {
                troubles.push(trouble);
                continue;
            }
        };
        let own = config.pointer("/credHelpers").and_then(|helpers| helpers.get(&spoken.authority));
        let helper = own.or_else(|| config.get("credsStore")).and_then(Value::as_str).unwrap_or_default();
        if helper.is_empty() {
            troubles.extend(elsewhere(&config, &file, spoken));
        } else {
            troubles.extend(broken(machine, helper, &file));
        }
    }
    troubles
}

/// A login for the same host with another port, and none for this one.
fn elsewhere(config: &Value, file: &std::path::Path, spoken: &Spoken) -> Option<Trouble> {
    let keys: Vec<&str> = config.get("auths")?.as_object()?.keys().map(|key| host_of_key(key)).collect();
    if keys.iter().any(|key| *key == spoken.authority) {
        return None;
    }
    let bare = |key: &&&str| key.split(':').next() == Some(spoken.host());
    let near = keys.iter().find(bare)?;
    Some((
        Row::CredentialsElsewhere,
        Told::warning(
            Hop::Client,
            format!("{} has a login for {near}, and none for {}", file.display(), spoken.authority),
            "logins are looked up by host and port exactly as they stand in the image's name: `no basic auth credentials`",
            format!("docker login {}", spoken.authority),
        ),
    ))
}

fn broken(machine: &Machine, helper: &str, file: &std::path::Path) -> Option<Trouble> {
    let program = format!("docker-credential-{helper}");
    let Some(path) = machine.find(&program) else {
        return Some((
            Row::HelperMissing,
            Told::failure(
                Hop::Client,
                format!("{} says to keep logins with {program}, which isn't installed", file.display()),
                "the registry takes the login, and then docker can't save it: `Error saving credentials … executable file not found`",
                format!(
                    "remove the line with {helper:?} (credsStore or credHelpers) from {}",
                    file.display()
                ),
            ),
        ));
    };
    let words = run(&path)?;
    Some((
        Row::HelperBroken,
        Told::failure(
            Hop::Client,
            format!("{program} list fails: {words}"),
            "the registry takes the login, and then docker can't save or find it: `pass store is uninitialized` and the like",
            format!("set {program} up, or remove the line with {helper:?} from {}", file.display()),
        ),
    ))
}

/// Runs a helper's `list`, which names hosts and users and no secret. `None` when it works; its words otherwise.
fn run(program: &std::path::Path) -> Option<String> {
    let spawned = Command::new(program)
        .arg("list")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Some(error.to_string()),
    };
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return None,
            Ok(Some(_)) => break,
            Ok(None) if begun.elapsed() < HELPER_LIMIT => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                // It ends with the kill; a helper that can't be killed is beyond us.
                let _ = child.kill();
                let _ = child.wait();
                return Some(format!("no end within {} s", HELPER_LIMIT.as_secs()));
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    let output = child.wait_with_output().ok()?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
    Some(line.chars().take(160).collect())
}
