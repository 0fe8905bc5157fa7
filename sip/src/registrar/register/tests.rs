use super::*;
use crate::{
    Transport,
    registrar::{ContactRule, MAX_CONTACTS_PER_AOR, ok_headers, vouch_for_flow, vouch_for_refresh},
};

use proptest::prelude::*;

const AOR: &str = "alice@office.example";
const NOW: u64 = 1_800_000_000_000;

fn flow(port: u16) -> Flow {
    let address = |port| ([192, 0, 2, 1], port).into();
    Flow { transport: Transport::Tcp, connection: port.into(), local: address(5060), remote: address(port) }
}

fn contact(uri: &str, expires_s: Option<u32>) -> AskedContact {
    AskedContact {
        uri: uri.into(),
        params: String::new(),
        q: 1000,
        instance: format!("i-{uri}"),
        listens: None,
        elsewhere: None,
        expires_s,
    }
}

fn some(call_id: &str, cseq: u32, contacts: Vec<AskedContact>) -> Register {
    Register {
        call_id: call_id.into(),
        cseq,
        contacts: Contacts::Some(contacts),
        path: Vec::new(),
        server: None,
        rule: ContactRule::Own,
    }
}

fn vouch() -> Vouch {
    Vouch { aor: AOR.into(), grant: vec![1].into(), not_after_ms: NOW + 3_600_000 }
}

/// One registrar with one account.
struct Desk {
    bindings: Bindings,
    rules: ExpiryRules,
}

impl Desk {
    fn new() -> Self {
        Self { bindings: Bindings::new(crate::ids::Secret::new([7; 32])), rules: ExpiryRules::default() }
    }

    fn try_on(&mut self, port: u16, register: &Register, now_ms: u64) -> Result<Decision, Refusal> {
        let decision = decide(register, flow(port), AOR, &self.bindings, &vouch(), &self.rules, now_ms)?;
        self.bindings.apply(&decision.change, true).map_err(room::refusal)?;
        Ok(decision)
    }

    fn ok(&mut self, register: &Register) -> Decision {
        self.try_on(4000, register, NOW).expect("accepted")
    }

    /// Refused, and nothing changed.
    fn no(&mut self, register: &Register) -> Refusal {
        let before = format!("{:?}", self.bindings);
        let refusal = self.try_on(4000, register, NOW).expect_err("refused");
        assert_eq!(before, format!("{:?}", self.bindings));
        refusal
    }

    fn uris(&self) -> Vec<&str> {
        self.bindings.of(AOR).map(|b| b.contact).collect()
    }

    fn left_s(&self, uri: &str) -> Option<u64> {
        let found = self.bindings.of(AOR).find(|b| b.contact == uri)?;
        Some((found.expires_at_ms - NOW) / 1000)
    }
}

#[test]
fn expires_bounds() {
    let rules = ExpiryRules { min_s: 60, default_s: 1800, max_s: 3000, brief: Brief::Raise };
    for (why, brief, asked, result) in [
        ("absent: default (R04)", Brief::Raise, None, Ok(1800)),
        ("as asked", Brief::Raise, Some(600), Ok(600)),
        ("just enough", Brief::Refuse, Some(60), Ok(60)),
        ("too brief (R11)", Brief::Refuse, Some(59), Err(423)),
        ("too brief: raised", Brief::Raise, Some(59), Ok(60)),
        ("the briefest: raised", Brief::Raise, Some(1), Ok(60)),
        ("too long: shortened (R12)", Brief::Raise, Some(3001), Ok(3000)),
        ("the largest", Brief::Raise, Some(u32::MAX), Ok(3000)),
    ] {
        let mut desk = Desk { rules: ExpiryRules { brief, ..rules }, ..Desk::new() };
        let got = desk.try_on(4000, &some("c", 1, vec![contact("sip:a@h", asked)]), NOW);
        match (result, got) {
            (Ok(left_s), Ok(_)) => assert_eq!(desk.left_s("sip:a@h"), Some(left_s), "{why}"),
            (Err(status), Err(refusal)) => {
                assert_eq!(
                    (refusal.status, &refusal.headers[..]),
                    (status, &[("Min-Expires", "60".into())][..])
                );
                assert!(desk.bindings.is_empty());
            }
            (_, got) => panic!("{why}: {got:?}"),
        }
    }
}

#[test]
fn one_hour_is_never_too_brief() {
    let rules = ExpiryRules { min_s: 9000, default_s: 9000, max_s: 9000, brief: Brief::Refuse };
    let mut desk = Desk { rules, ..Desk::new() };
    desk.ok(&some("c", 1, vec![contact("sip:a@h", Some(3600))]));
    assert_eq!(desk.left_s("sip:a@h"), Some(3600));
    assert_eq!(desk.no(&some("d", 1, vec![contact("sip:b@h", Some(3599))])).status, 423);
}

#[test]
fn a_binding_ends_with_its_grant() {
    let mut desk = Desk::new();
    let later = NOW + 3_000_000;
    desk.try_on(4000, &some("c", 1, vec![contact("sip:a@h", Some(3600))]), later).expect("accepted");
    assert_eq!(desk.left_s("sip:a@h"), Some(3600), "the grant's end, not an hour from later");
    let over = NOW + 3_600_000;
    let refusal = desk.try_on(4000, &some("c", 2, vec![contact("sip:a@h", Some(3600))]), over);
    assert_eq!(refusal.expect_err("grant is over").status, 503);
}

#[test]
fn add_query_remove() {
    let mut desk = Desk::new();
    desk.ok(&some("c", 1, vec![contact("sip:a@h", Some(600)), contact("sip:b@h", Some(900))]));
    assert_eq!(desk.uris(), ["sip:a@h", "sip:b@h"]);
    let query = Register { contacts: Contacts::Query, ..some("c", 1, vec![]) };
    assert!(!needs_journal(&desk.ok(&query).change), "a query writes nothing (R09)");
    desk.ok(&some("c", 2, vec![contact("sip:a@h", Some(0))]));
    assert_eq!(desk.uris(), ["sip:b@h"], "one removed (R05)");
    let nothing = desk.ok(&some("c", 3, vec![contact("sip:gone@h", Some(0))]));
    assert!(!needs_journal(&nothing.change), "removing what is not there is 200 (R35)");
    desk.ok(&some("c", 4, vec![contact("sip:a@h", Some(600))]));
    let all = desk.ok(&Register { contacts: Contacts::RemoveAll, ..some("c", 5, vec![]) });
    assert!(needs_journal(&all.change) && desk.uris().is_empty(), "R06");
}

#[test]
fn order_of_requests() {
    for (why, call_id, cseq, expires_s, status) in [
        ("newer", "c", 6, 700, 200),
        ("same again is no change (R34)", "c", 5, 600, 200),
        ("older (R14)", "c", 4, 700, 500),
        ("restarted phone (R15)", "d", 1, 700, 200),
        ("older removal", "c", 4, 0, 500),
        ("removal with the CSeq of the binding", "c", 5, 0, 500),
        ("newer removal", "c", 6, 0, 200),
    ] {
        let mut desk = Desk::new();
        desk.ok(&some("c", 5, vec![contact("sip:a@h", Some(600))]));
        let next = some(call_id, cseq, vec![contact("sip:a@h", Some(expires_s))]);
        if status == 200 {
            let decision = desk.ok(&next);
            assert_eq!(needs_journal(&decision.change), cseq != 5, "{why}");
        } else {
            assert_eq!(desk.no(&next).status, status, "{why}");
        }
    }
    let mut desk = Desk::new();
    desk.ok(&some("c", 5, vec![contact("sip:a@h", Some(600))]));
    let star =
        |call_id: &str, cseq| Register { contacts: Contacts::RemoveAll, ..some(call_id, cseq, vec![]) };
    assert_eq!(desk.no(&star("c", 5)).status, 500);
    desk.ok(&star("d", 1));
}

#[test]
fn all_or_nothing() {
    let mut desk = Desk::new();
    desk.rules.brief = Brief::Refuse;
    desk.ok(&some("c", 5, vec![contact("sip:a@h", Some(600))]));
    // The second Contact is too brief, or out of order: the first is not added (R20).
    desk.no(&some("d", 1, vec![contact("sip:b@h", Some(600)), contact("sip:c@h", Some(5))]));
    desk.no(&some("c", 4, vec![contact("sip:b@h", Some(600)), contact("sip:a@h", Some(600))]));
    assert_eq!(desk.uris(), ["sip:a@h"]);
}

#[test]
fn nobody_changes_anothers_bindings() {
    let desk = Desk::new();
    let mallory = Vouch { aor: "mallory@office.example".into(), ..vouch() };
    let register = some("c", 1, vec![contact("sip:a@h", Some(600))]);
    let result = decide(&register, flow(1), AOR, &desk.bindings, &mallory, &desk.rules, NOW);
    assert_eq!(result.expect_err("D08").status, 403);
}

#[test]
fn the_same_phone_replaces_itself() {
    let with = |instance: &str, uri: &str, expires_s| AskedContact {
        instance: instance.into(),
        ..contact(uri, Some(expires_s))
    };
    let mut desk = Desk::new();
    desk.ok(&some("c", 1, vec![with("urn:1", "sip:a@10.0.0.1", 600)]));
    // It comes back on another connection with another address.
    desk.try_on(4001, &some("d", 1, vec![with("urn:1", "sip:a@10.0.0.2", 600)]), NOW).expect("accepted");
    assert_eq!(desk.uris(), ["sip:a@10.0.0.2"]);
    assert_eq!(desk.bindings.by_flow(&flow(4000)).count(), 0);
    // It removes its old Contact and adds the new one in one request.
    let both = vec![with("urn:1", "sip:a@10.0.0.2", 0), with("urn:1", "sip:a@10.0.0.3", 600)];
    desk.ok(&some("d", 2, both));
    assert_eq!(desk.uris(), ["sip:a@10.0.0.3"]);
    // An equal URI under another instance is the same phone (an update gave it one).
    desk.ok(&some("e", 1, vec![with("urn:2", "sip:a@10.0.0.3", 600)]));
    let instances: Vec<&str> = desk.bindings.of(AOR).map(|b| b.instance).collect();
    assert_eq!(instances, ["urn:2"]);
}

fn phone(instance: &str, n: u16) -> Register {
    let contact = AskedContact { instance: instance.into(), ..contact(&format!("sip:{n}@h"), Some(600)) };
    some(&format!("c{n}"), 1, vec![contact])
}

#[test]
fn a_full_account_of_phones_that_name_themselves_gives_way_only_where_nobody_can_be_reached() {
    let mut desk = Desk::new();
    for n in 0..MAX_CONTACTS_PER_AOR as u16 {
        desk.try_on(4000 + n, &phone(&format!("urn:{n}"), n), NOW).expect("accepted");
    }
    for eleventh in [phone("urn:x", 99), phone("c-x", 99)] {
        assert_eq!(desk.no(&eleventh).status, 403);
    }
    desk.ok(&some("c0", 2, vec![AskedContact { instance: "urn:0".into(), ..contact("sip:0@h", Some(900)) }]));
    desk.bindings.flow_closed(&flow(4003));
    desk.ok(&phone("urn:x", 99));
    assert!(!desk.uris().contains(&"sip:3@h") && desk.uris().contains(&"sip:99@h"));
    assert_eq!(desk.uris().len(), MAX_CONTACTS_PER_AOR);
}

/// A phone without an instance that comes back from another port each time, far more often than the table has places.
#[test]
fn a_nameless_phone_on_ever_new_ports_never_locks_its_owner_out() {
    let mut desk = Desk::new();
    desk.try_on(5000, &phone("urn:desk", 500), NOW).expect("the phone on the desk");
    desk.try_on(5001, &phone("c-other", 501), NOW).expect("another one without a name");
    for n in 0..40u16 {
        desk.try_on(4000 + n, &phone(&format!("c-{n}"), n), NOW).expect("accepted");
        // The other one stays as long as it refreshes in time, whatever it asks for.
        let brief = AskedContact { instance: "c-other".into(), ..contact("sip:501@h", Some(60)) };
        desk.try_on(5001, &some("c501", u32::from(n) + 2, vec![brief]), NOW).expect("a refresh");
    }
    let uris = desk.uris();
    assert_eq!(uris.len(), MAX_CONTACTS_PER_AOR);
    for stays in ["sip:500@h", "sip:501@h", "sip:39@h", "sip:32@h"] {
        assert!(uris.contains(&stays), "{stays}: {uris:?}");
    }
    assert!(!uris.contains(&"sip:31@h"), "the least recently refreshed went: {uris:?}");
}

/// A PBX starts again on its port, with a Contact that it has not had before.
#[test]
fn one_socket_is_one_target_after_a_restart() {
    for (why, instance, path, call_id, is_one) in [
        ("restarted", "c-2", None, "d", true),
        ("the same run: a second Contact", "c-2", None, "c", false),
        ("it names itself", "urn:2", None, "d", false),
        ("an edge proxy with several phones", "c-2", Some("<sip:edge;lr>"), "d", false),
    ] {
        let mut desk = Desk::new();
        let one = |instance: &str, uri| AskedContact { instance: instance.into(), ..contact(uri, Some(600)) };
        let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
        desk.ok(&Register { path: path.clone(), ..some("c", 1, vec![one("c-1", "sip:s@h;line=1")]) });
        desk.ok(&Register { path, ..some(call_id, 2, vec![one(instance, "sip:x@h;line=2")]) });
        assert_eq!(desk.uris().len(), if is_one { 1 } else { 2 }, "{why}");
        // Taking one away takes no other.
        desk.ok(&some(
            "e",
            1,
            vec![one("c-3", "sip:nobody@h"), one(instance, "sip:x@h;line=2")]
                .into_iter()
                .map(|c| AskedContact { expires_s: Some(0), ..c })
                .collect(),
        ));
        assert_eq!(desk.uris().len(), usize::from(!is_one), "{why}");
    }
}

#[test]
fn the_200_lists_all_and_the_newest_first() {
    let mut desk = Desk::new();
    desk.ok(&some("c", 1, vec![contact("sip:a@h", Some(600))]));
    let mut newest = contact("sip:z@h", Some(900));
    newest.params = ";expires=9999;q=0.5;+sip.instance=\"<urn:z;>\";x=\"a;b\"".into();
    let path = vec!["<sip:edge;lr>".to_owned()];
    let register = Register { path, ..some("d", 1, vec![newest]) };
    let decision = desk.try_on(4001, &register, NOW).expect("accepted");
    let headers = ok_headers(&register, &decision, &desk.bindings, NOW + 500);
    assert_eq!(
        headers[..3],
        [
            ("Contact", "<sip:z@h>;expires=900;q=0.5;+sip.instance=\"<urn:z;>\";x=\"a;b\"".to_owned()),
            ("Contact", "<sip:a@h>;expires=600".to_owned()),
            ("Path", "<sip:edge;lr>".to_owned()),
        ]
    );
    assert_eq!(headers[3].0, "Date");
}

/// A q that is none says nothing, and is not given back.
#[test]
fn the_200_repeats_only_a_good_q() {
    for (params, expected) in [
        (";q=0.5;a=b", ";q=0.5;a=b"),
        (";q=5;a=b", ";a=b"),
        (";a=b;q=-1", ";a=b"),
        (";q", ""),
        (";Q=1.0000", ""),
        (";q=0.333", ";q=0.333"),
    ] {
        let mut desk = Desk::new();
        let one = AskedContact { params: params.into(), ..contact("sip:z@h", Some(600)) };
        let register = some("c", 1, vec![one]);
        let decision = desk.ok(&register);
        let headers = ok_headers(&register, &decision, &desk.bindings, NOW);
        assert_eq!(headers[0].1, format!("<sip:z@h>;expires=600{expected}"));
    }
}

#[test]
fn a_long_200_loses_its_ornaments() {
    let mut desk = Desk::new();
    let mut register = some("c", 1, vec![]);
    for n in 0..MAX_CONTACTS_PER_AOR {
        let mut one = contact(&format!("sip:{n}@h"), Some(600));
        one.instance = format!("urn:{n}");
        one.params = format!(";q=1;audio;description=\"{}\"", "x".repeat(300));
        register = some(&format!("c{n}"), 1, vec![one]);
        desk.ok(&register);
    }
    let decision = Decision {
        change: BindingChange { aor: AOR.into(), put: vec![], removed: vec![] },
        first: vec!["urn:9".into()],
    };
    let headers = ok_headers(&register, &decision, &desk.bindings, NOW);
    let contacts: Vec<&str> =
        headers.iter().filter(|(name, _)| *name == "Contact").map(|(_, value)| value.as_str()).collect();
    assert_eq!(contacts.len(), MAX_CONTACTS_PER_AOR);
    assert_eq!(contacts[0], "<sip:9@h>;expires=600;q=1");
}

#[test]
fn without_the_home_only_what_changes_nothing() {
    let mut desk = Desk::new();
    desk.ok(&some("c", 5, vec![contact("sip:a@h", Some(600))]));
    let asked =
        |call_id: &str, cseq, uri: &str, expires_s| some(call_id, cseq, vec![contact(uri, expires_s)]);
    for (why, register, port, now_ms, is_honoured) in [
        ("unchanged refresh", asked("c", 6, "sip:a@h", Some(600)), 4000, NOW, true),
        ("other lease", asked("c", 6, "sip:a@h", None), 4000, NOW, true),
        ("other flow", asked("c", 6, "sip:a@h", Some(600)), 4001, NOW, false),
        ("other Contact", asked("c", 6, "sip:b@h", Some(600)), 4000, NOW, false),
        ("restart", asked("d", 6, "sip:a@h", Some(600)), 4000, NOW, false),
        ("older", asked("c", 4, "sip:a@h", Some(600)), 4000, NOW, false),
        ("removal", asked("c", 6, "sip:a@h", Some(0)), 4000, NOW, false),
        ("lease over", asked("c", 6, "sip:a@h", Some(600)), 4000, NOW + 600_000, false),
        ("query", Register { contacts: Contacts::Query, ..asked("c", 6, "", None) }, 4000, NOW, false),
        ("nothing", some("c", 6, vec![]), 4000, NOW, false),
    ] {
        let got = vouch_for_refresh(&register, &flow(port), AOR, &desk.bindings, now_ms);
        assert_eq!(got, is_honoured.then(vouch), "{why}");
    }
    assert!(vouch_for_flow(&flow(4000), AOR, &desk.bindings, NOW).is_some());
    assert!(vouch_for_flow(&flow(4001), AOR, &desk.bindings, NOW).is_none());
    desk.bindings.flow_closed(&flow(4000));
    assert!(vouch_for_flow(&flow(4000), AOR, &desk.bindings, NOW).is_none());
}

#[test]
fn the_last_word_on_a_contact_counts() {
    let mut desk = Desk::new();
    let twice = vec![contact("sip:a@h", Some(600)), contact("sip:a@h", Some(700))];
    assert_eq!(desk.ok(&some("c", 1, twice)).change.put.len(), 1);
    assert_eq!(desk.left_s("sip:a@h"), Some(700));
}

#[test]
fn an_ended_binding_has_no_say() {
    let mut desk = Desk::new();
    desk.ok(&some("c", 5, vec![contact("sip:a@h", Some(60))]));
    desk.try_on(4000, &some("c", 5, vec![contact("sip:a@h", Some(60))]), NOW + 60_000).expect("accepted");
    assert_eq!(desk.left_s("sip:a@h"), Some(120));
}

prop_compose! {
    fn any_register()(
        call_id in 0..3u8,
        cseq in 0..6u32,
        kind in 0..12u8,
        contacts in proptest::collection::vec((0..14u8, prop_oneof![Just(Some(0)), Just(Some(5)), Just(Some(600)), Just(None)]), 1..4),
    ) -> Register {
        let list = contacts.iter().map(|(n, expires_s)| contact(&format!("sip:{n}@h"), *expires_s)).collect();
        let contacts = match kind {
            0 => Contacts::Query,
            1 => Contacts::RemoveAll,
            _ => Contacts::Some(list),
        };
        Register { contacts, ..some(&call_id.to_string(), cseq, vec![]) }
    }
}

proptest! {
    /// Whatever phones send: a decision always fits the table, no URI is bound twice, the 200 lists what is bound,
    /// and the same request again changes nothing.
    #[test]
    fn decisions_keep_the_table(steps in proptest::collection::vec((any_register(), 4000..4003u16, 0..100u64), 0..60)) {
        let mut desk = Desk::new();
        let mut now_ms = NOW;
        for (register, port, pause_s) in steps {
            now_ms += pause_s * 1000;
            desk.bindings.expire(now_ms, 100);
            let Ok(decision) = desk.try_on(port, &register, now_ms) else { continue };
            let mut uris = desk.uris();
            prop_assert!(uris.len() <= MAX_CONTACTS_PER_AOR);
            let headers = ok_headers(&register, &decision, &desk.bindings, now_ms);
            prop_assert_eq!(headers.iter().filter(|(name, _)| *name == "Contact").count(), uris.len());
            uris.sort_unstable();
            uris.dedup();
            prop_assert_eq!(uris.len(), desk.bindings.of(AOR).count());
            if let Ok(again) = desk.try_on(port, &register, now_ms) {
                prop_assert!(!needs_journal(&again.change), "{:?}", again);
            }
        }
    }
}

/// RFC 5626 §6: whether a Contact that is said again is the same phone.
#[test]
fn two_phones_that_name_themselves_are_two_whatever_they_say_of_their_address() {
    let uri = "sip:alice@192.168.1.10:5060";
    for (why, old, new, is_one_address, phones) in [
        ("two routers, two names", "urn:uuid:1", "urn:uuid:2", false, 2),
        ("one address: it calls itself otherwise since", "urn:uuid:1", "urn:uuid:2", true, 1),
        ("one name", "urn:uuid:1", "urn:uuid:1", false, 1),
        ("the old one has no name", "i-old", "urn:uuid:2", false, 1),
        ("the new one has none", "urn:uuid:1", "i-new", false, 1),
    ] {
        let mut desk = Desk::new();
        let named =
            |instance: &str, expires_s| AskedContact { instance: instance.into(), ..contact(uri, expires_s) };
        let at = |host: u8| Flow { remote: ([192, 0, 2, host], 4000).into(), ..flow(4000) };
        let from = |desk: &mut Desk, host, register: &Register| {
            let decision = decide(register, at(host), AOR, &desk.bindings, &vouch(), &desk.rules, NOW);
            let decision = decision.unwrap_or_else(|e| panic!("{why}: {e:?}"));
            desk.bindings.apply(&decision.change, true).expect("there is room");
        };
        from(&mut desk, 7, &some("one", 1, vec![named(old, Some(600))]));
        let host = if is_one_address { 7 } else { 8 };
        from(&mut desk, host, &some("two", 1, vec![named(new, Some(600))]));
        assert_eq!(desk.bindings.of(AOR).count(), phones, "{why}");
        // Whoever leaves takes nobody with him.
        from(&mut desk, host, &some("two", 2, vec![named(new, Some(0))]));
        assert_eq!(desk.bindings.of(AOR).count(), phones - 1, "{why}");
        assert!(desk.bindings.of(AOR).all(|left| left.instance == old), "{why}");
    }
}

/// Third-party registration: several phones in one REGISTER.
#[test]
fn contacts_of_several_hosts_are_for_realms_that_say_so() {
    let at = |text: &str| Some(text.parse().expect("an address"));
    let here = |uri| contact(uri, Some(600));
    let there = |uri, address| AskedContact { elsewhere: at(address), ..contact(uri, Some(600)) };
    let two = || {
        vec![
            there("sip:a@198.51.100.7", "198.51.100.7:5060"),
            there("sip:b@198.51.100.8", "198.51.100.8:5060"),
        ]
    };
    for (why, rule, contacts, expected) in [
        ("own account", ContactRule::Own, two(), Err("Contacts At Several Hosts")),
        ("foreign account", ContactRule::Foreign, two(), Err("Contacts At Several Hosts")),
        ("any: each at its own", ContactRule::Any, two(), Ok(vec!["198.51.100.7:5060", "198.51.100.8:5060"])),
        (
            "any: one of them here",
            ContactRule::Any,
            vec![here("sip:a@192.0.2.1"), two().remove(1)],
            Ok(vec!["192.0.2.1:4000", "198.51.100.8:5060"]),
        ),
        (
            "any: two that cannot be reached",
            ContactRule::Any,
            vec![here("sip:a@x.test"), here("sip:b@y.test")],
            Err("Contact Cannot Be Reached"),
        ),
        (
            "one host, two Contacts",
            ContactRule::Own,
            vec![here("sip:a@h"), here("sip:b@H")],
            Ok(vec!["192.0.2.1:4000"; 2]),
        ),
        (
            "one is taken away",
            ContactRule::Own,
            vec![here("sip:a@h"), contact("sip:b@other", Some(0))],
            Ok(vec!["192.0.2.1:4000"]),
        ),
        (
            "own account, one elsewhere: its flow",
            ContactRule::Own,
            two().drain(..1).collect(),
            Ok(vec!["192.0.2.1:4000"]),
        ),
    ] {
        let mut desk = Desk::new();
        let register = Register { rule, ..some("c", 1, contacts) };
        match expected {
            Err(reason) => {
                assert_eq!((desk.no(&register).status, desk.no(&register).reason), (403, reason), "{why}")
            }
            Ok(addresses) => {
                let decision = desk.ok(&register);
                let put: Vec<String> =
                    decision.change.put.iter().map(|b| b.flow.remote.to_string()).collect();
                assert_eq!(put, addresses, "{why}");
                assert!(!needs_journal(&desk.ok(&register).change), "{why}: a repetition");
            }
        }
    }
}
