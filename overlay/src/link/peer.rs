//! One peer's end of a link: what is queued toward it, what came from it, and the one stream that counts.

use super::{
    LinkOutput,
    LinkOutput::Net,
    NotQueued,
    frame::{BODY_MAX, Frame},
};
use crate::transport::{NetCommand, StreamId};
use dots_wire::{PeerId, bounded::Weight};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// LINK-11: frames and bytes queued toward one peer before new requests are refused (design: a call).
pub const QUEUE_FRAMES: usize = 1_024;
pub const QUEUE_BYTES: usize = 1024 * 1024;
/// Responses, ACK, CANCEL and BYE pass up to here: they end work instead of starting it.
pub const HARD_FRAMES: usize = 2 * QUEUE_FRAMES;
pub const HARD_BYTES: usize = 2 * QUEUE_BYTES;
/// Without a stream, or without an acknowledgement, for this long the peer is down.
pub const DOWN_AFTER: Duration = Duration::from_secs(5);
/// Without an acknowledgement for this long it is asked whether the peer is there (design: a call).
pub const DOUBT_AFTER: Duration = Duration::from_millis(700);
/// Between two attempts to open a stream.
pub const RETRY: Duration = Duration::from_millis(500);
/// An attempt that was never answered does not block the next one forever.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// Nobody was reached twice in a row: new requests are refused for so long instead of waiting, and the next one after that tries again.
const UNREACHED_FOR: Duration = Duration::from_secs(2);
/// Two streams opened within this time are "simultaneous"; later, the newer one replaces a dead one.
const SIMULTANEOUS: Duration = Duration::from_secs(2);
/// An acknowledgement waits this long for a frame to ride on (the answer to an INVITE, most often), or for this many frames to
/// acknowledge at once.
pub const ACK_DELAY: Duration = Duration::from_millis(100);
pub const ACK_EVERY: u32 = 16;

const _: () =
    assert!(ACK_DELAY.as_millis() * 5 < DOUBT_AFTER.as_millis(), "no round trip of a delayed one is a doubt");
const _: () = assert!(ACK_EVERY as usize * 2 < QUEUE_FRAMES && QUEUE_BYTES > 2 * BODY_MAX);

/// The stream broke the protocol.
pub struct Violation;

struct Current {
    id: StreamId,
    outbound: bool,
    since: Instant,
    /// Its Hello has come: from now on both sides know each other's session, and frames may pass (LINK-3).
    ready: bool,
}

pub struct Link {
    peer: PeerId,
    /// Ours, told in each Hello.
    session: u64,
    stream: Option<Current>,
    opening: Option<Instant>,
    next_try: Instant,
    /// The stream is gone and nobody said Bye: we try to get it back even when nothing is queued, because
    /// answers may be on their way to us.
    lost_at: Option<Instant>,
    /// LINK-7: not yet acknowledged; the first has number `base`.
    queue: VecDeque<Vec<u8>>,
    base: u64,
    bytes: usize,
    /// How many of them were on a stream of this session: whether they arrived is for the other to say.
    sent: usize,
    /// A stream of this link carried something since it was made or given up: answers may be on their way.
    spoke: bool,
    /// How often a stream was refused since there was one, and when last. Once may be a connection that broke meanwhile.
    refusals: u32,
    refused_at: Instant,
    /// What the links as a whole have counted of `bytes`.
    counted: usize,
    /// The other has said Bye: if it comes with another session, it is because it had given the link up.
    given_up: bool,
    /// The last acknowledgement, or when the queue stopped being empty.
    progress_at: Instant,
    /// That was doubted already.
    doubted: bool,
    /// The other's.
    their_session: Option<u64>,
    expected: u64,
    unacked: u32,
    ack_at: Option<Instant>,
    pub used_at: Instant,
}

impl Weight for Box<Link> {
    /// What is queued has a limit of its own.
    fn heap_bytes(&self) -> usize {
        size_of::<Link>()
    }
}

impl Link {
    pub fn new(peer: PeerId, session: u64, now: Instant) -> Link {
        Link {
            peer,
            session,
            stream: None,
            opening: None,
            next_try: now,
            lost_at: None,
            queue: VecDeque::new(),
            base: 0,
            bytes: 0,
            sent: 0,
            spoke: false,
            refusals: 0,
            refused_at: now,
            counted: 0,
            given_up: false,
            progress_at: now,
            doubted: false,
            their_session: None,
            expected: 0,
            unacked: 0,
            ack_at: None,
            used_at: now,
        }
    }

    pub fn current(&self) -> Option<StreamId> {
        self.stream.as_ref().map(|s| s.id)
    }

    /// From when on nobody misses it: at once where it has neither a stream nor anything to send, after `idle` where only
    /// the stream is left. `None`: something is under way.
    pub fn missed_until(&self, idle: Duration) -> Option<Instant> {
        let quiet =
            self.queue.is_empty() && self.unacked == 0 && self.lost_at.is_none() && self.opening.is_none();
        quiet.then(|| if self.stream.is_some() { self.used_at + idle } else { self.used_at })
    }

    #[cfg(test)]
    pub fn count_queued(&self) -> usize {
        self.bytes
    }

    /// What is queued: as it was counted before, and now.
    pub fn count(&mut self) -> (usize, usize) {
        let before = std::mem::replace(&mut self.counted, self.bytes);
        (before, self.bytes)
    }

    pub fn send(
        &mut self,
        now: Instant,
        body: Vec<u8>,
        initial: bool,
        room: usize,
        out: &mut VecDeque<LinkOutput>,
    ) -> Result<(), NotQueued> {
        let (frames, bytes) = match initial {
            true => (QUEUE_FRAMES, QUEUE_BYTES.min(room)),
            false => (HARD_FRAMES, HARD_BYTES.min(room.max(BODY_MAX))),
        };
        // LINK-10: a caller does not wait where nobody was reached a moment ago.
        let lately = now.saturating_duration_since(self.refused_at) < UNREACHED_FOR;
        if initial && self.stream.is_none() && self.is_unreached() && lately {
            return Err(NotQueued::Unreached);
        }
        if body.len() > BODY_MAX || self.queue.len() >= frames || self.bytes + body.len() > bytes {
            return Err(NotQueued::Full);
        }
        self.used_at = now;
        if self.queue.is_empty() {
            self.progress_at = now;
            self.doubted = false;
        }
        self.bytes += body.len();
        self.queue.push_back(body);
        self.transmit(self.queue.len() - 1, out);
        self.try_open(now, out);
        Ok(())
    }

    /// A stream is open. Gives back the one that must not be used, which is closed (LINK-6).
    pub fn on_opened(
        &mut self,
        now: Instant,
        me: PeerId,
        id: StreamId,
        outbound: bool,
        out: &mut VecDeque<LinkOutput>,
    ) -> Option<StreamId> {
        if outbound {
            self.opening = None;
        }
        self.refusals = 0;
        let mut loser = None;
        if let Some(current) = &self.stream {
            let simultaneous = now.saturating_duration_since(current.since) < SIMULTANEOUS;
            let ours_wins = me < self.peer;
            if simultaneous && current.outbound != outbound && current.outbound == ours_wins {
                out.push_back(Net(NetCommand::StreamClose { stream: id }));
                return Some(id);
            }
            out.push_back(Net(NetCommand::StreamClose { stream: current.id }));
            loser = Some(current.id);
        }
        self.stream = Some(Current { id, outbound, since: now, ready: false });
        let hello = Frame::Hello { session: self.session, oldest: self.base };
        out.push_back(Net(NetCommand::StreamSend { stream: id, frame: hello.encode() }));
        loser
    }

    /// No stream was to be had. Where no answer can be on its way, what waits need not wait any longer.
    pub fn on_refused(&mut self, now: Instant, out: &mut VecDeque<LinkOutput>) {
        let was_asked = self.opening.take().is_some();
        if was_asked && self.stream.is_none() {
            self.refused_at = now;
            self.refusals = self.refusals.saturating_add(1);
            if self.is_unreached() && !self.spoke && !self.queue.is_empty() {
                self.drop_queue(out);
            }
        }
    }

    fn is_unreached(&self) -> bool {
        self.refusals >= 2
    }

    /// The peer is connected.
    pub fn on_connected(&mut self, now: Instant, out: &mut VecDeque<LinkOutput>) {
        self.refusals = 0;
        self.try_open(now, out);
    }

    /// The current stream is gone.
    pub fn on_closed(&mut self, now: Instant, out: &mut VecDeque<LinkOutput>) {
        if self.stream.take().is_some_and(|s| s.ready) {
            self.lost_at.get_or_insert(now);
        }
        self.ack_at = None;
        self.unacked = 0;
        self.try_open(now, out);
    }

    pub fn on_frame(
        &mut self,
        now: Instant,
        frame: Frame<'_>,
        out: &mut VecDeque<LinkOutput>,
    ) -> Result<(), Violation> {
        self.used_at = now;
        let ready = self.stream.as_ref().is_some_and(|s| s.ready);
        match frame {
            Frame::Hello { session, oldest } if !ready => self.on_hello(now, session, oldest, out),
            Frame::Data { seq, ack, body } if ready => {
                self.on_ack(now, ack)?;
                self.on_data(now, seq, body, out)
            }
            Frame::Ack { ack } if ready => self.on_ack(now, ack),
            Frame::Bye if ready => {
                self.given_up = true;
                if let Some(current) = self.stream.take() {
                    out.push_back(Net(NetCommand::StreamClose { stream: current.id }));
                }
                self.ack_at = None;
                self.unacked = 0;
                self.try_open(now, out);
                Ok(())
            }
            _ => Err(Violation),
        }
    }

    fn on_hello(
        &mut self,
        now: Instant,
        session: u64,
        oldest: u64,
        out: &mut VecDeque<LinkOutput>,
    ) -> Result<(), Violation> {
        match self.their_session {
            // LINK-8: the same life; what it dropped will never come, what we have is not taken again.
            Some(known) if known == session => self.expected = self.expected.max(oldest),
            known => {
                self.their_session = Some(session);
                self.expected = oldest;
                // LINK-9: a new life of that peer knows nothing of what the old one was told. It has seen none of our
                // numbers either, so those of the dropped frames are used again. After a Bye it lives on, and what it
                // was never sent is still for it.
                if known.is_some() && !(self.given_up && self.sent == 0) {
                    let base = self.base;
                    self.drop_queue(out);
                    self.base = base;
                }
            }
        }
        self.given_up = false;
        self.lost_at = None;
        if let Some(current) = &mut self.stream {
            current.ready = true;
        }
        self.spoke = true;
        if self.expected > 0 {
            self.send_ack(out);
        }
        self.progress_at = now;
        for index in 0..self.queue.len() {
            self.transmit(index, out);
        }
        Ok(())
    }

    fn on_ack(&mut self, now: Instant, ack: u64) -> Result<(), Violation> {
        if ack > self.base.saturating_add(self.queue.len() as u64) {
            return Err(Violation);
        }
        while self.base < ack {
            let Some(body) = self.queue.pop_front() else { break };
            self.bytes -= body.len();
            self.sent = self.sent.saturating_sub(1);
            self.base += 1;
            self.progress_at = now;
            self.doubted = false;
        }
        Ok(())
    }

    fn on_data(
        &mut self,
        now: Instant,
        seq: u64,
        body: &[u8],
        out: &mut VecDeque<LinkOutput>,
    ) -> Result<(), Violation> {
        // A stream keeps order, so a gap is not a loss but a lie; and so is a number after which there is none.
        let after = self.expected.checked_add(1).ok_or(Violation)?;
        if seq > self.expected {
            return Err(Violation);
        }
        if seq == self.expected {
            self.expected = after;
            out.push_back(LinkOutput::Deliver { peer: self.peer, body: body.to_vec() });
        }
        self.unacked += 1;
        self.ack_at.get_or_insert(now + ACK_DELAY);
        if self.unacked >= ACK_EVERY {
            self.send_ack(out);
        }
        Ok(())
    }

    /// Puts the queued frame `index` on the stream, if there is one that may carry it.
    fn transmit(&mut self, index: usize, out: &mut VecDeque<LinkOutput>) {
        let (Some(stream), Some(body)) = (self.stream.as_ref().filter(|s| s.ready), self.queue.get(index))
        else {
            return;
        };
        let data = Frame::Data { seq: self.base + index as u64, ack: self.expected, body };
        out.push_back(Net(NetCommand::StreamSend { stream: stream.id, frame: data.encode() }));
        self.sent = self.sent.max(index + 1);
        self.unacked = 0;
        self.ack_at = None;
    }

    fn send_ack(&mut self, out: &mut VecDeque<LinkOutput>) {
        if let Some(stream) = self.stream.as_ref().filter(|s| s.ready) {
            let frame = Frame::Ack { ack: self.expected }.encode();
            out.push_back(Net(NetCommand::StreamSend { stream: stream.id, frame }));
        }
        self.unacked = 0;
        self.ack_at = None;
    }

    fn wants_stream(&self) -> bool {
        self.stream.is_none() && (!self.queue.is_empty() || self.lost_at.is_some())
    }

    pub fn try_open(&mut self, now: Instant, out: &mut VecDeque<LinkOutput>) {
        if self.wants_stream() && self.opening.is_none() && self.next_try <= now {
            self.opening = Some(now);
            self.next_try = now + RETRY;
            out.push_back(Net(NetCommand::OpenStream { peer: self.peer }));
        }
    }

    fn drop_queue(&mut self, out: &mut VecDeque<LinkOutput>) {
        self.base += self.queue.len() as u64;
        self.queue.clear();
        self.bytes = 0;
        self.sent = 0;
        self.spoke = false;
        self.lost_at = None;
        out.push_back(LinkOutput::Down { peer: self.peer });
    }

    fn down_at(&self) -> Option<Instant> {
        let queued = (!self.queue.is_empty()).then_some(self.progress_at);
        queued.into_iter().chain(self.lost_at).min().map(|since| since + DOWN_AFTER)
    }

    fn doubt_at(&self) -> Option<Instant> {
        (!self.queue.is_empty() && !self.doubted).then(|| self.progress_at + DOUBT_AFTER)
    }

    pub fn deadline(&self) -> Option<Instant> {
        let retry = self.wants_stream().then(|| match self.opening {
            Some(since) => since + OPEN_PATIENCE,
            None => self.next_try,
        });
        [self.ack_at, self.down_at(), self.doubt_at(), retry].into_iter().flatten().min()
    }

    /// Gives back the stream that was closed because the peer is down.
    pub fn on_timeout(&mut self, now: Instant, out: &mut VecDeque<LinkOutput>) -> Option<StreamId> {
        if self.ack_at.is_some_and(|at| at <= now) {
            self.send_ack(out);
        }
        if self.doubt_at().is_some_and(|at| at <= now) {
            self.doubted = true;
            out.push_back(LinkOutput::Doubt { peer: self.peer, since: self.progress_at });
        }
        let mut closed = None;
        if self.down_at().is_some_and(|at| at <= now) {
            // The next stream's Hello says which frames will never come; so the old stream must end.
            closed = self.close(out);
            self.drop_queue(out);
        }
        if self.opening.is_some_and(|since| since + OPEN_PATIENCE <= now) {
            self.opening = None;
        }
        self.try_open(now, out);
        closed
    }

    /// Gives back the stream that was closed. Nobody waits for what was queued, nor for answers.
    pub fn give_up(&mut self, now: Instant, out: &mut VecDeque<LinkOutput>) -> Option<StreamId> {
        let closed = self.close(out);
        self.opening = None;
        self.next_try = now;
        self.drop_queue(out);
        closed
    }

    pub fn close(&mut self, out: &mut VecDeque<LinkOutput>) -> Option<StreamId> {
        let stream = self.stream.take()?.id;
        self.ack_at = None;
        self.unacked = 0;
        out.push_back(Net(NetCommand::StreamClose { stream }));
        Some(stream)
    }

    pub fn say_bye(&self, out: &mut VecDeque<LinkOutput>) {
        if let Some(stream) = self.stream.as_ref().filter(|s| s.ready) {
            out.push_back(Net(NetCommand::StreamSend { stream: stream.id, frame: Frame::Bye.encode() }));
        }
    }
}
