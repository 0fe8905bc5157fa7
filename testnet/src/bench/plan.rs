//! What is to be measured, and how long.

use crate::{Result, process};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Part {
    /// REGISTER with digest: new, and the same again
    Register,
    /// A call through one server
    Call,
    /// A call across two peers
    TwoPeers,
    /// Resident memory per registered phone
    Memory,
    /// 30,000 REGISTERs a second
    Overload,
    /// What a server adds to the way of an INVITE
    Latency,
}

/// How much load.
#[derive(clap::Args)]
pub struct Plan {
    /// What to measure [default: all]
    #[arg(value_enum)]
    pub parts: Vec<Part>,
    /// One pair with fewer operations
    #[arg(long)]
    quick: bool,
    /// How often each server runs, in turns [default: 3]
    #[arg(long)]
    pairs: Option<usize>,
    /// Users that register, and refresh once [default: 20000]
    #[arg(long)]
    users: Option<usize>,
    /// REGISTERs a second
    #[arg(long, default_value_t = 500)]
    pub rate: usize,
    /// [default: 5000]
    #[arg(long)]
    calls: Option<usize>,
    /// Calls a second
    #[arg(long, default_value_t = 200)]
    pub call_rate: usize,
    /// Registered phones whose memory is measured [default: 100000]
    #[arg(long)]
    phones: Option<usize>,
    /// Seconds of overload [default: 30]
    #[arg(long)]
    flood: Option<u64>,
    /// The `dots` that is measured [default: the release build beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// What that was built from [default: the commit of these sources]
    #[arg(long)]
    pub commit: Option<String>,
    /// Where the numbers are kept, and where those before are found [default: testnet/bench/results.csv]
    #[arg(long, value_name = "FILE.csv")]
    results: Option<PathBuf>,
    /// Keep nothing
    #[arg(long)]
    pub forget: bool,
    /// Fail where something is more than a quarter worse than when it was last kept
    #[arg(long)]
    pub compare: bool,
}

impl Plan {
    pub fn name(&self) -> &'static str {
        if self.quick { "quick" } else { "full" }
    }
    fn choose<T>(&self, given: Option<T>, full: T, quick: T) -> T {
        given.unwrap_or(if self.quick { quick } else { full })
    }
    pub fn pairs(&self) -> usize {
        self.choose(self.pairs, 3, 1).max(1)
    }
    pub fn users(&self) -> usize {
        self.choose(self.users, 20_000, 2_000).max(2)
    }
    pub fn calls(&self) -> usize {
        self.choose(self.calls, 5_000, 1_000).max(1)
    }
    pub fn phones(&self) -> usize {
        self.choose(self.phones, 100_000, 10_000).max(1)
    }
    pub fn flood(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.choose(self.flood, 30, 10).max(1))
    }
    pub fn parts(&self) -> Vec<Part> {
        use clap::ValueEnum;
        if self.parts.is_empty() { Part::value_variants().to_vec() } else { self.parts.clone() }
    }
    pub fn results(&self) -> PathBuf {
        let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/results.csv");
        self.results.clone().unwrap_or_else(usual)
    }

    /// The release build beside us, if it is there and of these sources; else whatever is.
    pub fn binary(&self) -> Result<PathBuf> {
        match (self.binary.clone(), process::release_binary()?) {
            (Some(binary), _) | (None, Some(binary)) => Ok(binary),
            (None, None) => process::binary(),
        }
    }

    /// Said loudly: numbers of a debug build say nothing about the peer that people run.
    pub fn warn_of_debug_build(&self) -> Result<()> {
        if self.binary.is_none() && process::release_binary()?.is_none() {
            eprintln!(
                "!!! NO RELEASE BUILD of these sources: the debug build is measured, and its numbers say nothing"
            );
            eprintln!("!!! about the peer that people run. `testnet/bench/run` builds and measures one.");
        }
        Ok(())
    }
}
