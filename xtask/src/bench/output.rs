//! What was measured, as a table and as JSON.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Options;
use super::stand::{EVERYBODY, Who};
use crate::failure::Result;
use crate::places;
use crate::process::Run;
use crate::report::Report;

/// What has been looked at and what it cost.
pub(super) struct Results {
    pub(super) report: Report,
    pub(super) figures: Figures,
}

/// All figures, in the order in which cases were first measured.
#[derive(Default)]
pub(super) struct Figures {
    rows: Vec<Row>,
}

/// One kind of cost of one run.
pub(super) struct Figure {
    pub(super) unit: &'static str,
    pub(super) value: f64,
    /// The rest of what is known of the run.
    pub(super) raw: Value,
}

/// One kind of cost in one case, whose name's first word is the group that it stands in.
struct Row {
    case: String,
    unit: &'static str,
    samples: Vec<Sample>,
}

struct Sample {
    who: Who,
    round: u64,
    value: f64,
    raw: Value,
}

impl Results {
    /// Makes one run and keeps what it cost.
    pub(super) fn sample(
        &mut self,
        who: Who,
        round: u64,
        case: &str,
        run: impl FnOnce() -> Result<Vec<Figure>>,
    ) {
        for figure in
            self.report.step(&who.to_string(), &format!("{round}: {case}"), run).into_iter().flatten()
        {
            self.figures.add(case, who, round, figure);
        }
    }
}

impl Figures {
    fn add(&mut self, case: &str, who: Who, round: u64, figure: Figure) {
        let Figure { unit, value, raw } = figure;
        let sample = Sample { who, round, value, raw };
        match self.rows.iter_mut().find(|row| row.case == case && row.unit == unit) {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row { case: case.to_owned(), unit, samples: vec![sample] }),
        }
    }

    /// A table for each group: medians, and Larder's ratio to the others.
    pub(super) fn table(&self) -> String {
        let mut tables = String::new();
        let mut groups: Vec<Vec<&Row>> = Vec::new();
        for row in &self.rows {
            let known =
                groups.iter_mut().find(|group| group.iter().any(|other| other.group() == row.group()));
            match known {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        for group in groups {
            let others: &[Who] = match group.iter().any(|row| row.of(Who::HashAndWrite).next().is_some()) {
                true => &[Who::HashAndWrite, Who::DockerRegistry],
                false => &[Who::Nginx, Who::DockerRegistry],
            };
            let columns = || others.iter().chain([&Who::Larder]);
            tables.push_str(&format!("{:<40} {:<11}", "case", "unit"));
            columns().for_each(|who| tables.push_str(&format!(" {who:>15}")));
            others.iter().for_each(|who| tables.push_str(&format!(" {:>16}", format!("/{who}"))));
            for row in &group {
                tables.push_str(&format!("\n{:<40} {:<11}", row.case, row.unit));
                columns().for_each(|who| tables.push_str(&format!(" {:>15}", shown(row.median(*who)))));
                others.iter().for_each(|who| tables.push_str(&format!(" {:>16}", shown(row.ratio(*who)))));
            }
            tables.push_str("\n\n");
        }
        tables
    }

    /// Everything, with what is to be known of the machine. Returns the file's path.
    pub(super) fn write(&self, options: &Options) -> Result<PathBuf> {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let all = json!({ "machine": machine()?, "rounds": options.rounds, "seconds": options.time.as_secs_f64(), "cases": rows });
        let dir = places::target().join("bench");
        fs::create_dir_all(&dir)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let path = dir.join(format!("{now}.json"));
        fs::write(&path, format!("{all:#}\n"))?;
        Ok(path)
    }
}

impl Row {
    fn group(&self) -> &str {
        self.case.split(' ').next().unwrap_or_default()
    }

    fn of(&self, who: Who) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.who == who)
    }

    fn median(&self, who: Who) -> Option<f64> {
        median(self.of(who).map(|sample| sample.value).collect())
    }

    /// The median of what Larder's figure is of another's in the same round: what slows a whole round down cancels.
    fn ratio(&self, other: Who) -> Option<f64> {
        let of_round = |larder: &Sample| {
            let other = self.of(other).find(|sample| sample.round == larder.round)?;
            (other.value > 0.0).then(|| larder.value / other.value)
        };
        median(self.of(Who::Larder).filter_map(of_round).collect())
    }

    fn json(&self) -> Value {
        let everybody = EVERYBODY.iter().chain([&Who::HashAndWrite]);
        let medians: Value =
            everybody.clone().map(|who| (who.to_string(), json!(self.median(*who)))).collect();
        let others = everybody.filter(|who| **who != Who::Larder);
        let ratios: Value = others.map(|who| (who.to_string(), json!(self.ratio(*who)))).collect();
        let samples: Vec<Value> = self.samples.iter().map(Sample::json).collect();
        json!({
            "case": self.case,
            "unit": self.unit,
            "median": medians,
            "larder to": ratios,
            "samples": samples,
        })
    }
}

impl Sample {
    fn json(&self) -> Value {
        json!({ "server": self.who.to_string(), "round": self.round, "value": self.value, "raw": self.raw })
    }
}

/// The middle value; of an even number the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values.get(values.len() / 2 - 1)? + upper) / 2.0)
}

/// Three digits that mean something, or a dash.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// The processor, the kernel and the programs.
fn machine() -> Result<Value> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let said = |program: &str, argument: &str| {
        let said = Run::new(program).arg(argument).output().map(|output| output.all());
        said.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
    };
    Ok(json!({
        "cpu": model.map(|(_, model)| model),
        "cores": std::thread::available_parallelism()?.get(),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "nginx": said("nginx", "-v"),
        "docker-registry": said("docker-registry", "--version"),
        "wrk": said("wrk", "-v"),
        "larder": said(&crate::dist::release()?.to_string_lossy(), "version"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut figures = Figures::default();
        // A machine that is twice as slow in the second round.
        for (round, slowness) in [(1, 1.0), (2, 2.0)] {
            for (who, value) in [(Who::Nginx, 10.0), (Who::Larder, 15.0)] {
                figures.add("a", who, round, Figure { unit: "u", value: value * slowness, raw: Value::Null });
            }
        }
        assert_eq!(figures.rows[0].ratio(Who::Nginx), Some(1.5));
        assert_eq!(figures.rows[0].ratio(Who::DockerRegistry), None);
        assert!(figures.table().contains("1.50"), "{}", figures.table());
    }

    #[test]
    fn each_group_has_its_own_table() {
        let mut figures = Figures::default();
        let samples = [
            ("plain a", Who::Nginx, 10.0),
            ("plain a", Who::Larder, 15.0),
            ("push b", Who::HashAndWrite, 2.0),
            ("push b", Who::Larder, 5.0),
            ("plain c", Who::Nginx, 1.0),
        ];
        for (case, who, value) in samples {
            figures.add(case, who, 1, Figure { unit: "u", value, raw: Value::Null });
        }
        let table = figures.table();
        let (plain, push) = table.split_once("\n\n").unwrap();
        assert!(plain.contains("/nginx") && plain.contains("1.50") && plain.contains("plain c"), "{table}");
        assert!(push.contains("/hash+write") && push.contains("2.50") && !push.contains("nginx"), "{table}");
    }
}
