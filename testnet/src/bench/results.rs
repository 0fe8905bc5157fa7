//! The numbers of all runs, in a file of lines that a spreadsheet reads and git keeps, so that somebody sees what has become worse.
//! Ratios compare between machines, more or less; values do not. A number is compared with the last of the same row,
//! machine and plan.

use super::rows::{Better, Goal, Row};
use crate::{Error, Result};
use std::{fs::OpenOptions, io::Write, path::Path, process::Command};

const HEAD: &str = "date,commit,plan,machine,row,unit,value,low,high,kamailio,ratio";
/// What another run of the same may differ by.
const NOISE: f64 = 1.25;

/// All pairs of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub row: &'static Row,
    pub dots: Spread,
    pub kamailio: Option<Spread>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// `None`: of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let median = match values.len() {
            0 => return None,
            n if n % 2 == 1 => values[n / 2],
            n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
        };
        Some(Spread { low: values[0], median, high: values[values.len() - 1] })
    }
}

impl Outcome {
    pub fn ratio(&self) -> Option<f64> {
        let kamailio = self.kamailio?.median;
        // Units are such that less than one of them is nothing.
        (kamailio >= 1.0).then(|| self.dots.median / kamailio)
    }

    pub fn reaches_goal(&self) -> Option<bool> {
        match (self.row.goal, self.row.better) {
            (Goal::None, _) => None,
            (Goal::Ratio(most), _) => self.ratio().map(|ratio| ratio <= most),
            (Goal::Value(most), Better::Less) => Some(self.dots.median <= most),
            (Goal::Value(least), Better::More) => Some(self.dots.median >= least),
        }
    }
}

/// Where and of what.
pub struct Context {
    pub date: String,
    pub commit: String,
    pub plan: &'static str,
    pub machine: String,
}

impl Context {
    /// `commit`: where the sources beside this program are not what is measured.
    pub fn new(plan: &'static str, commit: Option<&str>) -> Context {
        let (model, cores) = (cpu_model(), std::thread::available_parallelism().map_or(0, usize::from));
        let machine = format!("{cores} x {model}").replace(',', " ");
        let commit = commit.map_or_else(own_commit, |commit| commit.replace(',', " "));
        Context { date: said("date", &["-u", "+%FT%RZ"]), commit, plan, machine }
    }
}

/// With a `+` where something is not committed.
fn own_commit() -> String {
    let sources = env!("CARGO_MANIFEST_DIR");
    let head = said("git", &["-C", sources, "rev-parse", "--short", "HEAD"]);
    let changed = said("git", &["-C", sources, "status", "--porcelain", "--untracked-files=no"]);
    match (head.is_empty(), changed.is_empty()) {
        (true, _) => "unknown".to_owned(),
        (false, true) => head,
        (false, false) => format!("{head}+"),
    }
}

/// What else a reader of the numbers wants to know; the load before shows whether others work here too.
pub fn machine_now() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = file("/proc/meminfo").lines().next().unwrap_or_default().replace("MemTotal:", "");
    let kernel = file("/proc/sys/kernel/osrelease");
    let load = file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!("{} memory, Linux {}, load before {load}", memory.trim(), kernel.trim())
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model).trim().to_owned()
}

fn said(program: &str, words: &[&str]) -> String {
    let out = Command::new(program).args(words).output();
    out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

/// The last kept value of a row: its ratio where it has one, since that survives a change of load.
pub fn last(text: &str, context: &Context, outcome: &Outcome) -> Option<f64> {
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let is_same = |line: &Vec<String>| {
        let field = |n: usize| line.get(n).map_or("", String::as_str);
        field(2) == context.plan && field(3) == context.machine && field(4) == outcome.row.name
    };
    let line = text.lines().map(fields).rfind(is_same)?;
    line.get(if outcome.ratio().is_some() { 10 } else { 6 })?.parse().ok()
}

/// By what factor worse than the last: above 1 is worse.
pub fn change(outcome: &Outcome, last: f64) -> f64 {
    let now = outcome.ratio().unwrap_or(outcome.dots.median);
    // One more than nothing is worse too, and not infinitely.
    let quotient = |a: f64, b: f64| (a.max(0.0) + 1e-6) / (b.max(0.0) + 1e-6);
    match outcome.row.better {
        Better::Less => quotient(now, last),
        Better::More => quotient(last, now),
    }
}

pub fn is_worse(change: f64) -> bool {
    change > NOISE
}

pub fn keep(path: &Path, context: &Context, outcomes: &[Outcome]) -> Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(Error::io(path.display().to_string()))?;
    let mut text = String::new();
    if file.metadata().is_ok_and(|m| m.len() == 0) {
        text.push_str(HEAD);
        text.push('\n');
    }
    for outcome in outcomes {
        text.push_str(&line(context, outcome));
        text.push('\n');
    }
    file.write_all(text.as_bytes()).map_err(Error::io(path.display().to_string()))
}

fn line(context: &Context, outcome: &Outcome) -> String {
    let Context { date, commit, plan, machine } = context;
    let Spread { low, median, high } = outcome.dots;
    let kamailio = outcome.kamailio.map(|k| format!("{:.1}", k.median)).unwrap_or_default();
    let ratio = outcome.ratio().map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
    let Row { name, unit, .. } = outcome.row;
    format!(
        "{date},{commit},{plan},{machine},{name},{unit},{median:.1},{low:.1},{high:.1},{kamailio},{ratio}"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::rows::find, *};

    fn outcome(row: &str, dots: f64, kamailio: Option<f64>) -> Outcome {
        let kamailio = kamailio.and_then(|k| Spread::of(vec![k]));
        Outcome { row: find(row).unwrap(), dots: Spread::of(vec![dots]).unwrap(), kamailio }
    }

    fn context(plan: &'static str) -> Context {
        Context { date: "d".into(), commit: "c".into(), plan, machine: "2 x m".into() }
    }

    #[test]
    fn median_and_range() {
        let spread = |low, median, high| Some(Spread { low, median, high });
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), spread(1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]), spread(1.0, 2.5, 4.0));
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.csv");
        let register = |us| outcome("register", us, Some(100.0));
        keep(&path, &context("full"), &[register(50.0), outcome("overload-lost", 0.0, None)]).unwrap();
        keep(&path, &context("full"), &[register(40.0)]).unwrap();
        keep(&path, &context("quick"), &[register(90.0)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().next(), Some(HEAD));
        assert!(text.lines().all(|line| line.split(',').count() == HEAD.split(',').count()), "{text}");
        assert_eq!(last(&text, &context("full"), &register(1.0)), Some(0.4));
        assert_eq!(last(&text, &context("quick"), &register(1.0)), Some(0.9));
        assert_eq!(last(&text, &context("full"), &outcome("overload-lost", 5.0, None)), Some(0.0));
        assert_eq!(last(&text, &context("full"), &outcome("call", 5.0, Some(1.0))), None);
    }

    #[test]
    fn worse_is_worse_either_way() {
        for (row, dots, kamailio, last, worse) in [
            ("register", 50.0, Some(100.0), 0.5, false),
            ("register", 50.0, Some(100.0), 0.3, true),
            ("register", 30.0, Some(100.0), 0.9, false),
            ("best", 1_000.0, None, 5_000.0, true),
            ("best", 5_000.0, None, 1_000.0, false),
            ("overload-lost", 0.0, None, 0.0, false),
            ("overload-lost", 1.0, None, 0.0, true),
        ] {
            let change = change(&outcome(row, dots, kamailio), last);
            assert_eq!(is_worse(change), worse, "{row} {dots} {last}: {change}");
        }
    }

    #[test]
    fn goals() {
        for (row, dots, kamailio, reached) in [
            ("register", 50.0, Some(100.0), Some(true)),
            ("register", 51.0, Some(100.0), Some(false)),
            ("register", 51.0, None, None),
            ("overload", 85.0, Some(10.0), Some(true)),
            ("overload-refresh", 98.0, None, Some(false)),
            ("best", 1.0, None, None),
            ("register", 1.0, Some(0.1), None),
        ] {
            assert_eq!(outcome(row, dots, kamailio).reaches_goal(), reached, "{row} {dots}");
        }
    }
}
