//! The command line as a user types it: what each command says, to people and as JSON, and with which code it ends.

use dots_clients::types::{BindingInfo, CallInfo, LookupInfo, PeerInfo, ReceiptInfo, Status};
use dots_testnet::{
    command::{Said, dots},
    phones::plain::Plain,
    poll,
    process::Peer,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(10);
const COME_BACK: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a long password";

fn phone(peer: &Peer, aor: &str) -> Plain {
    peer.account(aor, PASSWORD).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(aor.len() as u64);
    let mut phone = Plain::new(peer.sip().unwrap(), aor, PASSWORD, &mut rng).unwrap();
    assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200), "{aor}");
    phone
}

/// The words, run on the peer's data directory.
fn say(peer: &Peer, words: &str) -> Said {
    peer.dots(&words.split(' ').collect::<Vec<_>>(), "").unwrap()
}

fn text(peer: &Peer, words: &str) -> String {
    say(peer, words).ok().unwrap()
}

fn list(peer: &Peer, words: &str, key: &str) -> Vec<Value> {
    say(peer, &format!("{words} --json")).list(key).unwrap()
}

fn listed<T: DeserializeOwned>(peer: &Peer, words: &str, key: &str) -> Vec<T> {
    list(peer, words, key).into_iter().map(|v| serde_json::from_value(v).unwrap()).collect()
}

/// It ended with this code, said nothing, and one sentence with `word` in it as to why.
fn assert_fails(said: &Said, code: i32, word: &str) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert_eq!(said.out, "", "{said:?}");
    assert!(said.err.contains(word), "{said:?}");
    assert!(!said.err.contains("panicked"), "{said:?}");
}

#[test]
fn an_alias_is_dialled_until_it_is_removed() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let mut alice = phone(&peer, "alice@a.test");
    let bob = phone(&peer, "bob@a.test").answer().unwrap();
    assert_eq!(text(&peer, "alias list"), "no aliases\n");
    assert_eq!(text(&peer, "alias add 12 sip:bob@a.test"), "12 -> sip:bob@a.test\n");
    assert_eq!(text(&peer, "alias add 12 sip:alice@a.test"), "12 -> sip:alice@a.test (it was bob@a.test)\n");
    let again = say(&peer, "alias add 12 sip:bob@a.test --json").json().unwrap();
    assert_eq!(again["replaced"], "alice@a.test");
    assert_fails(&say(&peer, "alias add bob sip:alice@a.test"), 7, "bob@a.test");
    assert_fails(&say(&peer, "account add 12@a.test"), 7, "alias");
    assert_fails(&peer.dots(&["account", "import", "-"], "12@a.test,pw\n").unwrap(), 7, "alias");
    let added = say(&peer, "alias add *7 bob@a.test --json").json().unwrap();
    assert_eq!(added, json!({ "alias": "*7", "target": "bob@a.test" }));
    let dial = format!("sip:12@{}", peer.sip().unwrap());
    let (status, dialog) = alice.invite(&dial, SOON).unwrap().unwrap();
    assert_eq!(status, 200);
    assert_eq!(alice.bye(&dialog.unwrap(), SOON).unwrap(), Some(200));
    assert_eq!(bob.ended(), 1);

    peer.kill().unwrap();
    assert_fails(&say(&peer, "account add 12@a.test"), 7, "alias");
    peer.restart().unwrap();
    let table = text(&peer, "alias list");
    assert!(table.starts_with("ALIAS") && table.contains("12     bob@a.test\n"), "{table}");
    let both =
        [json!({"alias": "*7", "target": "bob@a.test"}), json!({"alias": "12", "target": "bob@a.test"})];
    assert_eq!(list(&peer, "alias list", "aliases"), both);
    assert_eq!(text(&peer, "alias remove 12"), "removed 12\n");
    assert_eq!(say(&peer, "alias remove *7 --json").json().unwrap(), json!({ "alias": "*7" }));
    assert_eq!(list(&peer, "alias list", "aliases"), [Value::Null; 0]);
    assert_eq!(alice.invite(&dial, SOON).unwrap().map(|(status, _)| status), Some(404));
    // A call that got nowhere is listed with its reason.
    peer.account("carol@a.test", PASSWORD).unwrap();
    assert_eq!(alice.invite("sip:carol@a.test", SOON).unwrap().map(|(status, _)| status), Some(480));
    let failed: Vec<CallInfo> = listed(&peer, "calls", "calls");
    let failed: Vec<_> =
        failed.iter().filter(|c| c.state == "failed").map(|c| (c.to.as_str(), c.cause.as_deref())).collect();
    assert_eq!(failed, [("12@a.test", Some("404")), ("carol@a.test", Some("480"))]);
    assert!(text(&peer, "calls").contains("404 no such user"), "{}", text(&peer, "calls"));
    assert_fails(&say(&peer, "alias remove 12"), 7, "12");
    assert_fails(&say(&peer, "alias add 12 bob"), 7, "sip:user@realm");
    peer.stop().unwrap();
}

#[test]
fn a_call_across_is_shown_by_every_command() {
    let mut a = Peer::start("a.test", &[]).unwrap();
    let mut b = Peer::join(&a, "b.test", &[]).unwrap();
    a.meets(&b).unwrap();
    let mut alice = phone(&a, "alice@a.test");
    let bob = phone(&b, "bob@b.test").answer().unwrap();
    let (status, dialog) = alice.invite("sip:bob@b.test", SOON).unwrap().unwrap();
    assert_eq!(status, 200);
    assert_eq!(listed::<CallInfo>(&a, "calls", "calls")[0].state, "up");
    assert!(text(&b, "calls").contains("alice@a.test  bob@b.test  up"), "{}", text(&b, "calls"));
    assert_eq!(alice.bye(&dialog.unwrap(), SOON).unwrap(), Some(200));
    assert_eq!(bob.ended(), 1);

    let receipts = [&a, &b].map(|peer| {
        // It is claimed five seconds after the call, with others (RCPT-8a).
        poll("the receipt is whole", 3 * SOON, || {
            let found = peer.dots(&["receipts", "--verify", "--json"], "")?.list("receipts")?;
            Ok(found.into_iter().find(|r| r["state"] == "whole"))
        })
        .unwrap()
    });
    assert_eq!(receipts[0], receipts[1]);
    let receipt: ReceiptInfo = serde_json::from_value(receipts[0].clone()).unwrap();
    assert_eq!((receipt.verified, &receipt.originating), (Some(true), &a.ready().peer_id));
    assert!(text(&a, "receipts --verify").contains("good\n"));
    assert!(!text(&a, "receipts").contains("good"), "unasked, nothing is verified");
    assert_eq!(listed::<ReceiptInfo>(&a, "receipts", "receipts")[0].verified, None);

    let status: Status = serde_json::from_value(say(&a, "status --json").json().unwrap()).unwrap();
    assert_eq!((&status.peer_id, status.peers, status.bindings), (&a.ready().peer_id, 1, 1));
    assert_eq!((status.calls_active, status.receipts), (0, 1));
    assert!(text(&a, "status").contains(&format!("peer           {}\n", a.ready().peer_id)));
    let peers = listed::<PeerInfo>(&a, "peers", "peers");
    assert_eq!((peers.len(), &peers[0].peer_id), (1, &b.ready().peer_id));
    assert!(text(&a, "peers").contains(&b.ready().peer_id));
    let bindings = listed::<BindingInfo>(&b, "bindings", "bindings");
    assert_eq!((bindings.len(), bindings[0].aor.as_str()), (1, "bob@b.test"));
    assert!(text(&b, "bindings").contains("bob@b.test"));
    for aor in ["bob@b.test", "sip:bob@b.test"] {
        let found = say(&a, &format!("lookup {aor} --json")).json().unwrap();
        let found: LookupInfo = serde_json::from_value(found).unwrap();
        assert_eq!((found.aor.as_str(), found.exists), ("bob@b.test", Some(true)));
        assert_eq!(found.bindings[0].serving, b.ready().peer_id);
        assert!(text(&a, &format!("lookup {aor}")).starts_with("bob@b.test exists\n"));
    }
    assert!(
        text(&a, "lookup nobody@b.test").starts_with("nobody@b.test does not exist\nno phone is registered")
    );
    a.stop().unwrap();
    b.stop().unwrap();
}

/// One function decides what a phone's state is, and what a serving peer learns it tells the others.
#[test]
fn bindings_and_lookup_say_the_same_of_a_phone_that_is_there_and_of_one_that_vanished() {
    let mut a = Peer::start("a.test", &[]).unwrap();
    let mut b = Peer::join(&a, "b.test", &[]).unwrap();
    a.meets(&b).unwrap();
    let mut alice = phone(&a, "alice@a.test");
    let bob = phone(&b, "bob@b.test").answer().unwrap();
    let states = || {
        let mut states: Vec<String> =
            listed::<BindingInfo>(&b, "bindings", "bindings").into_iter().map(|b| b.state).collect();
        for peer in [&b, &a] {
            let found = say(peer, "lookup bob@b.test --json").json().unwrap();
            let found: LookupInfo = serde_json::from_value(found).unwrap();
            states.extend(found.bindings.into_iter().map(|b| b.state));
        }
        states
    };
    let all_are = |state: &str| {
        poll(state, COME_BACK, || Ok(states().iter().eq([state; 3].iter()).then_some(())))
            .unwrap_or_else(|e| panic!("{e}: {:?}", states()));
        assert!(text(&b, "bindings").contains(state), "{}", text(&b, "bindings"));
        assert!([&a, &b].iter().all(|peer| text(peer, "lookup bob@b.test").contains(state)));
    };
    all_are("verified");
    drop(bob);
    // Nobody is at that port any more: a call finds out, after timer B.
    let called = alice.invite("sip:bob@b.test", 4 * SOON).unwrap();
    assert!(called.is_none_or(|(status, _)| status != 200));
    all_are("stale");
    a.stop().unwrap();
    b.stop().unwrap();
}

#[test]
fn a_realm_is_pinned_and_forgotten() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let key = format!("02{}", "ab".repeat(32));
    let belief = |name: &str| {
        let realms = list(&peer, "realms", "realms");
        realms.iter().find(|r| r["name"] == name).map(|r| (r["belief"].clone(), r["key"].clone()))
    };
    assert_eq!(belief("a.test").unwrap().0, "own");
    assert_eq!(
        text(&peer, &format!("realms pin other.test {key}")),
        format!("other.test is pinned to {key}\n")
    );
    assert_eq!(belief("other.test"), Some((json!("pinned"), json!(key))));
    let rows = text(&peer, "realms");
    assert!(rows.lines().any(|l| l.starts_with("other.test ") && l.contains(" pinned ")), "{rows}");
    let again = say(&peer, &format!("realms pin Other.test. {key} --json")).json().unwrap();
    assert_eq!(again["key"], json!(key));
    assert_fails(&say(&peer, "realms pin other.test 02ab"), 7, "66 hex digits");
    assert_fails(&say(&peer, &format!("realms pin a.test {key}")), 7, "own");
    assert_eq!(text(&peer, "realms forget other.test"), "forgot other.test\n");
    assert_eq!(belief("other.test"), None);
    assert_fails(&say(&peer, "realms forget other.test"), 7, "other.test");
    assert_fails(&say(&peer, "realms forget a.test"), 7, "a.test");
    peer.stop().unwrap();
}

/// All that can be done to accounts; the same whether a peer holds the data directory or not.
fn accounts(peer: &Peer, dir: &Path) {
    let say = |words: &str, stdin: &str| peer.dots(&words.split(' ').collect::<Vec<_>>(), stdin).unwrap();
    let roaming = |aor: &str| {
        let all = say("account list --json", "").list("accounts").unwrap();
        all.iter().find(|a| a["aor"] == aor).map(|a| {
            assert!(a["changed_at_ms"].as_u64() > Some(0) && a.as_object().unwrap().len() == 3, "{a}");
            a["roaming"] == true
        })
    };
    let made = say("account add carol@a.test", "").ok().unwrap();
    let password = made.strip_prefix("carol@a.test\npassword: ").expect("it is said").trim();
    assert!(password.len() >= 16, "{made}");
    assert_eq!(roaming("carol@a.test"), Some(true));
    assert_fails(&say("account add carol@a.test", ""), 7, "passwd");
    let weak = say("account passwd carol@A.test --password-stdin", "short\n");
    assert!(weak.err.contains("weak"), "{weak:?}");
    assert_eq!(weak.ok().unwrap(), "carol@a.test\n");
    let dave = say("account add dave@a.test --no-roaming --json", "").json().unwrap();
    assert!(dave["aor"] == "dave@a.test" && dave["password"].is_string(), "{dave}");
    assert_eq!(roaming("dave@a.test"), Some(false));
    assert!(say("account passwd dave@a.test", "").ok().unwrap().contains("password: "));
    assert_eq!(roaming("dave@a.test"), Some(false), "a new password changes nothing else");
    assert_fails(&say("account import -", "dave@a.test,yet another\n"), 7, "line 1");
    say("account import - --replace", "dave@a.test,yet another\n").ok().unwrap();
    assert_eq!(roaming("dave@a.test"), Some(false), "an import says nothing of roaming");
    say("account import -", "dave@a.test,yet another\n").ok().unwrap();

    assert_eq!(
        say("account import -", "u1@a.test,p,w\n\n# us\nu2@a.test,pw\n").ok().unwrap(),
        "imported 2 accounts\n"
    );
    let file = dir.join("list");
    std::fs::write(&file, "u2@a.test,another\nu3@a.test,pw\n").unwrap();
    assert_fails(&say(&format!("account import {}", file.display()), ""), 7, "u2@a.test is there");
    assert_eq!(roaming("u3@a.test"), None, "all lines or none");
    let imported = say(&format!("account import {} --replace --json", file.display()), "").json().unwrap();
    assert_eq!(imported, json!({ "imported": 2 }));
    assert_fails(&say("account import -", "u4@a.test,pw\nu5@a.test\n"), 2, "line 2");
    assert_eq!(roaming("u4@a.test"), None, "all lines or none");
    assert_fails(&say("account import -", "u4@a.test,pw\nu5@elsewhere.test,pw\n"), 7, "line 2");
    assert_fails(&say("account import -", "u4@a.test,pw\nu4@A.test,pw\n"), 2, "in line 1");
    let three = say("account import -", "u4@a.test\nu5@a.test,\nu6,pw\nu7@a.test,pw\n");
    assert_fails(&three, 2, "3 lines are wrong");
    for line in 1..=3 {
        assert!(three.err.contains(&format!("\n  line {line}: ")), "{three:?}");
    }
    assert_fails(&say("account import -", &format!("u4@a.test,{}\n", "0f".repeat(16))), 2, "--ha1");
    assert_eq!((roaming("u4@a.test"), roaming("u7@a.test")), (None, None), "all lines or none");
    let weak = say("account import -", "\u{feff}\"Account\";\"Password\"\r\nu4@a.test;\"short\"\r\n");
    assert!(weak.code == Some(0) && weak.err.contains("1 of these passwords are weak"), "{weak:?}");
    say("account remove u4@a.test", "").ok().unwrap();
    for spelled in ["9902%232@a.test", "9902#2@a.test"] {
        assert!(say(&format!("account add {spelled}"), "").ok().unwrap().starts_with("9902#2@a.test\n"));
        say(&format!("account remove {spelled}"), "").ok().unwrap();
    }
    assert_fails(&say("account add x@elsewhere.test", ""), 7, "--realm");
    assert_fails(&say("account import /nowhere", ""), 2, "/nowhere");
    for n in 1..=3 {
        assert_eq!(
            say(&format!("account remove u{n}@a.test"), "").ok().unwrap(),
            format!("removed u{n}@a.test\n")
        );
    }
    let removed = say("account remove dave@a.test --json", "").json().unwrap();
    assert_eq!(removed, json!({ "aor": "dave@a.test" }));
    for words in ["account remove u1@a.test", "account passwd u1@a.test"] {
        assert_fails(&say(words, ""), 7, "u1@a.test");
    }
    assert_fails(&say("account add a%b@", ""), 2, "");
    assert!(say("account list", "").ok().unwrap().contains("carol@a.test  yes"));
    say("account remove carol@a.test", "").ok().unwrap();
}

#[test]
fn accounts_while_the_peer_runs_and_while_it_does_not() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    accounts(&peer, dir.path());
    assert!(text(&peer, "account add short").starts_with("short@a.test\n"), "the default realm is meant");
    peer.stop().unwrap();
    accounts(&peer, dir.path());
    peer.dots(&["account", "add", "erin@a.test", "--password-stdin"], PASSWORD).unwrap().ok().unwrap();
    peer.restart().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut erin = Plain::new(peer.sip().unwrap(), "erin@a.test", PASSWORD, &mut rng).unwrap();
    assert_eq!(erin.register(3600, 1, SOON).unwrap(), Some(200));
    // MD5 of hash:a.test:PASSWORD, as another server kept it.
    let line = "hash@a.test,ba9f6fc85359100b6a1e7b77227cb324\n";
    peer.dots(&["account", "import", "-", "--ha1"], line).unwrap().ok().unwrap();
    peer.dots(&["account", "import", "-", "--ha1"], line).unwrap().ok().expect("nothing to replace");
    let mut hash = Plain::new(peer.sip().unwrap(), "hash@a.test", PASSWORD, &mut rng).unwrap();
    assert_eq!(hash.register(3600, 1, SOON).unwrap(), Some(200));
    // A new password holds at once.
    peer.dots(&["account", "passwd", "erin@a.test", "--password-stdin"], "another password")
        .unwrap()
        .ok()
        .unwrap();
    let mut late = Plain::new(peer.sip().unwrap(), "erin@a.test", PASSWORD, &mut rng).unwrap();
    let refused = late.register(3600, 1, SOON);
    assert!(!matches!(refused, Ok(Some(200))), "the old password still registers");
    let mut erin = Plain::new(peer.sip().unwrap(), "erin@a.test", "another password", &mut rng).unwrap();
    assert_eq!(erin.register(3600, 1, SOON).unwrap(), Some(200));
    peer.stop().unwrap();
}

#[test]
fn who_registered_with_a_password_that_is_none_any_more_is_called_no_more() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let _phones = ["kept", "changed", "removed"].map(|user| phone(&peer, &format!("{user}@a.test")));
    let registered = |peer: &Peer| {
        let all = peer.client().unwrap().bindings().unwrap();
        all.into_iter().map(|b| b.aor).collect::<Vec<_>>()
    };
    assert_eq!(registered(&peer), ["changed@a.test", "kept@a.test", "removed@a.test"]);
    peer.kill().unwrap();
    text(&peer, "account passwd changed@a.test");
    text(&peer, "account remove removed@a.test");
    text(&peer, "account add removed@a.test");
    peer.restart().unwrap();
    assert_eq!(registered(&peer), ["kept@a.test"]);
    peer.stop().unwrap();
}

#[test]
fn accounts_are_added_while_the_peer_comes_and_goes() {
    let mut peer = Peer::start("a.test", &[]).unwrap();
    let (data, stop) = (peer.data(), AtomicBool::new(false));
    let add = |thread: u32| {
        let mut said = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let aor = format!("u{}-{thread}@a.test", said.len());
            let data = data.to_str().unwrap();
            said.push((aor.clone(), dots(&["account", "add", &aor, "--data", data], "").unwrap()));
        }
        said
    };
    let said: Vec<(String, Said)> = std::thread::scope(|scope| {
        let threads = [0, 1, 2].map(|n| scope.spawn(move || add(n)));
        for _ in 0..5 {
            for end in [Peer::kill, Peer::stop] {
                std::thread::sleep(Duration::from_millis(200));
                end(&mut peer).unwrap();
                std::thread::sleep(Duration::from_millis(200));
                come_back(&mut peer);
            }
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let there = list(&peer, "account list", "accounts");
    let mut codes = BTreeMap::<Option<i32>, usize>::new();
    for (aor, said) in &said {
        *codes.entry(said.code).or_default() += 1;
        // A peer that is dying may leave it open whether it was done; one that says so has done it.
        assert!([Some(0), Some(3), Some(6), Some(7)].contains(&said.code), "{aor}: {said:?}");
        let found = there.iter().any(|a| a["aor"] == aor.as_str());
        assert!(found || said.code != Some(0), "{aor} was added, and is gone");
    }
    eprintln!("{} commands, by exit code: {codes:?}", said.len());
    assert!(codes.get(&Some(0)) > Some(&20), "too few to prove anything: {codes:?}");
    peer.stop().unwrap();
}

/// Short commands hold the directory in turn, and a peer that waits for it is not sure to be the next; a person would start
/// it again.
fn come_back(peer: &mut Peer) {
    let start = Instant::now();
    loop {
        let said = peer.log().len();
        match peer.restart() {
            Ok(()) => return,
            Err(e) => assert!(start.elapsed() < COME_BACK, "{e}"),
        }
        let log = peer.log();
        assert!(log[said..].contains("in use by another process"), "{log}");
    }
}
