//! What a shell and `man` know of Larder.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::CommandLine;

/// `larder man`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Man {
    /// Write the pages of all commands into this directory, such as /usr/local/share/man/man1, instead of printing the first.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    // What makes them panics when it can't write.
    let mut completions = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "larder", &mut completions);
    out.write_all(&completions)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints or writes the manual's pages.
pub(crate) fn man(arguments: &Man, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let command = CommandLine::command();
    match &arguments.into {
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| format!("could not write the manual into {}: {error}", directory.display()))?,
        None => clap_mangen::Man::new(command).render(out)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_and_the_manual_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut out = Vec::new();
            completions(shell, &mut out).expect("written");
            let text = String::from_utf8(out).expect("text");
            assert!(text.contains("doctor") && text.contains("healthcheck"), "{shell}");
        }
        let directory = tempfile::tempdir().expect("a directory");
        man(&Man { into: Some(directory.path().to_owned()) }, &mut Vec::new()).expect("written");
        let page = std::fs::read_to_string(directory.path().join("larder-doctor.1")).expect("a page");
        assert!(page.contains("canary"), "{page}");
        let mut out = Vec::new();
        man(&Man { into: None }, &mut out).expect("printed");
        assert!(String::from_utf8(out).expect("text").contains("larder"));
    }
}
