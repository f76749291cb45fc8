//! `larder backup` and `larder restore`.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use larder_core::backup::{
    Backup as Made, BackupVerified, CopyProgress, LeftOut, Restored, backup, backup_stream, prune,
    restore_stream, snapshots, verify_backup,
};
use larder_storage::Disk;

use crate::cli::{Backup, BackupCommand, Restore};
use crate::config::Environment;
use crate::data_place;
use crate::progress::{Progress, size};
use crate::words::counted;

/// Makes a backup, or looks at what there is.
///
/// # Errors
/// Whatever kept it from being made. Damaged blobs of the registry are an outcome, with exit code 1.
pub(crate) fn run(
    command: &Backup,
    environment: &Environment,
    may_use_system_directory: bool,
    output: &mut impl Write,
) -> Result<ExitCode, Box<dyn Error>> {
    match (&command.command, &command.destination) {
        (Some(BackupCommand::Verify { destination }), _) => verify(destination, output),
        (Some(BackupCommand::List { destination }), _) => {
            for name in snapshots(&Disk::open_for_reading(destination)?)? {
                writeln!(output, "{name}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(destination)) => {
            let data = data_place::root(&command.place, environment, may_use_system_directory)?;
            if destination == Path::new("-") {
                return stream(&data);
            }
            let made = with_progress(|progress| backup(&data, destination, SystemTime::now(), progress))?;
            writeln!(
                output,
                "snapshot {}: {} files and {} blobs, of which {} ({}) were new",
                made.snapshot,
                made.files,
                made.blobs,
                made.copied,
                size(made.copied_bytes)
            )?;
            let code = warn(&made);
            if let Some(keep) = command.keep {
                let (removed, blobs) = prune(destination, usize::try_from(keep)?)?;
                writeln!(
                    output,
                    "removed {removed} older snapshots and {blobs} blobs that only they needed"
                )?;
            }
            Ok(code)
        }
        (None, None) => Err("name the directory for the backup".into()),
    }
}

/// Makes a data directory from a backup.
///
/// # Errors
/// The directory isn't empty, or the backup can't be read.
pub(crate) fn restore(command: &Restore, output: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let Restore { source, data, snapshot } = command;
    let restored: Restored = if source == Path::new("-") {
        with_progress(|progress| restore_stream(io::stdin().lock(), data, progress))?
    } else if source.metadata().map_err(|error| format!("{}: {error}", source.display()))?.is_dir() {
        with_progress(|progress| larder_core::backup::restore(source, snapshot.as_deref(), data, progress))?
    } else {
        with_progress(|progress| restore_stream(File::open(source).map_err(opened(source))?, data, progress))?
    };
    let from = restored.snapshot.as_ref().map_or_else(String::new, |name| format!(" from snapshot {name}"));
    writeln!(
        output,
        "restored {} files and {} blobs ({}) into {}{from}",
        restored.files,
        restored.blobs,
        size(restored.bytes),
        data.display()
    )?;
    list_damage("the backup's blob", &restored.damaged);
    note_absent(restored.absent);
    Ok(if restored.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn opened(path: &Path) -> impl FnOnce(io::Error) -> larder_core::backup::BackupError {
    let what = path.display().to_string();
    move |source| larder_core::backup::BackupError::Archive { what, source }
}

fn stream(data: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let stdout = io::stdout().lock();
    if stdout.is_terminal() {
        return Err("standard output is a terminal: send the archive into a file or a pipe".into());
    }
    let made =
        with_progress(|progress| backup_stream(data, BufWriter::with_capacity(1 << 20, stdout), progress))?;
    eprintln!("{} files and {} blobs ({})", made.files, made.blobs, size(made.copied_bytes));
    Ok(warn(&made))
}

fn verify(destination: &Path, output: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let found: BackupVerified = with_progress(|progress| verify_backup(destination, progress))?;
    for LeftOut { digest, problem } in &found.damaged {
        writeln!(
            output,
            "damaged blob {digest}: {problem}; it was moved away, and the next backup brings it again"
        )?;
    }
    for (name, problem) in &found.unreadable {
        writeln!(output, "snapshot {name} can't be read: {problem}")?;
    }
    for lacks in &found.lacking {
        writeln!(output, "snapshot {} lacks {}, which {} names", lacks.snapshot, lacks.digest, lacks.link)?;
    }
    let verdict =
        if found.is_clean() { "all can be restored whole" } else { "not all can be restored whole" };
    writeln!(
        output,
        "{} and {} ({}): {verdict}",
        counted(found.snapshots.len() as u64, "snapshot"),
        counted(found.blobs, "blob"),
        size(found.bytes)
    )?;
    Ok(if found.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what the registry itself couldn't have served.
fn warn(made: &Made) -> ExitCode {
    list_damage("the registry's blob", &made.damaged);
    note_absent(made.absent);
    if made.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list_damage(whose: &str, damaged: &[LeftOut]) {
    for LeftOut { digest, problem } in damaged {
        eprintln!("{whose} {digest} is damaged: {problem}; larder verify says which images that breaks");
    }
}

fn note_absent(absent: u64) {
    if absent > 0 {
        eprintln!(
            "{absent} links name content that is not there, as registry:2's garbage collection leaves them; \
             larder verify says whether images need it"
        );
    }
}

fn with_progress<T, E>(work: impl FnOnce(&mut dyn FnMut(CopyProgress)) -> Result<T, E>) -> Result<T, E> {
    let mut progress = Progress::new();
    work(&mut |at: CopyProgress| {
        let part = (at.bytes_to_copy > 0).then(|| at.bytes as f64 / at.bytes_to_copy as f64);
        progress.show(part, at.bytes, &format!("{} of {} blobs", at.blobs, at.blobs_to_copy));
    })
}
