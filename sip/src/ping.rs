//! Is this phone there? An OPTIONS on the flow of its binding.
//!
//! Whatever comes back is life: 200, 404, 405 and 481 are all written by a phone that has power and a network
//! (RFC 3261 §11.1). What we make ourselves when nothing came (408) or could be sent (503) is not. A ping keeps the
//! NAT open as a side effect.
//!
//! That there was no room for a ping says nothing of the phone: then it was not asked. Room is shared by who wants to know, and what we
//! ask of our own accord has half of it for itself.
//!
//! [`build_options`] writes the request; [`Pings`] remembers who asked. Retransmission is the business of the client
//! transaction (RFC 3261 §17.1.2) whose events this table is told.

use crate::{Transport, ids::PingId, registrar::Binding};
use dots_wire::bounded::{Cause, Limits, Promises};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// Pings under way at once: all that 20,000 phones cause that are all silent, and as many for others.
pub const PINGS: Limits = Limits::new(512 * 1024, 4_096).reserving([500, 0, 0, 0]);
/// Long enough for three retransmissions over UDP (0.5, 1.5 and 3.5 s), short enough for a verifier that waits.
pub const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What makes one OPTIONS ours and new; random parts come from the core's generator.
#[derive(Clone, Copy, Debug)]
pub struct PingIds<'a> {
    /// Our address as in every Via of ours toward this flow.
    pub sent_by: &'a str,
    /// With the `z9hG4bK` cookie.
    pub branch: &'a str,
    pub from_tag: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
}

/// The bytes to send by this transport: Request-URI = Contact, Route = Path (RFC 3327 §5.1).
pub fn build_options(binding: &Binding, transport: Transport, ids: &PingIds<'_>) -> Vec<u8> {
    let mut text = String::with_capacity(512);
    let (uri, transport) = (request_uri(&binding.contact), transport.as_str());
    let _ = write!(
        text,
        "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {};branch={};rport\r\n",
        ids.sent_by, ids.branch
    );
    for path in &binding.path {
        let _ = write!(text, "Route: {path}\r\n");
    }
    let _ = write!(
        text,
        "Max-Forwards: 70\r\nFrom: <sip:{}>;tag={}\r\nTo: <{uri}>\r\nCall-ID: {}\r\nCSeq: {} OPTIONS\r\n\
         Accept: application/sdp\r\nContent-Length: 0\r\n\r\n",
        ids.sent_by, ids.from_tag, ids.call_id, ids.cseq
    );
    text.into_bytes()
}

/// A Contact URI as a Request-URI: without the header part, which is not allowed there (RFC 3261 §19.1.1).
pub fn request_uri(contact: &str) -> &str {
    // A '?' may also stand unescaped in the user part, before the '@'.
    let host = contact.find('@').map_or(0, |at| at + 1);
    match contact.get(host..).and_then(|tail| tail.find('?')) {
        Some(at) => contact.get(..host + at).unwrap_or(contact),
        None => contact,
    }
}

/// Pings that wait for their phone.
pub struct Pings {
    waiting: Promises<PingId, Instant>,
    due: BTreeSet<(Instant, PingId)>,
}

impl Default for Pings {
    fn default() -> Pings {
        Pings { waiting: Promises::new(PINGS), due: BTreeSet::new() }
    }
}

impl Pings {
    /// `false`: `cause` has no room for one more, or this number is in use: the phone is not asked.
    #[must_use]
    pub fn start(&mut self, now: Instant, id: PingId, cause: Cause) -> bool {
        let deadline = now + PING_TIMEOUT;
        if self.waiting.contains(&id) || self.waiting.insert(cause, id, deadline).is_err() {
            return false;
        }
        self.due.insert((deadline, id));
        true
    }

    /// Any response that came off the wire, provisional ones too: the phone is alive. `false`: nobody waits for it.
    pub fn answered(&mut self, id: PingId) -> bool {
        let deadline = self.waiting.remove(&id);
        deadline.is_some_and(|deadline| self.due.remove(&(deadline, id)))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    /// Those that waited long enough: dead.
    pub fn expire(&mut self, now: Instant) -> Vec<PingId> {
        let mut dead = Vec::new();
        while let Some((deadline, id)) = self.due.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.due.remove(&(deadline, id));
            self.waiting.remove(&id);
            dead.push(id);
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flow;
    use dots_wire::bounded::Standing;

    fn binding() -> Binding {
        let address = |port| ([192, 0, 2, 1], port).into();
        Binding {
            aor: "alice@office.example".into(),
            instance: "i".into(),
            contact: "sip:alice@10.0.0.9:5062;ob?Subject=x".into(),
            contact_params: String::new(),
            q: 1000,
            call_id: "c".into(),
            cseq: 1,
            path: vec!["<sip:edge.example;lr>".into()],
            server: None,
            flow: Flow {
                transport: Transport::Udp,
                connection: 0,
                local: address(5060),
                remote: address(4000),
            },
            listens: None,
            expires_at_ms: 1,
            grant: Vec::new().into(),
            granted_until_ms: 1,
        }
    }

    #[test]
    fn options_as_on_the_wire() {
        let ids = PingIds {
            sent_by: "192.0.2.1:5060",
            branch: "z9hG4bKp1",
            from_tag: "t",
            call_id: "ping-1",
            cseq: 7,
        };
        let text = String::from_utf8(build_options(&binding(), Transport::Udp, &ids)).expect("ASCII");
        assert_eq!(
            text,
            "OPTIONS sip:alice@10.0.0.9:5062;ob SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKp1;rport\r\n\
             Route: <sip:edge.example;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:192.0.2.1:5060>;tag=t\r\n\
             To: <sip:alice@10.0.0.9:5062;ob>\r\nCall-ID: ping-1\r\nCSeq: 7 OPTIONS\r\nAccept: application/sdp\r\n\
             Content-Length: 0\r\n\r\n"
        );
        assert_eq!(request_uri("sip:a?b@h;x=1?c=d"), "sip:a?b@h;x=1");
    }

    #[test]
    fn any_answer_is_life_and_silence_is_not() {
        let (now, cause) = (Instant::now(), Cause::OWN);
        let mut pings = Pings::default();
        assert!(pings.start(now, 1, cause) && pings.start(now, 2, cause));
        assert!(!pings.start(now, 1, cause), "a number is used once");
        assert!(pings.answered(1));
        assert!(!pings.answered(1), "the 200 after a 100");
        assert_eq!(pings.poll_timeout(), Some(now + PING_TIMEOUT));
        assert!(pings.expire(now).is_empty());
        assert_eq!(pings.expire(now + PING_TIMEOUT), [2]);
        assert_eq!(pings.poll_timeout(), None);
    }

    #[test]
    fn who_asks_for_many_takes_no_room_from_others_and_none_of_ours() {
        let now = Instant::now();
        let mut pings = Pings::default();
        let of = |peer: u64| Cause::new(Standing::Other).by(&peer.to_be_bytes());
        let taken = (0..10_000).filter(|id| pings.start(now, *id, of(1))).count();
        assert!((1_000..=2_048).contains(&taken), "{taken}");
        assert!((10_000..10_100).all(|id| pings.start(now, id, of(2))), "another asks");
        assert!((20_000..22_000).all(|id| pings.start(now, id, Cause::OWN)), "so do we");
        assert_eq!(pings.expire(now + PING_TIMEOUT).len(), taken + 2_100);
        assert!(pings.start(now, 1, of(1)), "room again");
    }
}
