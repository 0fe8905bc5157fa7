//! The peer, in pure code: the cores composed. `drivers/` runs it on real sockets and disks, `testnet/` in a simulator.
//!
//! ```text
//!  phones ── Input::Sip ──▶ sip::Core ──Challenge/Verify──▶ auth.rs ─▶ home.rs (accounts, nonces)
//!                              ├──────Journal─────────────▶ journal.rs ─▶ segment stream "bindings"
//!                              ├──────Resolve─────────────▶ lookup.rs
//!                              └──────Call────────────────▶ calls.rs
//!  HTTP ─── Input::Api ───▶ views.rs
//! ```
//!
//! Each room has one file; this one only holds the parts and passes messages between them. Nothing here reads a clock,
//! a socket or a disk: the same inputs give the same outputs.

pub mod account;
pub mod api;
mod auth;
mod calls;
mod config;
mod home;
pub mod input;
pub mod journal;
mod lookup;
mod notes;
pub mod output;
mod views;

pub use config::{Config, Recovered};
pub use input::Input;
pub use output::{Output, Stream};

use calls::Calls;
use dots_sip::{core::Core as Sip, input::AskId};
use dots_wire::{Now, PeerId};
use home::Home;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Questions under way (accounts, appends). Each belongs to a SIP transaction or an HTTP request, which are bounded.
const PENDING_MAX: usize = 200_000;
/// How often slow housekeeping runs: calls that never ended.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

pub struct Peer {
    config: Config,
    me: PeerId,
    rng: ChaCha20Rng,
    sip: Sip,
    home: Home,
    calls: Calls,
    aliases: BTreeMap<String, String>,
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
    housekeeping_at: Instant,
    started: Now,
    out: VecDeque<Output>,
}

/// What an answer with this id is for.
enum Pending {
    Auth(auth::Asked),
    Lookup(lookup::Asked),
    Account {
        api: u64,
        what: &'static str,
    },
    /// Appended to a segment; the SIP core waits.
    Journal {
        ask: AskId,
    },
    /// Appended; this HTTP answer waits for it.
    Noted {
        api: u64,
        body: serde_json::Value,
    },
    /// Appended; nobody waits.
    Written,
}

impl Peer {
    /// A peer as it was when its segments were last written. `seed` makes every random choice repeatable.
    pub fn new(config: Config, recovered: Recovered, seed: u64, now: Now) -> Peer {
        config::build(config, recovered, ChaCha20Rng::seed_from_u64(seed), now)
    }

    /// Takes one input. Drain [`Peer::poll_output`] before the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Sip { flow, bytes } => self.feed_sip(now, dots_sip::Input::Message { flow, bytes }),
            Input::FlowClosed { flow } => self.feed_sip(now, dots_sip::Input::FlowClosed { flow }),
            Input::Appended { token } => self.on_appended(now, token),
            Input::Account { id, account } => self.on_account(now, id, account),
            Input::AccountStored { id, existed } => self.on_account_stored(id, existed),
            Input::Api { id, request } => self.on_api(now, id, request),
        }
        self.pump(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The next moment at which [`Peer::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let housekeeping = (!self.calls.is_idle()).then_some(self.housekeeping_at);
        [self.sip.poll_timeout(), housekeeping].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.sip.handle_timeout(sip_now(now));
        if now.mono >= self.housekeeping_at {
            self.housekeeping_at = now.mono + HOUSEKEEPING;
            self.calls.expire(now);
        }
        self.pump(now);
    }

    /// Is nothing under way that a phone or a caller of the API waits for?
    pub fn is_quiet(&self) -> bool {
        self.sip.is_quiet() && self.pending.is_empty()
    }

    fn feed_sip(&mut self, now: Now, input: dots_sip::Input) {
        self.sip.handle(sip_now(now), input);
    }

    /// Carries what the SIP core says to the other rooms until it has nothing left to say.
    fn pump(&mut self, now: Now) {
        use dots_sip::Output as Sip;
        while let Some(output) = self.sip.poll_output() {
            match output {
                Sip::Send { flow, bytes } => self.out.push_back(Output::SipSend { flow, bytes }),
                // No overlay leg yet: `lookup` names no peers, so nothing is ever sent to one.
                Sip::SendPeer { peer, .. } => self.feed_sip(now, dots_sip::Input::OverlayDown { peer }),
                Sip::Challenge { id, realm } => self.on_challenge(now, id, realm),
                Sip::Verify { id, answer } => self.on_verify(now, id, *answer),
                Sip::Journal { id, change } => self.on_journal(id, &change),
                Sip::Resolve { id, aor, .. } => self.on_resolve(now, id, aor),
                Sip::Expired { change } => self.on_expired(&change),
                Sip::Pinged { .. } => {}
                Sip::Call(event) => self.calls.on_event(now, &event),
                Sip::Count(name) => self.out.push_back(Output::Count(name)),
            }
        }
    }

    fn on_journal(&mut self, ask: AskId, change: &dots_sip::registrar::BindingChange) {
        let token = self.ask(Pending::Journal { ask });
        let record = journal::encode_change(change);
        self.out.push_back(Output::Append { token, stream: Stream::Bindings, record, sync: false });
    }

    fn on_expired(&mut self, change: &dots_sip::registrar::BindingChange) {
        let token = self.ask(Pending::Written);
        let record = journal::encode_change(change);
        self.out.push_back(Output::Append { token, stream: Stream::Bindings, record, sync: false });
    }

    fn on_appended(&mut self, now: Now, token: u64) {
        match self.pending.remove(&token) {
            Some(Pending::Journal { ask }) => self.feed_sip(now, dots_sip::Input::Journaled { id: ask }),
            Some(Pending::Noted { api, body }) => self.reply(api, 200, body),
            _ => {}
        }
    }

    fn on_account(&mut self, now: Now, id: u64, account: Option<account::Account>) {
        match self.pending.remove(&id) {
            Some(Pending::Auth(asked)) => self.on_auth_account(now, asked, account.as_ref()),
            Some(Pending::Lookup(asked)) => self.on_lookup_account(now, asked, account.is_some()),
            _ => {}
        }
    }

    /// A question under way; its id goes to the driver and comes back with the answer.
    fn ask(&mut self, what: Pending) -> u64 {
        self.next_id += 1;
        if self.pending.len() < PENDING_MAX {
            self.pending.insert(self.next_id, what);
        }
        self.next_id
    }
}

fn sip_now(now: Now) -> dots_sip::Now {
    dots_sip::Now { mono: now.mono, wall_ms: now.wall.0 }
}
