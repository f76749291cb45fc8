//! What a first start makes: the first user and the key that signs tokens.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use larder_auth::{AuthError, DEFAULT_COST, Password, SigningKey, htpasswd_line};
use larder_storage::replace_file;

use crate::config::Config;

/// Files with secrets are for their owner alone.
const SECRET: u32 = 0o600;

/// Why the first user or the key could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstStartError {
    /// The file system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The user's line could not be made.
    #[error("could not make the first user")]
    User(#[source] AuthError),
    /// The key file holds something else.
    #[error(
        "{} is not a token key: it must hold {} bytes. Remove it to have a new one made; \
         clients will fetch new tokens",
        path.display(), SigningKey::LENGTH
    )]
    Key {
        /// The file.
        path: PathBuf,
    },
}

/// What a first start has to say to a person, once.
pub(crate) fn greet(config: &Config, user: &str, port: u16, password: &str) {
    let host = match config.http.addr.host.as_str() {
        "" | "0.0.0.0" | "[::]" | "::" => "localhost",
        host => host,
    };
    let data = config.storage.root_directory.display();
    // Nobody knows the authority of a certificate that was made a moment ago.
    let curl = if config.http.tls.is_some() { "curl -k https" } else { "curl http" };
    // Nobody may be reading it; a start doesn't end for that.
    let _ = writeln!(
        io::stderr(),
        "\nThis is the first start of Larder on {data}.\n\
         Everybody who reaches it may pull; the user {user} may push. The password is shown only now:\n\n    \
         docker login -u {user} -p {password} {host}:{port}\n\n\
         Change it with `larder user add {user} --data {data}`, add others with `larder user add NAME --data {data}`.\n\
         What other machines and their mirrors have to be told: {curl}://{host}:{port}/setup\n",
    );
}

/// Makes the users file with one user, if there is no such file yet; gives the password, which is
/// kept nowhere.
pub(crate) fn first_user(path: &Path, name: &str) -> Result<Option<Password>, FirstStartError> {
    if path.try_exists().map_err(|source| failed("look for", path, source))? {
        return Ok(None);
    }
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| failed("create", directory, source))?;
    }
    let password = Password::generated(rand::random());
    let line = htpasswd_line(name, &password, DEFAULT_COST, rand::random()).map_err(FirstStartError::User)?;
    let line = format!("{}\n", line.trim_end());
    replace_file(path, line.as_bytes(), Some(SECRET)).map_err(|source| failed("write", path, source))?;
    Ok(Some(password))
}

/// The key that signs tokens: it outlives restarts, so that tokens do.
pub(crate) fn token_key(path: &Path) -> Result<SigningKey, FirstStartError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes: [u8; SigningKey::LENGTH] = rand::random();
            replace_file(path, &bytes, Some(SECRET)).map_err(|source| failed("write", path, source))?;
            bytes.to_vec()
        }
        Err(source) => return Err(failed("read", path, source)),
    };
    SigningKey::try_from(bytes.as_slice()).map_err(|_| FirstStartError::Key { path: path.to_owned() })
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> FirstStartError {
    FirstStartError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_is_made_once_and_readable_by_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/users.htpasswd");
        let password = first_user(&path, "admin").unwrap().unwrap();
        assert!(password.expose().len() >= 32);
        assert_eq!(first_user(&path, "admin").unwrap(), None);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("admin:$2y$10$") && text.ends_with('\n'), "{text}");
    }

    #[test]
    fn the_key_outlives_a_restart_and_a_damaged_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token.key");
        token_key(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        token_key(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        replace_file(&path, b"short", None).unwrap();
        assert!(matches!(token_key(&path), Err(FirstStartError::Key { .. })));
    }
}
