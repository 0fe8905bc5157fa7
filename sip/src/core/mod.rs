//! The SIP core: a table of contents. Each message, answer and deadline goes to the layer or user whose it is.
//!
//! ```text
//!   users         registrar   proxy   agent (OPTIONS, pings; later presence)
//!                     ▲  │      ▲ │      ▲ │
//!                     │  ▼      │ ▼      │ ▼
//!   layer         transactions: four machines, their tables and timers
//!                     ▲ │
//!   messages      receive: parse, stamp, what is it?
//! ```
//!
//! Questions (is this the password, where is this user, is it written down) leave as outputs with an id and come back
//! as inputs with that id; nothing here waits.

mod receive;

pub use crate::{
    cx::{Config, Serve},
    limits::TIMER_C,
};

use crate::{
    Flow, Input, Now, Output,
    address::Addressing,
    agent,
    cx::{Base, Cx},
    hop::Hop,
    ids::Shard,
    location::Place,
    message::{Message, ParseError, Unreadable},
    output::Sign,
    ping::Pings,
    proxy::Proxy,
    registrar::{Bindings, Registrar},
    shards::Dispatch,
    transaction::{Event, Transactions, User},
};
use std::time::{Duration, Instant};

/// Bindings that end at one look at the clock; more wait for the next, which follows at once.
const EXPIRED_PER_TURN: usize = 256;

pub struct Core {
    base: Base,
    transactions: Transactions,
    registrar: Registrar,
    proxy: Proxy,
    pings: Pings,
    dispatch: Dispatch,
    draining: bool,
    /// What the clocks said at the last `handle`.
    clock: Option<Now>,
}

/// A core during one input: its parts, and what they may use.
struct Parts<'a> {
    cx: Cx<'a>,
    transactions: &'a mut Transactions,
    registrar: &'a mut Registrar,
    proxy: &'a mut Proxy,
    pings: &'a mut Pings,
    draining: bool,
}

impl Core {
    /// `token_key` signs route tokens and survives restarts; `seed` makes every random choice repeatable.
    pub fn new(config: Config, token_key: [u8; 32], seed: u64) -> Core {
        Core::shard(config, token_key, seed, (0, 1))
    }

    /// One of several cores that share the work: its number, and how many there are.
    pub fn shard(config: Config, token_key: [u8; 32], seed: u64, (shard, shards): (Shard, Shard)) -> Core {
        let base = Base::new(config, token_key, seed, shard);
        let dispatch = Dispatch::new(base.secret.clone(), base.border.mask().clone(), shards);
        Core {
            transactions: Transactions::new(),
            registrar: Registrar::new(base.secret.clone()),
            proxy: Proxy::new(),
            pings: Pings::default(),
            dispatch,
            draining: false,
            clock: None,
            base,
        }
    }

    /// Takes one input. Drain [`Core::poll_output`] before the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.clock = Some(now);
        match input {
            Input::Drain => self.draining = true,
            input => self.parts(now).on_input(input),
        }
        self.locate(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.base.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let expiry = self
            .registrar
            .bindings()
            .next_expiry_ms()
            .zip(self.clock)
            .map(|(at, clock)| clock.mono + Duration::from_millis(at.saturating_sub(clock.wall_ms)));
        [self.transactions.poll_timeout(), self.proxy.poll_timeout(), expiry, self.pings.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = Some(now);
        self.parts(now).on_timeout();
        self.locate(now);
    }

    /// Own hosts, realms or aliases changed.
    pub fn set_addressing(&mut self, addressing: Addressing) {
        self.base.config.addressing = addressing;
    }

    pub fn bindings(&self) -> &Bindings {
        self.registrar.bindings()
    }

    /// Is a phone bound on this flow?
    pub fn knows(&self, flow: &Flow) -> bool {
        self.registrar.knows(flow)
    }

    /// Does no phone wait for an answer? What only waits for repetitions of an answer given may be cut.
    pub fn is_idle(&self) -> bool {
        self.proxy.is_idle() && self.registrar.is_quiet()
    }

    /// Is no transaction of a forwarded request left?
    pub fn is_quiet(&self) -> bool {
        self.proxy.is_quiet() && self.registrar.is_quiet()
    }

    /// Where the phones of an AOR are whose bindings this core holds.
    pub fn places(&self, aor: &str, now: Now) -> Vec<Place> {
        self.registrar.places(aor, now.wall_ms)
    }

    /// Which of all cores something belongs to.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    fn parts(&mut self, now: Now) -> Parts<'_> {
        let Core { base, transactions, registrar, proxy, pings, draining, .. } = self;
        let draining = *draining;
        Parts { cx: Cx { now, nonce: None, base }, transactions, registrar, proxy, pings, draining }
    }

    /// Own phones that the proxy asked for: answered here where this shard holds their bindings.
    fn locate(&mut self, now: Now) {
        while let Some((id, aor)) = self.base.wanted.pop_front() {
            if self.dispatch.of_aor(&aor) == self.base.shard {
                let places = self.registrar.places(&aor, now.wall_ms);
                self.parts(now).on_input(Input::Located { id, aor, places });
            } else {
                self.base.out.push_back(Output::Locate { id, aor });
            }
        }
    }
}

impl Parts<'_> {
    fn on_input(&mut self, input: Input) {
        let Parts { cx, transactions: tx, registrar, proxy, pings, .. } = self;
        match input {
            Input::Message { flow, bytes } => self.on_bytes(Hop::Phone(flow), bytes),
            Input::Overlay { from, message, caller, nonce } => {
                cx.nonce = nonce;
                match cx.base.border.inward(&from, message) {
                    Some(message) => self.on_message(Hop::Peer(from), message, caller),
                    None => cx.count("sip_malformed"),
                }
            }
            Input::Unframed { flow, head } => {
                let read = Message::parse_lenient(head).ok();
                self.on_broken(&Hop::Phone(flow), Unreadable { why: ParseError::ContentLength, read });
            }
            Input::FlowClosed { flow } => {
                let cut: Vec<(String, String)> = registrar
                    .bindings()
                    .by_flow(&flow)
                    .map(|bound| (bound.aor.to_owned(), bound.instance.to_owned()))
                    .collect();
                registrar.bindings_mut().flow_closed(&flow);
                for (aor, instance) in cut {
                    cx.out(Output::Unanswered { aor, instance });
                }
                self.on_hop_down(&Hop::Phone(flow));
            }
            Input::OverlayDown { peer } => self.on_hop_down(&Hop::Peer(peer)),
            Input::OverlayRefused { message } => self.on_not_queued(&message),
            Input::Unbind { aor } => registrar.unbind(cx, &aor),
            Input::Gone { aor } => proxy.on_gone(&aor),
            Input::Challenge { id, result } => match registrar.asked(id) {
                true => registrar.on_challenge(cx, tx, id, result),
                false => proxy.on_challenge(cx, tx, id, result),
            },
            Input::Verified { id, result } => match registrar.asked(id) {
                true => registrar.on_verified(cx, tx, id, result),
                false => proxy.on_verified(cx, tx, id, result),
            },
            Input::Journaled { id } => registrar.on_journaled(cx, tx, id),
            Input::Located { id, aor, places } => proxy.on_located(cx, tx, id, &aor, places),
            Input::Resolved { id, resolution } => proxy.on_resolved(cx, tx, id, resolution),
            Input::Restore { binding } => registrar.restore(cx, &binding),
            Input::Drain => unreachable!("the core itself takes it"),
            Input::Ping { id, aor, instance, cause } => {
                agent::on_ping(cx, tx, pings, registrar.bindings(), (id, &aor, &instance), cause);
            }
        }
    }

    fn on_timeout(&mut self) {
        while let Some(event) = self.transactions.next_due(&mut self.cx) {
            self.on_event(event);
        }
        let Parts { cx, transactions, registrar, proxy, pings, .. } = self;
        proxy.handle_timeout(cx, transactions);
        for change in registrar.bindings_mut().expire(cx.now.wall_ms, EXPIRED_PER_TURN) {
            cx.out(Output::Expired { change });
        }
        for id in pings.expire(cx.now.mono) {
            cx.out(Output::Pinged { id, sign: Sign::Silence });
        }
    }

    /// News of a client transaction goes to its user.
    fn on_event(&mut self, event: Event) {
        let Parts { cx, transactions, registrar, proxy, pings, .. } = self;
        match event.user() {
            User::Listening(id) => registrar.on_probed(id, matches!(event, Event::Response { .. })),
            User::Proxy(id) => proxy.on_event(cx, transactions, id, event),
            User::Ping(id) if matches!(event, Event::Response { .. }) => agent::on_answer(cx, pings, id),
            // Of a ping that is lost time tells; nobody else asks anybody anything.
            User::Ping(_) | User::Registrar(_) | User::Nobody => {}
        }
    }

    fn on_hop_down(&mut self, hop: &Hop) {
        for event in self.transactions.hop_down(hop) {
            self.on_event(event);
        }
    }
}
