//! `larder verify`: looks at everything that is stored.
//!
//! Looking needs no lock: it goes on beside a running server, changes nothing and is told what the server changes.
//! Repairing does. Where a server holds the lock, it is asked by a file to do it, and what it finds is shown here.

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use larder_core::{OfflinePass, PASS_FILE, Pass, REQUEST_FILE, Stage, VerifyReport};
use larder_storage::{StorageError, replace_file};

use crate::cli::Verify;
use crate::config::Environment;
use crate::data_place;
use crate::progress::{Progress, size};

/// How long a running server has to take up a request. It looks every second.
const TAKE_UP_WITHIN: Duration = Duration::from_secs(30);

/// How often is looked how far the server is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often it is written down how far a pass is.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Looks, and prints what was found; the exit code says whether all is well.
///
/// # Errors
/// The directory can't be read, or nobody takes up the repair.
pub(crate) fn run(
    command: &Verify,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    let root = data_place::root(&command.place, environment, may_use_system_directory)?;
    let report = if command.repair {
        match OfflinePass::repairing(&root) {
            Ok(pass) => look(pass, None)?,
            Err(error) if data_place::is_locked(&error) => ask_the_server(&root)?,
            Err(error) => return Err(error.into()),
        }
    } else {
        let resumed = match &command.resume {
            Some(file) => read_pass(file)?.filter(|pass| pass.finished.is_none()),
            None => None,
        };
        look(OfflinePass::reading(&root, resumed)?, command.resume.as_deref())?
    };
    if command.json {
        serde_json::to_writer_pretty(&mut *output, &report)?;
        writeln!(output)?;
    } else {
        describe(&report, command.repair, output)?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Goes to the end of a pass.
fn look(mut offline: OfflinePass, resume: Option<&Path>) -> Result<VerifyReport, Box<dyn Error>> {
    let mut progress = Progress::new();
    let mut saved = Instant::now();
    loop {
        let (part, before) = (offline.pass.part_done(), offline.pass.report.bytes);
        let mut within = 0;
        let mut pace = |bytes| {
            within += bytes;
            progress.show(Some(part), before + within, "");
            ControlFlow::Continue(())
        };
        let stage = offline.step(&mut pace)?;
        let is_through = stage == Stage::Finished;
        if is_through || saved.elapsed() >= SAVE_EVERY {
            saved = Instant::now();
            offline.save()?;
            if let Some(file) = resume {
                replace_file(file, &serde_json::to_vec(&offline.pass)?, Some(0o600))?;
            }
        }
        if is_through {
            return Ok(offline.pass.report);
        }
    }
}

fn ask_the_server(root: &Path) -> Result<VerifyReport, Box<dyn Error>> {
    eprintln!("a running Larder works on {}: it is asked to look and repair", root.display());
    let request = root.join(REQUEST_FILE);
    replace_file(&request, b"repair\n", Some(0o600))?;
    let (begun, mut progress) = (Instant::now(), Progress::new());
    loop {
        std::thread::sleep(LOOK_EVERY);
        // The server takes the request away when it has begun its account of the pass.
        if request.try_exists()? {
            if begun.elapsed() > TAKE_UP_WITHIN {
                return Err(format!(
                    "nobody takes up {}: the process that works on the directory is no server, or an older one; \
                     stop it and repair then",
                    request.display()
                )
                .into());
            }
            continue;
        }
        if let Some(pass) = read_pass(&root.join(PASS_FILE))? {
            if pass.finished.is_some() {
                return Ok(pass.report);
            }
            progress.show(Some(pass.part_done()), pass.report.bytes, "");
        }
    }
}

fn read_pass(path: &Path) -> Result<Option<Pass>, Box<dyn Error>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            let error = StorageError::Io {
                operation: larder_storage::DiskOperation::Read,
                path: path.to_owned(),
                source,
            };
            Err(error.into())
        }
    }
}

fn describe(report: &VerifyReport, repaired: bool, output: &mut impl Write) -> Result<(), Box<dyn Error>> {
    for blob in &report.damaged {
        let whither = match &blob.moved_to {
            Some(path) => format!("; it was moved to {} and is not served", path.display()),
            None => String::new(),
        };
        writeln!(output, "damaged blob {}: {}{whither}", blob.digest, blob.problem)?;
    }
    for fault in &report.faults {
        let end = match (fault.mended, fault.mendable) {
            (true, _) => ": mended",
            (false, true) if !repaired => ": --repair mends it",
            _ => "",
        };
        writeln!(output, "fault: {}{end}", fault.problem)?;
    }
    for image in &report.broken {
        writeln!(output, "broken image {}", image.names())?;
        for lack in &image.lacks {
            writeln!(output, "    {} is {}", lack.digest, lack.why)?;
        }
    }
    writeln!(
        output,
        "{} blobs ({}) and {} links in {} repositories: {}",
        report.blobs,
        size(report.bytes),
        report.links,
        report.repositories,
        if report.is_clean() { "all is well".to_owned() } else { verdict(report) }
    )?;
    Ok(())
}

fn verdict(report: &VerifyReport) -> String {
    let left = report.faults.iter().filter(|fault| !fault.mended).count();
    format!(
        "{} damaged blobs, {} broken images, {left} faults. Push broken images again to mend them.",
        report.damaged.len(),
        report.broken.len()
    )
}

#[cfg(test)]
mod tests;
