//! The home's side of "is this the right password?" (design: registering anywhere).
//!
//! A home mints every nonce, binds it to the serving peer that will show it, and judges the answer when it comes back.
//! Unknown users and wrong passwords take the same path and answer alike. Only an answer to a fresh nonce of ours is
//! judged at all, so nobody can spend another's tries without hearing our challenge; failures are counted per serving
//! peer, account and source address, so one who guesses locks out nobody else.

use dots_sip::auth::{Answer, AuthFailure};
use dots_trust::account::Account;
use dots_trust::digest;
use dots_trust::nonce::{Minter, NonceCheck};
use dots_wire::{Hash, Now, PeerId, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Wrong answers in a row, by one source through one peer for one account, before it has to wait.
const FAILURES_FREE: u32 = 5;
/// The wait after that, doubled for each further failure up to 2^6.
const BACKOFF: Duration = Duration::from_secs(1);
/// Remembered brakes; at the limit the oldest goes.
const BRAKES_MAX: usize = 10_000;
/// Wrong answers that peers without any right one may bring, all together: (per second, at once).
const STRANGERS: (f64, f64) = (20.0, 200.0);
/// Peers that have brought a right answer.
const PROVEN_MAX: usize = 10_000;
/// Roaming phones whose grants we remember; at the limit the oldest goes.
const ROAMING_MAX: usize = 200_000;
/// A serving peer that has not said in its log by then what we granted has bound nothing: our answer was lost, or the phone
/// took leave.
const ROAMING_UNHEARD: Duration = Duration::from_secs(1);

/// Who has tried: the serving peer, the account, and the phone's address as that peer names it.
type Source = (PeerId, String, Hash);

pub struct Home {
    minter: Minter,
    brakes: BTreeMap<Source, Brake>,
    order: VecDeque<Source>,
    proven: BTreeMap<PeerId, Instant>,
    strangers: (f64, Option<Instant>),
    roaming: Roaming,
}

struct Brake {
    failures: u32,
    until: Instant,
}

impl Home {
    pub fn new(minter: Minter) -> Home {
        Home {
            minter,
            brakes: BTreeMap::new(),
            order: VecDeque::new(),
            proven: BTreeMap::new(),
            strangers: (0.0, None),
            roaming: Roaming::default(),
        }
    }

    pub fn mint(&mut self, now: Now, serving: PeerId, random: [u8; 8]) -> String {
        self.minter.mint(serving, now.wall, random)
    }

    /// The checks that need no account: cheap ones first, so that a stranger's guess costs us little.
    pub fn admit(&self, now: Now, answer: &Answer, serving: PeerId, source: Hash) -> Result<(), AuthFailure> {
        if account_name(answer) != answer.aor {
            return Err(AuthFailure::Forbidden);
        }
        if answer.qop != "auth" {
            return Err(AuthFailure::Wrong);
        }
        // Whatever the password: an old nonce, or none of ours, is answered with a new one and says nothing.
        if self.minter.look(&answer.nonce, serving, now.wall) != NonceCheck::Fresh {
            return Err(AuthFailure::Stale);
        }
        if !self.proven.contains_key(&serving) && self.strangers_level(now.mono) >= STRANGERS.1 {
            return Err(AuthFailure::Unavailable);
        }
        let brake = self.brakes.get(&(serving, answer.aor.clone(), source));
        if brake.is_some_and(|b| b.until > now.mono) {
            // Not 503: a phone with a wrong password would try again at once, and for ever.
            return Err(AuthFailure::Forbidden);
        }
        Ok(())
    }

    /// Judges an admitted `answer` against what the account store said.
    pub fn judge(
        &mut self,
        now: Now,
        answer: &Answer,
        serving: PeerId,
        source: Hash,
        account: Option<&Account>,
    ) -> Result<(), AuthFailure> {
        if !password_matches(answer, account) {
            self.fail(now.mono, (serving, answer.aor.clone(), source));
            return Err(AuthFailure::Wrong);
        }
        if self.minter.check(&answer.nonce, answer.nc, serving, now.wall) != NonceCheck::Fresh {
            return Err(AuthFailure::Stale);
        }
        self.brakes.remove(&(serving, answer.aor.clone(), source));
        if self.proven.len() < PROVEN_MAX || self.proven.contains_key(&serving) {
            self.proven.insert(serving, now.mono);
        }
        Ok(())
    }

    fn fail(&mut self, now: Instant, source: Source) {
        if !self.proven.contains_key(&source.0) {
            self.strangers = (self.strangers_level(now) + 1.0, Some(now));
        }
        while self.order.len() >= BRAKES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.brakes.remove(&oldest);
            }
        }
        if !self.brakes.contains_key(&source) {
            self.order.push_back(source.clone());
        }
        let brake = self.brakes.entry(source).or_insert(Brake { failures: 0, until: now });
        brake.failures = brake.failures.saturating_add(1);
        if brake.failures > FAILURES_FREE {
            brake.until = now + BACKOFF * (1 << (brake.failures - FAILURES_FREE).min(6));
        }
    }

    fn strangers_level(&self, now: Instant) -> f64 {
        let (level, at) = self.strangers;
        let passed = at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (level - passed.as_secs_f64() * STRANGERS.0).max(0.0)
    }

    pub fn roaming(&self) -> &Roaming {
        &self.roaming
    }
    pub fn roaming_mut(&mut self) -> &mut Roaming {
        &mut self.roaming
    }
}

/// Where we let phones of our realms register elsewhere. The serving peer's log says the same a moment later, and from
/// then on that is what counts, for it also says when the phone has gone.
#[derive(Default)]
pub struct Roaming {
    at: BTreeMap<String, BTreeMap<PeerId, Granted>>,
    order: VecDeque<(String, PeerId)>,
}

#[derive(Clone, Copy)]
struct Granted {
    until: Timestamp,
    /// The newest entry of the serving peer's log that we had then.
    head: Option<Hash>,
    at: Timestamp,
}

impl Roaming {
    pub fn granted(
        &mut self,
        now: Timestamp,
        aor: &str,
        serving: PeerId,
        until: Timestamp,
        head: Option<Hash>,
    ) {
        while self.order.len() >= ROAMING_MAX {
            if let Some((aor, serving)) = self.order.pop_front() {
                self.forget(&aor, Some(serving));
            }
        }
        let peers = self.at.entry(aor.to_owned()).or_default();
        if peers.insert(serving, Granted { until, head, at: now }).is_none() {
            self.order.push_back((aor.to_owned(), serving));
        }
    }

    /// The password has changed, or the account is gone; or just this peer is out.
    pub fn forget(&mut self, aor: &str, serving: Option<PeerId>) {
        match serving {
            None => {
                self.at.remove(aor);
            }
            Some(serving) => {
                if let Some(peers) = self.at.get_mut(aor) {
                    peers.remove(&serving);
                    if peers.is_empty() {
                        self.at.remove(aor);
                    }
                }
            }
        }
    }

    /// Serving peers whose logs we have heard nothing from since. `head`: the newest entry of a log that we have now.
    pub fn of(
        &self,
        aor: &str,
        now: Timestamp,
        head: impl Fn(PeerId) -> Option<Hash>,
    ) -> impl Iterator<Item = (PeerId, Timestamp)> {
        let peers = self.at.get(aor).into_iter().flatten();
        let unheard = peers.filter(move |(peer, granted)| {
            granted.until > now && now.since(granted.at) < ROAMING_UNHEARD && granted.head == head(**peer)
        });
        unheard.map(|(peer, granted)| (*peer, granted.until))
    }
}

/// The account that the credentials name: `user` in the challenged realm, or `user@realm` in full (some phones send the
/// escape that their user typed).
pub fn account_name(answer: &Answer) -> String {
    match answer.username.split_once('@') {
        Some(_) => answer.username.clone(),
        None if escaped(&answer.username) => answer.username.replacen("%40", "@", 1),
        None => format!("{}@{}", answer.username, answer.realm),
    }
}

fn escaped(username: &str) -> bool {
    username.contains("%40")
}

fn password_matches(answer: &Answer, account: Option<&Account>) -> bool {
    let Some(algorithm) = digest::Algorithm::parse(&answer.algorithm) else { return false };
    let ha1 = account.map(|a| {
        let digests = match (answer.username.contains('@'), escaped(&answer.username)) {
            (true, _) => &a.full,
            (false, true) => &a.escaped,
            (false, false) => &a.short,
        };
        match algorithm {
            digest::Algorithm::Md5 => digests.md5.as_str(),
            digest::Algorithm::Sha256 => digests.sha256.as_str(),
        }
    });
    let expected = digest::response(
        algorithm,
        ha1.unwrap_or("no such account"),
        &answer.method,
        &answer.uri,
        &answer.nonce,
        answer.nc,
        &answer.cnonce,
        &answer.qop,
    );
    digest::equal(&expected, &answer.response) && ha1.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dots_sip::auth::Purpose;
    use dots_trust::account::Digests;
    use dots_wire::SecretKey;

    struct World {
        now: Now,
        home: Home,
        serving: PeerId,
        account: Account,
    }

    const HERE: Hash = Hash([1; 32]);

    fn digests(user: &str) -> Digests {
        let ha1 = |algorithm| digest::ha1(algorithm, user, "a.net", "wonderland");
        Digests { sha256: ha1(digest::Algorithm::Sha256), md5: ha1(digest::Algorithm::Md5) }
    }

    impl World {
        fn new() -> World {
            let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
            let account = Account {
                version: dots_trust::account::VERSION,
                aor: "alice@a.net".into(),
                short: digests("alice"),
                full: digests("alice@a.net"),
                escaped: digests("alice%40a.net"),
                roaming: true,
                changed_at_ms: 0,
            };
            World {
                now: Now { mono: Instant::now(), wall: Timestamp(1_000_000) },
                home: Home::new(Minter::new(&key(1), [1; 16])),
                serving: key(2).peer_id(),
                account,
            }
        }

        fn answer(&mut self, username: &str, aor: &str, right: bool, nc: u32, nonce: Option<&str>) -> Answer {
            let nonce = match nonce {
                Some(nonce) => nonce.to_owned(),
                None => self.home.mint(self.now, self.serving, [nc as u8; 8]),
            };
            let ha1 = digest::ha1(
                digest::Algorithm::Sha256,
                username,
                "a.net",
                if right { "wonderland" } else { "looking-glass" },
            );
            let response = digest::response(
                digest::Algorithm::Sha256,
                &ha1,
                "REGISTER",
                "sip:a.net",
                &nonce,
                nc,
                "c",
                "auth",
            );
            Answer {
                method: "REGISTER".into(),
                username: username.into(),
                realm: "a.net".into(),
                nonce,
                uri: "sip:a.net".into(),
                response,
                algorithm: "SHA-256".into(),
                qop: "auth".into(),
                nc,
                cnonce: "c".into(),
                aor: aor.into(),
                purpose: Purpose::Register { instance: "i".into() },
            }
        }

        fn ask(&mut self, answer: &Answer, source: Hash) -> Result<(), AuthFailure> {
            self.home.admit(self.now, answer, self.serving, source)?;
            let account = (answer.aor == self.account.aor).then_some(&self.account);
            self.home.judge(self.now, answer, self.serving, source, account)
        }
    }

    #[test]
    fn three_spellings_of_the_user_open_the_account_and_another_s_name_does_not() {
        let mut w = World::new();
        for (nc, username) in (1..).zip(["alice", "alice@a.net", "alice%40a.net"]) {
            let answer = w.answer(username, "alice@a.net", true, nc, None);
            assert_eq!(w.ask(&answer, HERE), Ok(()), "{username}");
        }
        let answer = w.answer("alice", "bob@a.net", true, 9, None);
        assert_eq!(w.ask(&answer, HERE), Err(AuthFailure::Forbidden));
    }

    #[test]
    fn a_guesser_is_stopped_and_stops_nobody_else() {
        let mut w = World::new();
        for n in 0..=FAILURES_FREE {
            let wrong = w.answer("alice", "alice@a.net", false, n + 1, None);
            assert_eq!(w.ask(&wrong, HERE), Err(AuthFailure::Wrong));
        }
        let right = w.answer("alice", "alice@a.net", true, 90, None);
        assert_eq!(w.ask(&right, HERE), Err(AuthFailure::Forbidden), "it has to wait");
        // Varying the claimed AOR does not help: the account is what counts.
        let other = w.answer("alice", "alice2@a.net", false, 91, None);
        assert_eq!(w.ask(&other, HERE), Err(AuthFailure::Forbidden));
        assert_eq!(w.ask(&right, Hash([2; 32])), Ok(()), "the phone itself, elsewhere");
        w.now.mono += Duration::from_secs(200);
        let later = w.answer("alice", "alice@a.net", true, 92, None);
        assert_eq!(w.ask(&later, HERE), Ok(()));
    }

    #[test]
    fn what_is_no_answer_to_a_challenge_of_ours_costs_nobody_a_try() {
        let mut w = World::new();
        let old = w.home.mint(w.now, w.serving, [7; 8]);
        w.now.wall = w.now.wall.plus(Duration::from_secs(301));
        for n in 0..100 {
            let nonce = if n % 2 == 0 { old.as_str() } else { "made-up" };
            for right in [true, false] {
                let answer = w.answer("alice", "alice@a.net", right, n, Some(nonce));
                assert_eq!(w.ask(&answer, HERE), Err(AuthFailure::Stale), "and it tells nothing");
            }
        }
        let right = w.answer("alice", "alice@a.net", true, 1, None);
        assert_eq!(w.ask(&right, HERE), Ok(()));
        assert_eq!(w.ask(&right, HERE), Err(AuthFailure::Stale), "used");
    }

    #[test]
    fn strangers_together_are_held_back_and_proven_peers_are_not() {
        let mut w = World::new();
        let right = w.answer("alice", "alice@a.net", true, 1, None);
        assert_eq!(w.ask(&right, HERE), Ok(()));
        let proven = w.serving;
        let mut refused = 0;
        for n in 0..500u32 {
            let bytes = std::array::from_fn(|i| if i < 4 { n.to_be_bytes()[i] } else { 9 });
            w.serving = SecretKey::from_bytes(&bytes).expect("a scalar").peer_id();
            let wrong = w.answer("alice", "alice@a.net", false, 1, None);
            refused += u32::from(w.ask(&wrong, HERE) == Err(AuthFailure::Unavailable));
        }
        assert!(refused >= 250, "{refused}");
        w.serving = proven;
        let right = w.answer("alice", "alice@a.net", true, 2, None);
        assert_eq!(w.ask(&right, HERE), Ok(()));
    }

    #[test]
    fn a_home_knows_where_it_let_its_phones_go() {
        let mut roaming = Roaming::default();
        let peer = SecretKey::from_bytes(&[3; 32]).expect("a scalar").peer_id();
        roaming.granted(Timestamp(0), "alice@a.net", peer, Timestamp(100), Some(Hash([7; 32])));
        let known = |r: &Roaming, at: u64, head: u8| {
            r.of("alice@a.net", Timestamp(at), |_| Some(Hash([head; 32]))).count()
        };
        assert_eq!(known(&roaming, 50, 7), 1);
        assert_eq!(known(&roaming, 50, 8), 0, "its log speaks for itself now");
        assert_eq!(known(&roaming, 100, 7), 0);
        roaming.forget("alice@a.net", None);
        assert_eq!(known(&roaming, 50, 7), 0);
    }
}
