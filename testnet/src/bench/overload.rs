//! What a server does when more is asked than it can answer: 30,000 REGISTERs a second from another core, a third of them right,
//! a third without digest, a third from forged addresses. It should go on registering those who have a right to it, at
//! a price for the others that it can pay, and lose nothing that it has promised: afterwards it is killed with SIGKILL, and
//! what it said 200 to has to be there.

use super::{
    cores, cpu, memory,
    plan::Plan,
    rows::Measure,
    servers::{REALM, Server, Side},
};
use crate::{
    Error, Result,
    crowd::Crowd,
    flood::{Flood, Generator, Rates},
    process::Peer,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// A second each.
const RIGHT: u32 = 10_000;
const WITHOUT: u32 = 10_000;
const FORGED: u32 = 10_000;
/// Phones that repeat what was not answered.
const WATCHED: usize = 500;
/// To find the best rate without overload, each for a while: whatever suits the server.
const WINDOWS: [usize; 3] = [32, 128, 512];
const BEST: Duration = Duration::from_secs(3);
/// What the refused cost is measured on its own, at a rate that every server can follow.
const REFUSED: Rates = Rates { right: 0, without: 2_500, forged: 2_500 };
const REFUSED_TIME: Duration = Duration::from_secs(5);
/// By then a peer has looked at its sockets' counters again.
const LOOKED: Duration = Duration::from_secs(12);
/// Lifetimes are counted in whole seconds.
const ROUNDED_MS: u64 = 1_000;

pub fn overload(side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    let mut server = Server::start(side, plan)?;
    let (roots, sip) = (server.processes(), server.sip()?.to_owned());
    // So that none of them has to refresh more than once a second.
    let users = plan.users().max(RIGHT as usize + WATCHED);
    server.import(&[&Crowd::new(REALM, users)?])?;
    let apart = cores::apart(&roots)?;
    let mut generator = Generator::new(&sip, REALM, users)?;
    generator.register(Duration::from_secs(120))?;

    let rates = WINDOWS.map(|window| generator.best(window, BEST));
    let best = rates.into_iter().fold(0.0, f64::max);
    let refused = refused_cost(&mut generator, &roots, &sip)?;

    let (drops, before) = (kernel_drops(&sip)?, memory::resident(&roots)?);
    let (flood, most) = with_memory_watched(&roots, before, || {
        generator.flood(Rates { right: RIGHT, without: WITHOUT, forged: FORGED }, WATCHED, plan.flood())
    })?;
    let dropped = kernel_drops(&sip)?.saturating_sub(drops);
    drop(apart);
    say(side, &flood, best, dropped);

    let seconds = flood.time.as_secs_f64().max(0.001);
    let asked = best.min(f64::from(RIGHT));
    let share = |part: f64, of: f64| 100.0 * part / of.max(1.0);
    let mut all = vec![
        Measure::new("best", best),
        Measure::new("overload", share(flood.registered as f64 / seconds, asked)),
        Measure::new("overload-refresh", share(flood.watched.answered as f64, flood.watched.started as f64)),
        Measure::new("overload-refused", refused),
        Measure::new("overload-memory", (most - before) / 1e6),
        Measure::new("overload-drops", share(dropped as f64, flood.sent() as f64)),
    ];
    if let Some(peer) = server.peer() {
        let uncounted = kernel_drops(&sip)?.abs_diff(counted_drops(peer)?);
        all.push(Measure::new("overload-uncounted", uncounted as f64));
        all.push(Measure::new("overload-lost", lost(peer, &generator)? as f64));
    }
    server.stop()?;
    Ok(all)
}

/// Microseconds of CPU for a REGISTER that ends in 401, or in nothing.
fn refused_cost(generator: &mut Generator, roots: &[u32], sip: &str) -> Result<f64> {
    let (before, drops) = (cpu::used(roots)?, kernel_drops(sip)?);
    let flood = generator.flood(REFUSED, 0, REFUSED_TIME)?;
    let used = cpu::used(roots)?.saturating_sub(before) as f64;
    let taken = flood.sent().saturating_sub(flood.unsent + kernel_drops(sip)?.saturating_sub(drops));
    Ok(used * 1e6 / cpu::ticks_per_second()? / taken.max(1) as f64)
}

/// The most memory that was seen meanwhile.
fn with_memory_watched<T>(roots: &[u32], least: f64, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = least;
            while !stop.load(Ordering::Relaxed) {
                most = memory::resident(roots)?.max(most);
                std::thread::sleep(Duration::from_millis(500));
            }
            Ok(most)
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let most = watching.join().map_err(|_| Error::Other("nobody watched the memory".into()))?;
        Ok((done?, most?))
    })
}

fn say(side: Side, flood: &Flood, best: f64, dropped: u64) {
    let seconds = flood.time.as_secs_f64().max(0.001);
    println!(
        "  {side:?}: sent {:.0}/s ({} not even to the kernel); {:.0} 200s/s (best without: {best:.0}), {} challenges to \
         strangers, {} stale nonces, {} refused otherwise; {dropped} dropped by the kernel; watched: {:?}",
        flood.sent() as f64 / seconds,
        flood.unsent,
        flood.registered as f64 / seconds,
        flood.challenged,
        flood.stale,
        flood.refused,
        flood.watched
    );
}

/// Promised bindings that are gone, or end before they were to, once the peer was killed and has started again.
fn lost(peer: &mut Peer, generator: &Generator) -> Result<u64> {
    peer.restart()?;
    let bindings = peer.client()?.bindings().map_err(|e| Error::Other(e.to_string()))?;
    let until: BTreeMap<String, u64> = bindings.into_iter().map(|b| (b.aor, b.expires_at_ms)).collect();
    let is_lost =
        |aor: String, promised: u64| until.get(&aor).is_none_or(|until| until + ROUNDED_MS < promised);
    let phones = generator.phones().iter().filter(|phone| phone.promised_until_ms() > 0);
    let lost = phones.filter(|p| is_lost(format!("{}@{REALM}", p.user()), p.promised_until_ms()));
    Ok(lost.count() as u64)
}

/// Of the socket that is bound to this address: the last column of `/proc/net/udp`.
fn kernel_drops(sip: &str) -> Result<u64> {
    let table = std::fs::read_to_string("/proc/net/udp").map_err(Error::io("/proc/net/udp"))?;
    let port = sip.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    Ok(port.map_or(0, |port| drops_of(&table, port)))
}

fn drops_of(table: &str, port: u16) -> u64 {
    let end = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|words| words.get(1).is_some_and(|local| local.ends_with(&end)));
    ours.filter_map(|words| words.last()?.parse::<u64>().ok()).sum()
}

/// What the peer itself has counted. It looks every few seconds.
fn counted_drops(peer: &Peer) -> Result<u64> {
    std::thread::sleep(LOOKED);
    let text = peer.metrics()?;
    let line = text.lines().find(|line| line.contains("\"sip_kernel_drops\""));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.ok_or_else(|| Error::Other(format!("no sip_kernel_drops in {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_in_the_last_column() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9 2 0000000000000000 17\n\
            2: 0100007F:13C5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9 2 0000000000000000 5\n";
        assert_eq!(drops_of(table, 5060), 17);
        assert_eq!(drops_of(table, 1), 0);
    }
}
