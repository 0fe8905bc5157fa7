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

fn put(binding: Binding) -> BindingChange {
    BindingChange { aor: binding.aor.clone(), put: vec![binding], removed: Vec::new() }
}

impl Bindings {
    /// The indexes say exactly what the table says, and the limits hold.
    fn check(&self) {
        assert_eq!(self.count, self.iter().count());
        assert!(self.count <= MAX_BINDINGS);
        let expiry: BTreeSet<_> =
            self.iter().map(|b| (b.expires_at_ms, b.aor.clone(), b.instance.clone())).collect();
        assert_eq!(expiry, self.by_expiry);
        let mut flows: BTreeMap<Flow, BTreeSet<Key>> = BTreeMap::new();
        for (aor, of_aor) in &self.by_aor {
            assert!(!of_aor.is_empty() && of_aor.len() <= MAX_CONTACTS_PER_AOR);
            for (instance, held) in of_aor {
                assert_eq!((aor, instance), (&held.binding.aor, &held.binding.instance));
                if held.reachable {
                    flows.entry(held.binding.flow).or_default().insert((aor.clone(), instance.clone()));
                }
            }
        }
        assert_eq!(flows, self.by_flow);
    }
}

#[test]
fn the_same_instance_on_a_new_connection_displaces_the_old() {
    let (old, new) = (flow(Transport::Tcp, 1), flow(Transport::Tcp, 2));
    let mut bindings = Bindings::new();
    assert!(bindings.apply(&put(binding("a@x", "i", old, 10))));
    assert!(bindings.apply(&put(binding("a@x", "i", new, 20))));
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings.by_flow(&old).count(), 0);
    assert_eq!(bindings.flow_closed(&old), 0);
    assert_eq!(bindings.reachable("a@x", 0)[0].flow, new);
    bindings.check();
}

#[test]
fn a_closed_connection_keeps_the_lease_but_takes_no_calls() {
    let tcp = flow(Transport::Tcp, 1);
    let mut bindings = Bindings::new();
    assert!(bindings.apply(&put(binding("a@x", "i", tcp, 10))));
    assert_eq!(bindings.flow_closed(&tcp), 1);
    assert_eq!(bindings.of("a@x").count(), 1);
    assert!(bindings.reachable("a@x", 0).is_empty());
    bindings.check();

    let udp = flow(Transport::Udp, 0);
    assert!(bindings.apply(&put(binding("b@x", "i", udp, 10))));
    assert_eq!(bindings.flow_closed(&udp), 0);
    assert_eq!(bindings.reachable("b@x", 0).len(), 1);
}

#[test]
fn after_a_restart_tcp_bindings_wait_for_their_phone() {
    let mut bindings = Bindings::new();
    assert!(bindings.restore(binding("a@x", "tcp", flow(Transport::Tcp, 1), 10)));
    assert!(bindings.restore(binding("a@x", "udp", flow(Transport::Udp, 0), 10)));
    let reachable: Vec<&str> = bindings.reachable("a@x", 0).iter().map(|b| b.instance.as_str()).collect();
    assert_eq!(reachable, ["udp"]);
    // The new process may give the number 1 to another phone's connection.
    assert_eq!(bindings.by_flow(&flow(Transport::Tcp, 1)).count(), 0);
    bindings.check();
}

#[test]
fn reachable_is_ordered_by_q_and_leaves_out_the_ended() {
    let mut bindings = Bindings::new();
    for (instance, q, until) in [("low", 100, 10), ("high", 900, 10), ("ended", 1000, 5)] {
        let mut one = binding("a@x", instance, flow(Transport::Udp, 0), until);
        one.q = q;
        assert!(bindings.apply(&put(one)));
    }
    let order: Vec<&str> = bindings.reachable("a@x", 5).iter().map(|b| b.instance.as_str()).collect();
    assert_eq!(order, ["high", "low"]);
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let mut bindings = Bindings::new();
    for n in 0..MAX_CONTACTS_PER_AOR {
        assert!(bindings.apply(&put(binding("a@x", &n.to_string(), flow(Transport::Udp, 0), 10))));
    }
    let mut over = put(binding("a@x", "over", flow(Transport::Udp, 0), 10));
    assert!(!bindings.apply(&over));
    assert_eq!(bindings.of("a@x").count(), MAX_CONTACTS_PER_AOR);
    over.removed.push("0".into());
    assert!(bindings.apply(&over));
    assert!(bindings.apply(&put(binding("a@x", "1", flow(Transport::Udp, 0), 99))), "a refresh always fits");
    let stranger =
        BindingChange { aor: "b@x".into(), ..put(binding("a@x", "1", flow(Transport::Udp, 0), 1)) };
    assert!(!bindings.apply(&stranger), "a change is of one AOR");
    bindings.check();
}

#[test]
fn expiry_is_one_change_per_aor() {
    let mut bindings = Bindings::new();
    for (aor, instance, until) in [("a@x", "1", 5), ("b@x", "1", 6), ("a@x", "2", 7), ("a@x", "3", 9)] {
        assert!(bindings.apply(&put(binding(aor, instance, flow(Transport::Udp, 0), until))));
    }
    assert_eq!(bindings.next_expiry_ms(), Some(5));
    let changes = bindings.expire(7);
    assert_eq!(changes.len(), 2);
    assert_eq!(
        (changes[0].aor.as_str(), changes[0].removed.as_slice()),
        ("a@x", &["1".into(), "2".into()][..])
    );
    assert_eq!((changes[1].aor.as_str(), changes[1].removed.as_slice()), ("b@x", &["1".into()][..]));
    assert_eq!(bindings.next_expiry_ms(), Some(9));
    assert!(bindings.expire(8).is_empty());
    bindings.check();
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
        let mut bindings = Bindings::new();
        let made = |aor: u8, instance: u8, connection: u8, until| {
            let transport = if connection == 0 { Transport::Udp } else { Transport::Tcp };
            binding(&format!("{aor}@x"), &instance.to_string(), flow(transport, connection.into()), until)
        };
        for step in steps {
            match step {
                Step::Put { aor, instance, connection, until } => {
                    let _ = bindings.apply(&put(made(aor, instance, connection, until)));
                }
                Step::Remove { aor, instance } => {
                    let removed = vec![instance.to_string()];
                    let change = BindingChange { aor: format!("{aor}@x"), put: Vec::new(), removed };
                    prop_assert!(bindings.apply(&change));
                }
                Step::Restore { aor, instance, connection, until } => {
                    let _ = bindings.restore(made(aor, instance, connection, until));
                }
                Step::Close { connection } => {
                    bindings.flow_closed(&flow(Transport::Tcp, connection.into()));
                }
                Step::Expire { now } => {
                    bindings.expire(now);
                    prop_assert!(bindings.iter().all(|b| b.expires_at_ms > now));
                }
            }
            bindings.check();
        }
    }
}
