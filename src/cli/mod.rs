//! The command line: what may be said, and who does it. `dots up` is the peer; every other command is short-lived and
//! either works on the data directory (accounts, where no peer holds it) or asks the running peer over HTTP.

mod account;
mod import;
mod show;
mod table;
#[cfg(test)]
mod tests;

use crate::{
    config::{self, Options, Settings},
    datadir,
    failure::Failure,
};
use clap::{Args, Parser, Subcommand};
use dots_clients::Client;
use serde::Serialize;
use std::{future::Future, io::Write, path::PathBuf, process::ExitCode};

/// A telephone network without an operator: SIP registrar and proxy, libp2p overlay, co-signed call receipts
#[derive(Debug, Parser)]
#[command(name = "dots", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Default, Args)]
pub struct Common {
    /// Data directory [default: $XDG_DATA_HOME/dots or ~/.local/share/dots]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file; a flag wins over it
    #[arg(long, global = true, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the peer
    Up(Settings),
    /// Print the effective configuration, as a file with comments
    Config(Settings),
    /// Accounts of this home: works while the peer runs and while it does not
    #[command(subcommand)]
    Account(account::Command),
    /// Short names for long addresses
    #[command(subcommand)]
    Alias(show::Alias),
    /// Realm names and whose they are believed to be
    Realms {
        #[command(subcommand)]
        command: Option<show::Realm>,
    },
    /// The running peer
    Status,
    /// Peers that the running peer knows
    Peers,
    /// Phones registered at the running peer
    Bindings,
    /// Where an address of record is: pending, verified, unpingable or stale, by whom and when
    Lookup { aor: String },
    /// Calls through the running peer
    Calls,
    /// Receipts of calls
    Receipts {
        /// Check every signature and rule
        #[arg(long)]
        verify: bool,
    },
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 other, 2 usage, 3 data directory in use, 4 cannot listen, \
5 unreadable key or store, 6 no running peer, 7 refused, 8 a receipt does not hold, 9 this key runs twice";

/// The whole program. `up` runs the peer.
pub fn main<F: Future<Output = Result<(), Failure>>>(up: impl FnOnce(Options) -> F) -> ExitCode {
    match run(Cli::parse(), up) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "dots: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run<F: Future<Output = Result<(), Failure>>>(
    cli: Cli,
    up: impl FnOnce(Options) -> F,
) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    match command {
        Command::Up(settings) => serve(common.options(settings)?, up),
        Command::Config(settings) => {
            say(&config::print(&common.options(settings)?));
            Ok(())
        }
        Command::Account(command) => account::run(&common, command),
        Command::Alias(command) => show::alias(&common, command),
        Command::Realms { command } => show::realms(&common, command),
        Command::Status => show::status(&common),
        Command::Peers => show::peers(&common),
        Command::Bindings => show::bindings(&common),
        Command::Lookup { aor } => show::lookup(&common, &aor),
        Command::Calls => show::calls(&common),
        Command::Receipts { verify } => show::receipts(&common, verify),
    }
}

fn serve<F: Future<Output = Result<(), Failure>>>(
    options: Options,
    up: impl FnOnce(Options) -> F,
) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(options.filter())
        .map_err(|e| Failure::Usage(format!("--log {}: {e}", options.log)))?;
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    // One thread for the loop, its sockets and the swarm: an event wakes nobody else. Disk and DNS have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Other(format!("cannot start: {e}")))?;
    runtime.block_on(up(options))
}

impl Common {
    fn options(&self, flags: Settings) -> Result<Options, Failure> {
        let file = self.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let flags = Settings { data: self.data.clone(), ..flags };
        flags.over(file).options()
    }

    /// The peer that holds the data directory.
    fn client(&self) -> Result<Client, Failure> {
        let data = self.options(Settings::default())?.data;
        match datadir::running(&data)? {
            Some((address, token)) => Ok(Client::new(address, Some(token))),
            None => Err(Failure::NoPeer(format!("no peer runs with the data directory {}", data.display()))),
        }
    }

    /// `value` where `--json` was said, else the text for people.
    fn print<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(value).map_err(|e| Failure::Other(e.to_string()))?;
            say(&format!("{json}\n"));
        } else {
            say(&text());
        }
        Ok(())
    }
}

/// To standard output. Whoever closed it has heard enough.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
