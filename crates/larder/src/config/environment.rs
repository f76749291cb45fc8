//! The environment as a value: taken once at the start, passed in, and never read behind a function's back.

use super::{report::Mistake, yaml};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The prefix of all variables that set a key.
const PREFIX: &str = "REGISTRY_";

/// The variable that names the config file, which distribution keeps among those that set keys.
pub(crate) const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";

/// The variable that places the images, with a config file or without one.
pub(crate) const ROOT_DIRECTORY: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";

/// Where the images of registry:2's image lie, and so those of a Larder that runs as root.
const CONFIG_IF_PRESENT: &str = "LARDER_CONFIG_IF_PRESENT";

const SYSTEM_DATA_DIRECTORY: &str = "/var/lib/registry";

/// What the configuration may look at of the process's environment: everything, by name.
///
/// Collect it from `std::env::vars_os()`. Its `Debug` shows names only, since values may be passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    not_utf8: BTreeSet<String>,
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<Variables: IntoIterator<Item = (OsString, OsString)>>(variables: Variables) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            // A name that isn't text can't be one of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name, value)),
                Err(_) => drop(environment.not_utf8.insert(name)),
            }
        }
        environment
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.variables.keys()).entries(&self.not_utf8).finish()
    }
}

impl Environment {
    /// The value of a variable that is set to something.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same, and a certificate of Larder's own is asked for: what `--tls auto` means.
    pub(crate) fn with_own_certificate(&self) -> Self {
        let mut more = self.clone();
        more.variables.insert("REGISTRY_HTTP_TLS_AUTO".to_owned(), "true".to_owned());
        more
    }

    /// The same, and a certificate for these names is ordered: what `--tls acme` means.
    pub(crate) fn with_ordered_certificate(&self, hosts: &[String]) -> Self {
        let mut more = self.clone();
        let hosts: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
        let key = "REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS".to_owned();
        more.variables.insert(key, format!("[{}]", hosts.join(", ")));
        more
    }

    /// The variables that may set a key, with their values; a value that isn't text is a mistake.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, Result<&str, Mistake>)> {
        let texts = self.variables.iter().map(|(name, value)| (name.as_str(), Ok(value.as_str())));
        let others = self.not_utf8.iter().map(|name| (name.as_str(), Err(Mistake::NotUtf8)));
        texts.chain(others).filter(|(name, _)| name.starts_with(PREFIX) && *name != CONFIGURATION_PATH)
    }
}

/// What follows the prefix in a variable's name.
pub(super) fn path_in_name(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// What a start is configured from, before `REGISTRY_*` variables are laid over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A `config.yml`.
    File(PathBuf),
    /// No file: Larder's own configuration over this data directory.
    BuiltIn(PathBuf),
}

/// No place for the data could be found.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "no directory for the images: HOME is not set to an absolute path, nor is XDG_DATA_HOME; \
     name a directory with --data DIR"
)]
pub(crate) struct NoDataDirectory;

impl Source {
    /// The file or data directory named on the command line, else the file that `REGISTRY_CONFIGURATION_PATH` names,
    /// else one of those that `LARDER_CONFIG_IF_PRESENT` lists, else the built-in configuration over [`data_directory`].
    ///
    /// # Errors
    /// When nothing says where the data lies.
    pub(crate) fn choose(
        config: Option<&Path>,
        data: Option<&Path>,
        environment: &Environment,
        may_use_system_directory: bool,
    ) -> Result<Self, NoDataDirectory> {
        if let Some(config) = config {
            return Ok(Self::File(config.to_owned()));
        }
        match environment.non_empty(CONFIGURATION_PATH) {
            Some(config) if data.is_none() => Ok(Self::File(PathBuf::from(config))),
            None if data.is_none() => match config_if_present(environment) {
                Some(config) => Ok(Self::File(config)),
                None => data_directory(data, environment, may_use_system_directory).map(Self::BuiltIn),
            },
            _ => data_directory(data, environment, may_use_system_directory).map(Self::BuiltIn),
        }
    }
}

/// The first of the files that `LARDER_CONFIG_IF_PRESENT` lists, between colons, that is there. Larder's image sets it
/// to where the images of registry:2 and registry:3 have their configuration: whoever mounts one there means it.
fn config_if_present(environment: &Environment) -> Option<PathBuf> {
    let listed = environment.non_empty(CONFIG_IF_PRESENT)?;
    // A file that can't be looked at is no missing file: reading it then says what is wrong.
    listed.split(':').map(PathBuf::from).find(|path| path.try_exists().unwrap_or(true))
}

/// Where a start without a config file keeps its data: `--data`, else
/// `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`, else `/var/lib/registry` if that may be used, else `$XDG_DATA_HOME/larder` or
/// `~/.local/share/larder`.
///
/// # Errors
/// When none of them is there.
pub(crate) fn data_directory(
    data: Option<&Path>,
    environment: &Environment,
    may_use_system_directory: bool,
) -> Result<PathBuf, NoDataDirectory> {
    if let Some(data) = data {
        return Ok(data.to_owned());
    }
    if let Some(root) = environment.non_empty(ROOT_DIRECTORY).and_then(text_of_variable) {
        return Ok(PathBuf::from(root));
    }
    if may_use_system_directory {
        return Ok(PathBuf::from(SYSTEM_DATA_DIRECTORY));
    }
    // The XDG specification has relative paths ignored; so must HOME be, or the data would follow the shell around.
    let absolute = |name| environment.non_empty(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("larder"))
        .ok_or(NoDataDirectory)
}

/// The text in a variable's value, which is YAML: `"/srv/a b"` in quotes means what is inside of them.
pub(super) fn text_of_variable(value: &str) -> Option<String> {
    match yaml::parse(value, &yaml::Source::Variable(ROOT_DIRECTORY.into())).value {
        Some(parsed) if parsed.is_unset() => None,
        Some(parsed) => Some(parsed.scalar().map_or_else(|| value.to_owned(), str::to_owned)),
        None => Some(value.to_owned()),
    }
}

/// The file of users of a start without a config file.
pub(crate) fn built_in_users_file(data_directory: &Path) -> PathBuf {
    data_directory.join("larder").join("users.htpasswd")
}

/// Whether registry:2's own directory is this process's to use: it is root's, or it is there and can be written, as in
/// a container that runs as another user on a mounted volume.
pub(crate) fn may_use_system_directory() -> bool {
    use rustix::fs::{Access, access};
    rustix::process::geteuid().is_root()
        || access(SYSTEM_DATA_DIRECTORY, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests;
