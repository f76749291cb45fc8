//! `larder mirror bench`: which of some mirrors is the quickest from here.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::Subcommand;
use larder_doctor::{Measured, Target, measure};
use serde_json::json;

/// `larder mirror`
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Mirror {
    /// Measure mirrors of an upstream: the way to each, a real manifest, a real blob; and order them for the configuration.
    Bench {
        /// The mirrors, and the upstream itself: https://mirror.gcr.io https://registry-1.docker.io
        #[arg(required = true)]
        mirrors: Vec<String>,
        /// The image to ask for, as the upstream calls it.
        #[arg(long, value_name = "NAME:TAG", default_value = "library/alpine:latest")]
        image: String,
        /// Print the figures as JSON, in seconds and bytes.
        #[arg(long)]
        json: bool,
    },
}

/// Measures one mirror after the other, so that none is in another's way.
pub(crate) fn run(command: &Mirror, out: &mut impl Write) -> Result<ExitCode, Box<dyn Error>> {
    let Mirror::Bench { mirrors, image, json } = command;
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let (name, tag) = (name.parse()?, tag.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut measured, mut failed) = (Vec::new(), Vec::new());
    let shows_progress = io::stderr().is_terminal();
    for (number, mirror) in mirrors.iter().enumerate() {
        if shows_progress {
            eprint!("\r\x1b[K[{}/{}] {mirror}", number + 1, mirrors.len());
        }
        let target: Target = mirror.parse()?;
        match runtime.block_on(measure(&target, &name, &tag)) {
            Ok(figures) => measured.push((mirror.as_str(), figures)),
            Err(error) => failed.push((mirror.as_str(), error.to_string())),
        }
    }
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    measured.sort_by_key(|(_, figures)| figures.image());
    if *json {
        print_json(out, &measured, &failed)?;
    } else {
        print(out, &measured, &failed)?;
    }
    Ok(if measured.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(out: &mut impl Write, measured: &[(&str, Measured)], failed: &[(&str, String)]) -> io::Result<()> {
    let width = measured.iter().map(|(mirror, _)| mirror.len()).max().unwrap_or(6).max(6);
    writeln!(
        out,
        "{:<width$}  {:>9}  {:>9}  {:>10}  {:>11}  {:>12}",
        "mirror", "connect", "manifest", "first byte", "throughput", "50 MB image"
    )?;
    for (mirror, figures) in measured {
        writeln!(
            out,
            "{mirror:<width$}  {:>7.3} s  {:>7.3} s  {:>8.3} s  {:>6.1} MB/s  {:>10.1} s",
            figures.connect.as_secs_f64(),
            figures.manifest.as_secs_f64(),
            figures.blob.as_secs_f64(),
            figures.throughput / 1e6,
            figures.image().as_secs_f64(),
        )?;
    }
    for (mirror, why) in failed {
        writeln!(out, "{mirror}: {why}")?;
    }
    if !measured.is_empty() {
        let urls: Vec<String> = measured.iter().map(|(mirror, _)| format!("\"{mirror}\"")).collect();
        writeln!(
            out,
            "\nThe quickest first, for the upstream's entry in config.yml:\n    urls: [{}]",
            urls.join(", ")
        )?;
    }
    Ok(())
}

fn print_json(
    out: &mut impl Write,
    measured: &[(&str, Measured)],
    failed: &[(&str, String)],
) -> io::Result<()> {
    let measured = measured.iter().map(|(mirror, figures)| {
        json!({
            "mirror": mirror,
            "connect": figures.connect.as_secs_f64(),
            "manifest": figures.manifest.as_secs_f64(),
            "first_byte": figures.blob.as_secs_f64(),
            "throughput": figures.throughput,
            "image_of_50_mb": figures.image().as_secs_f64(),
        })
    });
    let failed = failed.iter().map(|(mirror, why)| json!({ "mirror": mirror, "error": why }));
    let all: Vec<_> = measured.chain(failed).collect();
    writeln!(out, "{:#}", json!({ "mirrors": all }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn figures(seconds: u64, throughput: f64) -> Measured {
        let time = Duration::from_secs(seconds);
        Measured { connect: time, manifest: time, blob: time, throughput, read: 1 }
    }

    #[test]
    fn the_table_ends_with_the_line_for_the_configuration() {
        let mut out = Vec::new();
        let measured = [("https://a", figures(0, 5e7)), ("https://b", figures(1, 1e6))];
        print(&mut out, &measured, &[("https://c", "no answer".to_owned())]).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("https://a    0.000 s") && text.contains("50.0 MB/s"), "{text}");
        assert!(text.contains("https://c: no answer"), "{text}");
        assert!(text.ends_with("urls: [\"https://a\", \"https://b\"]\n"), "{text}");
    }

    #[test]
    fn throughput_counts_for_large_images_and_waiting_for_small_ones() {
        assert!(figures(0, 5e7).image() < figures(1, 5e7).image());
        assert!(figures(0, 5e7).image() < figures(0, 1e6).image());
        assert!(figures(0, 0.0).image() > Duration::from_secs(3600));
    }
}
