//! One client transaction: its machine, and what has to be kept to send again, to cancel and to acknowledge.

use super::{Client, GIVE_UP, InviteClient, Lost, NonInviteClient, User, kept::Kept, unheard::Sockets};
use crate::{
    cx::Cx,
    hop::Hop,
    ids::Method,
    message::{Message, RequestBuilder},
};
use std::time::{Duration, Instant};

pub(super) struct ClientRow {
    machine: Machine,
    pub hop: Hop,
    pub user: User,
    /// Until a final response has come.
    request: Option<Message>,
    method: Method,
    /// What a repeated non-2xx final gets (§17.1.1.2).
    ack: Option<Kept>,
    /// A CANCEL waits for a provisional response; with its Reason (RFC 3326).
    pending_cancel: Option<Option<String>>,
    is_quick: bool,
    /// Whoever registered from there has proved that it is his.
    pub is_proved: bool,
    pub charged: usize,
    pub deadline: Option<Instant>,
}

enum Machine {
    Invite(InviteClient),
    Other(NonInviteClient),
}

/// What a deadline brought.
pub(super) enum Due {
    Nothing,
    Lost(Lost),
    Done,
}

impl ClientRow {
    /// A row for `request`, which has been sent to `hop`.
    pub fn new(
        now: Instant,
        (hop, user, is_proved): (Hop, User, bool),
        (request, method): (Message, Method),
        first_word_within: Option<Duration>,
        charged: usize,
    ) -> ClientRow {
        let (reliable, give_up) = (hop.is_reliable(), first_word_within.unwrap_or(GIVE_UP));
        let machine = match method {
            Method::Invite => Machine::Invite(InviteClient::new(now, reliable, give_up)),
            _ => Machine::Other(NonInviteClient::new(now, reliable, give_up)),
        };
        ClientRow {
            machine,
            hop,
            user,
            request: Some(request),
            method,
            ack: None,
            pending_cancel: None,
            is_quick: first_word_within.is_some(),
            is_proved,
            charged,
            deadline: None,
        }
    }

    /// May a response to `method` that came from `hop` be one to this request?
    pub fn is_answered_by(&self, hop: &Hop, method: &Method) -> bool {
        self.method == *method && self.hop.is_answered_by(hop)
    }

    /// Has a final response come?
    pub fn is_answered(&self) -> bool {
        self.request.is_none()
    }

    /// §9.1: an INVITE is cancelled as soon as a provisional response allows it. The CANCEL, if it may go now.
    pub fn cancel(&mut self, now: Instant, reason: Option<&str>) -> Option<Message> {
        let Machine::Invite(machine) = &mut self.machine else { return None };
        if machine.on_cancel(now) {
            let invite =
                self.request.as_ref().expect("an INVITE that can be cancelled has no final answer yet");
            return Some(RequestBuilder::cancel_for(invite, reason));
        }
        if machine.is_calling() && self.pending_cancel.is_none() {
            self.pending_cancel = Some(reason.map(str::to_owned));
        }
        None
    }

    /// The Reason of a CANCEL that has waited for a provisional response like this.
    pub fn take_pending_cancel(&mut self, status: u16) -> Option<Option<String>> {
        if (100..200).contains(&status) { self.pending_cancel.take() } else { None }
    }

    /// A response came: a failure of an INVITE is acknowledged. Is it news to the user?
    pub fn on_response(&mut self, cx: &mut Cx<'_>, status: u16, response: &Message) -> bool {
        let verdict = match &mut self.machine {
            Machine::Invite(machine) => machine.on_response(cx.now.mono, status),
            Machine::Other(machine) => machine.on_response(cx.now.mono, status),
        };
        match (verdict, &self.request) {
            (Client::PassAndAck, Some(invite)) => {
                let ack = RequestBuilder::ack_for(invite, response);
                self.ack = Some(Kept::of(&self.hop, &ack));
                cx.send(&self.hop, ack);
            }
            (Client::Ack, _) => {
                if let Some(ack) = &self.ack {
                    ack.send(cx, &self.hop);
                }
            }
            _ => {}
        }
        matches!(verdict, Client::Pass | Client::PassAndAck)
    }

    /// A final answer has come: the request is needed no more. What is left in bytes.
    pub fn finish(&mut self) -> usize {
        self.request = None;
        self.ack.as_ref().map_or(0, Kept::bytes)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.machine {
            Machine::Invite(machine) => machine.deadline(),
            Machine::Other(machine) => machine.deadline(),
        }
    }

    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, sockets: &mut Sockets) -> Due {
        let (is_silent, verdict) = match &mut self.machine {
            Machine::Invite(machine) => {
                (self.is_quick && machine.is_calling(), machine.on_deadline(cx.now.mono))
            }
            Machine::Other(machine) => (self.is_quick, machine.on_deadline(cx.now.mono)),
        };
        match (verdict, &self.request) {
            (Client::Resend, Some(request)) => {
                match self.is_proved || sockets.may_send(cx.now.mono, &self.hop, request.raw().len()) {
                    true => cx.send(&self.hop, request.clone()),
                    false => cx.count("sip_unheard_unsent"),
                }
            }
            (Client::TimedOut, Some(request)) => {
                if is_silent && self.method == Method::Invite {
                    // Its link keeps order, so a CANCEL can follow the INVITE: should it wake up, nobody rings.
                    cx.send(&self.hop, RequestBuilder::cancel_for(request, None));
                }
                return Due::Lost(if is_silent { Lost::Silent } else { Lost::TimedOut });
            }
            (Client::Done, _) => return Due::Done,
            _ => {}
        }
        Due::Nothing
    }
}
