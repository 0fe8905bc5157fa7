//! Calls between two machines while everything goes wrong that can: messages are lost, doubled and late, disks are
//! slow, and each machine is killed at any step. [`Pair`] checks at each step that no key says two things and that
//! nothing leaves before it is on disk; here is what must be true when the network is good again.

use super::super::*;
use super::pair::{CALLEE, CALLER, Pair};
use crate::{
    limits::{DURATION_MAX, RETRY_FOR},
    receipt::is_within,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::time::Duration;

const CALLS: u8 = 3;
const TALK_MS: u64 = 100_000;

#[derive(Clone, Debug)]
enum Step {
    Ended { at: usize, n: u8, propose: bool },
    Deliver(Index),
    Double(Index),
    Lose(Index),
    Sync(usize, usize),
    Crash(usize, usize),
    Restart(usize),
    Connected,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..2usize;
    prop_oneof![
        4 => (at.clone(), 0..CALLS, any::<bool>()).prop_map(|(at, n, propose)| Step::Ended { at, n, propose }),
        12 => any::<Index>().prop_map(Step::Deliver),
        3 => any::<Index>().prop_map(Step::Double),
        3 => any::<Index>().prop_map(Step::Lose),
        12 => (at.clone(), 1..4usize).prop_map(|(at, count)| Step::Sync(at, count)),
        2 => (at.clone(), 0..4usize).prop_map(|(at, kept)| Step::Crash(at, kept)),
        3 => at.prop_map(Step::Restart),
        1 => Just(Step::Connected),
        3 => (1..400u64).prop_map(Step::Pass),
        1 => (1_000..20_000u64).prop_map(Step::Pass),
    ]
}

/// By how much the callee's measurement of each call is off the caller's.
fn skew() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -2_000..=2_000i64, 1 => Just(2_001i64), 1 => Just(-2_001i64), 1 => -90_000..=90_000i64]
}

struct World {
    net: Pair,
    skews: [i64; CALLS as usize],
}

impl World {
    fn measured(&self, at: usize, n: u8) -> u64 {
        let skew = if at == CALLEE { self.skews[usize::from(n)] } else { 0 };
        TALK_MS.saturating_add_signed(skew)
    }

    fn take(&mut self, step: &Step) {
        let net = &mut self.net;
        let pick = |i: &Index, net: &Pair| (!net.wire.is_empty()).then(|| i.index(net.wire.len()));
        match step {
            Step::Ended { at, n, propose } => {
                let ms = self.measured(*at, *n);
                self.net.ended(*at, *n, ms, EndCause::Bye, *propose);
            }
            Step::Deliver(i) => {
                if let Some(i) = pick(i, net) {
                    let packet = net.wire.remove(i);
                    net.deliver(packet);
                }
            }
            Step::Double(i) => {
                if let Some(i) = pick(i, net) {
                    let packet = net.wire[i].clone();
                    net.deliver(packet);
                }
            }
            Step::Lose(i) => {
                if let Some(i) = pick(i, net) {
                    net.wire.remove(i);
                }
            }
            Step::Sync(at, count) => net.sync(*at, *count),
            Step::Crash(at, kept) => net.crash(*at, *kept),
            Step::Restart(at) => net.restart(*at),
            Step::Connected => net.connected(),
            Step::Pass(ms) => net.pass(Duration::from_millis(*ms)),
        }
    }

    /// Both are up, and what has not ended for a living machine ends without a BYE.
    fn heal(&mut self) {
        for at in [CALLER, CALLEE] {
            self.net.restart(at);
            for n in 0..CALLS {
                if self.known(at, n).is_some_and(|c| matches!(c.state, State::Open { answered: Some(_) })) {
                    let ms = self.measured(at, n);
                    self.net.ended(at, n, ms, EndCause::Expired, false);
                }
            }
        }
        self.net.connected();
    }

    fn known(&self, at: usize, n: u8) -> Option<Call> {
        let core = self.net.machines[at].core.as_ref()?;
        Some(core.calls.get(&self.net.id(n))?.call.clone())
    }

    /// Whether a receipt must come of it.
    fn must_complete(&self, n: u8) -> bool {
        let (caller, callee) = (self.known(CALLER, n), self.known(CALLEE, n));
        let (Some(caller), Some(callee)) = (caller, callee) else { return false };
        self.skews[usize::from(n)].unsigned_abs() <= 2_000
            && (caller.measured_ms.is_some() || callee.measured_ms.is_some())
    }

    fn check(&self, n: u8) -> Option<u64> {
        let [caller, callee] = [CALLER, CALLEE].map(|at| self.net.whole(at, n));
        assert_eq!(caller, callee, "call {n}: one holds what the other does not");
        for at in [CALLER, CALLEE] {
            if let Some(view) = self.net.view(at, n) {
                assert_eq!(view.check(), Ok(()), "call {n}");
            }
        }
        caller?;
        let duration_ms = self.net.both_whole(n).duration_ms;
        for at in [CALLER, CALLEE] {
            if let Some(own_ms) = self.known(at, n).and_then(|c| c.measured_ms) {
                assert!(is_within(duration_ms, own_ms), "call {n}: {duration_ms} of {own_ms}");
            }
        }
        Some(duration_ms)
    }
}

proptest! {
    // 256 runs; `PROPTEST_CASES=20000` for more. A failing one is printed whole and kept, and comes first the next time.
    #[test]
    fn whatever_goes_wrong_both_hold_the_same_receipt_or_none(
        skews in [skew(), skew(), skew()],
        synced in (0..4usize, 0..4usize),
        steps in vec(step(), 0..150),
    ) {
        let mut world = World { net: Pair::new(), skews };
        for n in 0..CALLS {
            world.net.answered(n);
        }
        world.net.sync(CALLER, synced.0);
        world.net.sync(CALLEE, synced.1);
        world.net.pass(Duration::from_millis(TALK_MS));
        for step in &steps {
            world.take(step);
        }
        world.heal();
        let must: Vec<bool> = (0..CALLS).map(|n| world.must_complete(n)).collect();
        world.net.run(RETRY_FOR / 2);
        let quiet: Vec<_> = (0..CALLS).map(|n| world.check(n)).collect();
        for (n, (must, is)) in must.iter().zip(&quiet).enumerate() {
            prop_assert!(!must || is.is_some(), "call {} has no receipt", n);
        }
        world.net.run(DURATION_MAX + RETRY_FOR * 2);
        let later: Vec<_> = (0..CALLS).map(|n| world.check(n)).collect();
        prop_assert_eq!(quiet, later);
        for m in &world.net.machines {
            let core = m.core.as_ref().expect("up");
            prop_assert_eq!(core.poll_timeout(), None);
            prop_assert!(core.toward.is_empty() && core.requests.is_empty() && core.writes.is_empty());
            prop_assert!(core.inbound.is_empty() && core.ready.is_empty() && core.unwritten.is_empty());
            prop_assert_eq!(core.book.bytes(), 0);
            prop_assert_eq!(core.finished.len(), core.calls.len());
        }
    }
}
