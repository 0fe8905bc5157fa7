//! One REGISTER through its phases, as a table (RFC 3261 §10.3): what it is told, and all that it says.

use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{AuthFailure, Challenge, Vouch},
    core::{Config, Core},
};
use std::time::{Duration, Instant};

enum Step {
    /// Without credentials.
    Bare,
    /// With an answer to the nonce `n1`.
    Answered,
    /// The same without a Contact.
    Query,
    Nonce,
    NoNonce(AuthFailure),
    Right,
    RightOfAnother,
    No(AuthFailure),
    Written,
}
use AuthFailure::{Forbidden, Stale, Unavailable, UnknownRealm, Wrong};
use Step::{Answered, Bare, No, NoNonce, Nonce, Query, Right, RightOfAnother, Written};

struct Desk {
    core: Core,
    now: Now,
    cseq: u32,
    /// The question that was asked last.
    asked: Option<dots_sip::ids::AskId>,
}

impl Desk {
    fn new() -> Desk {
        let addressing = Addressing {
            own_hosts: ["192.0.2.1".to_owned()].into(),
            default_realm: "a.test".into(),
            local_realms: ["a.test".to_owned()].into(),
            ..Addressing::default()
        };
        let now = Now { mono: Instant::now(), wall_ms: 1_800_000_000_000 };
        let core = Core::new(Config { addressing, ..Config::default() }, [1; 32], 1);
        Desk { core, now, cseq: 0, asked: None }
    }

    fn register(&mut self, contact: &str, authorization: &str) {
        self.cseq += 1;
        let cseq = self.cseq;
        let text = format!(
            "REGISTER sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@a.test>;tag=1\r\nTo: <sip:alice@a.test>\r\nCall-ID: c\r\n\
             CSeq: {cseq} REGISTER\r\n{contact}{authorization}Content-Length: 0\r\n\r\n"
        );
        let flow = Flow {
            transport: Transport::Udp,
            connection: 0,
            local: ([192, 0, 2, 1], 5060).into(),
            remote: ([192, 0, 2, 7], 5060).into(),
        };
        self.core.handle(self.now, Input::Message { flow, bytes: text.into_bytes() });
    }

    fn take(&mut self, step: &Step) -> Vec<String> {
        const CONTACT: &str = "Contact: <sip:alice@192.0.2.7:5060>\r\n";
        const AUTHORIZATION: &str = "Authorization: Digest username=\"alice\",realm=\"a.test\",nonce=\"n1\",\
             uri=\"sip:a.test\",response=\"r\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\r\n";
        let vouch = |aor: &str, now: Now| Vouch {
            aor: aor.to_owned(),
            grant: [].into(),
            not_after_ms: now.wall_ms + 3_600_000,
        };
        let id = self.asked;
        let id = || id.expect("a question was asked");
        let input = match step {
            Bare => return self.said(|desk| desk.register(CONTACT, "")),
            Answered => return self.said(|desk| desk.register(CONTACT, AUTHORIZATION)),
            Query => return self.said(|desk| desk.register("", AUTHORIZATION)),
            Nonce => Input::Challenge {
                id: id(),
                result: Ok(Challenge { realm: "a.test".into(), nonce: "n2".into() }),
            },
            NoNonce(why) => Input::Challenge { id: id(), result: Err(*why) },
            Right => Input::Verified { id: id(), result: Ok(vouch("alice@a.test", self.now)) },
            RightOfAnother => Input::Verified { id: id(), result: Ok(vouch("bob@a.test", self.now)) },
            No(why) => Input::Verified { id: id(), result: Err(*why) },
            Written => Input::Journaled { id: id() },
        };
        self.said(|desk| desk.core.handle(desk.now, input))
    }

    fn said(&mut self, act: impl FnOnce(&mut Desk)) -> Vec<String> {
        act(self);
        let mut said = Vec::new();
        while let Some(output) = self.core.poll_output() {
            said.push(match output {
                Output::Challenge { id, .. } => {
                    self.asked = Some(id);
                    "a nonce?".to_owned()
                }
                Output::Verify { id, answer, .. } => {
                    self.asked = Some(id);
                    format!("is {} right?", answer.nonce)
                }
                Output::Journal { id, .. } => {
                    self.asked = Some(id);
                    "write".to_owned()
                }
                Output::Send { bytes, .. } => {
                    let text = String::from_utf8(bytes).expect("text");
                    let status = text.split(' ').nth(1).expect("a status").to_owned();
                    let has = |part: &str, word: &str| text.contains(part).then(|| format!(" {word}"));
                    let words = [
                        has("nonce=\"n1\"", "n1"),
                        has("nonce=\"n2\"", "n2"),
                        has("stale=true", "stale"),
                        has("Retry-After", "later"),
                        has("Contact: <sip:alice", "bound"),
                    ];
                    status + &words.into_iter().flatten().collect::<String>()
                }
                _ => continue,
            });
        }
        said
    }
}

#[test]
fn section_10_3() {
    let registered = || [Answered, Right, Written];
    for (why, before, steps, said) in [
        ("without credentials: 401", false, vec![Bare, Nonce], vec!["a nonce?", "401 n2"]),
        (
            "nobody has a nonce, and nothing is bound",
            false,
            vec![Bare, NoNonce(Unavailable)],
            vec!["a nonce?", "503 later"],
        ),
        ("nobody is home of that realm", false, vec![Bare, NoNonce(UnknownRealm)], vec!["a nonce?", "404"]),
        (
            "right: the 200 waits for the disk",
            false,
            vec![Answered, Right, Written],
            vec!["is n1 right?", "write", "200 bound"],
        ),
        (
            "a query changes nothing and waits for nothing",
            true,
            vec![Query, Right],
            vec!["is n1 right?", "200 bound"],
        ),
        (
            "wrong: the same nonce, so that asking again does not help",
            false,
            vec![Answered, No(Wrong)],
            vec!["is n1 right?", "401 n1"],
        ),
        (
            "old: another nonce",
            false,
            vec![Answered, No(Stale), Nonce],
            vec!["is n1 right?", "a nonce?", "401 n2 stale"],
        ),
        (
            "old, and there is no other",
            false,
            vec![Answered, No(Stale), NoNonce(Unavailable)],
            vec!["is n1 right?", "a nonce?", "503 later"],
        ),
        ("step 4: may not", false, vec![Answered, No(Forbidden)], vec!["is n1 right?", "403"]),
        ("step 4: another's password", false, vec![Answered, RightOfAnother], vec!["is n1 right?", "403"]),
        (
            "the home is away, and nothing is bound",
            false,
            vec![Answered, No(Unavailable)],
            vec!["is n1 right?", "503 later"],
        ),
        (
            "the home is away: a refresh of what is bound is honoured",
            true,
            vec![Answered, No(Unavailable), Written],
            vec!["is n1 right?", "write", "200 bound"],
        ),
        (
            "nor is a nonce to be had",
            true,
            vec![Bare, NoNonce(Unavailable), Written],
            vec!["a nonce?", "write", "200 bound"],
        ),
    ] {
        let mut desk = Desk::new();
        if before {
            registered().iter().for_each(|step| drop(desk.take(step)));
        }
        let told: Vec<String> = steps.iter().flat_map(|step| desk.take(step)).collect();
        assert_eq!(told, said, "{why}");
        // Nothing is left under way, and an answer that comes late or twice is of nobody.
        desk.now.mono += Duration::from_secs(40);
        desk.core.handle_timeout(desk.now);
        assert!(desk.core.is_quiet(), "{why}");
        for late in [Nonce, Right, Written] {
            assert_eq!(desk.take(&late), Vec::<String>::new(), "{why}");
        }
        assert!(desk.core.is_quiet(), "{why}");
    }
}
