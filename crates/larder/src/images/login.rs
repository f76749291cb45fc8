//! What docker and podman have written down for a registry after a login.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::json::at;

/// The user name by which helpers say that the secret is a token (docker's protocol for them).
const TOKEN_USER: &str = "<token>";

/// Who pushes.
#[derive(Clone)]
pub(super) enum Login {
    /// A user with a password or an API key.
    Password { user: String, password: String },
    /// What `docker login` keeps instead of a password, where a registry offers it.
    RefreshToken(String),
}

impl Login {
    /// The value of `Authorization` (RFC 7617), for a login that has one.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Login::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Login::RefreshToken(_) => None,
        }
    }
}

/// The login for a registry, `host:port` as it stands in image names.
///
/// # Errors
/// A file that can't be read, or a helper that fails.
pub(super) fn find(host: &str) -> Result<Option<Login>, Box<dyn Error>> {
    for file in files() {
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        };
        let config: Value =
            serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", file.display()))?;
        if let Some(login) = of_file(&config, host)? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

/// docker's settings, then podman's.
fn files() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME");
    let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let mut files: Vec<PathBuf> = docker.map(|directory| directory.join("config.json")).into_iter().collect();
    files.extend(variable("REGISTRY_AUTH_FILE"));
    files.extend(variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")));
    files.extend(home.map(|home| home.join(".config/containers/auth.json")));
    files
}

fn of_file(config: &Value, host: &str) -> Result<Option<Login>, Box<dyn Error>> {
    let helper = at(config, &["credHelpers", host]).as_str().or_else(|| at(config, &["credsStore"]).as_str());
    if let Some(helper) = helper.filter(|helper| !helper.is_empty())
        && let Some(login) = of_helper(helper, host)?
    {
        return Ok(Some(login));
    }
    // Old dockers wrote URLs.
    let host_of = |key: &str| -> String {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let entry = at(config, &["auths"])
        .as_object()
        .and_then(|auths| auths.iter().find(|(key, _)| host_of(key) == host));
    let Some((_, entry)) = entry else { return Ok(None) };
    if let Some(token) = at(entry, &["identitytoken"]).as_str().filter(|token| !token.is_empty()) {
        return Ok(Some(Login::RefreshToken(token.to_owned())));
    }
    let Some(auth) = at(entry, &["auth"]).as_str() else { return Ok(None) };
    let unreadable = || format!("the login for {host} that docker login has written down can't be read");
    let text =
        String::from_utf8(STANDARD.decode(auth).map_err(|_| unreadable())?).map_err(|_| unreadable())?;
    let (user, password) = text.split_once(':').ok_or_else(unreadable)?;
    Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }))
}

fn of_helper(helper: &str, host: &str) -> Result<Option<Login>, Box<dyn Error>> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends without reading is judged by its exit code.
        let _ = input.write_all(host.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if words.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("{program} has no login for {host}: {words}").into());
    }
    let answer: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{program}: {error}"))?;
    let text = |name: &str| at(&answer, &[name]).as_str().unwrap_or_default().to_owned();
    let (user, password) = (text("Username"), text("Secret"));
    Ok(Some(match user.as_str() {
        TOKEN_USER => Login::RefreshToken(password),
        _ => Login::Password { user, password },
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn logins_are_found_by_host_and_port_and_tokens_go_before_passwords() {
        let config = json!({ "auths": {
            "registry.lab:5000": { "auth": STANDARD.encode("ann:pass:word") },
            "https://old.lab/v1/": { "auth": STANDARD.encode("bob:secret") },
            "token.lab": { "auth": STANDARD.encode("cy:"), "identitytoken": "kept" },
        } });
        let login = |host: &str| of_file(&config, host).unwrap();
        assert!(matches!(login("registry.lab:5000"), Some(Login::Password { user, password })
            if user == "ann" && password == "pass:word"));
        assert!(matches!(login("old.lab"), Some(Login::Password { user, .. }) if user == "bob"));
        assert!(matches!(login("token.lab"), Some(Login::RefreshToken(token)) if token == "kept"));
        assert!(login("registry.lab").is_none());
    }
}
