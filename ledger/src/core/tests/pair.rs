//! Two receipt machines, two disks and a network that does as it is told. It checks all the time that what leaves a
//! machine is on its disk, and that no key says two different things about one call.

use super::super::*;
use crate::receipt::{
    Half, Message, RECEIPT_DOMAIN, Receipt, Refusal, Refused, Seal, Side, Stored, Whole, read_bundle,
};
use dots_wire::{encode, sha256};
use std::time::Duration;

pub const CALLER: usize = 0;
pub const CALLEE: usize = 1;
pub const NETWORK: &str = "test";

pub fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

#[derive(Clone, Debug)]
pub enum Packet {
    Request {
        from: usize,
        life: u32,
        id: u64,
        body: Vec<u8>,
    },
    /// To the machine's life that asked.
    Response {
        to: usize,
        life: u32,
        id: u64,
        body: Option<Vec<u8>>,
    },
}

pub struct Machine {
    pub key: SecretKey,
    /// None while it is down.
    pub core: Option<ReceiptCore>,
    pub life: u32,
    /// What survives a crash.
    pub disk: Vec<Vec<u8>>,
    /// Appended, not synced.
    pub writing: VecDeque<(u64, Vec<u8>)>,
    /// Ours, not answered yet: inbound id -> (life, id) of who asked.
    asked: BTreeMap<u64, (u32, u64)>,
    pub completed: Vec<Hash>,
    pub counts: BTreeMap<&'static str, usize>,
    /// What this key has ever said, to anybody or to its disk, per call.
    claims: BTreeMap<Hash, Vec<u8>>,
    receipts: BTreeMap<Hash, Vec<u8>>,
    /// Seals of ours that are on its disk.
    seals: BTreeSet<Vec<u8>>,
}

pub struct Pair {
    pub now: Now,
    pub machines: [Machine; 2],
    pub wire: Vec<Packet>,
    next_inbound: u64,
}

/// How long the calls of the tests last.
pub const TALK: Duration = Duration::from_secs(100);

/// Call 1 was answered and has lasted [`TALK`].
pub fn talked() -> Pair {
    let mut net = Pair::new();
    net.answered(1);
    net.settle();
    net.pass(TALK);
    net
}

impl Pair {
    pub fn new() -> Pair {
        let now = Now { mono: Instant::now(), wall: Timestamp(1_700_000_000_000) };
        let machine = |n: u8| Machine {
            core: Some(ReceiptCore::new(key(n), NETWORK.into(), &[], now)),
            key: key(n),
            life: 0,
            disk: vec![],
            writing: VecDeque::new(),
            asked: BTreeMap::new(),
            completed: vec![],
            counts: BTreeMap::new(),
            claims: BTreeMap::new(),
            receipts: BTreeMap::new(),
            seals: BTreeSet::new(),
        };
        Pair { now, machines: [machine(1), machine(2)], wire: vec![], next_inbound: 0 }
    }

    pub fn peer(&self, at: usize) -> PeerId {
        self.machines[at].key.peer_id()
    }

    /// What `at` knows of call `n` when it is answered.
    pub fn call(&self, at: usize, n: u8) -> CallAnswered {
        let (nonce_caller, nonce_callee) = (Hash([n; 32]), Hash([n ^ 0xff; 32]));
        CallAnswered {
            key: sha256(&[nonce_caller.0, nonce_callee.0].concat()),
            other: self.peer(1 - at),
            caller_peer: self.peer(CALLER),
            callee_peer: self.peer(CALLEE),
            caller_home: self.peer(CALLER),
            callee_home: key(9).peer_id(),
            grant: Hash([3; 32]),
            caller_party: Hash([4; 32]),
            callee_party: Hash([5; 32]),
            salt: Hash([6; 32]),
            nonce_caller,
            nonce_callee,
            start: self.now.wall,
            cause: Cause::new(Standing::Other).by(b"caller"),
        }
    }

    pub fn facts(&self, n: u8) -> Facts {
        self.call(CALLER, n).facts(NETWORK)
    }

    pub fn id(&self, n: u8) -> Hash {
        self.call(CALLER, n).key
    }

    /// Runs `f` on the machine, if it is up, and takes its outputs.
    pub fn with(&mut self, at: usize, f: impl FnOnce(&mut ReceiptCore, Now)) {
        let now = self.now;
        if let Some(core) = &mut self.machines[at].core {
            f(core, now);
        }
        self.collect(at);
    }

    pub fn answered(&mut self, n: u8) {
        for at in [CALLEE, CALLER] {
            let call = self.call(at, n);
            self.with(at, |core, now| core.call_answered(now, call));
        }
    }

    pub fn ended(&mut self, at: usize, n: u8, duration_ms: u64, cause: EndCause, propose: bool) {
        let end = CallEnded { key: self.id(n), duration_ms, cause, propose };
        self.with(at, |core, now| core.call_ended(now, end));
    }

    fn collect(&mut self, at: usize) {
        while let Some(output) = self.machines[at].core.as_mut().and_then(ReceiptCore::poll_output) {
            let m = &mut self.machines[at];
            match output {
                ReceiptOutput::Append { token, record, .. } => m.writing.push_back((token, record)),
                ReceiptOutput::Completed { call_id } => {
                    let on_disk = m.wholes().any(|w| receipt(&w).facts.call_id == call_id);
                    assert!(on_disk, "a receipt is complete before it is on disk");
                    m.completed.push(call_id);
                }
                ReceiptOutput::Count(name) => *m.counts.entry(name).or_default() += 1,
                ReceiptOutput::Request { id, peer, body } => {
                    assert_eq!(peer, self.peer(1 - at));
                    self.machines[at].check_said(&body);
                    let life = self.machines[at].life;
                    self.wire.push(Packet::Request { from: at, life, id, body });
                }
                ReceiptOutput::Respond { id, body } => {
                    let (life, id) = m.asked.remove(&id).expect("answered once, and only what was asked");
                    if let Some(body) = &body {
                        m.check_said(body);
                    }
                    self.wire.push(Packet::Response { to: 1 - at, life, id, body });
                }
            }
        }
    }

    pub fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Request { from, life, id, body } => {
                let (to, peer) = (1 - from, self.peer(from));
                if self.machines[to].core.is_none() {
                    return self.wire.push(Packet::Response { to: from, life, id, body: None });
                }
                self.next_inbound += 1;
                let inbound = self.next_inbound;
                self.machines[to].asked.insert(inbound, (life, id));
                self.with(to, |core, now| {
                    core.on_request(now, peer, inbound, body);
                    core.handle_timeout(now);
                });
            }
            Packet::Response { to, life, id, body } => {
                if self.machines[to].life == life {
                    self.with(to, |core, now| {
                        core.on_response(now, id, body);
                        core.handle_timeout(now);
                    });
                }
            }
        }
    }

    /// The oldest `count` records reach the disk, and the machine is told.
    pub fn sync(&mut self, at: usize, count: usize) {
        for _ in 0..count {
            let Some((token, record)) = self.machines[at].writing.pop_front() else { return };
            self.machines[at].store(record);
            self.with(at, |core, now| core.durable(now, token));
        }
    }

    /// kill -9. The oldest `kept` records have reached the disk, but nobody was told.
    pub fn crash(&mut self, at: usize, kept: usize) {
        let m = &mut self.machines[at];
        for (_, record) in std::mem::take(&mut m.writing).into_iter().take(kept) {
            m.store(record);
        }
        m.core = None;
        m.asked.clear();
        m.life += 1;
    }

    pub fn restart(&mut self, at: usize) {
        let now = self.now;
        let m = &mut self.machines[at];
        if m.core.is_none() {
            m.core = Some(ReceiptCore::new(m.key.clone(), NETWORK.into(), &m.disk, now));
        }
        self.collect(at);
    }

    pub fn connected(&mut self) {
        for at in [CALLER, CALLEE] {
            let peer = self.peer(1 - at);
            self.with(at, |core, now| core.on_connected(now, peer));
        }
    }

    /// Time passes; nothing else but timers.
    pub fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall = self.now.wall.plus(time);
        for at in [CALLER, CALLEE] {
            self.with(at, |core, now| core.handle_timeout(now));
            let next = self.machines[at].core.as_ref().and_then(ReceiptCore::poll_timeout);
            assert!(next.is_none_or(|at| at > self.now.mono), "a timer that is due stays due");
        }
    }

    /// Disks and network do their work until there is none, without time passing.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            for at in [CALLER, CALLEE] {
                self.sync(at, usize::MAX);
            }
            if self.wire.is_empty() {
                return;
            }
            let packet = self.wire.remove(0);
            self.deliver(packet);
        }
        panic!("they never stop talking");
    }

    /// `time` passes, timer by timer, over a good network.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.settle();
            let next = self.machines.iter().filter_map(|m| m.core.as_ref()?.poll_timeout()).min();
            let at = next.filter(|at| *at <= end).unwrap_or(end);
            self.pass(at.saturating_duration_since(self.now.mono));
            if at == end {
                return self.settle();
            }
        }
    }

    pub fn view(&self, at: usize, n: u8) -> Option<ReceiptView> {
        let id = self.id(n);
        let view = self.machines[at].core.as_ref()?.list().find(|v| v.call_id == id)?;
        let on_disk = view.state != ReceiptState::Whole || self.whole(at, n).is_some();
        assert!(on_disk, "a receipt is shown as whole before it is on disk");
        Some(view)
    }

    pub fn state(&self, at: usize, n: u8) -> Option<ReceiptState> {
        self.view(at, n).map(|v| v.state)
    }

    /// The whole receipt of a call on the disk of `at`.
    pub fn whole(&self, at: usize, n: u8) -> Option<Whole> {
        let id = self.id(n);
        self.machines[at].wholes().find(|w| receipt(w).facts.call_id == id)
    }

    pub fn counted(&self, at: usize, name: &str) -> usize {
        self.machines[at].counts.get(name).copied().unwrap_or(0)
    }

    /// Both hold this receipt, the same bytes, and it holds.
    pub fn both_whole(&self, n: u8) -> Receipt {
        let whole = self.whole(CALLER, n).expect("the caller's peer holds it");
        assert_eq!(Some(&whole), self.whole(CALLEE, n).as_ref(), "both hold the same");
        for at in [CALLER, CALLEE] {
            let view = self.view(at, n).expect("it is listed");
            assert_eq!(view.state, ReceiptState::Whole);
            assert_eq!(view.check(), Ok(()));
        }
        whole.verify(&mut Checked::default()).expect("it holds")
    }
}

impl Machine {
    fn wholes(&self) -> impl Iterator<Item = Whole> {
        self.disk.iter().filter_map(|r| match Stored::read(r) {
            Some(Stored::Whole(note)) => Some(note.whole),
            _ => None,
        })
    }

    fn store(&mut self, record: Vec<u8>) {
        match Stored::read(&record).expect("we write what we read") {
            Stored::Claim(note) => self.claimed(&note.own.payload),
            Stored::Half(note) => {
                self.claimed(&note.own.payload);
                self.signed(&note.half.receipt, &note.half.seal);
            }
            Stored::Whole(note) => {
                let own = self.own(&note.whole);
                self.signed(&note.whole.receipt, &own);
            }
            _ => {}
        }
        self.disk.push(record);
    }

    fn own(&self, whole: &Whole) -> Seal {
        match receipt(whole).facts.side(self.key.peer_id()) {
            Some(Side::Caller) => whole.caller.clone(),
            _ => whole.callee.clone(),
        }
    }

    fn claimed(&mut self, payload: &[u8]) {
        let claim: crate::receipt::Claim = dots_wire::decode(payload).expect("our claim");
        let known = self.claims.entry(claim.facts.call_id).or_insert_with(|| payload.to_vec());
        assert_eq!(known, payload, "two claims of one call");
    }

    fn signed(&mut self, bytes: &[u8], seal: &Seal) {
        assert_eq!(seal.verify(&mut Checked::default(), &self.key.public(), RECEIPT_DOMAIN, bytes), Ok(()));
        let id = Receipt::read(bytes).expect("we sign receipts").facts.call_id;
        let known = self.receipts.entry(id).or_insert_with(|| bytes.to_vec());
        assert_eq!(known, bytes, "two receipts of one call");
        self.seals.insert(encode(seal));
    }

    /// What leaves was on the disk before.
    fn check_said(&self, body: &[u8]) {
        for message in read_bundle(body).expect("we send what we read").into_iter().flatten() {
            self.check_message(message);
        }
    }

    fn check_message(&self, message: Message) {
        let on_disk = |claim: &[u8]| self.claims.values().any(|c| c == claim);
        match message {
            Message::Claim(claim) => assert!(on_disk(&claim.payload), "a claim leaves before it is on disk"),
            Message::Half(Half { claim, seal }) => {
                assert!(on_disk(&claim.payload));
                assert!(self.seals.contains(&encode(&seal)), "a signature leaves too early");
            }
            Message::Whole(whole) => {
                assert!(self.wholes().any(|w| w == whole), "a receipt leaves before it is on disk");
            }
            Message::Refused(Refused { call_id, reason }) => {
                let is_closed = |record: &Vec<u8>| match Stored::read(record) {
                    Some(Stored::Close(note)) => note.call_id == call_id,
                    _ => false,
                };
                // A stranger's question and a contradiction change nothing, so nothing is written.
                let is_final = !matches!(reason, Refusal::UnknownCall | Refusal::Mismatch);
                assert!(
                    !is_final || self.disk.iter().any(is_closed),
                    "a refusal leaves before it is on disk"
                );
            }
        }
    }
}

pub fn receipt(whole: &Whole) -> Receipt {
    Receipt::read(&whole.receipt).expect("a receipt")
}
