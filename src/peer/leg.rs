//! The overlay leg: SIP between serving peers in envelopes, checked before the SIP core sees a byte.
//!
//! A request outside a dialog counts only with a grant: a home's word, for this method, this target and the peer that sent it
//! (design: what crosses the overlay). The From in it is then the caller's, and no peer can put another's name there. A home
//! that serves the caller itself signs nothing: the connection proves who speaks, and one check for each call would cost more
//! than all else on this leg.

use super::{
    Config,
    auth::spoken_grant,
    calls::Calls,
    messages::{ENVELOPE, Envelope, With},
    met::{self, Met},
    names::{Asking, Namer},
    neighbours::Neighbours,
    outside::Outside,
    rate::{Buckets, Kind},
};
use dots_overlay::{
    core::OverlayCore,
    grant::{self, Shown},
    link::Links,
    names::Realms,
};
use dots_sip::{
    address::Addressing,
    address::realm_of,
    hop::PeerLabel,
    ids::Method,
    input::Vouched,
    message::{Message, ResponseBuilder},
    output::About,
};
use dots_wire::{Checked, Now, PeerId, decode, sha256};
use std::sync::Arc;

/// Why a request from a peer is not believed; each is a counter and a final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NoGrant,
    NoRealm,
    Grant,
    From,
    Via,
    Policy,
    /// A second part of the grant: nobody may give one yet.
    OnBehalf,
    /// A call grant that was shown before.
    Shown,
    TooMany,
}

impl Refused {
    fn counter(self) -> &'static str {
        match self {
            Refused::NoGrant => "leg_refused_no_grant",
            Refused::NoRealm => "leg_refused_no_realm",
            Refused::Grant => "leg_refused_grant",
            Refused::From => "leg_refused_from",
            Refused::Via => "leg_refused_via",
            Refused::Policy => "leg_refused_policy",
            Refused::OnBehalf => "leg_refused_on_behalf",
            Refused::Shown => "leg_refused_shown",
            Refused::TooMany => "leg_refused_rate",
        }
    }
}

/// The room of legs: one message to or from a peer, with what it may look at and change.
pub(super) struct Legs<'a> {
    pub now: Now,
    pub me: PeerId,
    pub config: &'a Config,
    pub outside: &'a mut Outside,
    pub neighbours: &'a mut Neighbours,
    pub links: &'a mut Links,
    pub overlay: &'a mut OverlayCore,
    pub realms: &'a mut Realms,
    pub asking: &'a mut Asking,
    pub rates: &'a mut Buckets,
    pub calls: &'a mut Calls,
    pub met: &'a Met,
    /// Signatures of grants that were checked before.
    pub checked: &'a mut Checked,
    /// Signed call grants that peers have shown to us.
    pub shown: &'a mut Shown,
}

impl Legs<'_> {
    /// The SIP core sends this message to the peer behind `label`; what they are `about` says what goes with them.
    pub fn send(&mut self, label: &PeerLabel, message: Message, grant: Option<Arc<[u8]>>, about: &About) {
        let Some(peer) = self.neighbours.of_label(label) else {
            return self.outside.sip(dots_sip::Input::OverlayDown { peer: label.clone() });
        };
        let mut with = With::default();
        match about {
            About::Initial { attempt, method, caller, target } => {
                // LEG-3: our nonce; the callee's comes with the 2xx.
                if *method == Method::Invite {
                    let fresh = self.outside.random_hash();
                    with.nonce = self.calls.nonce(*attempt, fresh);
                }
                with.grant = grant
                    .filter(|g| !g.is_empty())
                    .or_else(|| self.own_word(caller, method.as_str(), target));
                if let Some(grant) = &with.grant {
                    self.calls.set_grant(*attempt, label, grant);
                }
                with.realm = self.realms.signed(realm_of(caller), self.now.wall);
            }
            About::Answer(name) => with.nonce = self.calls.answer_nonce(name),
            About::Other => {}
        }
        let is_initial = matches!(about, About::Initial { .. });
        if let Err(why) = self.links.send(self.now, peer, with.envelope(message.raw()), is_initial) {
            self.outside.count(why.counter());
            self.outside.sip(dots_sip::Input::OverlayRefused { message });
        }
    }

    /// What we say of a phone of a realm that we are home of.
    fn own_word(&mut self, caller: &str, method: &str, target: &str) -> Option<Arc<[u8]>> {
        let fresh = self.outside.random_hash();
        spoken_grant(self.config, self.realms, self.now, (caller, method, target), fresh).map(Arc::from)
    }

    /// One frame from the peer `from`, in order and once (LEG-2).
    pub fn on_frame(&mut self, from: PeerId, body: &[u8]) {
        if !self.rates.take(self.now.mono, from, Kind::Leg) {
            return self.outside.count("peer_throttled");
        }
        let Ok(mut envelope) = decode::<Envelope>(body) else {
            return self.outside.count("bad_peer_message");
        };
        if envelope.version != ENVELOPE {
            return self.outside.count("bad_peer_message");
        }
        let Ok(message) = Message::parse(std::mem::take(&mut envelope.sip)) else {
            return self.outside.count("bad_peer_message");
        };
        let label = self.neighbours.label(from);
        let outside_dialog = message.is_request() && to_tag(&message).is_none() && !hop_by_hop(&message);
        let caller = match outside_dialog.then(|| self.check_request(from, &message, &envelope)) {
            None => None,
            Some(Ok(caller)) => Some(caller),
            Some(Err(why)) => return self.refuse(from, &message, why),
        };
        let nonce = envelope.nonce.map(|nonce| nonce.0);
        self.outside.sip(dots_sip::Input::Overlay { from: label, message, caller, nonce });
    }

    /// LEG-2: the caller's AOR, if a home of its realm vouched for this very request through this very peer.
    fn check_request(
        &mut self,
        from: PeerId,
        message: &Message,
        envelope: &Envelope,
    ) -> Result<Vouched, Refused> {
        let now = self.now;
        if !self.rates.take(now.mono, from, Kind::Initial) {
            return Err(Refused::TooMany);
        }
        if message.via().is_none_or(|via| via.host() != from.host()) {
            return Err(Refused::Via);
        }
        let caller = from_aor(message).ok_or(Refused::From)?;
        let realm = realm_of(&caller);
        if let Some(record) = &envelope.realm
            && self.realms.signed(realm, now.wall) != Some(record)
        {
            self.namer().hear_of_caller(from, realm, record);
        }
        let bytes = envelope.grant.as_ref().ok_or(Refused::NoGrant)?;
        let record = self.realms.lookup(realm, now.wall).ok_or(Refused::NoRealm)?;
        let overlay = &self.overlay;
        let revoked = |aor, home| overlay.directory().revoked_before(aor, home);
        let heard = grant::hear(self.checked, bytes, from, record, now.wall, revoked).map_err(|why| {
            tracing::debug!(%from, %why, "a grant was not believed");
            Refused::Grant
        })?;
        if !envelope.on_behalf.is_empty() {
            return Err(Refused::OnBehalf);
        }
        let grant = heard.grant();
        let target = target_aor(message).ok_or(Refused::Grant)?;
        let aor_id = record.aor_id(&caller);
        if !grant.is_for(aor_id) {
            return Err(Refused::From);
        }
        // While the caller's home cannot be asked, its word that the phone is registered there must do (design: home
        // unreachable).
        let fits = grant.allows_call(aor_id, message.method(), sha256(target.as_bytes()))
            || (message.method() == "INVITE" && grant.is_bind());
        if !fits {
            return Err(Refused::Grant);
        }
        let callers = self.realms.lookup(realm_of(&target), now.wall);
        if callers.is_some_and(|r| !r.may_call(realm)) {
            return Err(Refused::Policy);
        }
        // A call grant is good for one request; a bind grant, where it must do, for what its rate allows. What a home says itself
        // it may say again.
        let cause = met::caller((self.realms, self.met, self.neighbours), now, &caller, Some(from));
        if heard.is_signed() && !grant.is_bind() && !self.shown.is_first(now.mono, bytes, cause) {
            return Err(Refused::Shown);
        }
        Ok(Vouched { aor: caller, grant: bytes.as_slice().into() })
    }

    fn refuse(&mut self, to: PeerId, request: &Message, why: Refused) {
        self.outside.count(why.counter());
        tracing::debug!(peer = %to, ?why, "a request from a peer was not believed");
        let tag = self.outside.random_hash().to_string();
        let tag = tag.get(..12).unwrap_or("refused");
        let response = match why {
            Refused::TooMany => {
                ResponseBuilder::new(request, 503, "Service Unavailable").header("Retry-After", "5")
            }
            _ => ResponseBuilder::new(request, 403, "Forbidden"),
        };
        let response = response.to_tag(tag).finish();
        if let Err(why) = self.links.send(self.now, to, With::default().envelope(response.raw()), false) {
            self.outside.count(why.counter());
        }
    }

    /// Hears a realm record that came with a request.
    fn namer(&mut self) -> Namer<'_> {
        Namer {
            now: self.now,
            me: self.me,
            config: self.config,
            asking: self.asking,
            realms: self.realms,
            outside: self.outside,
            neighbours: self.neighbours,
            overlay: self.overlay,
            rates: self.rates,
            met: self.met,
        }
    }
}

fn to_tag(message: &Message) -> Option<String> {
    message.to()?.tag().map(str::to_owned)
}

/// CANCEL and the ACK of a failure belong to the INVITE before them, by its branch.
fn hop_by_hop(message: &Message) -> bool {
    matches!(message.method(), "CANCEL" | "ACK")
}

/// On the overlay leg both From and Request-URI name realms, never a host of ours.
fn from_aor(message: &Message) -> Option<String> {
    plain_aor(message.from()?.uri())
}

fn target_aor(message: &Message) -> Option<String> {
    plain_aor(message.uri()?)
}

fn plain_aor(uri: &str) -> Option<String> {
    Addressing::default().canonical_aor(uri).ok()
}
