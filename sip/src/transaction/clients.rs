//! The client transactions (RFC 3261 §17.1): a row for each request that we have sent, found by its branch, by its time, and by
//! its hop when that breaks. Of a finished one the key and the ACK are left.

use super::{
    Event, Lost, Outgoing, Standing, User,
    client_row::{ClientRow, Due},
    shares::Shares,
    unheard::Sockets,
    weight,
};
use crate::{
    cx::Cx,
    hop::Hop,
    ids::{Branch, ClientKey, Method},
    limits::NAME_BYTES_MAX,
    message::Message,
    output::About,
    timers::Timers,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

pub(super) struct Clients {
    /// In boxes, as the servers' are.
    rows: BTreeMap<ClientKey, Box<ClientRow>>,
    by_hop: BTreeSet<(Hop, ClientKey)>,
    timers: Timers<ClientKey>,
    sockets: Sockets,
}

impl Clients {
    /// What a row takes beyond its messages.
    const ROW_BYTES: usize = weight::block(size_of::<ClientRow>())
        + weight::entry::<(ClientKey, Box<ClientRow>)>()
        + weight::entry::<(Instant, ClientKey)>()
        + weight::entry::<(Hop, ClientKey)>();

    pub fn new() -> Clients {
        Clients {
            rows: BTreeMap::new(),
            by_hop: BTreeSet::new(),
            timers: Timers::new(),
            sockets: Sockets::new(),
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Is every index as empty as the rows?
    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        self.rows.len() == self.by_hop.len() && (!self.rows.is_empty() || self.timers.next().is_none())
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Sends a request in a new transaction. `None`: no room for it.
    pub fn request(
        &mut self,
        cx: &mut Cx<'_>,
        shares: &mut Shares,
        outgoing: Outgoing,
        user: User,
    ) -> Option<ClientKey> {
        let Outgoing { hop, branch, request, grant, about, first_word_within, is_proved } = outgoing;
        let charged = Clients::ROW_BYTES + request.held_bytes();
        if !shares.has_room(&hop.network(), charged, Standing::Known) {
            cx.count("sip_overload");
            return None;
        }
        let method = Method::of(&request);
        let key = ClientKey { branch, is_cancel: method == Method::Cancel };
        if is_proved || self.sockets.may_send(cx.now.mono, &hop, request.raw().len()) {
            cx.send_with(&hop, request.clone(), grant, about);
        } else {
            cx.count("sip_unheard_unsent");
        }
        shares.charge(&hop.network(), charged);
        self.by_hop.insert((hop.clone(), key));
        let row = ClientRow::new(
            cx.now.mono,
            (hop, user, is_proved),
            (request, method),
            first_word_within,
            charged,
        );
        let before = self.rows.insert(key, Box::new(row));
        assert!(before.is_none(), "a branch is used once");
        self.reschedule(key);
        Some(key)
    }

    /// §9.1: an INVITE is cancelled as soon as a provisional response allows it; of any other request only the answer is no
    /// longer waited for.
    pub fn cancel(&mut self, cx: &mut Cx<'_>, shares: &mut Shares, key: ClientKey, reason: Option<&str>) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        let Some(request) = row.cancel(cx.now.mono, reason) else { return };
        let (hop, is_proved) = (row.hop.clone(), row.is_proved);
        self.reschedule(key);
        let (branch, about) = (key.branch, About::Other);
        let outgoing =
            Outgoing { hop, branch, request, grant: None, about, first_word_within: None, is_proved };
        self.request(cx, shares, outgoing, User::Nobody);
    }

    /// A response came from `hop`.
    pub fn on_response(
        &mut self,
        cx: &mut Cx<'_>,
        shares: &mut Shares,
        hop: &Hop,
        response: Message,
    ) -> Option<Event> {
        let method = Method::of(&response);
        let key = key_of(&response, &method);
        let row = key.and_then(|key| self.rows.get_mut(&key));
        let known = row.filter(|row| row.is_answered_by(hop, &method));
        let (Some(key), Some(row)) = (key, known) else {
            // Never relayed: it would make us a reflector.
            cx.count("stray_response");
            return None;
        };
        // A request with this tag would be refused: nobody could hang up.
        if response.to().and_then(|to| to.tag()).is_some_and(|tag| tag.len() > NAME_BYTES_MAX) {
            cx.count("stray_response");
            return None;
        }
        if !row.is_proved {
            self.sockets.heard(&row.hop);
        }
        let status = response.status().unwrap_or_default();
        let is_news = row.on_response(cx, status, &response);
        let user = row.user;
        let cancel = row.take_pending_cancel(status);
        if status >= 200 {
            let charge = Clients::ROW_BYTES + row.finish();
            shares.recharge(&row.hop.network(), &mut row.charged, charge);
        }
        self.reschedule(key);
        if let Some(reason) = cancel {
            self.cancel(cx, shares, key, reason.as_deref());
        }
        (is_news && user != User::Nobody).then_some(Event::Response { user, client: key, response })
    }

    /// The first deadline has come.
    pub fn on_deadline(&mut self, cx: &mut Cx<'_>, shares: &mut Shares) -> Option<Event> {
        let key = self.timers.due(cx.now.mono)?;
        let row = self.rows.get_mut(&key).expect("a timer belongs to a row");
        let user = row.user;
        let event = match row.on_deadline(cx, &mut self.sockets) {
            Due::Nothing => {
                self.reschedule(key);
                return None;
            }
            Due::Lost(why) => Event::Lost { user, client: key, why },
            Due::Done => Event::Ended { user, client: key },
        };
        self.drop(shares, key);
        (user != User::Nobody).then_some(event)
    }

    /// A connection or link broke: what waits for it is lost, one event after the other.
    pub fn hop_down(&mut self, shares: &mut Shares, hop: &Hop) -> Vec<Event> {
        let first = ClientKey { branch: Branch::FIRST, is_cancel: false };
        let on_it = self.by_hop.range((hop.clone(), first)..).take_while(|(on, _)| on == hop);
        let keys: Vec<ClientKey> = on_it.map(|(_, key)| *key).collect();
        keys.into_iter().filter_map(|key| self.broken(shares, key)).collect()
    }

    /// This request could not be queued toward its peer.
    pub fn not_queued(&mut self, shares: &mut Shares, request: &Message) -> Option<Event> {
        let key = key_of(request, &Method::of(request))?;
        self.broken(shares, key)
    }

    fn broken(&mut self, shares: &mut Shares, key: ClientKey) -> Option<Event> {
        let row = self.rows.get(&key)?;
        let (user, is_answered) = (row.user, row.is_answered());
        self.drop(shares, key);
        (user != User::Nobody).then_some(match is_answered {
            true => Event::Ended { user, client: key },
            false => Event::Lost { user, client: key, why: Lost::Broken },
        })
    }

    pub fn drop(&mut self, shares: &mut Shares, key: ClientKey) {
        let Some(mut row) = self.rows.remove(&key) else { return };
        self.timers.set(key, &mut row.deadline, None);
        shares.refund(&row.hop.network(), row.charged);
        self.by_hop.remove(&(row.hop, key));
    }

    fn reschedule(&mut self, key: ClientKey) {
        let Some(row) = self.rows.get_mut(&key) else { return };
        let at = row.next_deadline();
        let at = if row.is_answered() { at.map(|at| self.timers.together(at)) } else { at };
        self.timers.set(key, &mut row.deadline, at);
    }
}

/// The transaction that a message of ours, or an answer to it, names with the branch of its top Via (§17.1.3).
fn key_of(message: &Message, method: &Method) -> Option<ClientKey> {
    let branch = message.via().and_then(|via| via.branch()).and_then(Branch::read)?;
    Some(ClientKey { branch, is_cancel: *method == Method::Cancel })
}
