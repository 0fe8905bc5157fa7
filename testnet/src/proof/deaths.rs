//! Many peers, each the home of as many phones, and all of these registered at another peer. Some peers are killed at once, with
//! SIGKILL. The phones that they served register elsewhere, and each is called from a peer chosen at random as soon as it has
//! its 200: how long until it rings? Then the dead come back, and nothing that was acknowledged is lost.

use super::{all_meet, binary, broken, counted, join};
use crate::{
    Error, Result,
    crowd::{Crowd, Pair},
    flood::PASSWORD,
    phones::{plain::Plain, sipp::Sipp},
    process::Peer,
    random,
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Plan {
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(4..=60))]
    peers: u8,
    /// All peers together
    #[arg(long, default_value_t = 4_000)]
    phones: usize,
    #[arg(long, default_value_t = 6)]
    killed: usize,
    /// Phones of the dead that register elsewhere and are called
    #[arg(long, default_value_t = 400)]
    moved: usize,
    /// REGISTERs a second
    #[arg(long, default_value_t = 50)]
    rate: usize,
    /// Calls to all phones alike at the end
    #[arg(long, default_value_t = 1_000)]
    calls: usize,
    /// The `dots` that is tried [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// How many phones register and are called at the same time.
const AT_ONCE: usize = 4;
/// Whoever rings later than this at p99 breaks the promise.
const RINGS: Duration = Duration::from_secs(3);
/// A phone gives up then.
const PATIENCE: Duration = Duration::from_secs(20);
/// Home `n` has its phones at peer `n + AWAY`.
const AWAY: usize = 7;

struct Network {
    peers: Vec<Peer>,
    /// Of each peer's realm, and the SIPp that answers for it.
    crowds: Vec<(Crowd, Sipp)>,
}

pub(super) fn run(plan: &Plan) -> Result<()> {
    let mut rng = random();
    let mut network = start(plan)?;
    let mut all: Vec<usize> = (0..network.peers.len()).collect();
    all.shuffle(&mut rng);
    let dead: BTreeSet<usize> = all.iter().copied().take(plan.killed).collect();
    println!("killed at once: {dead:?}");
    for &n in &dead {
        network.peer_mut(n)?.kill()?;
    }
    let late = network.moved(plan, &dead, &mut rng)?;
    for &n in &dead {
        network.peer_mut(n)?.restart()?;
    }
    all_meet(&network.peers)?;
    let lost = network.call_all(plan, &mut rng)?;
    if late || lost > 0 {
        counted(&network.peers);
        return Err(broken(format!(
            "{lost} calls failed at the end; p99 of those that moved too late: {late}"
        )));
    }
    network.peers.iter_mut().try_for_each(Peer::stop)
}

fn start(plan: &Plan) -> Result<Network> {
    let binary = binary(plan.binary.as_ref())?;
    let mut peers = Vec::new();
    for n in 0..plan.peers {
        peers.push(join(&binary, &peers, &realm(usize::from(n)))?);
    }
    all_meet(&peers)?;
    println!("{} peers have met", peers.len());
    let mut crowds = Vec::new();
    for (n, home) in peers.iter().enumerate() {
        let crowd = Crowd::new(&realm(n), plan.phones / peers.len())?;
        crowd.import(home)?;
        let at = peers.get((n + AWAY) % peers.len()).ok_or_else(none)?;
        let counts = crowd.register(at.sip()?, plan.rate, 1)?;
        if counts.failed > 0 {
            counted(&peers);
            return Err(broken(format!("{} of {} could not register", counts.failed, realm(n))));
        }
        let answering = crowd.answer()?;
        crowds.push((crowd, answering));
    }
    println!("{} phones are registered, each away from home", plan.phones);
    Ok(Network { peers, crowds })
}

fn realm(n: usize) -> String {
    format!("p{n}.test")
}

/// One phone that moves: its user and home, where it goes, who calls it from where.
struct Move {
    user: usize,
    home: usize,
    to: usize,
    from: usize,
}

impl Network {
    /// The phones whose peer died and whose home lives register elsewhere and are called: was p99 too late?
    fn moved(&self, plan: &Plan, dead: &BTreeSet<usize>, rng: &mut ChaCha8Rng) -> Result<bool> {
        let count = self.peers.len();
        let living: Vec<usize> = (0..count).filter(|n| !dead.contains(n)).collect();
        let mut moves = Vec::new();
        for &home in living.iter().filter(|&&home| dead.contains(&((home + AWAY) % count))) {
            for user in 0..plan.phones / count {
                let mut any = || living.get(rng.random_range(0..living.len())).copied().unwrap_or(home);
                let (to, from) = (any(), any());
                moves.push(Move { user, home, to, from });
            }
        }
        moves.shuffle(rng);
        moves.truncate(plan.moved);
        let (queue, rang) = (Mutex::new(moves), Mutex::new(Vec::new()));
        let seeds: Vec<u64> = (0..AT_ONCE).map(|_| rng.random()).collect();
        std::thread::scope(|scope| {
            for seed in seeds {
                let (queue, rang) = (&queue, &rang);
                scope.spawn(move || self.take_turns(queue, rang, ChaCha8Rng::seed_from_u64(seed)));
            }
        });
        tell(rang.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_turns(&self, queue: &Mutex<Vec<Move>>, rang: &Mutex<Vec<Result<Duration>>>, mut rng: ChaCha8Rng) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(next) = next else { return };
            let outcome = self.register_and_call(&next, &mut rng);
            rang.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
        }
    }

    /// From the INVITE to the 200 of a phone that answers at once.
    fn register_and_call(&self, next: &Move, rng: &mut ChaCha8Rng) -> Result<Duration> {
        let aor = format!("u{}@{}", next.user, realm(next.home));
        let mut phone = Plain::new(self.peer(next.to)?.sip()?, &aor, PASSWORD, rng)?;
        let status = phone.register(3_600, 1, PATIENCE)?;
        if status != Some(200) {
            return Err(broken(format!("{aor} could not register elsewhere: {status:?}")));
        }
        let _answering = phone.answer()?;
        let caller = format!("u{}@{}", next.user, realm(next.from));
        let mut caller = Plain::new(self.peer(next.from)?.sip()?, &caller, PASSWORD, rng)?;
        let begun = Instant::now();
        let answer = caller.invite(&format!("sip:{aor}"), PATIENCE)?;
        let took = begun.elapsed();
        let Some((200, Some(dialog))) = &answer else {
            let status = answer.map(|(status, _)| status);
            let (from, to) = (next.from, next.to);
            return Err(broken(format!(
                "{aor} at peer {to}, called from {from}: {status:?} after {took:.1?}"
            )));
        };
        caller.bye(dialog, PATIENCE)?;
        Ok(took)
    }

    /// Everybody is called at random, from everywhere: how many calls failed?
    fn call_all(&self, plan: &Plan, rng: &mut ChaCha8Rng) -> Result<u64> {
        let (mut done, mut failed) = (0, 0);
        let calls = plan.calls.div_ceil(self.peers.len());
        for (callee, (crowd, _)) in self.crowds.iter().enumerate() {
            let from = (callee + rng.random_range(1..self.peers.len())) % self.peers.len();
            let (callers, _) = self.crowds.get(from).ok_or_else(none)?;
            let mut pair =
                |_| -> Pair { (rng.random_range(0..callers.users()), rng.random_range(0..crowd.users())) };
            let pairs: Vec<Pair> = (0..calls).map(&mut pair).collect();
            let counts = callers.call_each(self.peer(from)?.sip()?, crowd, &pairs, calls, 20)?.finish()?;
            done += counts.successful;
            failed += counts.failed;
        }
        println!("after the dead have come back: {done} calls, {failed} failed");
        Ok(failed)
    }

    fn peer(&self, n: usize) -> Result<&Peer> {
        self.peers.get(n).ok_or_else(none)
    }
    fn peer_mut(&mut self, n: usize) -> Result<&mut Peer> {
        self.peers.get_mut(n).ok_or_else(none)
    }
}

/// Prints what was seen; too late where p99 is, or where somebody was not reached at all.
fn tell(outcomes: Vec<Result<Duration>>) -> Result<bool> {
    let mut rang: Vec<Duration> = outcomes.iter().filter_map(|o| o.as_ref().ok().copied()).collect();
    for why in outcomes.iter().filter_map(|o| o.as_ref().err()) {
        println!("{why}");
    }
    rang.sort();
    let missed = outcomes.len() - rang.len();
    let share = |percent: usize| rang.get((rang.len() * percent / 100).min(rang.len().saturating_sub(1)));
    let (Some(p50), Some(p99), Some(most)) = (share(50), share(99), rang.last()) else {
        return Err(broken(format!("none of {} phones that moved was reached", outcomes.len())));
    };
    println!(
        "{} phones registered elsewhere and were called at once: {missed} not reached; p50 {p50:.1?}, p99 {p99:.1?}, most \
         {most:.1?}",
        outcomes.len()
    );
    Ok(missed > 0 || *p99 > RINGS)
}

fn none() -> Error {
    Error::Other("no such peer".into())
}
