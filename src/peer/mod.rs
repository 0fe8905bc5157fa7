//! The peer, in pure code: the cores composed. `drivers/` runs it on real sockets and disks, `testnet/` in a simulator.
//!
//! ```text
//!  phones ── Input::Sip ──▶ sip::Core ──Challenge/Verify──▶ auth ─────▶ dots-trust ─▶ /dots/auth/2
//!                              │  ├──────Journal────────▶ bindings.rs ─▶ journal.rs, the signed log
//!                              │  ├──────Resolve────────▶ lookup.rs ──▶ directory, /dots/lookup/2, DHT
//!                              │  ├──────Call───────────▶ calls.rs ───▶ receipts.rs ─▶ /dots/receipt/1
//!                              │  └──────SendPeer───────▶ leg.rs (envelopes, grants) ─▶ links ─▶ /dots/sip/3
//!  peers ─── Input::Net ───▶ routes.rs ─▶ the core or room whose it is
//!  HTTP ──── Input::Api ───▶ views.rs
//! ```
//!
//! Each room has one file; this one only holds the parts and passes messages between them. Nothing here reads a clock,
//! a socket or a disk: the same inputs give the same outputs.

pub use dots_trust::account;
mod accounts;
pub(crate) mod aliases;
pub mod api;
pub(crate) mod asks;
pub(crate) mod auth;
mod bindings;
pub(crate) mod calls;
mod clock;
mod config;
#[cfg(test)]
pub(crate) mod golden;
pub mod input;
pub mod journal;
mod leg;
mod liveness;
mod lookup;
pub mod messages;
pub(crate) mod met;
pub(crate) mod names;
pub(crate) mod neighbours;
pub mod notes;
pub mod output;
mod outside;
mod patience;
mod pings;
mod questions;
pub(crate) mod rate;
mod receipts;
mod routes;
mod sdp;
mod sender;
mod start;
#[cfg(feature = "node")]
pub(crate) mod tables;
mod views;

pub use config::{Config, Recovered};
pub use input::Input;
pub use output::{Output, Stream};
pub use sender::Sender;

use accounts::Accounts;
use aliases::Aliases;
use asks::Pending;
use auth::{Auth, Authenticator};
use bindings::{LogAccess, Published};
use calls::Calls;
use dots_ledger::core::ReceiptCore;
use dots_overlay::{
    core::OverlayCore, grant::Shown, link::Links, liveness::Detector, names::Realms, transport::RequestError,
};
use dots_sip::{
    Flow,
    address::realm_of,
    auth::{AuthFailure, Purpose},
    core::Core as Sip,
};
use dots_wire::{Checked, Now, PeerId, bounded::network_of};
use leg::Legs;
use lookup::Finder;
use met::Met;
use names::{Asking, Namer, Searcher, Verdict};
use neighbours::Neighbours;
use outside::Outside;
use questions::Overdue;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rate::Buckets;
use receipts::Recorder;
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};
use views::Views;

/// How often slow housekeeping runs: calls that never ended, words in the log that run out, own records.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

pub struct Peer {
    config: Config,
    me: PeerId,
    outside: Outside,
    sip: Sip,
    links: Links,
    liveness: Detector,
    overlay: OverlayCore,
    receipts: ReceiptCore,
    realms: Realms,
    /// Signatures of grants that were checked before.
    checked: Checked,
    /// Signed call grants that peers have shown to us.
    shown: Shown,
    /// Challenges, answers, grants.
    auth: Auth,
    asking: Asking,
    met: Met,
    calls: Calls,
    published: Published,
    aliases: Aliases,
    neighbours: Neighbours,
    /// What a stranger may cost us: requests outside dialogs, nonces and answers, questions.
    rates: Buckets,
    housekeeping_at: Instant,
    started: Now,
}

impl Peer {
    /// A peer as it was when its segments were last written. `seed` makes every random choice repeatable.
    pub fn new(config: Config, recovered: Recovered, seed: u64, now: Now) -> Peer {
        start::build(config, recovered, ChaCha20Rng::seed_from_u64(seed), now)
    }

    /// Takes one input. Drain [`Peer::poll_output`] before the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Sip { flow, bytes } => self.outside.sip(dots_sip::Input::Message { flow, bytes }),
            Input::SipUnframed { flow, head } => {
                self.outside.sip(dots_sip::Input::Unframed { flow, head });
            }
            Input::FlowClosed { flow } => self.outside.sip(dots_sip::Input::FlowClosed { flow }),
            Input::Net(event) => self.on_net(now, event),
            Input::Appended { token } => self.on_appended(now, token),
            Input::Account { id, account } => self.on_account(now, id, account),
            Input::AccountStored { id, existed } => self.accounts(now).on_stored(id, existed),
            Input::AccountFailed { id } => self.accounts(now).on_failed(id),
            Input::OwnHosts { hosts } => {
                self.config.own_hosts = hosts;
                self.readdress();
            }
            Input::Drain => {
                self.liveness.leave(now);
                self.outside.sip(dots_sip::Input::Drain);
            }
            Input::Txt { id, records } => self.namer(now).on_txt(id, &records),
            Input::Api { id, request } => self.on_api(now, id, request),
        }
        self.pump(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outside.poll_output()
    }

    /// The next moment at which [`Peer::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.sip.poll_timeout(),
            self.links.poll_timeout(),
            self.liveness.poll_timeout(),
            self.overlay.poll_timeout(),
            self.receipts.poll_timeout(),
            self.auth.poll_timeout(),
            self.asking.searches.poll_timeout(),
            self.outside.asks.poll_timeout(),
            Some(self.housekeeping_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.sip.handle_timeout(sip_now(now));
        self.links.handle_timeout(now);
        self.liveness.handle_timeout(now);
        self.overlay.handle_timeout(now);
        self.receipts.handle_timeout(now);
        self.authenticator(now).on_timeout();
        self.namer(now).on_timeout();
        while let Some(overdue) = self.next_overdue(now) {
            let late = Err(RequestError::Timeout);
            match overdue {
                Overdue::Lookup(asked) => self.finder(now).on_lookup_reply(asked, late),
                Overdue::Auth(asked) => self.authenticator(now).on_reply(asked, late),
                Overdue::Dht(id) => self.finder(now).on_dht_done(id),
            }
        }
        if now.mono >= self.housekeeping_at {
            self.housekeeping_at = now.mono + HOUSEKEEPING;
            self.recorder(now).expire_calls();
            let (published, mut log, _) = self.publishing(now);
            published.renew(&mut log);
            self.namer(now).refresh_names();
            self.namer(now).look_after_searches();
            self.neighbours.watch_clock(now);
            self.published.compact_journal(&mut self.outside, self.sip.bindings());
            self.rates.sweep(now.mono);
            self.auth.judge.sweep(now);
            self.auth.visitors.sweep(now.mono);
        }
        self.pump(now);
    }

    /// The sender of a datagram that nobody has read yet.
    pub fn sender(&self, flow: &Flow, bytes: &[u8]) -> Sender {
        Sender::of(&self.sip, &self.auth.guest, flow, bytes)
    }

    /// Is nothing under way that a phone or a caller of the API waits for?
    pub fn is_quiet(&self) -> bool {
        self.sip.is_idle() && self.outside.asks.is_quiet()
    }

    /// Carries what the cores say to each other until none has anything left to say.
    fn pump(&mut self, now: Now) {
        self.carry(now);
        for _ in 0..self.checked.take_count() {
            self.outside.count("grant_signatures_checked");
        }
    }

    fn carry(&mut self, now: Now) {
        loop {
            if let Some(output) = self.sip.poll_output() {
                self.on_sip_output(now, output);
            } else if let Some(input) = self.outside.poll_sip() {
                self.sip.handle(sip_now(now), input);
            } else if let Some(output) = self.links.poll_output() {
                self.on_link_output(now, output);
            } else if let Some(output) = self.liveness.poll_output() {
                self.on_liveness_output(now, output);
            } else if let Some(output) = self.overlay.poll_output() {
                self.on_overlay_output(now, output);
            } else if let Some(output) = self.receipts.poll_output() {
                self.on_receipt_output(now, output);
            } else if let Some((id, aor)) = self.asking.searches.poll_ready() {
                self.finder(now).on_resolve(id, aor);
            } else if let Some(refused) = self.outside.asks.take_refused() {
                self.on_refused(now, refused);
            } else {
                return;
            }
        }
    }

    fn on_sip_output(&mut self, now: Now, output: dots_sip::Output) {
        use dots_sip::Output as Sip;
        match output {
            Sip::Send { flow, bytes } => self.outside.put(Output::SipSend { flow, bytes }),
            Sip::SendPeer { peer, message, grant, about } => {
                self.legs(now).send(&peer, message, grant, &about)
            }
            Sip::Challenge { id, realm, source } => self.on_challenge(now, id, realm, source),
            Sip::Verify { id, answer, source } => self.on_verify(now, id, *answer, source),
            Sip::Journal { id, change } => {
                let (published, mut log, outside) = self.publishing(now);
                published.on_journal(&mut log, outside, id, &change);
            }
            Sip::Locate { .. } => unreachable!("a core alone holds all bindings"),
            Sip::Resolve { id, aor, is_again: true } => self.finder(now).on_resolve_again(id, aor),
            Sip::Resolve { id, aor, is_again: false } => {
                // A phone that is registered here rings without anybody being asked.
                let is_here = !self.sip.bindings().reachable(&aor, now.wall.0).is_empty();
                let caller =
                    self.auth.asked_for.caller(now, &aor).map(|(aor, network)| (aor.to_owned(), network));
                if is_here || !self.namer(now).wait_for_realm_of(id, &aor, caller) {
                    self.finder(now).on_resolve(id, aor);
                }
            }
            Sip::Expired { change } => {
                let (published, mut log, outside) = self.publishing(now);
                published.on_expired(&mut log, outside, &change);
            }
            Sip::Proved { flow } => self.outside.put(Output::SipProved { flow }),
            Sip::Pinged { id, sign } => self.on_pinged(now, id, sign),
            Sip::Unanswered { aor, instance } => self.on_unanswered(now, &aor, &instance),
            Sip::Call(event) => self.recorder(now).on_call(&event),
            Sip::Count(name) => self.outside.count(name),
        }
    }

    /// Own hosts or aliases have changed.
    fn readdress(&mut self) {
        self.sip.set_addressing(self.config.addressing(self.aliases.all()));
    }

    /// The room of realm records, with what it may look at and change.
    fn namer(&mut self, now: Now) -> Namer<'_> {
        Namer {
            now,
            me: self.me,
            config: &self.config,
            asking: &mut self.asking,
            realms: &mut self.realms,
            outside: &mut self.outside,
            neighbours: &mut self.neighbours,
            overlay: &mut self.overlay,
            rates: &mut self.rates,
            met: &self.met,
        }
    }

    /// The room of messages between peers.
    fn legs(&mut self, now: Now) -> Legs<'_> {
        Legs {
            now,
            me: self.me,
            config: &self.config,
            outside: &mut self.outside,
            neighbours: &mut self.neighbours,
            links: &mut self.links,
            overlay: &mut self.overlay,
            realms: &mut self.realms,
            asking: &mut self.asking,
            rates: &mut self.rates,
            calls: &mut self.calls,
            met: &self.met,
            checked: &mut self.checked,
            shown: &mut self.shown,
        }
    }

    /// The room that counts calls and brings them to receipts.
    fn recorder(&mut self, now: Now) -> Recorder<'_> {
        Recorder {
            now,
            me: self.me,
            config: &self.config,
            calls: &mut self.calls,
            receipts: &mut self.receipts,
            neighbours: &self.neighbours,
            realms: &self.realms,
            met: &mut self.met,
            outside: &mut self.outside,
        }
    }

    /// The room of changed accounts.
    fn accounts(&mut self, now: Now) -> Accounts<'_> {
        Accounts {
            now,
            config: &self.config,
            realms: &self.realms,
            overlay: &mut self.overlay,
            roaming: &mut self.auth.roaming,
            aliases: self.aliases.all(),
            outside: &mut self.outside,
        }
    }

    /// What the API may see.
    fn views(&self, now: Now) -> Views<'_> {
        Views {
            now,
            started: self.started,
            me: self.me,
            config: &self.config,
            phones: self.sip.bindings(),
            overlay: &self.overlay,
            realms: &self.realms,
            neighbours: &self.neighbours,
            calls: &self.calls,
            receipts: &self.receipts,
        }
    }

    /// The room that searches, with what it may look at.
    fn finder(&mut self, now: Now) -> Finder<'_> {
        Finder {
            now,
            started: self.started,
            me: self.me,
            config: &self.config,
            outside: &mut self.outside,
            neighbours: &mut self.neighbours,
            realms: &self.realms,
            overlay: &self.overlay,
            liveness: &self.liveness,
            roaming: &self.auth.roaming,
            asked_for: &self.auth.asked_for,
            met: &self.met,
            phones: self.sip.bindings(),
            checked: &mut self.checked,
        }
    }

    /// A phone is to be challenged in the name of this realm.
    fn on_challenge(&mut self, now: Now, id: dots_sip::ids::AskId, realm: String, phone: IpAddr) {
        let known = self.config.is_home(&realm) || self.authenticator(now).home_of(&realm).is_some();
        if known {
            return self.authenticator(now).on_challenge(id, realm, phone);
        }
        // A realm whose record has run out, or that only others have heard of, is not unknown: ask them.
        let failure = match self.namer(now).ask_for_realm(&realm, Searcher::Phone(network_of(phone))) {
            Verdict::UnderWay | Verdict::NotNow => AuthFailure::Unavailable,
            Verdict::NobodyKnows => AuthFailure::UnknownRealm,
        };
        self.authenticator(now).challenged(id, Err(failure));
    }

    /// A phone answered. Where our clock is wrong nobody else can take what its home would grant for us, so whoever is not here
    /// yet is better off elsewhere (TIME-1); phones of our own realms know no other place.
    fn on_verify(
        &mut self,
        now: Now,
        id: dots_sip::ids::AskId,
        answer: dots_sip::auth::Answer,
        phone: IpAddr,
    ) {
        let is_here = || self.sip.bindings().of(&answer.aor).next().is_some();
        let is_register = matches!(answer.purpose, Purpose::Register { .. });
        let is_own = self.config.is_home(realm_of(&answer.aor));
        if is_register && !is_own && self.neighbours.is_clock_off(now) && !is_here() {
            self.outside.count("clock_off_refused");
            let result = Err(AuthFailure::Unavailable);
            return self.outside.sip(dots_sip::Input::Verified { id, result });
        }
        self.authenticator(now).on_verify(id, answer, phone);
    }

    /// The room of challenges, answers and grants, with what it may look at.
    fn authenticator(&mut self, now: Now) -> Authenticator<'_> {
        Authenticator {
            now,
            me: self.me,
            config: &self.config,
            auth: &mut self.auth,
            outside: &mut self.outside,
            neighbours: &self.neighbours,
            realms: &self.realms,
            overlay: &self.overlay,
            liveness: &self.liveness,
            checked: &mut self.checked,
        }
    }

    /// The room that tells the journal and the log of our phones.
    fn publishing(&mut self, now: Now) -> (&mut Published, LogAccess<'_>, &mut Outside) {
        let phones = self.sip.bindings();
        let log = LogAccess { now, overlay: &mut self.overlay, realms: &self.realms, phones };
        (&mut self.published, log, &mut self.outside)
    }
}

fn sip_now(now: Now) -> dots_sip::Now {
    dots_sip::Now { mono: now.mono, wall_ms: now.wall.0 }
}
