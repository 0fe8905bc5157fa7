//! Memory of a server that many phones have registered at, a minute after the last of them: what is left then is what a phone
//! costs. It is the proportional set size (proc(5), `smaps_rollup`) of all its processes, so what Kamailio's share
//! counts once.

use super::{
    cpu,
    plan::Plan,
    rows::Measure,
    servers::{REALM, Server, Side},
};
use crate::{Error, Result, crowd::Crowd, flood::Generator};
use std::time::Duration;

const LATER: Duration = Duration::from_secs(60);
/// Per phone, to register all.
const PATIENCE: Duration = Duration::from_millis(5);

/// Bytes.
pub fn resident(roots: &[u32]) -> Result<f64> {
    let mut sum = 0;
    for id in cpu::tree(roots)? {
        let path = format!("/proc/{id}/smaps_rollup");
        let text = std::fs::read_to_string(&path).map_err(Error::io(path))?;
        sum += pss_kib(&text).unwrap_or(0);
    }
    Ok(sum as f64 * 1024.0)
}

fn pss_kib(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
}

pub fn per_phone(side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    let (server, phones) = (Server::start(side, plan)?, plan.phones());
    let empty = resident(&server.processes())?;
    server.import(&[&Crowd::new(REALM, phones)?])?;
    let before = resident(&server.processes())?;
    let mut generator = Generator::new(server.sip()?, REALM, phones)?;
    let patience = PATIENCE.saturating_mul(u32::try_from(phones).unwrap_or(u32::MAX));
    generator.register(Duration::from_secs(60) + patience)?;
    std::thread::sleep(LATER);
    let after = resident(&server.processes())?;
    server.stop()?;
    let each = |bytes: f64| bytes / phones as f64;
    let mut all = vec![Measure::new("memory", each(after - before))];
    // Kamailio's configuration has one password for all.
    if side == Side::Dots {
        all.push(Measure::new("memory-account", each(before - empty)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_take_some_ourselves() {
        assert!(resident(&[std::process::id()]).unwrap() > 100_000.0);
        assert_eq!(pss_kib("Rss:  9 kB\nPss_Anon: 3 kB\nPss:    2020 kB\n"), Some(2_020));
    }
}
