//! The overlay leg: SIP between serving peers in envelopes, checked before the SIP core sees a byte.
//!
//! A request outside a dialog counts only with a grant: signed by a home of the caller's realm, for this method, this
//! target and the peer that sent it (design: what crosses the overlay). The From in it is then the caller's, and no peer
//! can put another's name there.

use super::{
    Peer,
    calls::Key,
    messages::{Envelope, VERSION},
    rate::Kind,
    sdp,
};
use dots_overlay::grant;
use dots_sip::{
    address::Addressing,
    address::realm_of,
    input::PeerLabel,
    message::{Message, ResponseBuilder},
    output::CallSide,
};
use dots_wire::{Now, PeerId, decode, encode, sha256};
use serde_bytes::ByteBuf;
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

impl Peer {
    /// The SIP core sends `bytes` to the peer behind `label`.
    pub(super) fn send_leg(
        &mut self,
        now: Now,
        label: &PeerLabel,
        bytes: Vec<u8>,
        grant: Option<Arc<[u8]>>,
        initial: bool,
    ) {
        let Some(peer) = self.neighbours.of_label(label) else {
            return self.outside.sip(dots_sip::Input::OverlayDown { peer: label.clone() });
        };
        let mut envelope = Envelope {
            version: VERSION,
            sip: Vec::new(),
            grant: None,
            realm: None,
            nonce: None,
            on_behalf: Vec::new(),
        };
        if let Ok(message) = Message::parse_lenient(bytes.clone()) {
            // The nonce first: it opens the call that the grant is noted in.
            self.attach_nonce(now, peer, &message, &mut envelope);
            if initial && message.is_request() {
                self.attach_grant(now, label, &message, grant, &mut envelope);
            }
        }
        envelope.sip = bytes;
        if self.links.send(now, peer, encode(&envelope), initial).is_err() {
            self.outside.count("link_full");
            self.outside.sip(dots_sip::Input::OverlayRefused { bytes: envelope.sip });
        }
    }

    /// The grant that the home gave us, or, where we are the home, one made now.
    fn attach_grant(
        &mut self,
        now: Now,
        to: &PeerLabel,
        message: &Message,
        grant: Option<Arc<[u8]>>,
        envelope: &mut Envelope,
    ) {
        let Some(caller) = from_aor(message) else { return };
        let realm = realm_of(&caller);
        envelope.realm = self.realms.signed(realm, now.wall).cloned();
        let given = grant.filter(|g| !g.is_empty()).map(|g| g.to_vec());
        let bytes = given.or_else(|| {
            self.authenticator(now).own_call_grant(&caller, message.method(), &target_aor(message)?)
        });
        if let (Some(bytes), Some(key)) = (&bytes, call_key(message, CallSide::Caller)) {
            self.calls.set_grant(&key, to, bytes.as_slice().into());
        }
        envelope.grant = bytes.map(ByteBuf::from);
    }

    /// INVITEs carry the caller's nonce, their 2xx the callee's.
    fn attach_nonce(&mut self, now: Now, to: PeerId, message: &Message, envelope: &mut Envelope) {
        let side = match (message.is_request(), message.cseq()) {
            (true, Some((_, "INVITE"))) if to_tag(message).is_none() && message.method() == "INVITE" => {
                CallSide::Caller
            }
            (false, Some((_, "INVITE"))) if is_2xx(message) => CallSide::Callee,
            _ => return,
        };
        let Some(key) = call_key(message, side) else { return };
        let fresh = self.outside.random_hash();
        envelope.nonce = self.calls.nonce(now, &key, fresh);
        self.watch_media(&key, to, message);
    }

    /// For `dots calls`: an address that the other side cannot reach.
    fn watch_media(&mut self, key: &Key, to: PeerId, message: &Message) {
        let body = message.body();
        if body.is_empty() {
            return;
        }
        let far = self.neighbours.get(to).and_then(|n| n.ip()).is_some_and(|ip| !sdp::is_private(&ip));
        if let Some(address) = sdp::private_address(body).filter(|_| far) {
            tracing::warn!(
                call_id = %key.0,
                "the phone offers media at {address}, which the other side cannot reach: expect no audio"
            );
            self.calls.warn(
                key,
                format!("media at {address}: a private address, toward a peer outside that network"),
            );
        }
    }

    /// One frame from the peer `from`, in order and once.
    pub(super) fn on_leg(&mut self, now: Now, from: PeerId, body: &[u8]) {
        if !self.rates.take(now.mono, from, Kind::Leg) {
            return self.outside.count("peer_throttled");
        }
        let Ok(envelope) = decode::<Envelope>(body) else { return self.outside.count("bad_peer_message") };
        if envelope.version != VERSION {
            return self.outside.count("bad_peer_message");
        }
        let Ok(message) = Message::parse_lenient(envelope.sip.clone()) else {
            return self.outside.count("bad_peer_message");
        };
        let label = self.neighbours.label(from);
        let outside_dialog = message.is_request() && to_tag(&message).is_none() && !hop_by_hop(&message);
        let caller = match outside_dialog.then(|| self.check_request(now, from, &message, &envelope)) {
            None => None,
            Some(Ok(caller)) => Some(caller),
            Some(Err(why)) => return self.refuse_leg(now, from, &message, why),
        };
        self.hear_nonce(&label, &message, &envelope);
        self.outside.sip(dots_sip::Input::Overlay { from: label, bytes: envelope.sip, caller });
    }

    /// The caller's AOR, if a home of its realm vouched for this very request through this very peer.
    fn check_request(
        &mut self,
        now: Now,
        from: PeerId,
        message: &Message,
        envelope: &Envelope,
    ) -> Result<String, Refused> {
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
            self.accept_realm(now, from, record);
        }
        let bytes = envelope.grant.as_ref().ok_or(Refused::NoGrant)?;
        let record = self.realms.lookup(realm, now.wall).ok_or(Refused::NoRealm)?;
        let revoked = |aor, home| self.overlay.directory().revoked_before(aor, home);
        let grant = grant::verify(bytes, from, record, now.wall, revoked).map_err(|why| {
            tracing::debug!(%from, %why, "a grant was not believed");
            Refused::Grant
        })?;
        if !envelope.on_behalf.is_empty() {
            return Err(Refused::OnBehalf);
        }
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
        // A call grant is good for one request; a bind grant, where it must do, for what its rate allows.
        if !grant.is_bind() && !self.auth.shown.is_first(now.mono, bytes, from, realm) {
            return Err(Refused::Shown);
        }
        if message.method() == "INVITE"
            && let Some(key) = call_key(message, CallSide::Callee)
        {
            let fresh = self.outside.random_hash();
            let from = self.neighbours.label(from);
            self.calls.nonce(now, &key, fresh);
            self.calls.set_grant(&key, &from, bytes.as_slice().into());
        }
        Ok(caller)
    }

    fn refuse_leg(&mut self, now: Now, to: PeerId, request: &Message, why: Refused) {
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
        let sip = response.to_tag(tag).build();
        let envelope =
            Envelope { version: VERSION, sip, grant: None, realm: None, nonce: None, on_behalf: Vec::new() };
        if self.links.send(now, to, encode(&envelope), false).is_err() {
            self.outside.count("link_full");
        }
    }

    /// With an INVITE that was believed a moment ago, or with a 2xx; of calls that we know only.
    fn hear_nonce(&mut self, from: &PeerLabel, message: &Message, envelope: &Envelope) {
        let Some(nonce) = envelope.nonce else { return };
        let side = match (message.is_request(), is_2xx(message)) {
            (true, _) if message.method() == "INVITE" && to_tag(message).is_none() => CallSide::Callee,
            (false, true) => CallSide::Caller,
            _ => return,
        };
        if let Some(key) = call_key(message, side) {
            self.calls.heard_nonce(&key, from, nonce);
        }
    }
}

fn call_key(message: &Message, side: CallSide) -> Option<Key> {
    let tag = message.from()?.tag()?.to_owned();
    Some((message.call_id()?.to_owned(), tag, side))
}

fn to_tag(message: &Message) -> Option<String> {
    message.to()?.tag().map(str::to_owned)
}

/// CANCEL and the ACK of a failure belong to the INVITE before them, by its branch.
fn hop_by_hop(message: &Message) -> bool {
    matches!(message.method(), "CANCEL" | "ACK")
}

fn is_2xx(message: &Message) -> bool {
    message.status().is_some_and(|s| (200..300).contains(&s))
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
