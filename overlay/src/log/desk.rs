//! What our phones have to say passes over this desk before it enters the log. The phones are strangers', and one account
//! must not spend what others need: each has a few words at once and one every ten seconds. What is beyond waits, and of
//! what waits the newest word alone is said: a phone that comes and goes within seconds never enters the log.
//!
//! ```text
//!   word ──▶ does one of this phone wait? ──yes──▶ it takes its place (or both go, if nothing of it was said yet)
//!               │ no
//!               ▼
//!            has the account a word left? ──yes──▶ into the log
//!               │ no
//!               ▼
//!            it waits until the account has one
//! ```

use crate::records::Event;
use dots_wire::{
    Allowance, Hash, Now, Timers, TokenBucket,
    bounded::{Cache, Cause, Limits, Standing},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Words of one account: all its phones come and go once, and then some.
const OF_ACCOUNT: Allowance = Allowance::new(0.1, 24.0);
/// What waits is not looked at again sooner: a purse that lacks a billionth of a word has no wait that a clock could measure.
const SOONEST: Duration = Duration::from_millis(100);
/// Accounts that said something lately. One that makes room for others starts anew.
pub(crate) const ACCOUNTS: Limits = Limits::new(2 * 1024 * 1024, 10_000);

/// (aor_id, instance)
type Phone = (Hash, Hash);

pub struct Desk {
    accounts: Cache<Hash, TokenBucket>,
    /// The newest word of each phone that waits. As many as the registrar holds.
    waiting: BTreeMap<Phone, Event>,
    due: Timers<Phone>,
    is_disarmed: bool,
}

impl Default for Desk {
    fn default() -> Desk {
        let (waiting, due) = (BTreeMap::new(), Timers::default());
        Desk { accounts: Cache::new(ACCOUNTS), waiting, due, is_disarmed: false }
    }
}

impl Desk {
    /// LOG-4a: what of it is to be said now. `is_said`: is this phone bound in the log?
    pub fn say(&mut self, now: Now, event: Event, is_said: impl Fn(&Phone) -> bool) -> Option<Event> {
        let (phone, realm) = match &event {
            Event::Bind(bind) => ((bind.aor_id, bind.instance), bind.realm),
            Event::Unbind(unbind) => ((unbind.aor_id, unbind.instance), event.realm()),
            // Our own words, not a phone's.
            _ => return Some(event),
        };
        if self.is_disarmed {
            return Some(event);
        }
        if let Some(waiting) = self.waiting.get_mut(&phone) {
            match event {
                Event::Unbind(_) if !is_said(&phone) => {
                    self.waiting.remove(&phone);
                    self.due.cancel(&phone);
                }
                event => *waiting = event,
            }
            return None;
        }
        if !self.accounts.contains(&phone.0) {
            let cause = Cause::new(Standing::Other).of_realm(&realm.0);
            self.accounts.insert(cause, phone.0, TokenBucket::default());
        }
        let mut spare = TokenBucket::default();
        let bucket = self.accounts.get_mut(&phone.0).unwrap_or(&mut spare);
        if bucket.take(now.mono, OF_ACCOUNT, 1.0) {
            return Some(event);
        }
        let at = now.mono + bucket.wait(now.mono, OF_ACCOUNT, 1.0).max(SOONEST);
        self.waiting.insert(phone, event);
        self.due.set(phone, at);
        None
    }

    /// For a simulation.
    pub fn disarm(&mut self) {
        self.is_disarmed = true;
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.poll_timeout()
    }

    /// What has waited and may be said now.
    pub fn due(&mut self, now: Now) -> Option<Event> {
        loop {
            let phone = self.due.expired(now.mono)?;
            let mut spare = TokenBucket::default();
            let bucket = self.accounts.get_mut(&phone.0).unwrap_or(&mut spare);
            if bucket.take(now.mono, OF_ACCOUNT, 1.0) {
                let waited = self.waiting.remove(&phone);
                debug_assert!(waited.is_some(), "who has a time waits");
                return waited;
            }
            // Another phone of the account was first.
            let at = now.mono + bucket.wait(now.mono, OF_ACCOUNT, 1.0).max(SOONEST);
            self.due.set(phone, at);
        }
    }

    /// Forgets accounts that have all their words again.
    pub fn sweep(&mut self, now: Now) {
        self.accounts.retain(|_, bucket| !bucket.is_full(now.mono, OF_ACCOUNT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Bind, Unbind};
    use dots_wire::{Label20, Timestamp};
    use std::collections::BTreeSet;

    fn bind(account: u8, phone: u8) -> Event {
        let (aor_id, instance) = (Hash([account; 32]), Hash([phone; 32]));
        let realm = Label20([0; 20]);
        Event::Bind(Bind { aor_id, realm, instance, until: Timestamp(9), grant: None })
    }

    fn unbind(account: u8, phone: u8) -> Event {
        Event::Unbind(Unbind { aor_id: Hash([account; 32]), instance: Hash([phone; 32]) })
    }

    /// A log that holds what was said.
    #[derive(Default)]
    struct Log {
        desk: Desk,
        live: BTreeSet<Phone>,
        said: usize,
    }

    impl Log {
        fn hear(&mut self, event: Event) {
            self.said += 1;
            match event {
                Event::Bind(b) => drop(self.live.insert((b.aor_id, b.instance))),
                Event::Unbind(u) => drop(self.live.remove(&(u.aor_id, u.instance))),
                _ => {}
            }
        }

        fn say(&mut self, now: Now, event: Event) {
            let said = self.desk.say(now, event, |phone| self.live.contains(phone));
            said.into_iter().for_each(|event| self.hear(event));
        }

        fn pass(&mut self, now: &mut Now, time: Duration) {
            now.mono += time;
            while let Some(event) = self.desk.due(*now) {
                self.hear(event);
            }
        }
    }

    fn start() -> Now {
        Now { mono: Instant::now(), wall: Timestamp(0) }
    }

    /// LOG-4a: 240 REGISTERs of ten Contacts each, and as many that take them back.
    #[test]
    fn an_account_that_comes_and_goes_spends_its_own_words_alone() {
        let (mut log, mut now) = (Log::default(), start());
        for _ in 0..240 {
            (0..10).for_each(|phone| log.say(now, bind(1, phone)));
            (0..10).for_each(|phone| log.say(now, unbind(1, phone)));
        }
        assert!(log.said <= 24, "{}", log.said);
        log.say(now, bind(2, 1));
        assert!(log.live.contains(&(Hash([2; 32]), Hash([1; 32]))), "another account is heard at once");
        log.say(now, bind(1, 3));
        log.pass(&mut now, Duration::from_secs(300));
        let left: Vec<u8> = log.live.iter().filter(|p| p.0 == Hash([1; 32])).map(|p| p.1.0[0]).collect();
        assert_eq!(left, [3], "in the end the log says what is so");
    }

    /// Times that no fraction of a word divides evenly.
    #[test]
    fn what_waits_is_said_whatever_the_clock_says() {
        let (mut log, mut now) = (Log::default(), start());
        for n in 0..2_000u64 {
            log.say(now, bind(1, u8::try_from(n % 40).expect("few")));
            log.pass(&mut now, Duration::from_micros(7_919 * n % 1_000_003));
        }
        (0..3).for_each(|_| log.pass(&mut now, Duration::from_secs(300)));
        assert!(log.desk.waiting.is_empty() && log.live.len() == 40);
    }

    #[test]
    fn a_phone_that_comes_and_goes_while_it_waits_is_never_said() {
        let (mut log, mut now) = (Log::default(), start());
        (0..30).for_each(|phone| log.say(now, bind(1, phone)));
        assert_eq!((log.said, log.desk.waiting.len()), (24, 6));
        log.say(now, unbind(1, 29));
        log.say(now, unbind(1, 3));
        assert_eq!(log.desk.waiting.len(), 6, "what was said has to be taken back");
        log.pass(&mut now, Duration::from_secs(600));
        assert_eq!((log.live.len(), log.said), (28, 30));
        assert!(log.desk.due.is_empty() && log.desk.waiting.is_empty());
        log.pass(&mut now, Duration::from_secs(300));
        log.desk.sweep(now);
        assert!(log.desk.accounts.is_empty());
    }
}
