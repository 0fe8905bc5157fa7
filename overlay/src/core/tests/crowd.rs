//! As many phones as one peer serves, and who finds them: in counted steps of real cores, in virtual time.

use super::*;

const PHONES: u32 = 20_000;
const CROWD: u32 = 10_000;

fn name(realm: u32, n: u32) -> Hash {
    dots_wire::sha256(&[realm.to_be_bytes(), n.to_be_bytes()].concat())
}

fn label(realm: u32) -> Label20 {
    let mut label = [8; 20];
    label[..4].copy_from_slice(&realm.to_be_bytes());
    Label20(label)
}

/// A grant with its path has about this size.
fn roaming(net: &Net, realm: u32, n: u32) -> Event {
    let until = net.now.wall.plus(Duration::from_secs(3_600));
    // One for each word: a later end needs a later grant.
    let mut grant = vec![7; 500];
    grant[..8].copy_from_slice(&until.0.to_be_bytes());
    let grant = Some(grant.into());
    let aor_id = name(realm, n);
    Event::Bind(Bind { aor_id, realm: label(realm), instance: Hash([1; 32]), until, grant })
}

fn missing(net: &Net, at: usize, realm: u32, phones: u32) -> usize {
    (0..phones).filter(|n| net.cores[at].lookup(name(realm, *n), label(realm)).is_empty()).count()
}

fn bytes_asked(net: &Net) -> usize {
    net.counts.get("log_answer_bytes").copied().unwrap_or_default()
}

/// Twenty thousand phones of one realm at a stranger; a home that restarts, a newcomer, and the serving peer itself.
#[test]
fn twenty_thousand_phones_at_one_peer_are_found_by_whoever_comes_later() {
    let mut net = Net::new(3, 0.0, 5);
    for n in 0..PHONES {
        let event = roaming(&net, 1, n);
        net.cores[0].append(net.now, event);
        if n % 200 == 199 {
            net.pass(Duration::from_millis(20));
        }
    }
    net.pass(Duration::from_secs(5));
    assert_eq!(missing(&net, 1, 1, PHONES), 0, "by gossip");
    // Nothing but `Range` brings it to who was not there.
    for at in [1, 2] {
        let before = bytes_asked(&net);
        net.restart(at);
        net.pass(Duration::from_secs(3));
        assert_eq!(missing(&net, at, 1, PHONES), 0, "peer {at}; {:?}", net.counts);
        let bytes = bytes_asked(&net) - before;
        assert!(bytes < 40 << 20, "{} MiB for one newcomer", bytes >> 20);
    }
    // An hour of renewals: the chain stays such that a reader can begin it.
    for round in 0..2 {
        for n in 0..PHONES {
            let event = roaming(&net, 1, n);
            net.cores[0].append(net.now, event);
            if n % 400 == 399 {
                net.pass(Duration::from_millis(20));
            }
        }
        net.restart(2);
        net.pass(Duration::from_secs(5));
        assert_eq!(missing(&net, 2, 1, PHONES), 0, "round {round}; {:?}", net.counts);
    }
    // The serving peer starts anew and says all of them again.
    let events: Vec<Event> = (0..PHONES).map(|n| roaming(&net, 1, n)).collect();
    net.ends(0);
    net.cores[0] = OverlayCore::new(net.keys[0].clone(), "test".into(), 77, net.now);
    net.cores[0].restore(net.now, &net.disks[0].clone());
    events.into_iter().for_each(|event| net.cores[0].append(net.now, event));
    net.cores[0].open(net.now);
    net.connect(0);
    net.pass(Duration::from_secs(60));
    for at in 0..3 {
        assert_eq!(
            missing(&net, at, 1, PHONES),
            0,
            "peer {at} after the serving peer's start; {:?}",
            net.counts
        );
    }
    assert_eq!((net.verdicts_against, net.runs_twice), (0, 0));
    assert_eq!(net.counts.get("log_invalid"), None);
}

/// What the others say of the crowd's bindings.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crowd {
    Granted,
    Refused,
    /// Nobody knows their realms.
    Unknown,
}

/// Ten thousand realms that cost nothing with a phone each, from one machine, beside one honest realm of two thousand phones that
/// nobody vouches for. Phones of that one that are not found at the serving peer, at the home and elsewhere; at once, and
/// past the next restatement, for who came later.
fn hidden(crowd: Crowd, without: Option<Defence>) -> [usize; 6] {
    let mut net = Net::new(3, 0.0, 6);
    net.judges = Some(Box::new(move |realm| match (realm == label(1), crowd) {
        (true, _) => (Some(true), 2),
        (_, Crowd::Granted) => (Some(true), 1),
        (_, Crowd::Refused) => (Some(false), 1),
        (_, Crowd::Unknown) => (None, 1),
    }));
    for core in &mut net.cores {
        without.into_iter().for_each(|defence| core.disarm(defence));
        core.realm_known(net.now, label(1));
        if crowd != Crowd::Unknown {
            (2..2 * CROWD).for_each(|realm| core.realm_known(net.now, label(realm)));
        }
    }
    let (mut honest, mut realm) = (0, 2);
    // The crowd was there first.
    while honest < 2_000 {
        for _ in 0..if realm < 2_000 { 50 } else { 9 } {
            let event = roaming(&net, realm, 0);
            net.cores[0].append(net.now, event);
            realm += 1;
        }
        for _ in 0..if realm < 2_000 { 0 } else { 2 } {
            let event = roaming(&net, 1, honest);
            net.cores[0].append(net.now, event);
            honest += 1;
        }
        net.pass(Duration::from_millis(25));
    }
    assert!(realm >= CROWD + 2, "{realm} free realms");
    let now: Vec<usize> = (0..3).map(|at| missing(&net, at, 1, 2_000)).collect();
    net.restart(2);
    if let Some(defence) = without {
        net.cores[2].disarm(defence);
    }
    net.cores[2].realm_known(net.now, label(1));
    net.pass(Duration::from_secs(40));
    let later = (0..3).map(|at| missing(&net, at, 1, 2_000));
    now.into_iter().chain(later).collect::<Vec<_>>().try_into().expect("three peers, twice")
}

#[test]
fn a_crowd_of_free_realms_at_a_peer_hides_no_phone_of_another() {
    for crowd in [Crowd::Granted, Crowd::Refused, Crowd::Unknown] {
        assert_eq!(hidden(crowd, None), [0; 6], "{crowd:?}");
    }
    let hidden = hidden(Crowd::Unknown, Some(Defence::JudgedFirst));
    assert_ne!(hidden, [0; 6], "charged before they are judged they pay for the crowd");
}

/// LOG-8a: the log on disk stays short while the peer runs, and says after a start what the long one would have.
#[test]
fn the_log_on_disk_is_cut_while_the_peer_runs() {
    let mut net = Net::new(2, 0.0, 7);
    let (aor_id, before) = (Hash([1; 32]), net.now.wall);
    net.cores[0].append(net.now, Event::Revoke(Revoke { aor_id, before }));
    // A liar whom we caught.
    let (liar, entry) = invented(1, 0, 1);
    let (_, second) = invented(1, 0, 2);
    for (id, entry) in [entry, second].into_iter().enumerate() {
        net.cores[0].trust(liar.peer_id());
        let body = gossip::entry("test", &entry.bytes);
        net.wire.push_back((0, NetEvent::Gossip { from: key(2).peer_id(), id: 900 + id as u64, body }));
    }
    net.pass(Duration::from_secs(1));
    assert!(net.cores[0].chains.is_convicted(liar.peer_id()));
    let mut longest = 0;
    for n in 0..40_000u32 {
        let event = roaming(&net, 1, n % 2_000);
        net.cores[0].append(net.now, event);
        if n % 100 == 99 {
            net.pass(Duration::from_millis(25));
            longest = longest.max(net.disks[0].iter().map(Vec::len).sum::<usize>());
        }
    }
    assert!(longest < 14 << 20, "{} MiB on disk of {} MiB said", longest >> 20, (40_000 * 620) >> 20);
    let life = net.cores[0].author.incarnation();
    net.restart(0);
    assert!(net.cores[0].author.incarnation() > life);
    assert!(net.cores[0].chains.is_convicted(liar.peer_id()), "a proof is kept");
    net.pass(Duration::from_secs(10));
    assert_eq!(net.cores[0].directory().revoked_before(aor_id, key(1).peer_id()), Some(before));
}
