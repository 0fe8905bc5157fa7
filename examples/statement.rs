//! How long did whom talk with whom? Adds up the receipts of a running peer, after checking each.
//!
//! ```sh
//! cargo run --example statement -- 127.0.0.1:8080 ~/.local/share/dots/http.token
//! ```

use dots_clients::Client;
use std::{collections::BTreeMap, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(token)) = (args.next(), args.next()) else {
        return Err("usage: statement HOST:PORT TOKEN-FILE".into());
    };
    let client = Client::new(address, Some(std::fs::read_to_string(token)?));
    let me = client.status()?.peer_id;

    let mut talked: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for receipt in client.receipts(true)? {
        if receipt.state != "whole" || receipt.verified != Some(true) {
            eprintln!("not counted: {} ({} {:?})", receipt.call_id, receipt.state, receipt.error);
            continue;
        }
        let other = if receipt.originating == me { receipt.terminating } else { receipt.originating };
        let (calls, ms) = talked.entry(other).or_default();
        *calls += 1;
        *ms += receipt.duration_ms;
    }
    for (peer, (calls, ms)) in talked {
        println!("{peer}  {calls} calls  {}.{:03} s", ms / 1000, ms % 1000);
    }
    Ok(())
}
