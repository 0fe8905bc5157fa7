//! Challenges, answers and grants: what crosses between the SIP core, `/dots/auth/2` and the rooms of `dots-trust`.
//!
//! ```text
//!   phone ─ REGISTER ─▶ nonce from a lease of its home (ours: made here) … answer
//!              given to that very address? ─▶ home of its realm? yes ─▶ judge, account store
//!                                                                no ──▶ /dots/auth/2 ─▶ grant
//! ```
//!
//! A password never leaves its phone, and its digest never leaves the home: a serving peer returns the phone's answer to
//! the home whose lease it names, and gets a grant that is worth nothing to anybody else. Nothing is decided here.
//!
//! [`challenges`] gives phones their nonces, [`serving`] is the peer that the answer came to, [`home`] the one that judges it; what a
//! refused password leaves in the log is said in [`line`], and who called whom a moment ago in [`asked_for`].

pub(crate) mod asked_for;
mod challenges;
mod home;
mod line;
mod serving;

pub(super) use asked_for::AskedFor;
pub(super) use home::{operator_grant, spoken_grant};

use super::{
    Config, account::Account, asks::AuthQuestion, messages::AuthReply, neighbours::Neighbours,
    outside::Outside,
};
use dots_overlay::{
    core::OverlayCore,
    grant::GrantBatcher,
    liveness::Detector,
    names::Realms,
    transport::{InboundId, RequestError},
};
use dots_sip::{auth::AuthFailure, ids::AskId};
use dots_trust::{
    guest::Guest,
    judge::{Judge, StoreDown},
    lease::{Lease, Lessor, Stamp},
    roaming::Roaming,
    visitors::Visitors,
};
use dots_wire::{Checked, Now, PeerId, decode, encode};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use serde_bytes::ByteBuf;
use std::time::Instant;

/// What this peer keeps of challenges and grants.
pub(super) struct Auth {
    pub judge: Judge,
    pub guest: Guest<AskId>,
    pub roaming: Roaming,
    /// Phones of other realms, and what their homes said of their answers.
    pub visitors: Visitors,
    pub asked_for: AskedFor,
    /// Grants for other peers, each with the request that waits for it.
    granting: GrantBatcher<InboundId>,
}

impl Auth {
    pub fn new(config: &Config, rng: &mut ChaCha20Rng) -> Auth {
        Auth {
            judge: Judge::new(Lessor::new(&config.key, rng.random())),
            guest: Guest::new(Stamp::new(&config.key, rng.random())),
            roaming: Roaming::default(),
            visitors: Visitors::default(),
            asked_for: AskedFor::default(),
            granting: GrantBatcher::default(),
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.granting.poll_timeout().into_iter().chain(self.guest.poll_timeout()).min()
    }
}

/// One step of an authentication, with what it may look at.
pub(super) struct Authenticator<'a> {
    pub now: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub auth: &'a mut Auth,
    pub outside: &'a mut Outside,
    pub neighbours: &'a Neighbours,
    pub realms: &'a Realms,
    pub overlay: &'a OverlayCore,
    pub liveness: &'a Detector,
    pub checked: &'a mut Checked,
}

impl Authenticator<'_> {
    /// The account store has answered, or cannot be read.
    pub fn on_account(&mut self, asked: AuthQuestion, account: Result<Option<&Account>, StoreDown>) {
        match asked {
            AuthQuestion::Own { ask, admitted, phone } => self.judge_own(ask, &admitted, phone, account),
            AuthQuestion::Foreign { inbound, admitted } => self.judge_foreign(inbound, &admitted, account),
            AuthQuestion::Lease { .. } | AuthQuestion::Home { .. } => {
                debug_assert!(false, "an account answers no question to a home");
            }
        }
    }

    /// A home answered us (or did not).
    pub fn on_reply(&mut self, asked: AuthQuestion, result: Result<Vec<u8>, RequestError>) {
        let reply = result.ok().and_then(|body| decode::<AuthReply>(&body).ok());
        match asked {
            AuthQuestion::Lease { realm, home, .. } => {
                let lease = match reply {
                    Some(AuthReply::Lease { lease }) => Lease::read(&lease).filter(Lease::is_known),
                    _ => None,
                };
                self.leased(&realm, home, lease);
            }
            AuthQuestion::Home { ask, answer, permit, phone, .. } => {
                self.on_home_reply(ask, &answer, &permit, phone, reply);
            }
            AuthQuestion::Own { .. } | AuthQuestion::Foreign { .. } => {
                debug_assert!(false, "a home answers no question to our store");
            }
        }
    }

    /// There is no room for this question: the phone gets 503, a serving peer "unavailable".
    pub fn on_refused(&mut self, asked: AuthQuestion) {
        match asked {
            AuthQuestion::Own { ask, admitted, .. } => {
                self.auth.judge.not_judged(self.now, &admitted);
                self.verified(ask, Err(AuthFailure::Unavailable));
            }
            AuthQuestion::Home { ask, .. } => self.verified(ask, Err(AuthFailure::Unavailable)),
            AuthQuestion::Foreign { inbound, admitted } => {
                self.auth.judge.not_judged(self.now, &admitted);
                self.outside.respond(inbound, &AuthReply::Unavailable);
            }
            AuthQuestion::Lease { realm, home, .. } => self.leased(&realm, home, None),
        }
    }

    /// Grants that are due are signed, and who has waited long enough is told.
    pub fn on_timeout(&mut self) {
        if self.auth.granting.poll_timeout().is_some_and(|due| due <= self.now.mono) {
            self.outside.count("grant_signatures_made");
        }
        for (inbound, proof) in self.auth.granting.sign_due(self.now.mono, &self.config.key) {
            self.outside.respond(inbound, &AuthReply::Granted { grant: ByteBuf::from(encode(&proof)) });
        }
        while let Some(id) = self.auth.guest.poll_expired(self.now.mono) {
            self.challenged(id, Err(AuthFailure::Unavailable));
        }
    }
}
