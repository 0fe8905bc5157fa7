//! The server transactions (RFC 3261 §17.2): a row for each request that somebody above has taken on, with the last answer for
//! its repetitions. Of a finished one the key and the answer are left, and nothing where no repetition may be answered.

use super::{
    InviteServer, NewRequest, NonInviteServer, Server, TRYING_AFTER, TRYING_AFTER_TO_PEER, User,
    finished::Finished,
    kept::Kept,
    shares::{Shares, Standing},
    weight,
};
use crate::{
    cx::Cx,
    hop::{Hop, Network},
    ids::{Method, ServerKey},
    limits::TRANSACTION_BYTES_MAX,
    message::Message,
    output::About,
    status,
    timers::Timers,
};
use std::{collections::BTreeMap, time::Instant};

struct Row {
    machine: Machine,
    hop: Hop,
    user: User,
    answer: Answer,
    charged: usize,
    deadline: Option<Instant>,
}

/// For a repetition of the request.
enum Answer {
    /// None yet: of this INVITE 100 is written, when it is due.
    Unwritten(Message),
    /// None yet, or none where no repetition can come that is answered.
    Nothing,
    Kept(Kept),
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Unwritten(_) | Answer::Nothing => 0,
            Answer::Kept(kept) => kept.bytes(),
        }
    }
}

enum Machine {
    Invite(InviteServer),
    Other(NonInviteServer),
}

impl Row {
    fn resend(&self, cx: &mut Cx<'_>) {
        if let Answer::Kept(answer) = &self.answer {
            answer.send(cx, &self.hop);
        }
    }
}

impl Machine {
    fn new(trying: Instant, request: &Message, reliable: bool) -> Machine {
        match Method::of(request) {
            Method::Invite => Machine::Invite(InviteServer::new(trying, reliable)),
            _ => Machine::Other(NonInviteServer::new(reliable)),
        }
    }

    fn on_retransmission(&self) -> Server {
        match self {
            Machine::Invite(machine) => machine.on_retransmission(),
            Machine::Other(machine) => machine.on_retransmission(),
        }
    }

    /// An answer of this status is to go. Is it kept for repetitions? `None`: it comes too late to be sent.
    fn on_send(&mut self, now: Instant, status: u16) -> Option<bool> {
        match self {
            Machine::Invite(machine) => {
                let is_repeated_2xx = machine.is_accepted() && (200..300).contains(&status);
                if !machine.is_proceeding() && !is_repeated_2xx {
                    return None;
                }
                machine.on_send(now, status);
                // RFC 6026 §7.1: a 2xx is repeated by who sent it.
                Some(!machine.is_accepted())
            }
            Machine::Other(machine) => {
                if machine.is_completed() {
                    return None;
                }
                machine.on_send(now, status);
                Some(true)
            }
        }
    }

    /// Does it only wait for its end (timers J, L)?
    fn is_ending(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.is_accepted(),
            Machine::Other(machine) => machine.is_completed(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Machine::Invite(machine) => machine.deadline(),
            Machine::Other(machine) => machine.deadline(),
        }
    }

    fn on_deadline(&mut self, now: Instant) -> Server {
        match self {
            Machine::Invite(machine) => machine.on_deadline(now),
            Machine::Other(machine) => machine.on_deadline(now),
        }
    }
}

/// What a CANCEL means.
pub(super) struct Meant {
    pub user: User,
    /// An INVITE without a final answer. Another method has nothing that could be cancelled.
    pub is_pending: bool,
}

pub(super) struct Servers {
    /// In boxes: a node of the tree has room for eleven, and half of them may be empty.
    rows: BTreeMap<ServerKey, Box<Row>>,
    timers: Timers<ServerKey>,
    /// Those that only wait for repetitions.
    finished: Finished,
}

/// There is room for the answers of 30 s at 8,000 requests a second, of 350 bytes each; beyond that they are kept less long.
const _: () = assert!(30 * 8_000 * (Servers::ROW_BYTES + weight::block(350)) <= TRANSACTION_BYTES_MAX);

impl Servers {
    /// What a row takes beyond its messages.
    pub const ROW_BYTES: usize = weight::block(size_of::<Row>())
        + weight::entry::<(ServerKey, Box<Row>)>()
        + weight::entry::<(Instant, ServerKey)>()
        + size_of::<ServerKey>();

    pub fn new() -> Servers {
        Servers { rows: BTreeMap::new(), timers: Timers::new(), finished: Finished::default() }
    }

    pub fn contains(&self, key: ServerKey) -> bool {
        self.rows.contains_key(&key)
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.finished.is_empty()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Room for `bytes` of `network`: where its share is full, its oldest finished rows go. `None`: there are none left to go; else how
    /// many went.
    pub fn make_room(
        &mut self,
        shares: &mut Shares,
        network: &Network,
        bytes: usize,
        standing: Standing,
    ) -> Option<usize> {
        let mut gone = 0;
        while !shares.has_room(network, bytes, standing) {
            let oldest = self.finished.take_oldest(network)?;
            self.drop(shares, oldest);
            gone += 1;
        }
        Some(gone)
    }

    /// A row for `new`, whose memory is charged already.
    pub fn open(&mut self, now: Instant, new: &NewRequest, user: User, charged: usize) {
        let trying = match new.hop {
            Hop::Phone(_) => now + TRYING_AFTER,
            Hop::Peer(_) => now + TRYING_AFTER_TO_PEER,
        };
        let machine = Machine::new(trying, &new.request, new.hop.is_reliable());
        let answer = match machine {
            Machine::Invite(_) => Answer::Unwritten(new.request.clone()),
            Machine::Other(_) => Answer::Nothing,
        };
        let row = Row { machine, hop: new.answered.clone(), user, answer, charged, deadline: None };
        let before = self.rows.insert(new.key, Box::new(row));
        debug_assert!(before.is_none(), "a request is accepted once");
        self.reschedule(new.key);
    }

    /// §17.2: a repetition gets the last answer again. `false`: the request is none.
    pub fn repeat(&mut self, cx: &mut Cx<'_>, shares: &mut Shares, key: ServerKey) -> bool {
        let Some(row) = self.rows.get(&key) else { return false };
        match row.machine.on_retransmission() {
            Server::Resend => row.resend(cx),
            Server::Trying => self.try_on(cx, shares, key),
            Server::Nothing | Server::Done => {}
        }
        true
    }

    /// §17.2.1: 100, where nothing was answered yet.
    fn try_on(&mut self, cx: &mut Cx<'_>, shares: &mut Shares, key: ServerKey) {
        let Some(Row { answer: Answer::Unwritten(invite), .. }) = self.rows.get(&key).map(|row| &**row)
        else {
            return debug_assert!(false, "100 is due only where nothing was answered");
        };
        let trying = cx.answer(invite, status::TRYING, &[]);
        self.respond(cx, shares, key, (status::TRYING.0, trying), About::Other);
    }

    /// Is this the ACK of a failure that a row here has sent?
    pub fn on_ack(&mut self, now: Instant, shares: &mut Shares, key: ServerKey) -> bool {
        let Some(row) = self.rows.get_mut(&key) else { return false };
        let Machine::Invite(machine) = &mut row.machine else { return false };
        // RFC 6026 §7.1: an ACK that comes to an accepted INVITE is the 2xx's.
        if machine.is_accepted() {
            return false;
        }
        if machine.on_ack(now) == Server::Done {
            self.drop(shares, key);
        } else {
            self.reschedule(key);
        }
        true
    }

    /// §9.2: what a CANCEL of this key means.
    pub fn meant_by(&self, cancel: ServerKey) -> Option<Meant> {
        let (_, row) = self.rows.range(cancel.any_method()).find(|(key, _)| !key.is_cancel())?;
        let is_pending = matches!(&row.machine, Machine::Invite(machine) if machine.is_proceeding());
        Some(Meant { user: row.user, is_pending })
    }

    /// Sends `answer` in the transaction `key`, unless it comes too late.
    pub fn respond(
        &mut self,
        cx: &mut Cx<'_>,
        shares: &mut Shares,
        key: ServerKey,
        (status, answer): (u16, Message),
        about: About,
    ) {
        // It may have ended: timer H, or its hop is gone.
        let Some(row) = self.rows.get_mut(&key) else { return };
        let Some(is_kept) = row.machine.on_send(cx.now.mono, status) else { return };
        row.answer = if is_kept { Answer::Kept(Kept::of(&row.hop, &answer)) } else { Answer::Nothing };
        cx.send_with(&row.hop, answer, None, about);
        // From the final answer on nobody needs the request any more.
        let request = if status < 200 { row.charged } else { 0 };
        let charge = request.max(Servers::ROW_BYTES + row.answer.bytes());
        let network = row.hop.network();
        shares.recharge(&network, &mut row.charged, charge);
        if matches!(&row.machine, Machine::Other(machine) if machine.is_completed()) {
            self.finished.note(network, key);
        }
        self.reschedule(key);
    }

    /// The first deadline has come.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, shares: &mut Shares) {
        let Some(key) = self.timers.due(cx.now.mono) else { return };
        let row = self.rows.get_mut(&key).expect("a timer belongs to a row");
        match row.machine.on_deadline(cx.now.mono) {
            Server::Done => return self.drop(shares, key),
            Server::Trying => return self.try_on(cx, shares, key),
            Server::Resend => row.resend(cx),
            Server::Nothing => {}
        }
        self.reschedule(key);
    }

    pub fn drop(&mut self, shares: &mut Shares, key: ServerKey) {
        let Some(mut row) = self.rows.remove(&key) else { return };
        self.timers.set(key, &mut row.deadline, None);
        let network = row.hop.network();
        shares.refund(&network, row.charged);
        let rows = &self.rows;
        self.finished.forget_ended(&network, |key| rows.contains_key(key));
    }

    fn reschedule(&mut self, key: ServerKey) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        let at = row.machine.deadline();
        let at = if row.machine.is_ending() { at.map(|at| self.timers.together(at)) } else { at };
        self.timers.set(key, &mut row.deadline, at);
    }
}
