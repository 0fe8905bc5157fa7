use super::*;
use crate::Transport;
use proptest::prelude::*;
use std::net::SocketAddr;

pub(crate) fn flow(transport: Transport, connection: u64) -> Flow {
    let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
    Flow { transport, connection, local: address(5060), remote: address(40_000 + connection as u16) }
}

pub(crate) fn binding(aor: &str, instance: &str, flow: Flow, expires_at_ms: u64) -> Binding {
    Binding {
        aor: aor.into(),
        instance: instance.into(),
        contact: format!("sip:{instance}@192.0.2.9"),
        contact_params: String::new(),
        q: 1000,
        call_id: "c1".into(),
        cseq: 1,
        path: Vec::new(),
        server: None,
        flow,
        listens: None,
        expires_at_ms,
        grant: Vec::new().into(),
        granted_until_ms: expires_at_ms,
    }
}

pub(crate) fn bindings() -> Bindings {
    Bindings::new(Secret::new([7; 32]))
}

fn put(binding: Binding) -> BindingChange {
    BindingChange { aor: binding.aor.clone(), put: vec![binding], removed: Vec::new() }
}

impl Bindings {
    /// The indexes and the book say exactly what the rows say, and the limits hold.
    fn check(&self) {
        let (mut aors, mut expiry, mut flows) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut charged = 0;
        for (number, row) in (0..).zip(&self.rows) {
            let Some(row) = row else {
                assert!(self.free.contains(&number), "a place is used or free");
                continue;
            };
            let bound = row.bound();
            aors.insert((self.name_of(bound.aor), number));
            expiry.insert((bound.expires_at_ms, number));
            if bound.is_open {
                flows.insert((self.hash_of_flow(&bound.flow), number));
            }
            charged += self.cost(row).1;
            assert!(self.of(bound.aor).count() <= MAX_CONTACTS_PER_AOR);
            assert_eq!(self.of(bound.aor).filter(|other| other.instance == bound.instance).count(), 1);
        }
        assert_eq!((&aors, &expiry, &flows), (&self.by_aor, &self.by_expiry, &self.by_flow));
        assert_eq!(self.rows.len(), aors.len() + self.free.len());
        assert_eq!(charged, self.bytes());
        assert!(charged <= BINDINGS.bytes);
    }
}

#[test]
fn the_same_instance_on_a_new_connection_displaces_the_old() {
    let (old, new) = (flow(Transport::Tcp, 1), flow(Transport::Tcp, 2));
    let mut bindings = bindings();
    assert_eq!(bindings.apply(&put(binding("a@x", "i", old, 10)), true), Ok(()));
    assert_eq!(bindings.apply(&put(binding("a@x", "i", new, 20)), true), Ok(()));
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings.by_flow(&old).count(), 0);
    assert_eq!(bindings.flow_closed(&old), 0);
    assert_eq!(bindings.reachable("a@x", 0)[0].flow, new);
    bindings.check();
}

#[test]
fn a_closed_connection_keeps_the_lease_but_takes_no_calls() {
    let tcp = flow(Transport::Tcp, 1);
    let mut bindings = bindings();
    assert_eq!(bindings.apply(&put(binding("a@x", "i", tcp, 10)), true), Ok(()));
    assert_eq!(bindings.flow_closed(&tcp), 1);
    assert_eq!(bindings.of("a@x").count(), 1);
    assert!(bindings.reachable("a@x", 0).is_empty());
    bindings.check();

    let udp = flow(Transport::Udp, 0);
    assert_eq!(bindings.apply(&put(binding("b@x", "i", udp, 10)), true), Ok(()));
    assert_eq!(bindings.flow_closed(&udp), 0);
    assert_eq!(bindings.reachable("b@x", 0).len(), 1);
}

#[test]
fn after_a_restart_tcp_bindings_wait_for_their_phone() {
    let mut bindings = bindings();
    assert!(bindings.restore(&binding("a@x", "tcp", flow(Transport::Tcp, 1), 10), true));
    assert!(bindings.restore(&binding("a@x", "udp", flow(Transport::Udp, 0), 10), true));
    let reachable: Vec<&str> = bindings.reachable("a@x", 0).iter().map(|b| b.instance).collect();
    assert_eq!(reachable, ["udp"]);
    // The new process may give the number 1 to another phone's connection.
    assert_eq!(bindings.by_flow(&flow(Transport::Tcp, 1)).count(), 0);
    bindings.check();
}

#[test]
fn reachable_is_ordered_by_q_and_leaves_out_the_ended() {
    let mut bindings = bindings();
    for (instance, q, until) in [("low", 100, 10), ("high", 900, 10), ("ended", 1000, 5)] {
        let mut one = binding("a@x", instance, flow(Transport::Udp, 0), until);
        one.q = q;
        assert_eq!(bindings.apply(&put(one), true), Ok(()));
    }
    let order: Vec<&str> = bindings.reachable("a@x", 5).iter().map(|b| b.instance).collect();
    assert_eq!(order, ["high", "low"]);
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let mut bindings = bindings();
    for n in 0..MAX_CONTACTS_PER_AOR {
        assert_eq!(
            bindings.apply(&put(binding("a@x", &n.to_string(), flow(Transport::Udp, 0), 10)), true),
            Ok(())
        );
    }
    let mut over = put(binding("a@x", "over", flow(Transport::Udp, 0), 10));
    assert_eq!(bindings.apply(&over, true), Err(NoRoom::Contacts));
    assert_eq!(bindings.of("a@x").count(), MAX_CONTACTS_PER_AOR);
    over.removed.push("0".into());
    assert_eq!(bindings.apply(&over, true), Ok(()));
    let refresh = put(binding("a@x", "1", flow(Transport::Udp, 0), 99));
    assert_eq!(bindings.apply(&refresh, true), Ok(()), "a refresh always fits");
    bindings.check();
}

#[test]
fn expiry_is_one_change_per_aor() {
    let mut bindings = bindings();
    for (aor, instance, until) in [("a@x", "1", 5), ("b@x", "1", 6), ("a@x", "2", 7), ("a@x", "3", 9)] {
        assert_eq!(
            bindings.apply(&put(binding(aor, instance, flow(Transport::Udp, 0), until)), true),
            Ok(())
        );
    }
    assert_eq!(bindings.next_expiry_ms(), Some(5));
    let changes = bindings.expire(7, 100);
    assert_eq!(changes.len(), 2);
    assert_eq!(
        (changes[0].aor.as_str(), changes[0].removed.as_slice()),
        ("a@x", &["1".into(), "2".into()][..])
    );
    assert_eq!((changes[1].aor.as_str(), changes[1].removed.as_slice()), ("b@x", &["1".into()][..]));
    assert_eq!(bindings.next_expiry_ms(), Some(9));
    assert!(bindings.expire(8, 100).is_empty());
    bindings.check();
}

/// A flow from this address.
fn from(ip: [u8; 4], port: u16) -> Flow {
    Flow { remote: (ip, port).into(), ..flow(Transport::Udp, 0) }
}

fn small() -> Bindings {
    Bindings::with_limits(Secret::new([7; 32]), Limits::new(256 << 10, 512).reserving([500, 0, 0, 0]))
}

fn one(n: u32, realm: &str, flow: Flow) -> BindingChange {
    put(binding(&format!("{n}@{realm}"), "i", flow, 10))
}

/// Attack 10: a stranger's realm with a thousand accounts.
#[test]
fn a_stranger_s_realm_fills_its_share_and_nobody_else_s() {
    let mut bindings = small();
    let flood = |n: u32| one(n, "flood.test", from([198, 51, (n % 200) as u8, 7], 5060));
    let refused = (0..4_000).filter_map(|n| bindings.apply(&flood(n), false).err()).collect::<Vec<_>>();
    assert!(refused.len() > 3_000 && refused.iter().all(|why| *why != NoRoom::Contacts), "{}", refused.len());
    bindings.check();
    for n in 0..20 {
        let guest = one(n, "guest.test", from([203, 0, 113, 9], 5060));
        assert_eq!(bindings.apply(&guest, false), Ok(()), "another realm gets in");
    }
    for n in 0..250 {
        let own = one(n, "own.test", from([198, 51, 100, 7], 5060));
        assert_eq!(bindings.apply(&own, true), Ok(()), "{n}: half is for our own, wherever they come from");
    }
    // Who was promised a place keeps it, and may refresh.
    assert_eq!(bindings.apply(&flood(0), false), Ok(()));
    bindings.check();
}

#[test]
fn one_network_with_many_realms_leaves_room_for_another() {
    let mut bindings = small();
    let flood = |n: u32| one(n, &format!("r{n}.test"), from([198, 51, 100, (n % 250) as u8], 5060));
    let held = (0..2_000).filter(|n| bindings.apply(&flood(*n), false).is_ok()).count();
    assert!((150..256).contains(&held), "{held}");
    let refused = bindings.apply(&flood(5_000), false);
    assert_eq!(refused, Err(NoRoom::Share(OverShare::Network)));
    let guest = one(1, "guest.test", from([203, 0, 113, 9], 5060));
    assert_eq!(bindings.apply(&guest, false), Ok(()));
    bindings.check();
}

/// Bytes count, not entries: who sends long fields holds fewer.
#[test]
fn long_fields_use_up_the_share_of_who_sends_them() {
    let held = |length: usize| {
        let mut bindings = small();
        let flood = |n: u32| {
            let mut change = one(n, "flood.test", from([198, 51, 100, 7], 5060));
            change.put[0].contact = format!("sip:{}@192.0.2.9", "x".repeat(length));
            change
        };
        (0..1_000).filter(|n| bindings.apply(&flood(*n), false).is_ok()).count()
    };
    assert!(
        held(480) * 2 > held(10) && held(4_000) * 4 < held(10),
        "{} {} {}",
        held(10),
        held(480),
        held(4_000)
    );
}

/// A refresh that takes more than before is a new promise; refused, it takes away nothing of the old one.
#[test]
fn a_refused_refresh_leaves_what_was_promised() {
    let mut bindings = small();
    let flood = |n: u32| one(n, "flood.test", from([198, 51, 100, 7], 5060));
    let held = (0..2_000).filter(|n| bindings.apply(&flood(*n), false).is_ok()).count();
    let before = format!("{bindings:?}");
    let mut longer = flood(0);
    longer.put[0].contact_params = format!(";x=\"{}\"", "y".repeat(4_000));
    longer.put.push(Binding { instance: "j".into(), ..flood(0).put.remove(0) });
    assert!(matches!(bindings.apply(&longer, false), Err(NoRoom::Share(_))));
    assert_eq!((format!("{bindings:?}"), bindings.len()), (before, held));
    bindings.check();
    // After a restart all of it was promised before: it comes back, beside others or not.
    let all: Vec<Binding> = bindings.iter().map(|bound| bound.to_binding()).collect();
    let mut restored = small();
    assert!(all.iter().all(|binding| restored.restore(binding, false)));
    assert_eq!(restored.len(), held);
}

#[test]
fn nothing_is_listed_in_the_order_of_hashes() {
    let order = |secret: u8| {
        let mut bindings = Bindings::new(Secret::new([secret; 32]));
        for n in [5, 3, 9, 1] {
            assert_eq!(bindings.apply(&one(n, "x", from([192, 0, 2, 1], n as u16)), true), Ok(()));
            let second = put(binding(&format!("{n}@x"), "h", flow(Transport::Udp, 0), 10));
            assert_eq!(bindings.apply(&second, true), Ok(()));
        }
        let listed: Vec<String> = bindings.iter().map(|b| format!("{} {}", b.aor, b.instance)).collect();
        (listed, format!("{:?}", bindings.expire(10, 100)))
    };
    assert_eq!(order(1), order(2));
    assert_eq!(order(1).0[..3], ["5@x i", "5@x h", "3@x i"]);
}

#[derive(Clone, Debug)]
enum Step {
    Put { aor: u8, instance: u8, connection: u8, until: u64 },
    Remove { aor: u8, instance: u8 },
    Restore { aor: u8, instance: u8, connection: u8, until: u64 },
    Close { connection: u8 },
    Expire { now: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..3u8, 0..14u8, 0..4u8, 0..40u64);
    let step = prop_oneof![
        6 => place().prop_map(|(aor, instance, connection, until)| Step::Put { aor, instance, connection, until }),
        2 => (0..3u8, 0..14u8).prop_map(|(aor, instance)| Step::Remove { aor, instance }),
        1 => place().prop_map(|(aor, instance, connection, until)| Step::Restore { aor, instance, connection, until }),
        1 => (0..4u8).prop_map(|connection| Step::Close { connection }),
        1 => (0..40u64).prop_map(|now| Step::Expire { now }),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn limits_and_indexes_hold(steps in steps()) {
        let mut bindings = bindings();
        let made = |aor: u8, instance: u8, connection: u8, until| {
            let transport = if connection == 0 { Transport::Udp } else { Transport::Tcp };
            binding(&format!("{aor}@x"), &instance.to_string(), flow(transport, connection.into()), until)
        };
        for step in steps {
            match step {
                Step::Put { aor, instance, connection, until } => {
                    let _ = bindings.apply(&put(made(aor, instance, connection, until)), aor == 0);
                }
                Step::Remove { aor, instance } => {
                    let removed = vec![instance.to_string()];
                    let change = BindingChange { aor: format!("{aor}@x"), put: Vec::new(), removed };
                    prop_assert_eq!(bindings.apply(&change, aor == 0), Ok(()));
                }
                Step::Restore { aor, instance, connection, until } => {
                    let _ = bindings.restore(&made(aor, instance, connection, until), aor == 0);
                }
                Step::Close { connection } => {
                    bindings.flow_closed(&flow(Transport::Tcp, connection.into()));
                }
                Step::Expire { now } => {
                    bindings.expire(now, 100);
                    prop_assert!(bindings.iter().all(|b| b.expires_at_ms > now));
                }
            }
            bindings.check();
        }
    }
}
