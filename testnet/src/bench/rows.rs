//! The rows of the table: what each is called and counted in, which way is better, and what we want of it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Of Kamailio's value, at most.
    Ratio(f64),
    /// Of our own, at most or at least, by what is better.
    Value(f64),
    None,
}

#[derive(Debug, PartialEq)]
pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
    pub goal: Goal,
    pub what: &'static str,
}

/// One number of one server of one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    pub row: &'static str,
    pub value: f64,
}

impl Measure {
    pub fn new(row: &'static str, value: f64) -> Measure {
        debug_assert!(find(row).is_some(), "{row} is a row");
        Measure { row, value }
    }
}

const fn row(name: &'static str, unit: &'static str, better: Better, goal: Goal, what: &'static str) -> Row {
    Row { name, unit, better, goal, what }
}

/// In the order in which they are printed.
pub const ROWS: [Row; 16] = [
    row("register", "us CPU", Better::Less, Goal::Ratio(0.5), "REGISTER with digest, new"),
    row("refresh", "us CPU", Better::Less, Goal::Ratio(0.4), "REGISTER with digest, again"),
    row("call", "us CPU", Better::Less, Goal::Ratio(0.6), "call through one server, authenticated"),
    row("two-peers", "us CPU", Better::Less, Goal::Ratio(1.2), "call across two peers, both added"),
    row("memory", "B", Better::Less, Goal::Value(1_024.0), "resident per registered phone, a minute later"),
    row("memory-account", "B", Better::Less, Goal::None, "resident per account, no phone"),
    row("best", "200s/s", Better::More, Goal::None, "refreshes, as fast as they are answered"),
    row(
        "overload",
        "% of best",
        Better::More,
        Goal::Value(80.0),
        "200s/s under overload (of no more than were asked)",
    ),
    row("overload-refresh", "%", Better::More, Goal::Value(99.0), "refreshes answered under overload"),
    row("overload-refused", "us CPU", Better::Less, Goal::Value(10.0), "one refused REGISTER"),
    row("overload-memory", "MB", Better::Less, Goal::Value(64.0), "growth by the overload, at its most"),
    row("overload-drops", "%", Better::Less, Goal::None, "datagrams that the kernel dropped"),
    row("overload-uncounted", "drops", Better::Less, Goal::Value(0.0), "of these not in sip_kernel_drops"),
    row(
        "overload-lost",
        "bindings",
        Better::Less,
        Goal::Value(0.0),
        "acknowledged, and gone or shorter after SIGKILL",
    ),
    row("latency-p50", "us", Better::Less, Goal::None, "added to an INVITE at half load, median"),
    row("latency-p99", "us", Better::Less, Goal::Value(1_000.0), "the same, 99 of 100"),
];

pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_once() {
        let names: std::collections::BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(find("register").is_some() && find("registers").is_none());
    }
}
