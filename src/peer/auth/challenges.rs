//! Nonces for phones: from a lease of their home, asked for before the last one runs out (AUTH-1).

use super::Authenticator;
use crate::peer::{
    asks::{AuthQuestion, Pending},
    messages::{AuthRequest, VERSION},
};
use dots_overlay::{liveness::MemberState, transport::Protocol};
use dots_sip::{
    auth::{AuthFailure, Challenge},
    ids::AskId,
};
use dots_trust::{guest::Offer, homes::Homes, lease::Lease};
use dots_wire::{PeerId, encode};
use rand::Rng;
use std::net::IpAddr;

impl Authenticator<'_> {
    /// The phone at this address needs a challenge of a realm that has a home.
    pub fn on_challenge(&mut self, id: AskId, realm: String, phone: IpAddr) {
        if self.auth.guest.wants_lease(self.now.mono, &realm, phone) {
            self.ask_lease(&realm, phone);
        }
        match self.auth.guest.challenge(self.now.mono, &realm, phone, id) {
            Offer::Nonce(nonce) => self.challenged(id, Ok(Challenge { realm, nonce })),
            // LIVE-10: nobody waits for one that is known not to answer.
            Offer::Waits => {
                let gone = self.home_of(&realm).filter(|home| self.is_gone(*home));
                if let Some(home) = gone {
                    self.leased(&realm, home, None);
                }
            }
            Offer::Refused => {
                self.outside.count("challenges_refused");
                self.challenged(id, Err(AuthFailure::Unavailable));
            }
        }
    }

    pub fn challenged(&mut self, id: AskId, result: Result<Challenge, AuthFailure>) {
        self.outside.sip(dots_sip::Input::Challenge { id, result });
    }

    /// The home to ask for this realm.
    pub fn home_of(&self, realm: &str) -> Option<PeerId> {
        let is_connected = |home| self.neighbours.contains(home) && !self.is_silent(home);
        Homes::of(self.realms, realm, self.me, self.now.wall, is_connected).to_ask().first().copied()
    }

    fn is_gone(&self, home: PeerId) -> bool {
        self.liveness.state(home).is_some_and(MemberState::is_gone)
    }

    /// It does not answer just now.
    fn is_silent(&self, home: PeerId) -> bool {
        self.liveness.state(home) == Some(MemberState::Suspect)
    }

    pub(super) fn ask_lease(&mut self, realm: &str, phone: IpAddr) {
        if self.config.is_home(realm) {
            let lease = self.auth.judge.lease(self.me, self.now.wall, self.outside.rng.random());
            return self.leased(realm, self.me, Some(lease));
        }
        let Some(home) = self.home_of(realm) else { return self.leased(realm, self.me, None) };
        if self.is_gone(home) {
            return self.leased(realm, home, None);
        }
        let body = encode(&AuthRequest::Lease { version: VERSION, realm: realm.to_owned() });
        let asked = Pending::Auth(AuthQuestion::Lease { realm: realm.to_owned(), home, phone });
        self.outside.request(asked, home, Protocol::Auth, body);
    }

    pub(super) fn leased(&mut self, realm: &str, home: PeerId, lease: Option<Lease>) {
        for (id, nonce) in self.auth.guest.leased(self.now.mono, realm, home, lease) {
            let challenge = nonce.map(|nonce| Challenge { realm: realm.to_owned(), nonce });
            self.challenged(id, challenge.ok_or(AuthFailure::Unavailable));
        }
    }
}
