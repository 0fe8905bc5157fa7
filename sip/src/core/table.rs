//! The transaction tables: a row per transaction, its deadline, and the one way to answer (RFC 3261 §17).

use super::{ClientKey, Core, Hop, Now, ServerKey, Timer};
use crate::{
    message::{Message, ResponseBuilder},
    transaction::{InviteClient, InviteServer, NonInviteClient, NonInviteServer, Server},
};
use std::time::Instant;

pub(super) struct ServerTx {
    pub machine: ServerMachine,
    pub hop: Hop,
    pub request: Message,
    pub last: Option<Vec<u8>>,
    pub to_tag: String,
    /// This request is a call's first INVITE; its state goes to `Output::Call`.
    pub context: Option<u64>,
}

pub(super) enum ServerMachine {
    Invite(InviteServer),
    Other(NonInviteServer),
}

pub(super) struct ClientTx {
    pub machine: ClientMachine,
    pub hop: Hop,
    pub request: Message,
    pub context: u64,
}

pub(super) enum ClientMachine {
    Invite(InviteClient),
    Other(NonInviteClient),
}

impl Core {
    pub(super) fn drop_server(&mut self, key: &ServerKey) {
        self.servers.remove(key);
        self.set_timer(Timer::Server(key.clone()), None);
    }

    pub(super) fn drop_client(&mut self, key: &ClientKey) {
        self.clients.remove(key);
        self.set_timer(Timer::Client(key.clone()), None);
    }

    /// One deadline per timer: setting it replaces the old one.
    pub(super) fn set_timer(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(old) = self.deadlines.remove(&timer) {
            self.timers.remove(&(old, timer.clone()));
        }
        if let Some(at) = at {
            self.deadlines.insert(timer.clone(), at);
            self.timers.insert((at, timer));
        }
    }

    /// Answers a request that we hold a server transaction for.
    pub(super) fn respond(
        &mut self,
        now: Now,
        key: &ServerKey,
        status: u16,
        reason: &str,
        headers: &[(&str, String)],
    ) {
        let Some(tx) = self.servers.get(key) else { return };
        let mut builder = ResponseBuilder::new(&tx.request, status, reason).to_tag(&tx.to_tag);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        let bytes = builder.build();
        self.respond_raw(now, key, status, bytes);
    }

    /// Sends `bytes` as the answer of this transaction.
    pub(super) fn respond_raw(&mut self, now: Now, key: &ServerKey, status: u16, bytes: Vec<u8>) {
        let Some(tx) = self.servers.get_mut(key) else { return };
        match &mut tx.machine {
            ServerMachine::Invite(machine) => {
                if status >= 200 && !machine.is_proceeding() && !(200..300).contains(&status) {
                    return;
                }
                machine.on_send(now.mono, status);
            }
            ServerMachine::Other(machine) => {
                if machine.is_completed() {
                    return;
                }
                machine.on_send(now.mono, status);
            }
        }
        tx.last = Some(bytes.clone());
        let hop = tx.hop.clone();
        self.send(&hop, bytes, None, false);
        self.reschedule_server(key);
    }

    pub(super) fn reschedule_server(&mut self, key: &ServerKey) {
        let deadline = self.servers.get(key).and_then(|tx| match &tx.machine {
            ServerMachine::Invite(m) => m.deadline(),
            ServerMachine::Other(m) => m.deadline(),
        });
        self.set_timer(Timer::Server(key.clone()), deadline);
    }

    pub(super) fn reschedule_client(&mut self, key: &ClientKey) {
        let deadline = self.clients.get(key).and_then(|tx| match &tx.machine {
            ClientMachine::Invite(m) => m.deadline(),
            ClientMachine::Other(m) => m.deadline(),
        });
        self.set_timer(Timer::Client(key.clone()), deadline);
    }

    pub(super) fn on_server_deadline(&mut self, now: Now, key: ServerKey) {
        let Some(tx) = self.servers.get_mut(&key) else { return };
        let verdict = match &mut tx.machine {
            ServerMachine::Invite(m) => m.on_deadline(now.mono),
            ServerMachine::Other(m) => m.on_deadline(now.mono),
        };
        match verdict {
            Server::Done => {
                self.servers.remove(&key);
                return;
            }
            Server::Resend => self.resend(&key),
            Server::Nothing => {}
        }
        self.reschedule_server(&key);
    }

    pub(super) fn resend(&mut self, key: &ServerKey) {
        let Some(tx) = self.servers.get(key) else { return };
        if let Some(bytes) = tx.last.clone() {
            let hop = tx.hop.clone();
            self.send(&hop, bytes, None, false);
        }
    }
}
