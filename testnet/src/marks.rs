//! Registrations that are remembered: each phone writes down what it asked for and whether its 200 came, so that what a
//! peer says after its death can be held against what it had promised.

use crate::{Error, Result, phones::plain::Plain, process::Peer};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// What one phone asked for, in order: the mark in its Contact (`None`: to be removed), and whether a 200 came.
pub type History = Vec<(Option<u32>, bool)>;

/// One time in so many a phone removes its binding.
const REMOVE: u32 = 5;
const EXPIRES: u32 = 3_600;

#[derive(Default)]
pub struct Marks {
    phones: Mutex<BTreeMap<String, History>>,
    acknowledged: AtomicU64,
}

/// Whose phone, where, and how often.
pub struct Turns<'a> {
    pub server: &'a str,
    pub aor: &'a str,
    pub password: &'a str,
    pub every: Duration,
    /// Before the first one, so that the phones of a crowd do not speak at once.
    pub offset: Duration,
    /// An answer is waited for this long: longer than a restart takes.
    pub answer: Duration,
}

impl Marks {
    /// What all phones have asked for and heard by now.
    pub fn now(&self) -> BTreeMap<String, History> {
        self.phones().clone()
    }

    /// Requests that were answered 200.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Registers again and again, each time with a new mark, and now and then removes the binding, until `stop`.
    pub fn register(&self, stop: &AtomicBool, turns: &Turns<'_>, mut rng: ChaCha8Rng) -> Result<()> {
        let mut phone = Plain::new(turns.server, turns.aor, turns.password, &mut rng)?;
        let mut next = Instant::now() + turns.offset;
        for mark in 1.. {
            pace(&mut next, turns.every);
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let wanted = (!rng.random_ratio(1, REMOVE)).then_some(mark);
            let asked = {
                let mut phones = self.phones();
                let history = phones.entry(turns.aor.to_owned()).or_default();
                history.push((wanted, false));
                history.len() - 1
            };
            let expires = if wanted.is_some() { EXPIRES } else { 0 };
            if phone.register(expires, mark, turns.answer)? == Some(200) {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                if let Some(entry) = self.phones().get_mut(turns.aor).and_then(|h| h.get_mut(asked)) {
                    entry.1 = true;
                }
            }
        }
        Ok(())
    }

    /// What `peer` says of its phones against what they had heard `before` it died. The load goes on meanwhile, so a
    /// phone may be anywhere from its last acknowledged word before that to whatever it has asked for since.
    pub fn check(&self, peer: &Peer, before: &BTreeMap<String, History>) -> Result<()> {
        let found = peer.client()?.bindings().map_err(|e| Error::Other(e.to_string()))?;
        let after = self.now();
        let marks: BTreeMap<&str, u32> =
            found.iter().filter_map(|b| Some((b.aor.as_str(), mark(&b.contact)?))).collect();
        for (aor, history) in before {
            let Some(last) = history.iter().rposition(|(_, acknowledged)| *acknowledged) else { continue };
            let possible = after.get(aor).and_then(|h| h.get(last..)).unwrap_or_default();
            let now = marks.get(aor.as_str()).copied();
            if !possible.iter().any(|(wanted, _)| *wanted == now) {
                return Err(Error::Other(format!("{aor} is {now:?}, it heard {possible:?}")));
            }
        }
        Ok(())
    }

    fn phones(&self) -> MutexGuard<'_, BTreeMap<String, History>> {
        self.phones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the next turn; turns that were missed are not made up for.
pub fn pace(next: &mut Instant, every: Duration) {
    sleep(next.saturating_duration_since(Instant::now()));
    *next = (*next + every).max(Instant::now());
}

fn mark(contact: &str) -> Option<u32> {
    let (_, rest) = contact.split_once(";mark=")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
