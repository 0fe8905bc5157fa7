use super::*;
use crate::directory::short;
use crate::hostile::attack;
use dots_wire::Now;
use proptest::prelude::*;
use std::time::Instant;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

const AOR: Hash = Hash([1; 32]);

fn bind(phone: u8, until: u64) -> Bind {
    Bind {
        aor_id: AOR,
        realm: Label20([0; 20]),
        instance: Hash([phone; 32]),
        until: Timestamp(until),
        grant: None,
    }
}

fn offer(serving: u8, phone: u8, until: u64, time: u64) -> Vec<u8> {
    value(&key(serving), [bind(phone, until)].into_iter(), Timestamp(time))
}

/// What a holder would hold; it has seen nothing before.
fn merge(
    key: &[u8],
    held: Option<&[u8]>,
    offered: &[u8],
    now: Timestamp,
    standing: impl Fn(&Held) -> Standing,
) -> Option<Vec<u8>> {
    let merged = super::merge(key, held, offered, now, &mut Checked::default(), standing)?;
    assert_eq!(Some(merged.ttl_secs), ttl_secs(&merged.value, now));
    Some(merged.value)
}

fn read(value: &[u8], now: Timestamp) -> Vec<Held> {
    super::read(value, AOR, now, &mut Checked::default())
}

fn all(_: &Held) -> Standing {
    Standing::Claimed
}

/// LOG-23.
#[test]
fn a_holder_keeps_the_union_and_readers_see_what_lives() {
    let now = Timestamp(1_000);
    let one = merge(&AOR.0, None, &offer(1, 1, 5_000, 900), now, all).expect("new");
    let two = merge(&AOR.0, Some(&one), &offer(2, 1, 6_000, 900), now, all).expect("another peer");
    assert_eq!(read(&two, now).len(), 2);
    assert_eq!(merge(&AOR.0, Some(&two), &offer(1, 1, 5_000, 900), now, all), None, "known");
    assert_eq!(read(&two, Timestamp(5_500)).len(), 1);
    assert_eq!(ttl_secs(&two, now), Some(5));
    let newer = merge(&AOR.0, Some(&two), &offer(1, 1, 7_000, 950), now, all).expect("said anew");
    assert_eq!(read(&newer, now).len(), 2);
    assert_eq!(merge(&AOR.0, Some(&newer), &offer(1, 1, 5_000, 900), now, all), None, "an older word");
}

#[test]
fn what_is_not_signed_timely_and_about_this_key_is_not_held() {
    let now = Timestamp(1_000);
    let mut forged: Value = decode(&offer(1, 1, 5_000, 900)).expect("ours");
    forged.binds[0].signature.0[5] ^= 1;
    let table: [(&str, Vec<u8>); 6] = [
        ("forged", encode(&forged)),
        ("over", offer(1, 1, 1_000, 900)),
        ("from the future", offer(1, 1, 500_000, 100_000)),
        ("longer than any grant", offer(1, 1, 4_000_000, 900)),
        ("junk", vec![1, 2, 3]),
        ("too long", vec![0; VALUE_MAX + 1]),
    ];
    for (why, bytes) in table {
        assert_eq!(merge(&AOR.0, None, &bytes, now, all), None, "{why}");
        assert!(read(&bytes, now).is_empty(), "{why}");
    }
    let good = offer(1, 1, 5_000, 900);
    assert_eq!(merge(&[9; 32], None, &good, now, all), None, "another key");
    assert_eq!(merge(&AOR.0, None, &good, now, |_| Standing::Refused), None, "the holder knows better");
}

#[test]
fn a_crowd_does_not_fit_and_pushes_nobody_out() {
    let now = Timestamp(1_000);
    let mut held = merge(&AOR.0, None, &offer(1, 1, 5_000, 900), now, all);
    let fake = |n: u8, phone: u8| {
        let grant = Some(vec![n; 500].into());
        value(&key(n), [Bind { grant, ..bind(phone, 3_000_000) }].into_iter(), Timestamp(900))
    };
    // Fake grants, later ends, several phones each.
    for n in 2..=12u8 {
        for phone in 1..=4 {
            held = merge(&AOR.0, held.as_deref(), &fake(n, phone), now, all).or(held);
        }
    }
    let serving = |held: &Option<Vec<u8>>| -> Vec<PeerId> {
        read(held.as_deref().unwrap_or_default(), now).iter().map(|h| h.serving).collect()
    };
    let kept = serving(&held);
    assert_eq!(kept.len(), BINDS_MAX);
    assert!(kept.contains(&key(1).peer_id()), "who was there stays");
    assert!(kept.iter().all(|p| kept.iter().filter(|q| p == *q).count() <= PER_SERVING_MAX));
    assert_eq!(merge(&AOR.0, held.as_deref(), &offer(20, 1, 5_000, 900), now, all), None, "full");
    let home = |h: &Held| if h.serving == key(20).peer_id() { Standing::Granted } else { Standing::Claimed };
    let held = merge(&AOR.0, held.as_deref(), &offer(20, 1, 5_000, 900), now, home);
    assert!(serving(&held).contains(&key(20).peer_id()), "but what is granted gets in");
    assert!(serving(&held).contains(&key(1).peer_id()));
    assert_eq!(serving(&held).len(), BINDS_MAX);
    let bulky = Some(vec![1; PROOF_MAX + 1].into());
    let bulky = value(&key(30), [Bind { grant: bulky, ..bind(1, 5_000) }].into_iter(), Timestamp(900));
    assert_eq!(merge(&AOR.0, None, &bulky, now, all), None, "no grant is that long");
}

/// LOG-23, LOG-22: what an offer costs a holder is bounded, and the same offer costs it once.
#[test]
fn a_holder_checks_what_it_would_hold_and_that_once() {
    let now = Timestamp(1_000);
    let mut checked = Checked::default();
    let mut cost = |held: Option<&[u8]>, offered: &[u8], standing: fn(&Held) -> Standing| {
        let merged = super::merge(&AOR.0, held, offered, now, &mut checked, standing);
        (merged.map(|m| m.value), checked.take_count())
    };
    let crowd: Vec<Vec<u8>> = (1..=12u8).map(|n| offer(n, 1, 5_000, 900)).collect();
    let mut held: Option<Vec<u8>> = None;
    let mut checks = 0;
    for value in &crowd {
        let (merged, count) = cost(held.as_deref(), value, all);
        held = merged.or(held);
        checks += count;
    }
    assert_eq!(checks, BINDS_MAX, "one for each that was taken in, none for what had no place");
    let again: usize = crowd.iter().map(|value| cost(held.as_deref(), value, all).1).sum();
    assert_eq!(again, 0, "nothing of it is news");
    assert_eq!(cost(None, &crowd[0], all).1, 0, "a value that went and came again was checked before");
    let mut forged: Value = decode(&offer(40, 1, 5_000, 900)).expect("ours");
    forged.binds[0].signature.0[5] ^= 1;
    forged.binds = vec![forged.binds[0].clone(); 40];
    let forged = encode(&forged);
    assert!(
        cost(None, &forged, all).1 <= BINDS_MAX && count(&forged) == BINDS_MAX,
        "what is charged is what it costs"
    );
    let granted = super::merge(&AOR.0, None, &crowd[0], now, &mut checked, |_| Standing::Granted);
    assert!(granted.is_some_and(|m| m.granted));
    assert_eq!((count(&[1, 2, 3]), count(&vec![0; VALUE_MAX + 1])), (1, 1), "junk is charged too");
}

/// LOG-24.
#[test]
fn a_burst_is_one_put_and_a_live_one_is_refreshed() {
    let mut now = Now { mono: Instant::now(), wall: Timestamp(0) };
    let mut puts = Puts::default();
    for _ in 0..10 {
        puts.changed(now, AOR);
    }
    puts.set_neighbours(true);
    assert_eq!(puts.take_due(now), None);
    now.mono += Duration::from_secs(2);
    puts.set_neighbours(false);
    assert_eq!((puts.poll_timeout(), puts.take_due(now)), (None, None), "nobody is there to hold it");
    puts.set_neighbours(true);
    assert_eq!(puts.take_due(now), Some(short(&AOR)));
    puts.put(now, short(&AOR));
    assert_eq!(puts.take_due(now), None);
    puts.changed(now, AOR);
    now.mono += Duration::from_secs(3);
    assert_eq!(puts.take_due(now), None, "not again so soon");
    now.mono += Duration::from_secs(30);
    assert_eq!(puts.take_due(now), Some(short(&AOR)));
    assert_eq!(puts.poll_timeout(), None, "nothing was put: nothing to refresh");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes, Timestamp(0)).is_empty());
    }
}

fn granted() -> Vec<u8> {
    let with = Bind { grant: Some(vec![5, 6].into()), ..bind(1, 5_000) };
    value(&key(1), [bind(2, 5_000), with].into_iter(), Timestamp(900))
}

/// LOG-22. A change here is a new version of the record, or a CHANGELOG line before the first release.
#[test]
fn golden_bytes() {
    let one = value(&key(1), [bind(2, 5_000)].into_iter(), Timestamp(900));
    assert_eq!(hex::encode(&one), GOLDEN_ONE);
    let two = granted();
    assert_eq!((two.len(), dots_wire::sha256(&two).to_string().as_str()), GOLDEN_TWO);
}

#[test]
fn a_value_is_of_this_version_and_whole() {
    let now = Timestamp(1_000);
    assert_eq!(read(&granted(), now).len(), 2);
    let mut newer = granted();
    newer[1] = VERSION + 1;
    assert!(read(&newer, now).is_empty());
    let mut inside: Value = decode(&granted()).expect("ours");
    for signed in &mut inside.binds {
        let record = Record { version: VERSION + 1, ..signed.peek().expect("ours") };
        *signed = Signed::new(&key(1), BIND_DOMAIN, &record);
    }
    assert!(read(&encode(&inside), now).is_empty(), "signed, but of another version");
    let one = inside.binds.first().map(|s| s.payload.clone()).unwrap_or_default();
    attack("value", &granted(), |b| decode::<Value>(b).is_ok());
    attack("bind", &one, |b| decode::<Record>(b).is_ok());
}

const GOLDEN_ONE: &str = "8201818258858801582001010101010101010101010101010101010101010101010101010101010101015400000000000000\
        0000000000000000000000000058200202020202020202020202020202020202020202020202020202020202020202582103\
        1b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f191388190384f65840974c5624ef5a148350\
        26a5cec563be4a3b82c2d725d75b7758b2bbaf7d6727861f5aac2385508776ce2dab202e2b543969a2ea4cd03679f48d271a\
        87fc654052";
const GOLDEN_TWO: (usize, &str) = (409, "b5b49be9b915fc6a5ebd75b2775d692fed24a93571e3e90e4869a9097fcb039c");
