//! What a peer says once it listens: to people on standard output, to scripts in the ready file.

use crate::{
    config::{Options, SIP_PORT},
    datadir::DataDir,
    drivers::sip::local_ip_toward,
    failure::Failure,
    peer::Config,
};
use serde::Serialize;
use std::{
    io::{IsTerminal, Write},
    path::Path,
};

/// The ready file: a contract that scripts depend on.
#[derive(Serialize)]
pub(super) struct Ready {
    pub peer_id: String,
    pub sip: Vec<String>,
    pub p2p: Vec<String>,
    pub http: String,
}

/// What to type into a phone. The password goes to a terminal, or else into a file that only we can read.
pub(super) fn say(options: &Options, dir: &DataDir, config: &Config, password: Option<&str>) {
    let mut out = std::io::stdout();
    // The address toward the outside world (asking for the route sends nothing), where we listen on it.
    let outward = local_ip_toward(([192, 0, 2, 1], SIP_PORT).into()).map(|ip| ip.to_string());
    let routed =
        config.sip.iter().find(|s| outward.as_ref().is_some_and(|ip| s.starts_with(&format!("{ip}:"))));
    let server = config.advertise.as_ref().or(routed).or(config.sip.first()).cloned().unwrap_or_default();
    let realm = config.realms.first().map(String::as_str).unwrap_or_default();
    let mut text = format!("dots {} is running. In a softphone:\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  server    {server}\n"));
    match password {
        Some(password) => {
            text.push_str(&format!("  user      {}\n", options.user));
            if out.is_terminal() {
                text.push_str(&format!("  password  {password}   (shown only now)\n"));
            } else {
                let file = dir.password_file();
                text.push_str(&format!("  password  in {}\n", file.display()));
            }
        }
        None => text.push_str("  user      as before; `dots account list` shows all\n"),
    }
    text.push_str(&format!("realm {realm}; more users: dots account add NAME@{realm}\n"));
    text.push_str(&format!("HTTP http://{}\n", config.http));
    for address in &config.p2p {
        text.push_str(&format!("peer {address}\n"));
    }
    // Nobody may be reading.
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Whole or not at all: written beside, then renamed.
pub(super) fn write_ready(file: &Path, ready: &Ready) -> Result<(), Failure> {
    let text = serde_json::to_string(ready).map_err(|e| Failure::Other(e.to_string()))?;
    let beside = file.with_extension("new");
    std::fs::write(&beside, text + "\n")
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|e| Failure::Other(format!("{}: {e}", file.display())))
}
