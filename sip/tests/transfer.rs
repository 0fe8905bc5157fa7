//! Transfers between phones of one, two and three peers (RFC 5589): REFER, the call that it makes, and what is told of it.

mod common;

use common::*;
use dots_sip::{
    Now,
    input::{RemoteTarget, Resolution},
    message::{Message, Name, NameAddr},
};
use std::time::Instant;

const LABELS: [&str; 3] = [LABEL_A, LABEL_B, "ccccddddeeeeffffgggghhhhiiii4444"];
const REALMS: [&str; 3] = ["a.test", "b.test", "c.test"];

/// Phones are known by their port: alice 1, bob 2, carol 3; `at` says at which peer each is.
struct Town {
    now: Now,
    peers: Vec<Peer>,
    at: [usize; 3],
    /// Whose account each has.
    of: [usize; 3],
}

const USERS: [&str; 3] = ["alice", "bob", "carol"];

impl Town {
    fn new((at, of): ([usize; 3], [usize; 3])) -> Town {
        let now = Now { mono: Instant::now(), wall_ms: 1_000_000 };
        let peers = LABELS.iter().zip(REALMS).map(|(label, realm)| Peer::new(label, realm)).collect();
        let mut town = Town { now, peers, at, of };
        for (port, user) in (1..).zip(USERS) {
            let realm = town.realm(port);
            town.of(port).register_in(now, user, realm, port);
        }
        town
    }

    fn of(&mut self, port: u16) -> &mut Peer {
        &mut self.peers[self.at[usize::from(port) - 1]]
    }

    fn realm(&self, port: u16) -> &'static str {
        REALMS[self.of[usize::from(port) - 1]]
    }

    fn phone(&mut self, port: u16, text: &str) {
        let now = self.now;
        self.of(port).phone(now, port, text);
        self.carry();
    }

    fn carry(&mut self) {
        while let Some(from) = self.peers.iter().position(|peer| !peer.to_peer.is_empty()) {
            let bytes = self.peers[from].to_peer.pop_front().expect("it is there");
            let message = Message::parse(bytes.clone()).expect("readable");
            let text = String::from_utf8_lossy(message.raw()).into_owned();
            assert!(!text.contains("127.0.0.1"), "an address on the overlay:\n{text}");
            // Two peers at most have somebody in a call with this one: whoever is named next.
            let to = self.recipient(from, &message);
            let initial = message.is_request() && message.to().expect("a To").tag().is_none();
            let caller = message.from().expect("a From").uri().trim_start_matches("sip:").to_owned();
            let input = overlay(LABELS[from], bytes, initial.then_some(caller)).expect("readable");
            let now = self.now;
            self.peers[to].core.handle(now, input);
            self.peers[to].drain(now);
        }
    }

    /// Whose it is: by the realms of From and To, of which one is the sender's.
    fn recipient(&self, from: usize, message: &Message) -> usize {
        let realm = |addr: Option<NameAddr<'_>>| {
            let uri = addr.expect("an address").uri().to_owned();
            REALMS.iter().position(|realm| uri.ends_with(realm)).expect("a realm of the town")
        };
        let (a, b) = (realm(message.from()), realm(message.to()));
        if a == from { b } else { a }
    }

    /// An answered call: the INVITE as the callee has it, the 200 as the caller has it.
    fn call(&mut self, caller: u16, callee: u16, call: &str, more: &str, uri: &str) -> (Message, Message) {
        let (from, to) = (USERS[usize::from(caller) - 1], USERS[usize::from(callee) - 1]);
        let far = self.at[usize::from(callee) - 1];
        if far != self.at[usize::from(caller) - 1] {
            let target = RemoteTarget { peer: LABELS[far].into(), q: 1000 };
            self.of(caller).resolution = Resolution::Peers(vec![target]);
        }
        let realm = self.realm(caller);
        let text = invite(caller, call, from, to, realm);
        let text = text.replace(&format!("sip:{to}@127.0.0.1"), uri);
        let text = match realm == self.of(caller).realm {
            true => text,
            false => text.replace(&format!("From: <sip:{from}@"), &format!("From: <sip:{from}%40{realm}@")),
        };
        let text = text.replacen("Content-Length", &format!("{more}Content-Length"), 1);
        self.phone(caller, &text);
        let ringing = self.of(callee).got(callee);
        self.phone(callee, &answer(&ringing, "200 OK", callee));
        let ok = self.of(caller).got(caller);
        assert_eq!(ok.status(), Some(200), "{call}");
        self.of(caller).resolution = Resolution::Offline;
        self.phone(caller, &in_dialog("ACK", 7, caller, &ok, true, call));
        assert_eq!(self.of(callee).got(callee).method(), "ACK");
        (ringing, ok)
    }

    fn uri(&self, port: u16) -> String {
        format!("sip:{}%40{}@127.0.0.1", USERS[usize::from(port) - 1], self.realm(port))
    }
}

fn tag(addr: Option<NameAddr<'_>>) -> String {
    addr.and_then(|addr| addr.tag().map(str::to_owned)).expect("a tag")
}

fn with_lines(text: &str, lines: &str) -> String {
    text.replacen("Content-Length", &format!("{lines}Content-Length"), 1)
}

/// Where alice, bob and carol are, and of which realms: at one peer, at two in all ways, at three; and at one peer as
/// strangers, all of them or one.
const PLACES: [([usize; 3], [usize; 3]); 9] = [
    ([0, 0, 0], [0, 0, 0]),
    ([0, 1, 0], [0, 1, 0]),
    ([0, 0, 1], [0, 0, 1]),
    ([0, 1, 1], [0, 1, 1]),
    ([0, 1, 2], [0, 1, 2]),
    ([0, 0, 0], [0, 1, 2]),
    ([0, 0, 0], [1, 0, 0]),
    ([0, 0, 0], [0, 1, 0]),
    ([0, 0, 0], [0, 0, 2]),
];

/// The dialog with carol that bob is to replace, as alice names it; and alice may have called, or been called.
#[test]
fn an_attended_transfer_over_one_two_and_three_peers() {
    for at in PLACES {
        for (bob_called, carol_called) in [(false, false), (true, false), (false, true), (true, true)] {
            // Of several cores the one that has the REFER does not know the other dialog.
            let is_shared = module_path!().starts_with("four_cores");
            for names_contact in [false, true].into_iter().filter(|contact| !(*contact && is_shared)) {
                attended(at, bob_called, carol_called, names_contact);
            }
        }
    }
}

fn attended(at: ([usize; 3], [usize; 3]), bob_called: bool, carol_called: bool, names_contact: bool) {
    let why =
        format!("{at:?}, bob called: {bob_called}, carol called: {carol_called}, Contact: {names_contact}");
    let mut town = Town::new(at);
    let (bob_uri, carol_uri, alice_uri) = (town.uri(2), town.uri(3), town.uri(1));
    // With addresses in their Call-IDs: each has another name on the overlay.
    let (first, second) = ("one@127.0.0.1", "two@127.0.0.1");
    // As alice sees it, and as bob does.
    let (seen, bobs) = match bob_called {
        true => town.call(2, 1, first, "", &alice_uri),
        false => {
            let (ringing, ok) = town.call(1, 2, first, "", &bob_uri);
            (ok, ringing)
        }
    };
    let (by_caller, call) = (!bob_called, seen.call_id().expect("a Call-ID").to_owned());
    // The second call, as alice knows it and as carol knows it.
    let (alices, carols) = match carol_called {
        true => {
            let (ringing, ok) = town.call(3, 1, second, "", &alice_uri);
            (ringing, ok)
        }
        false => {
            let (ringing, ok) = town.call(1, 3, second, "", &carol_uri);
            (ok, ringing)
        }
    };
    let (caller, callee) = if carol_called { (3, 1) } else { (1, 3) };
    let (from_tag, to_tag) = (format!("f{caller}"), format!("t{callee}"));
    let (local, remote) = if carol_called { (to_tag, from_tag) } else { (from_tag, to_tag) };
    // RFC 3891 §3: to-tag is that of whoever gets the INVITE, carol.
    let replaces = format!("{};to-tag={remote};from-tag={local}", alices.call_id().expect("a Call-ID"));
    let escaped = replaces.replace('@', "%40").replace(';', "%3B").replace('=', "%3D");
    let contact = NameAddr::parse(alices.header(&Name::Contact).expect("a Contact"))
        .expect("readable")
        .uri()
        .to_owned();
    let name = if names_contact { contact } else { carol_uri };
    let lines = format!(
        "Refer-To: <{name}?Replaces={escaped}>\nReferred-By: <sip:alice@127.0.0.1>\nContact: <sip:alice@127.0.0.1:1>\n"
    );
    let refer = with_lines(&in_dialog("REFER", 30, 1, &seen, by_caller, &call), &lines);
    town.phone(1, &refer);
    let refer = town.of(2).got(2);
    assert_eq!(refer.method(), "REFER", "{why}");
    town.phone(2, &answer(&refer, "202 Accepted", 2).replace(";tag=t2;tag=t2", ";tag=t2"));
    assert_eq!(town.of(1).got(1).status(), Some(202), "{why}");

    // bob does as he is told, word by word.
    let target = refer.header(&Name::ReferTo).expect("a Refer-To").to_owned();
    let target = NameAddr::parse(&target).expect("readable").uri().to_owned();
    let (uri, embedded) = target.split_once('?').expect("with Replaces");
    let replaces = embedded.strip_prefix("Replaces=").expect("it alone");
    let replaces = replaces.replace("%40", "@").replace("%3B", ";").replace("%3D", "=");
    let referrer = refer.header(&Name::ReferredBy).expect("by whom").to_owned();
    let lines = format!("Replaces: {replaces}\nReferred-By: {referrer}\nRequire: replaces\n");
    let (invite, _) = town.call(2, 3, "three@127.0.0.1", &lines, uri);
    // carol finds the dialog that she is in.
    let carols_id = carols.call_id().expect("a Call-ID");
    let (to, from) = if carol_called {
        (tag(carols.from()), tag(carols.to()))
    } else {
        ("t3".to_owned(), tag(carols.from()))
    };
    let expected = format!("{carols_id};to-tag={to};from-tag={from}");
    assert_eq!(invite.header(&Name::Replaces), Some(expected.as_str()), "{why}");
    assert!(invite.header(&Name::ReferredBy).expect("by whom").contains("alice"), "{why}");

    // alice is told, though she has hung up.
    town.phone(1, &in_dialog("BYE", 31, 1, &seen, by_caller, &call));
    assert_eq!(town.of(2).got(2).method(), "BYE", "{why}");
    let bobs_id = bobs.call_id().expect("a Call-ID").to_owned();
    let told = in_dialog("NOTIFY", 50, 2, &bobs, bob_called, &bobs_id);
    town.phone(2, &with_lines(&told, "Event: refer\n"));
    let notify = town.of(1).got(1);
    assert_eq!((notify.method(), notify.header(&Name::Event)), ("NOTIFY", Some("refer")), "{why}");
}

/// Alice and bob know their servers by address alone.
#[test]
fn a_blind_transfer_names_whom_the_other_phone_can_dial() {
    for at in PLACES {
        let mut town = Town::new(at);
        let is_border = at.0[0] != at.0[1] || at.1[0] != at.1[1];
        let (bob_uri, carol_uri) = (town.uri(2), town.uri(3));
        let (_, ok) = town.call(1, 2, "one@127.0.0.1", "", &bob_uri);
        let lines =
            format!("Refer-To: <{carol_uri};intercom=true>\nReferred-By: \"Al\" <sip:boss@127.0.0.1;x=y>\n");
        town.phone(1, &with_lines(&in_dialog("REFER", 8, 1, &ok, true, "one@127.0.0.1"), &lines));
        let refer = town.of(2).got(2);
        let target = refer.header(&Name::ReferTo).expect("a Refer-To").to_owned();
        let uri = NameAddr::parse(&target).expect("readable").uri().to_owned();
        if is_border {
            let is_default = town.realm(3) == town.of(2).realm;
            let name = if is_default { "carol".to_owned() } else { format!("carol%40{}", town.realm(3)) };
            assert_eq!(target, format!("<sip:{name}@127.0.0.1>"), "{at:?}");
            let is_default = town.realm(1) == town.of(2).realm;
            let alice = if is_default { "alice".to_owned() } else { format!("alice%40{}", town.realm(1)) };
            let expected = format!("<sip:{alice}@127.0.0.1>");
            assert_eq!(refer.header(&Name::ReferredBy), Some(expected.as_str()), "who sends it");
        }
        town.call(2, 3, "three@127.0.0.1", "", uri.split(';').next().expect("a URI"));
    }
}

/// A phone that answers 302 names somebody by its own server's address.
#[test]
fn a_redirection_names_whom_the_caller_can_dial() {
    let mut town = Town::new(([0, 1, 1], [0, 1, 1]));
    let uri = town.uri(2);
    town.peers[0].resolution = Resolution::Peers(vec![RemoteTarget { peer: LABEL_B.into(), q: 1000 }]);
    town.phone(1, &invite(1, "c1", "alice", "bob", "a.test").replace("sip:bob@127.0.0.1", &uri));
    let ringing = town.of(2).got(2);
    let moved = answer(&ringing, "302 Moved", 2).replace(
        "Contact: <sip:bob@127.0.0.1:2>",
        "Contact: <sip:carol@127.0.0.1;intercom=1?Alert-Info=x>;q=0.5;z, <http://192.0.2.1/>",
    );
    town.phone(2, &moved);
    let heard = town.of(1).got(1);
    assert_eq!(heard.status(), Some(302));
    assert_eq!(heard.values(&Name::Contact).collect::<Vec<_>>(), ["<sip:carol%40b.test@127.0.0.1>;q=0.5"]);
}
