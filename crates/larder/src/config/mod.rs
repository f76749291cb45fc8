//! What Larder is told: registry:2's `config.yml` and its `REGISTRY_*` variables, or neither.
//!
//! A configuration is read in five steps, and every step goes on after a mistake, so that all of them are reported
//! together, each with its place:
//!
//! 1. [`yaml`] reads text to a tree of [`value`]s that know where they were written.
//! 2. [`overlay`] lays the environment's variables over that tree.
//! 3. [`secrets`] puts what files hold in the place of `{file: PATH}`.
//! 4. [`check`] compares it with the table in [`keys`]: unknown keys, wrong kinds, what Larder can't do yet.
//! 5. [`build`] makes the typed [`Config`], with defaults and the rules between keys.
//!
//! The whole is a function of a text, its name and the environment; only [`load`] and [`secrets`] touch the disk. Nothing outside of
//! the binary knows these types: the wiring hands each crate what it needs.

use larder_auth::FileStamp;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

mod access;
mod build;
mod check;
mod effective;
mod environment;
mod keys;
mod nearest;
mod overlay;
mod platform;
pub(crate) mod reference;
mod report;
mod scalar;
pub(crate) mod schema;
mod secrets;
mod typed;
mod value;
mod yaml;

pub(crate) use environment::{
    Environment, NoDataDirectory, Source, built_in_users_file, may_use_system_directory,
};
pub(crate) use platform::Wanted;
pub(crate) use report::{ConfigError, ConfigErrors, Mistake};
pub(crate) use typed::*;
pub(crate) use value::Origin;

use environment::ROOT_DIRECTORY;
use report::{Remarks, Report};
use value::{Content, Entry, Value};
use yaml::Parsed;

/// The largest text that is read: a thousand times what a long configuration has.
const TEXT_BYTES_LIMIT: usize = 4 << 20;

/// The only version of the format that there has ever been.
const VERSION: &str = "0.1";

/// What nearly every image of a home or a cluster comes from.
const UPSTREAMS_OF_A_START_WITHOUT_A_FILE: [&str; 4] = ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"];

/// What the tree was before the environment was laid over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start<'a> {
    /// A `config.yml`.
    File,
    /// The built-in configuration over this data directory.
    BuiltIn(&'a Path),
}

/// A configuration that can be started from, and what the operator should know about it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    /// To be logged at the start: what doesn't do what it says. One sentence each, with its place in front.
    pub(crate) warnings: Vec<String>,
    /// The same, for what is passed over without a loss.
    pub(crate) notes: Vec<String>,
    /// The files that it was read from: the config file, and those that hold secrets.
    pub(crate) files: Vec<ReadFile>,
    /// What it was made of.
    tree: Value,
}

/// A file that was read, and what it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadFile {
    pub(crate) path: PathBuf,
    pub(crate) stamp: FileStamp,
}

/// Reads what the source names and lays the environment over it.
///
/// # Errors
/// All mistakes together, an unreadable file among them.
pub(crate) fn load(source: &Source, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    match source {
        Source::BuiltIn(data_directory) => Config::builtin(data_directory, environment),
        Source::File(path) => {
            let name = path.to_string_lossy();
            let (bytes, stamp) =
                read(path).map_err(|error| whole_file(&name, Mistake::Unreadable(error.to_string())))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| whole_file(&name, Mistake::Unreadable("it is not UTF-8 text".to_owned())))?;
            let mut loaded = Config::from_yaml(&text, &name, environment)?;
            loaded.files.insert(0, ReadFile { path: path.clone(), stamp });
            Ok(loaded)
        }
    }
}

/// The stamp is taken first: whatever is written meanwhile makes the next one differ.
fn read(path: &Path) -> io::Result<(Vec<u8>, FileStamp)> {
    let mut file = File::open(path)?;
    let stamp = FileStamp::from(&file.metadata()?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, stamp))
}

impl Config {
    /// The configuration in the text of a `config.yml`, under the name that its mistakes shall have, with the
    /// environment laid over it.
    ///
    /// # Errors
    /// All mistakes together.
    pub(crate) fn from_yaml(
        text: &str,
        name: &str,
        environment: &Environment,
    ) -> Result<Loaded, ConfigErrors> {
        if text.len() > TEXT_BYTES_LIMIT {
            let mistake = Mistake::TooLarge { bytes: text.len(), limit: TEXT_BYTES_LIMIT };
            return Err(whole_file(name, mistake));
        }
        let source = yaml::Source::File(Arc::from(name));
        let Parsed { value, errors } = yaml::parse(text, &source);
        let Some(root) = value else { return Err(ConfigErrors(errors)) };
        let mut report = Report::default();
        report.errors(errors);
        check_version(&root, &source.at(1, 1), &mut report);
        finish(root, environment, Start::File, report)
    }

    /// The configuration of a start without a file: everything in one directory, everybody may pull, users of Larder's
    /// own file may push. The environment is laid over it, save the variable that names the root directory: whoever
    /// chose the data directory has weighed it already (see [`environment::data_directory`]).
    ///
    /// # Errors
    /// All mistakes in the environment together.
    pub(crate) fn builtin(data_directory: &Path, environment: &Environment) -> Result<Loaded, ConfigErrors> {
        let mut report = Report::default();
        let overridden = environment.overrides().find(|(name, _)| *name == ROOT_DIRECTORY);
        if let Some((name, Ok(value))) = overridden
            && environment::text_of_variable(value).is_some_and(|text| Path::new(&text) != data_directory)
        {
            let sentence = format!("has no effect, since --data names {}.", data_directory.display());
            report.warn(&Origin::Variable(name.into()), sentence);
        }
        finish(builtin_tree(), environment, Start::BuiltIn(data_directory), report)
    }
}

fn whole_file(name: &str, mistake: Mistake) -> ConfigErrors {
    let origin = yaml::Source::File(Arc::from(name)).at(1, 1);
    ConfigErrors(vec![ConfigError { origin, mistake }])
}

fn check_version(root: &Value, start: &Origin, report: &mut Report) {
    match root.entry("version").filter(|entry| !entry.value.is_unset()) {
        Some(entry) => match entry.value.scalar() {
            Some(VERSION) | None => {}
            Some(other) => {
                let problem = format!("is {other:?}, and the only version there is is {VERSION}");
                let mistake = Mistake::Invalid { key: "version".to_owned(), problem };
                report.error(&entry.value.origin, mistake);
            }
        },
        None => {
            report.error(start, Mistake::Missing { key: "version", why: "begin the file with version: 0.1" })
        }
    }
}

/// The steps that a file and the built-in configuration share.
fn finish(
    mut root: Value,
    environment: &Environment,
    start: Start<'_>,
    mut report: Report,
) -> Result<Loaded, ConfigErrors> {
    overlay::apply(&mut root, environment, start, &mut report);
    expand_short_forms(&mut root);
    let files = secrets::read(&mut root, &mut report);
    check::check(&root, &mut report);
    use_new_names(&mut root);
    build::give_way_to_proxy(&mut root);
    let config = build::build(&root, start, &mut report);
    let Remarks { warnings, notes } = report.finish()?;
    Ok(Loaded { config, warnings, notes, files, tree: root })
}

/// `storage: inmemory` is `storage: {inmemory: }`, and `auth: NONE` is `auth: {none: }`.
fn expand_short_forms(root: &mut Value) {
    let Content::Map(entries) = &mut root.content else { return };
    for entry in entries.iter_mut().filter(|entry| entry.key == "storage" || entry.key == "auth") {
        entry.value.expand_choice();
        if entry.key == "auth"
            && let Content::Map(kinds) = &mut entry.value.content
        {
            let nones = kinds.iter_mut().filter(|kind| kind.key.eq_ignore_ascii_case("none"));
            nones.for_each(|kind| "none".clone_into(&mut kind.key));
        }
    }
}

/// `loglevel` is `log.level`, unless that is there too.
fn use_new_names(root: &mut Value) {
    let Content::Map(entries) = &mut root.content else { return };
    let Some(old) = entries.iter().position(|entry| entry.key == "loglevel") else { return };
    let old = entries.remove(old);
    let log = match entries.iter().position(|entry| entry.key == "log") {
        Some(index) => entries.get_mut(index),
        None => {
            let value = Value::null(old.origin.clone());
            entries.push(Entry { key: "log".to_owned(), origin: old.origin.clone(), value });
            entries.last_mut()
        }
    };
    let Some(keys) = log.and_then(|log| log.value.entries_mut()) else { return };
    if !keys.iter().any(|key| key.key == "level" && !key.value.is_unset()) {
        keys.retain(|key| key.key != "level");
        keys.push(Entry { key: "level".to_owned(), ..old });
    }
}

/// What a `config.yml` would say that is the built-in configuration; the root directory is a matter of [`build`].
fn builtin_tree() -> Value {
    let text = |text: &str| Value::text(text, Origin::Default);
    let content = |content| Value { content, origin: Origin::Default };
    let map = |entries: Vec<(&str, Value)>| {
        let entry =
            |(key, value): (&str, Value)| Entry { key: key.to_owned(), origin: Origin::Default, value };
        content(Content::Map(entries.into_iter().map(entry).collect()))
    };
    map(vec![
        ("version", text(VERSION)),
        (
            "storage",
            map(vec![("filesystem", map(Vec::new())), ("delete", map(vec![("enabled", text("true"))]))]),
        ),
        (
            "http",
            map(vec![
                ("addr", text(":5000")),
                (
                    "headers",
                    map(vec![("X-Content-Type-Options", content(Content::List(vec![text("nosniff")])))]),
                ),
            ]),
        ),
        (
            "upstreams",
            content(Content::List(
                UPSTREAMS_OF_A_START_WITHOUT_A_FILE
                    .iter()
                    .map(|name| map(vec![("name", text(name))]))
                    .collect(),
            )),
        ),
    ])
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;
