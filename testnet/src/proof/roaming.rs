//! Homes that hold the accounts, one peer where all their phones register, and a third one whose phones call them. Whoever got
//! 200 is called, first try: at once, and from the moment that `/healthz` answers after each peer in turn was killed and
//! started again.

use super::{all_meet, binary, broken, counted, join};
use crate::{
    Error, Result,
    crowd::{Crowd, Pair},
    phones::sipp::Sipp,
    poll,
    process::Peer,
    random,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// Callers are few: each call is of one of them to somebody else.
const CALLERS: usize = 200;
const CALLERS_REALM: &str = "callers.test";
const HEALTHY: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub struct Plan {
    /// Phones that register away from home, all realms together
    #[arg(long, default_value_t = 20_000)]
    phones: usize,
    /// Realms, each with a home of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    realms: u8,
    /// Calls to phones chosen at random, each time
    #[arg(long, default_value_t = 1_000)]
    calls: usize,
    /// REGISTERs a second
    #[arg(long, default_value_t = 150)]
    rate: usize,
    /// Calls a second
    #[arg(long, default_value_t = 20)]
    call_rate: usize,
    /// The `dots` that is tried [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// One realm, and the SIPp that answers for its phones.
struct Away {
    crowd: Crowd,
    _answering: Sipp,
}

struct Network {
    /// The serving peer, the callers' peer, then the homes.
    peers: Vec<Peer>,
    away: Vec<Away>,
    callers: Crowd,
}

const SERVING: usize = 0;
const CALLING: usize = 1;

pub(super) fn run(plan: &Plan) -> Result<()> {
    let mut rng = random();
    let mut network = start(plan)?;
    let mut failed = network.call(plan, &mut rng, "all registered")?;
    for n in 0..network.peers.len() {
        let who = match n {
            SERVING => "the serving peer".to_owned(),
            CALLING => "the callers' peer".to_owned(),
            home => format!("home {}", home - 1),
        };
        network.restart(n)?;
        failed += network.call(plan, &mut rng, &format!("{who} was killed and started"))?;
    }
    if failed > 0 {
        counted(&network.peers);
        return Err(broken(format!("{failed} calls to phones that had got 200 failed")));
    }
    network.peers.iter_mut().try_for_each(Peer::stop)
}

fn start(plan: &Plan) -> Result<Network> {
    let binary = binary(plan.binary.as_ref())?;
    let mut peers = Vec::new();
    for realm in ["serving.test", CALLERS_REALM] {
        peers.push(join(&binary, &peers, realm)?);
    }
    let realms: Vec<String> = (0..plan.realms).map(|n| format!("away{n}.test")).collect();
    for realm in &realms {
        peers.push(join(&binary, &peers, realm)?);
    }
    all_meet(&peers)?;
    let callers = Crowd::new(CALLERS_REALM, CALLERS)?;
    let serving = peers.first().ok_or_else(none)?.sip()?.to_owned();
    callers.import(peers.get(CALLING).ok_or_else(none)?)?;
    let mut away = Vec::new();
    for (realm, home) in realms.iter().zip(peers.iter().skip(2)) {
        let crowd = Crowd::new(realm, plan.phones.div_ceil(realms.len()))?;
        crowd.import(home)?;
        let begun = Instant::now();
        let counts = crowd.register(&serving, plan.rate, 1)?;
        println!(
            "{realm}: {} got 200, {} did not, {:.0?}",
            counts.successful,
            counts.failed,
            begun.elapsed()
        );
        if counts.failed > 0 {
            counted(&peers);
            return Err(broken(format!("{} of {realm} could not register", counts.failed)));
        }
        away.push(Away { _answering: crowd.answer()?, crowd });
    }
    Ok(Network { peers, away, callers })
}

impl Network {
    /// How many calls failed.
    fn call(&self, plan: &Plan, rng: &mut ChaCha8Rng, when: &str) -> Result<u64> {
        let server = self.peers.get(CALLING).ok_or_else(none)?.sip()?;
        let (mut done, mut failed) = (0, 0);
        let calls = plan.calls.div_ceil(self.away.len());
        for away in &self.away {
            let mut pair = |n| -> Pair { (n % CALLERS, rng.random_range(0..away.crowd.users())) };
            let pairs: Vec<Pair> = (0..calls).map(&mut pair).collect();
            let counts =
                self.callers.call_each(server, &away.crowd, &pairs, calls, plan.call_rate)?.finish()?;
            done += counts.successful;
            failed += counts.failed + (calls as u64).saturating_sub(counts.successful + counts.failed);
        }
        println!("{when}: {done} calls, {failed} failed");
        Ok(failed)
    }

    fn restart(&mut self, n: usize) -> Result<()> {
        let peer = self.peers.get_mut(n).ok_or_else(none)?;
        peer.restart()?;
        let client = peer.client()?;
        poll("/healthz", HEALTHY, || Ok(client.healthy().then_some(())))
    }
}

fn none() -> Error {
    Error::Other("no such peer".into())
}
