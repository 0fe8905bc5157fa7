//! Two links over a network that breaks when it likes.

use super::*;
use dots_wire::{SecretKey, Timestamp};
use proptest::prelude::*;

struct End {
    me: PeerId,
    links: Links,
    got: Vec<Vec<u8>>,
    downs: usize,
    doubts: Vec<(PeerId, Instant)>,
}

/// A network of two: streams are pairs of ids, frames travel one at a time.
struct Pair {
    now: Now,
    ends: [End; 2],
    next_stream: StreamId,
    /// (stream at 0, stream at 1, alive)
    pipes: Vec<(StreamId, StreamId)>,
    wire: VecDeque<(usize, NetEvent)>,
    reachable: bool,
}

fn key(n: u8) -> PeerId {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id()
}

impl Pair {
    fn new() -> Pair {
        let now = Now { mono: Instant::now(), wall: Timestamp(0) };
        let end = |n: u8| End {
            me: key(n),
            links: Links::new(key(n), n.into()),
            got: vec![],
            downs: 0,
            doubts: vec![],
        };
        Pair {
            now,
            ends: [end(1), end(2)],
            next_stream: 1,
            pipes: vec![],
            wire: VecDeque::new(),
            reachable: true,
        }
    }

    fn send(&mut self, from: usize, body: &[u8]) -> Result<(), NotQueued> {
        let to = self.ends[1 - from].me;
        let result = self.ends[from].links.send(self.now, to, body.to_vec(), true);
        self.collect();
        result
    }

    fn collect(&mut self) {
        for at in 0..2 {
            while let Some(output) = self.ends[at].links.poll_output() {
                match output {
                    LinkOutput::Deliver { body, .. } => self.ends[at].got.push(body),
                    LinkOutput::Down { .. } => self.ends[at].downs += 1,
                    LinkOutput::Doubt { peer, since } => self.ends[at].doubts.push((peer, since)),
                    LinkOutput::Net(command) => self.on_command(at, command),
                }
            }
        }
    }

    fn on_command(&mut self, at: usize, command: NetCommand) {
        let other = 1 - at;
        match command {
            NetCommand::OpenStream { peer } if !self.reachable => {
                self.wire.push_back((at, NetEvent::StreamRefused { peer }));
            }
            NetCommand::OpenStream { peer } => {
                let (here, there) = (self.next_stream, self.next_stream + 1);
                self.next_stream += 2;
                self.pipes.push(if at == 0 { (here, there) } else { (there, here) });
                let me = self.ends[at].me;
                self.wire.push_back((at, NetEvent::StreamOpened { peer, stream: here, outbound: true }));
                self.wire
                    .push_back((other, NetEvent::StreamOpened { peer: me, stream: there, outbound: false }));
            }
            NetCommand::StreamSend { stream, frame } => {
                if let Some(stream) = self.far(at, stream) {
                    self.wire.push_back((other, NetEvent::StreamFrame { stream, frame }));
                }
            }
            NetCommand::StreamClose { stream } => {
                if let Some(far) = self.far(at, stream) {
                    self.pipes.retain(|p| [p.0, p.1][at] != stream);
                    self.wire.push_back((other, NetEvent::StreamClosed { stream: far }));
                }
            }
            other => panic!("a link does not say {other:?}"),
        }
    }

    fn far(&self, at: usize, stream: StreamId) -> Option<StreamId> {
        self.pipes.iter().find(|p| [p.0, p.1][at] == stream).map(|p| [p.0, p.1][1 - at])
    }

    /// Moves up to `count` events.
    fn deliver(&mut self, count: usize) {
        for _ in 0..count {
            let Some((at, event)) = self.wire.pop_front() else { return };
            self.ends[at].links.handle_net(self.now, &event);
            self.collect();
        }
    }

    /// The connection breaks: what is on the wire is lost, both sides hear of it.
    fn cut(&mut self) {
        let stays = |e: &NetEvent| {
            matches!(
                e,
                NetEvent::StreamRefused { .. } | NetEvent::StreamClosed { .. } | NetEvent::Connected { .. }
            )
        };
        self.wire.retain(|(_, e)| stays(e));
        for (a, b) in std::mem::take(&mut self.pipes) {
            self.wire.push_back((0, NetEvent::StreamClosed { stream: a }));
            self.wire.push_back((1, NetEvent::StreamClosed { stream: b }));
        }
        // An attempt under way ends too.
        for at in 0..2 {
            let peer = self.ends[1 - at].me;
            self.wire.push_back((at, NetEvent::StreamRefused { peer }));
            if self.reachable {
                self.wire.push_back((at, NetEvent::Connected { peer }));
            }
        }
    }

    /// Gives the link up for another peer's, as a full table does, if it is idle.
    fn evict(&mut self, at: usize) {
        let peer = self.ends[1 - at].me;
        let links = &mut self.ends[at].links;
        if links.links.get(&peer).is_some_and(|link| link.missed_until(IDLE).is_some()) {
            links.forget(peer);
            self.collect();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.deliver(usize::MAX >> 1);
            let next = self.ends.iter().filter_map(|e| e.links.poll_timeout()).min();
            match next {
                Some(at) if at <= end => self.now.mono = at.max(self.now.mono),
                _ => break,
            }
            for at in 0..2 {
                self.ends[at].links.handle_timeout(self.now);
            }
            self.collect();
        }
        self.now.mono = end;
    }
}

/// LINK-6.
#[test]
fn one_stream_stays_and_frames_pass_both_ways() {
    let mut net = Pair::new();
    assert_eq!(net.send(0, b"a"), Ok(()));
    assert_eq!(net.send(1, b"b"), Ok(()), "both open at once");
    net.pass(Duration::from_secs(1));
    assert_eq!(net.pipes.len(), 1, "of two simultaneous streams one stays");
    assert_eq!((&net.ends[1].got, &net.ends[0].got), (&vec![b"a".to_vec()], &vec![b"b".to_vec()]));
    assert_eq!(net.ends[0].links.poll_timeout(), None, "acknowledged and quiet");
    assert_eq!(net.ends[1].links.poll_timeout(), None);
}

/// LINK-8, LINK-10: what was given up is not waited for when the stream is back.
#[test]
fn a_peer_that_is_lost_is_down_after_five_seconds_and_can_come_back() {
    let mut net = Pair::new();
    assert_eq!(net.send(0, b"heard"), Ok(()));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.send(0, b"lost"), Ok(()));
    net.reachable = false;
    net.cut();
    net.pass(Duration::from_millis(4_900));
    assert_eq!(net.ends[0].downs, 0);
    net.pass(Duration::from_millis(200));
    assert_eq!(net.ends[0].downs, 1);
    net.reachable = true;
    net.pass(Duration::from_secs(2));
    assert_eq!(net.send(0, b"found"), Ok(()));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.ends[1].got.last().map(Vec::as_slice), Some(&b"found"[..]));
}

#[test]
fn a_quiet_link_that_breaks_is_rebuilt_or_down() {
    let mut net = Pair::new();
    assert_eq!(net.send(0, b"x"), Ok(()));
    net.pass(Duration::from_secs(1));
    net.cut();
    net.pass(Duration::from_secs(1));
    assert_eq!((net.pipes.len(), net.ends[0].downs, net.ends[1].downs), (1, 0, 0));
    net.reachable = false;
    net.cut();
    net.pass(Duration::from_secs(6));
    assert_eq!((net.ends[0].downs, net.ends[1].downs), (1, 1));
}

/// LINK-4, LINK-9.
#[test]
fn a_restarted_peer_is_down_once_and_starts_from_nothing() {
    let mut net = Pair::new();
    for n in 0..3u8 {
        assert_eq!(net.send(0, &[n]), Ok(()));
        assert_eq!(net.send(1, &[n]), Ok(()));
    }
    net.pass(Duration::from_secs(1));
    net.cut();
    let me = net.ends[1].me;
    net.ends[1] = End { me, links: Links::new(me, 77), got: vec![], downs: 0, doubts: vec![] };
    assert_eq!(net.send(0, b"to the old life"), Ok(()));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.ends[0].downs, 1, "what was queued may have been for the old one");
    assert_eq!(net.send(0, b"new"), Ok(()));
    assert_eq!(net.send(1, b"hello"), Ok(()));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.ends[1].got, [b"new".to_vec()]);
    assert_eq!(net.ends[0].got.last().map(Vec::as_slice), Some(&b"hello"[..]));
}

#[test]
fn a_link_that_was_given_up_for_room_comes_again() {
    for at in [0, 1] {
        let mut net = Pair::new();
        for n in 0..30u8 {
            assert_eq!(net.send(0, &[n]), Ok(()));
            assert_eq!(net.send(1, &[n]), Ok(()));
        }
        net.pass(Duration::from_secs(1));
        for from in [at, 1 - at, at] {
            net.evict(at);
            net.pass(Duration::from_secs(1));
            assert_eq!(net.ends[at].links.poll_timeout(), None, "nobody needs it now");
            assert_eq!(net.send(from, b"again"), Ok(()));
            net.pass(Duration::from_secs(1));
            assert_eq!(net.ends[1 - from].got.last().map(Vec::as_slice), Some(&b"again"[..]));
            assert_eq!(net.send(1 - from, b"and back"), Ok(()));
            net.pass(Duration::from_secs(1));
            assert_eq!(net.ends[from].got.last().map(Vec::as_slice), Some(&b"and back"[..]));
            assert_eq!((net.ends[0].downs, net.ends[1].downs), (0, 0), "nothing was lost");
            assert_eq!(net.pipes.len(), 1, "one stream, and it is not closed and opened without end");
        }
    }
}

#[test]
fn a_full_table_gives_up_an_idle_link_only() {
    let now = Now { mono: Instant::now(), wall: Timestamp(0) };
    let mut links = Links::new(key(1), 1);
    let peer = |n: usize| {
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    };
    for n in 0..LINKS_MAX {
        links.handle_net(now, &NetEvent::StreamOpened { peer: peer(n), stream: n as u64, outbound: false });
    }
    assert_eq!(links.send(now, peer(LINKS_MAX), vec![1], true), Err(NotQueued::Full), "all are young");
    let later = Now { mono: now.mono + IDLE, ..now };
    assert_eq!(links.send(later, peer(LINKS_MAX), vec![1], true), Ok(()));
    assert_eq!((links.links.len(), links.streams.len()), (LINKS_MAX, LINKS_MAX - 1));
}

/// LINK-12: a stream that was opened and closed leaves nothing that anybody misses.
#[test]
fn links_without_a_stream_keep_nobody_out() {
    let now = Now { mono: Instant::now(), wall: Timestamp(0) };
    let mut links = Links::new(key(1), 1);
    let peer = |n: usize| {
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    };
    let honest = 10;
    for n in 0..honest {
        links.handle_net(now, &NetEvent::StreamOpened { peer: peer(n), stream: n as u64, outbound: false });
    }
    for n in honest..honest + 2 * LINKS_MAX {
        let stream = n as u64;
        links.handle_net(now, &NetEvent::StreamOpened { peer: peer(n), stream, outbound: false });
        links.handle_net(now, &NetEvent::StreamClosed { stream });
    }
    assert_eq!(links.links.len(), LINKS_MAX);
    assert_eq!(links.send(now, peer(999_999), vec![1], true), Ok(()), "they go at once");
    assert!((0..honest).all(|n| links.links.contains(&peer(n))), "and who has a stream stays");
}

/// LINK-11: many slow peers leave room for others.
#[test]
fn what_waits_for_all_peers_together_is_bounded() {
    let now = Now { mono: Instant::now(), wall: Timestamp(0) };
    let mut links = Links::new(key(1), 1);
    let peer = |n: u32| {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).expect("a scalar").peer_id()
    };
    for n in 0..200 {
        while links.send(now, peer(n), vec![7; 60_000], false).is_ok() {}
    }
    assert!(links.queued < QUEUED_MAX + 200 * BODY_MAX, "{}", links.queued);
    assert_eq!(links.queued, links.links.iter().map(|(_, l)| l.count_queued()).sum::<usize>());
    assert_eq!(links.send(now, peer(900), vec![1; 400], false), Ok(()), "what ends work has a frame's room");
    let later = Now { mono: now.mono + Duration::from_secs(1), ..now };
    for at in [now, later] {
        links.handle_timeout(at);
        for n in (0..200).chain([900]) {
            links.handle_net(at, &NetEvent::StreamRefused { peer: peer(n) });
        }
    }
    assert_eq!(links.queued, 0, "what is dropped is given back");
}

/// LINK-10: nobody waits for a peer that cannot be reached, where no answer can be on its way.
#[test]
fn who_is_not_reached_is_down_at_once_and_refused_for_a_moment() {
    let mut net = Pair::new();
    net.reachable = false;
    assert_eq!(net.send(0, b"first"), Ok(()));
    net.deliver(9);
    assert_eq!(net.ends[0].downs, 0, "a connection may have broken just then");
    net.pass(Duration::from_millis(510));
    assert_eq!(net.ends[0].downs, 1, "not after five seconds");
    assert_eq!(net.send(0, b"second"), Err(NotQueued::Unreached), "and nothing waits for it");
    let other = net.ends[1].me;
    assert_eq!(
        net.ends[0].links.send(net.now, other, b"BYE".to_vec(), false),
        Ok(()),
        "what ends work is tried"
    );
    net.pass(Duration::from_millis(510));
    assert_eq!(net.ends[0].downs, 2, "at the first refusal now");
    net.pass(Duration::from_secs(3));
    assert_eq!(net.send(0, b"again"), Ok(()), "it may be back");
    net.deliver(9);
    assert_eq!(net.ends[0].downs, 3);
    net.reachable = true;
    net.pass(Duration::from_secs(3));
    assert_eq!(net.send(0, b"third"), Ok(()));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.ends[1].got.last().map(Vec::as_slice), Some(&b"third"[..]));
    // While answers may be on their way, what was sent waits as before; what is new does not.
    net.reachable = false;
    net.cut();
    net.pass(Duration::from_millis(1_100));
    let downs = net.ends[0].downs;
    assert_eq!(net.send(0, b"fourth"), Err(NotQueued::Unreached));
    assert_eq!(net.ends[0].downs, downs, "the others are not given up for it");
    net.reachable = true;
    net.pass(Duration::from_secs(1));
    assert_eq!(net.send(0, b"fifth"), Ok(()), "it is back");
    // A connection ends the waiting.
    net.reachable = false;
    net.cut();
    net.pass(Duration::from_millis(1_100));
    assert_eq!(net.send(0, b"lost"), Err(NotQueued::Unreached));
    net.reachable = true;
    net.ends[0].links.handle_net(net.now, &NetEvent::Connected { peer: other });
    assert_eq!(net.send(0, b"sixth"), Ok(()));
    net.pass(Duration::from_secs(1));
    assert_eq!(net.ends[1].got.last().map(Vec::as_slice), Some(&b"sixth"[..]));
}

/// LINK-1, LINK-11.
#[test]
fn a_full_queue_refuses_new_requests_first() {
    let mut net = Pair::new();
    net.reachable = false;
    let to = net.ends[1].me;
    let links = &mut net.ends[0].links;
    for _ in 0..QUEUE_FRAMES {
        assert_eq!(links.send(net.now, to, vec![1], true), Ok(()));
    }
    assert_eq!(links.send(net.now, to, vec![1], true), Err(NotQueued::Full));
    for _ in QUEUE_FRAMES..peer::HARD_FRAMES {
        assert_eq!(links.send(net.now, to, vec![1], false), Ok(()), "a BYE still passes");
    }
    assert_eq!(links.send(net.now, to, vec![1], false), Err(NotQueued::Full));
    assert_eq!(links.send(net.now, key(9), vec![0; BODY_MAX + 1], true), Err(NotQueued::Full));
    assert_eq!(links.send(net.now, key(9), vec![0; BODY_MAX], true), Ok(()));
}

/// LINK-3, LINK-5.
#[test]
fn a_peer_that_breaks_the_rules_loses_its_stream() {
    let lies: [Vec<u8>; 4] = [
        Frame::Data { seq: 5, ack: 0, body: b"" }.encode(),
        Frame::Ack { ack: 9 }.encode(),
        Frame::Hello { session: 1, oldest: 0 }.encode(),
        vec![200],
    ];
    for lie in lies {
        let now = Now { mono: Instant::now(), wall: Timestamp(0) };
        let mut links = Links::new(key(1), 1);
        links.handle_net(now, &NetEvent::StreamOpened { peer: key(2), stream: 4, outbound: false });
        let hello = Frame::Hello { session: 2, oldest: 0 }.encode();
        links.handle_net(now, &NetEvent::StreamFrame { stream: 4, frame: hello });
        links.handle_net(now, &NetEvent::StreamFrame { stream: 4, frame: lie });
        let mut out = Vec::new();
        while let Some(o) = links.poll_output() {
            out.push(o);
        }
        assert!(out.contains(&LinkOutput::Net(NetCommand::StreamClose { stream: 4 })), "{out:?}");
        assert!(!out.iter().any(|o| matches!(o, LinkOutput::Deliver { .. })));
    }
}

/// LINK-3: before the other's Hello a number means nothing.
#[test]
fn numbers_at_the_end_of_all_numbers_break_a_stream_and_nothing_else() {
    for (oldest, seq) in [(u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX - 1), (u64::MAX, 0), (0, u64::MAX)] {
        let mut links = Links::new(key(1), 1);
        let (now, peer) = (Now { mono: Instant::now(), wall: Timestamp(0) }, key(2));
        links.handle_net(now, &NetEvent::StreamOpened { peer, stream: 1, outbound: false });
        let frames = [
            Frame::Hello { session: 7, oldest },
            Frame::Data { seq, ack: 0, body: b"x" },
            Frame::Data { seq: seq.wrapping_add(1), ack: 0, body: b"y" },
            Frame::Ack { ack: u64::MAX },
        ];
        for frame in &frames {
            links.handle_net(now, &NetEvent::StreamFrame { stream: 1, frame: frame.encode() });
        }
        let out: Vec<LinkOutput> = std::iter::from_fn(|| links.poll_output()).collect();
        assert!(out.contains(&LinkOutput::Net(NetCommand::StreamClose { stream: 1 })), "{oldest} {seq}");
        // The next stream of the same peer is as good as any.
        links.handle_net(now, &NetEvent::StreamOpened { peer, stream: 2, outbound: false });
        for frame in [Frame::Hello { session: 8, oldest: 0 }, Frame::Data { seq: 0, ack: 0, body: b"z" }] {
            links.handle_net(now, &NetEvent::StreamFrame { stream: 2, frame: frame.encode() });
        }
        let heard = std::iter::from_fn(|| links.poll_output());
        assert!(heard.into_iter().any(|o| o == LinkOutput::Deliver { peer, body: b"z".to_vec() }));
    }
}

#[test]
fn nothing_counts_before_hello() {
    for early in [
        Frame::Data { seq: 0, ack: 0, body: b"early" }.encode(),
        Frame::Ack { ack: 0 }.encode(),
        Frame::Bye.encode(),
    ] {
        let now = Now { mono: Instant::now(), wall: Timestamp(0) };
        let mut links = Links::new(key(1), 1);
        links.handle_net(now, &NetEvent::StreamOpened { peer: key(2), stream: 4, outbound: false });
        links.handle_net(now, &NetEvent::StreamFrame { stream: 4, frame: early });
        let said: Vec<LinkOutput> = std::iter::from_fn(|| links.poll_output()).collect();
        assert!(said.contains(&LinkOutput::Net(NetCommand::StreamClose { stream: 4 })), "{said:?}");
        assert!(!said.iter().any(|o| matches!(o, LinkOutput::Deliver { .. })));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Deliver(usize),
    Cut,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize).prop_map(Step::Send),
        6 => (1..12usize).prop_map(Step::Deliver),
        1 => Just(Step::Cut),
        2 => (1..700u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// LINK-7: in order and exactly once, whatever breaks, as long as nobody was told Down.
    #[test]
    fn in_order_exactly_once(steps in proptest::collection::vec(step(), 1..80)) {
        let mut net = Pair::new();
        let mut sent: [Vec<Vec<u8>>; 2] = [vec![], vec![]];
        for step in steps {
            match step {
                Step::Send(at) => {
                    let body = (sent[at].len() as u32).to_be_bytes().to_vec();
                    prop_assert_eq!(net.send(at, &body), Ok(()));
                    sent[at].push(body);
                }
                Step::Deliver(n) => net.deliver(n),
                Step::Cut => net.cut(),
                Step::Pass(ms) => net.pass(Duration::from_millis(ms)),
            }
        }
        net.pass(Duration::from_secs(4));
        prop_assert_eq!((net.ends[0].downs, net.ends[1].downs), (0, 0));
        prop_assert_eq!(&net.ends[1].got, &sent[0]);
        prop_assert_eq!(&net.ends[0].got, &sent[1]);
    }

    /// LINK-9, LINK-12: links that are given up and come again never deliver twice or out of order, never lose a body
    /// without a word to its sender, and always agree again.
    #[test]
    fn given_up_links_agree_again(
        steps in proptest::collection::vec((step(), proptest::option::weighted(0.3, 0..2usize)), 1..80),
    ) {
        let mut net = Pair::new();
        let mut sent = [0u32; 2];
        for (step, evicted) in steps {
            match step {
                Step::Send(at) => {
                    prop_assert_eq!(net.send(at, &sent[at].to_be_bytes()), Ok(()));
                    sent[at] += 1;
                }
                Step::Deliver(n) => net.deliver(n),
                Step::Cut => net.cut(),
                Step::Pass(ms) => net.pass(Duration::from_millis(ms)),
            }
            if let Some(at) = evicted {
                net.evict(at);
            }
        }
        net.pass(Duration::from_secs(12));
        for (at, sent) in sent.into_iter().enumerate() {
            let got = &net.ends[1 - at].got;
            prop_assert!(got.windows(2).all(|w| w[0] < w[1]), "{:?}", got);
            prop_assert!(got.len() == sent as usize || net.ends[at].downs > 0, "lost without a word");
        }
        for at in 0..2 {
            // Where the Bye was lost the first may be dropped with the old session, and its sender is told.
            let downs = net.ends[at].downs;
            prop_assert_eq!(net.send(at, &[254; 4]), Ok(()));
            net.pass(Duration::from_secs(1));
            prop_assert!(net.ends[1 - at].got.last() == Some(&vec![254; 4]) || net.ends[at].downs > downs);
            prop_assert_eq!(net.send(at, &[255; 4]), Ok(()));
            net.pass(Duration::from_secs(1));
            prop_assert_eq!(net.ends[1 - at].got.last().map(Vec::as_slice), Some(&[255; 4][..]));
        }
        prop_assert_eq!(net.pipes.len(), 1);
        prop_assert_eq!(net.ends[0].links.poll_timeout(), None);
    }
}
