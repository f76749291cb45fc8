//! The command line: Larder's own, and the forms that the image `registry:2` is started with.

use clap::{Args, Parser, Subcommand};
use larder_auth::{KeyActions, KeyScope};
use larder_oci::{Action, RepositoryPattern};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::certificates::TlsWords;
use crate::config::{Environment, NoDataDirectory, Source};

/// A container registry and pull-through cache.
#[derive(Debug, Parser, PartialEq, Eq)]
#[command(name = "larder", version, about, disable_help_subcommand = false)]
pub(crate) struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What Larder can be told to do.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Answer clients until stopped.
    Serve(Serve),
    /// Edit the users of an htpasswd file.
    #[command(subcommand)]
    User(User),
    /// Make and revoke API keys.
    #[command(subcommand)]
    Key(Key),
    /// Ask what the rules of the configuration say.
    #[command(subcommand)]
    Access(Access),
    /// Explain the configuration.
    #[command(subcommand)]
    Config(Config),
    /// Look at everything that is stored: hash every blob again, check every link; exits with 0 when all is well.
    Verify(Verify),
    /// Back up a data directory, while a server works on it or not.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Backup(Backup),
    /// Take images in: from docker save, OCI layouts, or a Docker engine on this machine.
    Import(Import),
    /// Write images out, as an OCI layout or an archive that docker loads.
    Export(Export),
    /// Make a data directory from a backup.
    Restore(Restore),
    /// Ask a running Larder whether it is well; the exit code is the answer.
    Healthcheck {
        /// Its address, such as http://localhost:5000, or the config.yml that it was started with; the local one when left out.
        url: Option<String>,
    },
    /// Find out why a registry doesn't work from here: replay what clients do, and say at which hop it fails, why, and
    /// what to do.
    Doctor(crate::doctor::Arguments),
    /// Write the files of a registry for a house or a small team: configuration, service, compose file, first user.
    Init(crate::init::Arguments),
    /// Show a running Larder on one screen: repositories, cache, upstreams, problems.
    Status(crate::status::Arguments),
    /// Print what a shell needs to complete commands and options.
    #[command(alias = "completion")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands.
    Man(crate::documents::Man),
    /// Show what a running Larder refused lately, and why; or who pulls from it.
    Problems(crate::problems::Arguments),
    /// Compare the mirrors of an upstream.
    #[command(subcommand)]
    Mirror(crate::mirror::Mirror),
    /// Ask a running Larder about what it keeps of other registries.
    #[command(subcommand)]
    Cache(crate::cache::Command),
    /// Fetch images from other registries before anybody asks for them.
    Warm(crate::cache::Warm),
    /// Print the files that tell a client about a registry, its mirrors and its authority; or write them.
    Client(crate::setup::ClientArguments),
    /// Print a configuration for a proxy in front of a registry.
    Proxy(crate::setup::ProxyArguments),
    /// Run the collector now: take away what nothing refers to any more.
    Gc {
        /// Don't wait for grace times: deletions become final.
        #[arg(long)]
        now: bool,
        /// Only say what would go, deletions that can still be undone included.
        #[arg(long)]
        dry_run: bool,
        /// Also look at everything for what no deletion tells of, such as blobs of pushes that were given up.
        #[arg(long)]
        sweep: bool,
        #[command(flatten)]
        registry: ThisRegistry,
    },
    /// Undo a deletion, or list those that can be undone.
    Undo {
        /// What to bring back: a repository, REPOSITORY:TAG, or the number of a deletion. Without it they are listed.
        what: Option<String>,
        /// Bring back everything that was deleted since then, such as 10m ago.
        #[arg(long, value_name = "DURATION", conflicts_with_all = ["what", "to"])]
        since: Option<String>,
        /// Put everything back to what it was at that moment, deletions and tags that have moved since: 2026-01-31T12:00:00Z,
        /// or 10m for ten minutes ago. With REPOSITORY or REPOSITORY:TAG only that.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// With --to: only say what would be put back.
        #[arg(long, requires = "to")]
        dry_run: bool,
        #[command(flatten)]
        registry: ThisRegistry,
    },
    /// Let nothing change for a while, for a copy of the directory or work on its disk; pulls go on.
    #[command(subcommand)]
    Maintenance(crate::maintenance::Maintenance),
    /// List what a tag has pointed at, newest first.
    History {
        /// REPOSITORY:TAG
        tag: String,
        #[command(flatten)]
        registry: ThisRegistry,
    },
    /// Show what repositories and tags take, and what would be free without them.
    Du(crate::usage::Arguments),
    /// What goes by the retention rules: show it, or apply them now.
    #[command(subcommand)]
    Retention(crate::retention::Retention),
    /// registry:2's command: take away everything that nothing refers to.
    GarbageCollect(GarbageCollect),
}

/// `larder serve`
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serve {
    /// registry:2's config.yml; else the file that REGISTRY_CONFIGURATION_PATH names, else the built-in configuration.
    pub(crate) config: Option<PathBuf>,
    /// The directory for images and users of a start without a config file.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsWords,
    /// Further arguments, which registry:2 takes and doesn't look at.
    #[arg(hide = true)]
    pub(crate) ignored: Vec<OsString>,
}

/// `larder garbage-collect`, with the flags of registry:2 and registry:3. Their flag library takes `--flag=true`, too.
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub(crate) struct GarbageCollect {
    /// The config.yml of the registry; else the file that REGISTRY_CONFIGURATION_PATH names.
    pub(crate) config: Option<PathBuf>,
    /// Only say what would be removed.
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) dry_run: bool,
    /// Also remove manifests that no tag leads to.
    #[arg(short = 'm', long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) delete_untagged: bool,
    /// Say nothing.
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) quiet: bool,
    /// Further arguments, which registry:2 takes and doesn't look at.
    #[arg(hide = true)]
    pub(crate) ignored: Vec<OsString>,
}

/// Which data directory is meant.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DataPlace {
    /// The data directory; else the one that a start would use.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The config.yml that says where the data is; else the one that a start would use.
    #[arg(long, value_name = "CONFIG", conflicts_with = "data")]
    pub(crate) config: Option<PathBuf>,
}

/// `larder verify`
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) place: DataPlace,
    /// Move damaged blobs away, mend links where the files say what they meant, and build the index anew. A running
    /// server does it when asked by this; without, nothing is changed and no lock is needed.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print what was found as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write down in this file how far the look is, and go on from there when it was interrupted. (--repair does so by
    /// itself, in the data directory.)
    #[arg(long, value_name = "FILE", conflicts_with = "repair")]
    pub(crate) resume: Option<PathBuf>,
}

/// `larder backup`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    /// The directory for backups, which may hold some already; or `-` to write one archive to standard output.
    #[arg(required = true, value_name = "DEST")]
    pub(crate) destination: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: DataPlace,
    /// Afterwards keep this many snapshots, and remove older ones with what only they need.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
}

/// `larder backup verify` and `larder backup list`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum BackupCommand {
    /// Hash every blob of a backup and look whether every snapshot has what it needs; exits with 0 when all is well.
    Verify {
        /// The directory of backups.
        #[arg(value_name = "DEST")]
        destination: PathBuf,
    },
    /// List the snapshots of a backup, oldest first.
    List {
        /// The directory of backups.
        #[arg(value_name = "DEST")]
        destination: PathBuf,
    },
}

/// `larder import`
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Import {
    /// Archives of docker save or podman save, OCI layouts (directories or archives), or `-` for an archive on standard
    /// input. With --docker: the images, by the names that the engine knows them by; all that have a name when left out.
    #[arg(value_name = "SOURCE", required_unless_present = "docker")]
    pub(crate) sources: Vec<String>,
    /// Take the images from the Docker engine on this machine (or the socket that DOCKER_HOST names).
    #[arg(long)]
    pub(crate) docker: bool,
    /// Push to this registry, such as registry:5000 or https://registry.example/team; else into the data directory, on
    /// which no server may work then.
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) to: Option<String>,
    /// Speak plain HTTP to a registry on another machine.
    #[arg(long, requires = "to")]
    pub(crate) plain_http: bool,
    /// Put this in front of every repository's name.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// Call the repository this, such as team/app: images keep their tags. With a tag, such as team/app:1, the one image.
    #[arg(long = "as", value_name = "REPOSITORY[:TAG]", conflicts_with = "prefix")]
    pub(crate) name: Option<String>,
    /// Log in to the registry as this user; else with what docker login or podman login has written down.
    #[arg(long, value_name = "USER", requires = "to")]
    pub(crate) user: Option<String>,
    /// The user's password or API key stands in this file; else it is asked for.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: DataPlace,
}

/// `larder export`
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Export {
    /// Images (team/app:1, team/app@sha256:…, or team/app for all its tags), then where to: a directory for an OCI layout,
    /// a file that ends in .tar, .tar.gz or .tgz, or `-` for standard output.
    #[arg(value_name = "IMAGE… DEST", required = true, num_args = 2..)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) place: DataPlace,
}

/// `larder restore`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restore {
    /// A directory of backups, an archive that `larder backup -` or tar has made, or `-` for one on standard input.
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// The new data directory; it must be empty or absent.
    #[arg(value_name = "DATA_DIR")]
    pub(crate) data: PathBuf,
    /// The snapshot, as `larder backup list` names it; else the newest.
    #[arg(long, value_name = "NAME")]
    pub(crate) snapshot: Option<String>,
}

/// `larder config`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Config {
    /// Check the configuration; prints every value that is in force and where it comes from, secrets masked. Exits with
    /// 1 and all the mistakes, if there are any.
    Check {
        /// The config.yml that is meant; else the one that a start would use.
        config: Option<PathBuf>,
        /// The data directory of a start without a config file.
        #[arg(long, value_name = "DIR", conflicts_with = "config")]
        data: Option<PathBuf>,
    },
    /// Print the reference of all keys, in Markdown.
    Reference,
    /// Print a JSON Schema of config.yml, for editors.
    Schema,
}

/// Which registry of this machine is meant.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThisRegistry {
    /// The config.yml that it was started with; else the one that a start would use.
    #[arg(long, value_name = "CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory of a start without a config file.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) data: Option<PathBuf>,
}

impl ThisRegistry {
    /// Whether the command line says which, so that no other is meant.
    pub(crate) fn is_named(&self) -> bool {
        self.config.is_some() || self.data.is_some()
    }

    /// What a start with the same words would read.
    pub(crate) fn source(
        &self,
        environment: &Environment,
        may_use_system_directory: bool,
    ) -> Result<Source, NoDataDirectory> {
        Source::choose(self.config.as_deref(), self.data.as_deref(), environment, may_use_system_directory)
    }
}

/// `larder user`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum User {
    /// Add a user, or give an existing one a new password.
    Add {
        /// The user's name.
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        users: UsersFile,
    },
    /// Remove a user.
    Remove {
        /// The user's name.
        name: String,
        #[command(flatten)]
        users: UsersFile,
    },
    /// List the users' names.
    List {
        #[command(flatten)]
        users: UsersFile,
    },
    /// Check a user's password; exits with 0 when it is right and with 1, and the reason, when it isn't.
    Verify {
        /// The user's name.
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        users: UsersFile,
    },
}

/// `larder key`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Key {
    /// Make a key and print it, once: a password for a program, with rights and an end of its own.
    Create {
        /// What to call it: letters, digits, `.`, `_` and `-`.
        name: String,
        /// What it is good for: repositories and actions, such as 'team/**:pull,push'. Can be given several times.
        #[arg(long, value_name = "REPOSITORIES:ACTIONS", required = true)]
        scope: Vec<KeyScope>,
        /// Whose it is: it never does more than this user may. Without, it is a robot that rules name as key:NAME.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// How long it counts, such as 90d; for ever when left out.
        #[arg(long, value_name = "TIME", value_parser = crate::words::duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        place: ThisRegistry,
    },
    /// List the keys: what they are good for, until when, and when they were last used.
    List {
        #[command(flatten)]
        place: ThisRegistry,
    },
    /// Make a key count no more, nor any token that was given for it.
    Revoke {
        /// The key's name, or its id.
        key: String,
        #[command(flatten)]
        place: ThisRegistry,
    },
    /// Print a key that can do less than the one on standard input. No server is asked, and nobody can undo it.
    Narrow {
        /// Leave it only these repositories, such as team/app. Can be given several times.
        #[arg(long = "in", value_name = "REPOSITORIES")]
        within: Vec<RepositoryPattern>,
        /// Leave it only these actions, such as pull.
        #[arg(long, value_name = "ACTIONS")]
        may: Option<KeyActions>,
        /// Leave it only so much time, such as 2h.
        #[arg(long = "for", value_name = "TIME", value_parser = crate::words::duration)]
        during: Option<Duration>,
        /// Read the key from this file instead of standard input.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
}

/// `larder access`
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Access {
    /// Say whether somebody may do something in a repository, by which rules, and which nearly said otherwise; exits
    /// with 0 when it is allowed and with 1 when it isn't.
    Explain {
        /// The user's name, or anonymous.
        user: String,
        /// pull, push, delete, list, admin or all.
        action: String,
        /// The repository's name, such as team/app.
        repository: String,
        #[command(flatten)]
        registry: ThisRegistry,
    },
}

/// The action that a word of the command line means.
pub(crate) fn explained_action(word: &str) -> Result<Action, String> {
    let actions = [Action::Pull, Action::Push, Action::Delete, Action::List, Action::Admin];
    match actions.into_iter().find(|action| action.as_str() == word) {
        Some(action) => Ok(action),
        None if word == "all" => Ok(Action::All),
        None => Err(format!("{word:?} is no action; there is pull, push, delete, list, admin and all")),
    }
}

/// Which file holds the users.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsersFile {
    /// The htpasswd file; else the one of the registry that --config, --data, or else a start would mean.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["config", "data"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: ThisRegistry,
}

/// Where a password comes from: never from an argument, which every user of the machine can read.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PasswordSource {
    /// Read the password from this file; a line break at its end doesn't count.
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the password from standard input; a line break at its end doesn't count.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// Translates the forms in which the image `registry:2` is started into Larder's own: nothing at all, or a config file
/// alone, means `serve`, and `-v` the version. The first argument is the program's name.
pub(crate) fn rewrite(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.is_empty() {
        arguments.push("larder".into());
    }
    // Whatever isn't an argument of its program the image runs as a command, so that both may stand in front.
    while arguments.get(1).is_some_and(|first| is_program_of_the_image(first)) {
        arguments.remove(1);
    }
    match arguments.get(1) {
        None => arguments.push("serve".into()),
        Some(first) if is_config_file(first) => arguments.insert(1, "serve".into()),
        Some(first) if first == "-v" => {
            arguments.splice(1..2, ["--version".into()]);
        }
        Some(_) => {}
    }
    arguments
}

/// `registry` on the path or by its own, and the script that the image starts with.
fn is_program_of_the_image(argument: &OsStr) -> bool {
    let is_a_path = || argument.as_encoded_bytes().starts_with(b"/");
    argument == "registry"
        || argument == "/entrypoint.sh"
        || is_a_path() && Path::new(argument).file_name() == Some(OsStr::new("registry"))
}

fn is_config_file(argument: &OsStr) -> bool {
    [".yml", ".yaml"].iter().any(|ending| argument.as_encoded_bytes().ends_with(ending.as_bytes()))
}

#[cfg(test)]
mod tests;
