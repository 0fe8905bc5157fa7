use super::{been::FAMILIAR_FOR, *};
use dots_wire::SecretKey;
use std::time::Duration;

const HOME: u8 = 1;

struct World {
    brakes: Brakes,
    now: Now,
}

fn peer(n: u32) -> PeerId {
    let bytes = std::array::from_fn(|i| if i < 4 { n.to_be_bytes()[i] } else { 9 });
    SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
}

/// Through the peer `n`, from its phone `source`; each peer in a network of its own.
fn via(n: u32, source: u8) -> Via {
    let is_home = n == u32::from(HOME);
    let network = if is_home { u64::from(source) } else { u64::from(n) };
    Via { serving: peer(n), is_home, source: Hash([source; 32]), network }
}

impl World {
    fn new() -> World {
        let now = Now { mono: Instant::now(), wall: Timestamp(1_000_000_000) };
        World { brakes: Brakes::default(), now }
    }
    fn pass(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.wall = self.now.wall.plus(by);
    }
    fn wrong(&mut self, account: &str, via: &Via) -> bool {
        self.brakes.take(self.now, account, via).is_ok()
    }
    fn right(&mut self, account: &str, via: &Via) -> Result<(), Braked> {
        let charged = self.brakes.take(self.now, account, via)?;
        let _ = self.brakes.was_right(self.now, account, via, charged);
        Ok(())
    }
}

/// AUTH-6: 1,000 peer ids guess at alice for a minute, each with a new name for the phone's address at each try.
#[test]
fn a_thousand_peers_guess_less_than_once_a_second_and_lock_nobody_out() {
    let mut w = World::new();
    let (home, usual) = (via(u32::from(HOME), 1), via(2, 1));
    assert_eq!((w.right("alice", &home), w.right("alice", &usual)), (Ok(()), Ok(())));
    let mut guesses = 0;
    for round in 0..600u32 {
        for n in 0..100 {
            let source = (round % 251) as u8;
            guesses += u32::from(w.wrong("alice", &via(100 + (round * 100 + n) % 1_000, source)));
        }
        w.pass(Duration::from_millis(100));
        if round % 50 == 0 {
            assert_eq!(w.right("alice", &home), Ok(()), "at home");
            assert_eq!(w.right("alice", &usual), Ok(()), "at her usual peer");
            assert_eq!(w.right("alice", &via(u32::from(HOME), 77)), Ok(()), "at home, from a new address");
        }
    }
    assert!(guesses < 60, "{guesses} guesses in 60 s");
}

/// Attack 6 as a phone: many names from one address, and then alice again.
#[test]
fn guesses_at_other_names_flush_no_brake() {
    let mut w = World::new();
    let at_home = |source| via(u32::from(HOME), source);
    let tried = (0..50).filter(|n| w.wrong("alice", &at_home(10 + n))).count();
    assert_eq!(tried, 20, "fifty networks");
    let others = (0..10_001).filter(|n| w.wrong(&format!("name{n}"), &at_home(99))).count();
    assert_eq!(others, 60, "one network");
    assert!(!w.wrong("alice", &at_home(70)), "the brake on alice stands");
}

/// Few networks that guess at one account for hours shut it out of no new place, at home or elsewhere, and a network that has
/// guessed at it is stopped all the same.
#[test]
fn whoever_guesses_at_an_account_shuts_it_out_of_no_new_place() {
    for (why, networks, every_ms) in
        [("one, slowly", 1, 5_000), ("one, fast", 1, 100), ("twenty, by turns", 20, 500)]
    {
        let mut w = World::new();
        let (mut judged, mut refused) = (0, 0);
        for tick in 0..20_000u32 {
            let n = tick % networks;
            judged += u32::from(w.wrong("alice", &via(u32::from(HOME), 200 + n as u8)));
            judged += u32::from(w.wrong("alice", &via(500 + n, 1)));
            w.pass(Duration::from_millis(every_ms));
            if tick % 1_000 == 999 {
                let round = (tick / 1_000) as u8;
                refused += u32::from(w.right("alice", &via(u32::from(HOME), 100 + round)).is_err());
                refused += u32::from(w.right("alice", &via(1_000 + u32::from(round), 1)).is_err());
            }
        }
        assert_eq!(refused, 0, "{why}: a new address, and a new peer");
        let seconds = 20_000 * every_ms / 1_000;
        let most = 2 * (seconds / 5 + 20 + u64::from(networks) * (2 + seconds / 500));
        assert!(u64::from(judged) <= most, "{why}: {judged} of {most}");
    }
}

/// Attack 22: strangers do what they like; own phones are no strangers, neither is who has been right, and no bucket is
/// everybody's.
#[test]
fn own_phones_are_never_strangers() {
    let mut w = World::new();
    assert_eq!(w.right("bob", &via(5, 1)), Ok(()));
    for n in 0..2_000 {
        w.wrong(&format!("name{n}"), &via(1_000 + n, 1));
    }
    assert_eq!(w.right("carol", &via(7, 1)), Ok(()), "through a new peer");
    assert_eq!(w.right("alice", &via(u32::from(HOME), 1)), Ok(()), "the first word of the day");
    assert_eq!(w.right("bob", &via(5, 1)), Ok(()));
}

/// A phone at a peer guesses at names that do not exist: from one address, from a few, and the phones beside it are new.
#[test]
fn a_guesser_at_a_peer_does_not_close_it_for_the_phones_beside_him() {
    for addresses in [1, 5, 9] {
        let mut w = World::new();
        let mut judged = 0;
        for tick in 0..600u32 {
            let source = 1 + (tick % addresses) as u8;
            judged += u32::from(w.wrong(&format!("name{tick}"), &via(3, source)));
            w.pass(Duration::from_millis(100));
            if tick % 60 == 0 {
                let honest = 100 + (tick / 60) as u8;
                assert_eq!(w.right(&format!("phone{tick}"), &via(3, honest)), Ok(()), "{addresses}, {tick}");
            }
        }
        assert!(judged <= addresses * 17, "{judged} judged of {addresses} addresses in a minute");
    }
}

/// A peer that makes addresses up is one peer still.
#[test]
fn made_up_addresses_give_a_peer_twice_its_own_and_no_more() {
    let mut w = World::new();
    let mut judged = 0;
    for tick in 0..6_000u32 {
        judged += u32::from(w.wrong(&format!("name{tick}"), &via(3, (tick % 251) as u8)));
        w.pass(Duration::from_millis(10));
    }
    assert!(judged < 60 + 2 * 60 + 10, "{judged} in a minute");
}

/// After a restart of the home its phones elsewhere are no strangers, whatever the strangers there do.
#[test]
fn where_an_account_was_right_survives_a_restart() {
    let mut w = World::new();
    let mut disk = Vec::new();
    for round in 0..40 {
        for name in ["alice", "bob"] {
            let charged = w.brakes.take(w.now, name, &via(3, 1)).expect("free");
            disk.extend(w.brakes.was_right(w.now, name, &via(3, 1), charged));
        }
        w.pass(Duration::from_secs(if round < 20 { 600 } else { 24 * 3_600 }));
    }
    assert!((40..=46).contains(&disk.len()), "{}: once a day for each", disk.len());
    let mut again = World { brakes: Brakes::default(), ..w };
    disk.iter().for_each(|line| again.brakes.recall(again.now.wall, line));
    for tick in 0..200u32 {
        again.wrong(&format!("name{tick}"), &via(3, (tick % 200) as u8));
        again.wrong("alice", &via(50 + tick, 1));
    }
    assert_eq!(again.right("alice", &via(3, 77)), Ok(()), "from any address there");
    again.pass(FAMILIAR_FOR + Duration::from_secs(3_600));
    let mut late = World { brakes: Brakes::default(), ..again };
    disk.iter().for_each(|line| late.brakes.recall(late.now.wall, line));
    assert_eq!(late.brakes.been.len(), 0, "a month later nobody is known");
}

#[test]
fn a_wrong_phone_beside_a_right_one_brakes_itself() {
    let mut w = World::new();
    assert_eq!(w.right("alice", &via(2, 1)), Ok(()));
    let old_phone = (0..100).filter(|_| w.wrong("alice", &via(2, 9))).count();
    assert_eq!(old_phone, 6);
    assert_eq!(w.right("alice", &via(2, 1)), Ok(()), "her own address there");
    w.pass(Duration::from_secs(11));
    assert_eq!(w.right("alice", &via(2, 9)), Ok(()), "with the right password, a little later");
}

#[test]
fn right_answers_cost_nothing_and_are_forgotten_after_30_days() {
    let mut w = World::new();
    for _ in 0..1_000 {
        assert_eq!(w.right("alice", &via(2, 1)), Ok(()));
    }
    w.brakes.sweep(w.now.mono);
    assert!(w.brakes.buckets.is_empty());
    w.pass(FAMILIAR_FOR + Duration::from_secs(3_600));
    let tried = (0..100).filter(|_| w.wrong("alice", &via(2, 1))).count();
    assert_eq!(tried, 10, "as a stranger");
}

#[test]
fn what_could_not_be_judged_was_no_guess() {
    let mut w = World::new();
    for _ in 0..100 {
        let charged = w.brakes.take(w.now, "alice", &via(2, 1)).expect("free");
        w.brakes.was_not_judged(w.now, &via(2, 1), charged);
    }
    assert!(w.wrong("alice", &via(2, 1)));
}
