//! `larder config`: what the configuration is, and what one may be.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use larder_auth::Users;
use larder_server::Tls;

use crate::access::users_files;
use crate::certificates;
use crate::cli;
use crate::config::{self, CertificateSource, Config, Environment, Loaded, Source};

/// Runs the command: what was asked for goes to `output`, what is wrong to `errors`.
///
/// # Errors
/// Nothing says where the data lies, or a stream can't be written.
pub(crate) fn run(
    command: &cli::Config,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        cli::Config::Check { config, data } => {
            let (config, data) = (config.as_deref(), data.as_deref());
            let source = Source::choose(config, data, environment, may_use_system_directory)?;
            check(&source, environment, output, errors)
        }
        cli::Config::Reference => {
            output.write_all(config::reference::page().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        cli::Config::Schema => {
            writeln!(output, "{:#}", config::schema::schema())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(
    source: &Source,
    environment: &Environment,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let loaded = match config::load(source, environment) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            writeln!(errors, "{mistakes}")?;
            return failed(mistakes.0.len(), source, errors);
        }
    };
    let Loaded { config, warnings, notes, .. } = &loaded;
    for note in notes {
        writeln!(errors, "note: {note}")?;
    }
    for warning in warnings {
        writeln!(errors, "warning: {warning}")?;
    }
    let unusable = unusable_files(config);
    for sentence in &unusable {
        writeln!(errors, "{sentence}")?;
    }
    if !unusable.is_empty() {
        return failed(unusable.len(), source, errors);
    }
    output.write_all(loaded.effective().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn failed(mistakes: usize, source: &Source, errors: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let plural = if mistakes == 1 { "" } else { "s" };
    let name = match source {
        Source::File(path) => path.display().to_string(),
        Source::BuiltIn(_) => "the environment".to_owned(),
    };
    writeln!(errors, "{mistakes} mistake{plural}: Larder does not start with {name}")?;
    Ok(ExitCode::FAILURE)
}

/// The files that a start reads besides, and what it would refuse them for. What it would make isn't missed.
fn unusable_files(config: &Config) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(tls) = &config.http.tls
        // Its own certificate is made at the start; one that is ordered comes when it comes.
        && !matches!(tls.source, CertificateSource::Own { .. })
        && let Err(error) = Tls::load(certificates::tls_files(tls, config))
    {
        sentences.push(format!("http.tls: {}", with_causes(&error)));
    }
    sentences.extend(certificates::unusable_files(config));
    let is_there = |path: &Path| path.try_exists().unwrap_or(true);
    for path in users_files(config).into_iter().filter(|path| is_there(path)) {
        if let Err(error) = Users::open([path]) {
            sentences.push(with_causes(&error));
        }
    }
    sentences
}

/// An error and what led to it, on one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests;
