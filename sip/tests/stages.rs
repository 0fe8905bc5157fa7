//! What a request waits for on its way to being forwarded, stage by stage: an answer that it did not ask for, comes twice or belongs to
//! another stage changes nothing.

mod common;

use common::{flow, invite};
use dots_sip::{
    Input, Now, Output,
    address::Addressing,
    auth::{AuthFailure, Challenge, Vouch},
    core::{Config, Core},
    ids::AskId,
    input::Resolution,
    message::Message,
};
use std::time::Instant;

struct Desk {
    core: Core,
    now: Now,
}

impl Desk {
    fn new() -> Desk {
        let addressing = Addressing {
            own_hosts: ["127.0.0.1".to_owned()].into(),
            default_realm: "a.test".into(),
            local_realms: ["a.test".to_owned()].into(),
            ..Addressing::default()
        };
        let config = Config { addressing, label: common::LABEL_A.into(), ..Config::default() };
        let now = Now { mono: Instant::now(), wall_ms: 1_000_000 };
        Desk { core: Core::new(config, [1; 32], 1), now }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        self.core.handle(self.now, input);
        std::iter::from_fn(|| self.core.poll_output())
            .filter(|out| !matches!(out, Output::Count(_)))
            .collect()
    }

    fn phone(&mut self, port: u16, text: &str) -> Vec<Output> {
        self.handle(Input::Message { flow: flow(port), bytes: text.replace('\n', "\r\n").into_bytes() })
    }

    /// What the world says, whoever asked.
    fn says(&self, kind: &str, id: AskId) -> Input {
        let vouch = Vouch { aor: "alice@a.test".into(), grant: [].into(), not_after_ms: u64::MAX / 2 };
        match kind {
            "nonce" => Input::Challenge {
                id,
                result: Ok(Challenge { realm: "a.test".into(), nonce: "nonce".into() }),
            },
            "no nonce" => Input::Challenge { id, result: Err(AuthFailure::UnknownRealm) },
            "right" => Input::Verified { id, result: Ok(vouch) },
            "wrong" => Input::Verified { id, result: Err(AuthFailure::Forbidden) },
            "unknown" => Input::Resolved { id, resolution: Resolution::Unknown },
            "offline" => Input::Resolved { id, resolution: Resolution::Offline },
            "caller" => Input::Located { id, aor: "alice@a.test".into(), places: Vec::new() },
            "callee" => Input::Located { id, aor: "bob@a.test".into(), places: Vec::new() },
            "nobody" => Input::Located { id, aor: "eve@z.test".into(), places: Vec::new() },
            "written" => Input::Journaled { id },
            _ => unreachable!("{kind}"),
        }
    }

    /// None of these does anything.
    fn ignores(&mut self, stage: &str, id: AskId, kinds: &[&str]) {
        for kind in kinds {
            let said = self.says(kind, id);
            let done = self.handle(said);
            assert!(done.is_empty(), "{stage}: {kind}: {done:?}");
        }
    }

    fn register(&mut self, user: &str, port: u16) {
        let credentials = "Authorization: Digest username=\"USER\",realm=\"a.test\",nonce=\"nonce\",uri=\"sip:127.0.0.1\",response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\n";
        let text = common::request(
            "REGISTER",
            "sip:127.0.0.1",
            port,
            &format!("r{port}"),
            user,
            user,
            &credentials.replace("USER", user),
        );
        let asked = self.phone(port, &text);
        let Some(Output::Verify { id, .. }) = asked.last() else { panic!("{asked:?}") };
        let id = *id;
        self.ignores("REGISTER: Verifying", id, &all_but(&["right", "wrong"]));
        let vouch = Vouch { aor: format!("{user}@a.test"), grant: [].into(), not_after_ms: u64::MAX / 2 };
        let asked = self.handle(Input::Verified { id, result: Ok(vouch) });
        assert!(matches!(asked.last(), Some(Output::Journal { .. })), "{asked:?}");
        self.ignores("REGISTER: Writing", id, &all_but(&["written"]));
        let done = self.handle(Input::Journaled { id });
        assert_eq!(sent(&done, port)[0].status(), Some(200), "{user}");
        self.ignores("REGISTER: over", id, &ALL);
    }
}

/// The messages that a phone gets.
fn sent(outputs: &[Output], port: u16) -> Vec<Message> {
    let of = |out: &Output| match out {
        Output::Send { flow, bytes } if flow.remote.port() == port => Message::parse(bytes.clone()).ok(),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

const ALL: [&str; 10] =
    ["nonce", "no nonce", "right", "wrong", "unknown", "offline", "caller", "callee", "nobody", "written"];

fn all_but(kinds: &[&str]) -> Vec<&'static str> {
    ALL.into_iter().filter(|kind| !kinds.contains(kind)).collect()
}

#[test]
fn what_a_stage_did_not_ask_for_changes_nothing() {
    let mut desk = Desk::new();
    desk.register("alice", 1);
    desk.register("bob", 2);
    let text = invite(1, "c1", "alice", "bob", "a.test");
    let bare: String =
        text.lines().filter(|line| !line.starts_with("Proxy-Auth")).map(|line| format!("{line}\n")).collect();

    // Challenging.
    let asked = desk.phone(1, &bare);
    let Some(Output::Challenge { id, .. }) = asked.last() else { panic!("{asked:?}") };
    let id = *id;
    desk.ignores("Challenging", id, &all_but(&["nonce", "no nonce"]));
    let said = desk.says("nonce", id);
    let challenged = desk.handle(said);
    assert_eq!(sent(&challenged, 1)[0].status(), Some(407));
    desk.ignores("over", id, &ALL);

    // Verifying; Naming and the first half of Resolving are answered at once, for these phones are our own.
    let asked = desk.phone(1, &text.replace("z9hG4bK", "z9hG4bKa"));
    let Some(Output::Verify { id, .. }) = asked.last() else { panic!("{asked:?}") };
    let id = *id;
    desk.ignores("Verifying", id, &all_but(&["right", "wrong"]));
    let said = desk.says("right", id);
    let asked = desk.handle(said);
    let Some(Output::Resolve { id: resolving, .. }) = asked.last() else { panic!("{asked:?}") };
    assert_eq!(*resolving, id, "one number for the whole session");
    desk.ignores("Resolving", id, &all_but(&["unknown", "offline", "callee"]));
    let said = desk.says("offline", id);
    let forwarded = desk.handle(said);
    let invites = sent(&forwarded, 2);
    assert_eq!(invites[0].method(), "INVITE");
    desk.ignores("Forwarding", id, &ALL);

    // And it is answered.
    let answered = desk.phone(2, &common::answer(&invites[0], "200 OK", 2));
    assert_eq!(sent(&answered, 1)[0].status(), Some(200));
    desk.ignores("answered", id, &ALL);
}

/// A network whose challenges never come takes its own share of those that may wait, and nobody else's.
#[test]
fn a_flood_for_a_home_that_is_slow_keeps_nobody_from_being_challenged() {
    let mut desk = Desk::new();
    let text = |n: usize| {
        let text =
            invite(1, &format!("c{n}"), "eve", "bob", "z.test").replace("eve@127.0.0.1>", "eve@z.test>");
        text.lines()
            .filter(|line| !line.starts_with("Proxy-Auth"))
            .map(|line| format!("{line}\r\n"))
            .collect::<String>()
    };
    let from = |desk: &mut Desk, ip: &str, n: usize| {
        let remote = format!("{ip}:5060").parse().expect("an address");
        let flow = dots_sip::Flow { remote, ..flow(1) };
        let asked = desk.handle(Input::Message { flow, bytes: text(n).into_bytes() });
        asked.iter().any(|out| matches!(out, Output::Challenge { .. }))
    };
    let waiting = (0..20_000).filter(|n| from(&mut desk, "192.0.2.1", *n)).count();
    assert!((2_000..6_000).contains(&waiting), "{waiting}");
    for n in 0..50 {
        assert!(from(&mut desk, "198.51.100.7", 50_000 + n), "another network");
    }
}
