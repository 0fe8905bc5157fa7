//! What peers say to each other about life and death: `/dots/live/2` (docs/spec/11-liveness.md).
//!
//! Who is alive is shown by answering. A third party's answer is shown by a tag: at their first meeting each peer gives the
//! other a secret, made of its own and the other's id, so that it need not remember it; the tag is a hash of that and of
//! the question's number. Whoever only passes it on can neither make one nor use it again.

use crate::records::Incarnation;
use dots_wire::{CborError, PeerId, SecretKey, Signed, Timestamp, decode, encode, sha256};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub const VERSION: u8 = 1;
const DOMAIN: &str = "dots/live/1";

/// One life of a peer, and how often it had to say in it that it is not dead. Later is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize_tuple, Deserialize_tuple)]
pub struct Generation {
    pub incarnation: Incarnation,
    pub count: u32,
}

/// What only the peer itself can say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    Alive,
    /// It stops, and means it.
    Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Notice {
    pub version: u8,
    pub network: String,
    pub peer: PeerId,
    pub life: Generation,
    pub about: NoticeKind,
}

impl Notice {
    pub fn sign(key: &SecretKey, network: &str, life: Generation, about: NoticeKind) -> Signed {
        let word = Notice { version: VERSION, network: network.to_owned(), peer: key.peer_id(), life, about };
        Signed::new(key, DOMAIN, &word)
    }

    /// Unchecked: to see whether it is worth checking.
    pub fn peek(signed: &Signed, network: &str) -> Option<Notice> {
        let word: Notice = signed.peek().ok()?;
        (word.version == VERSION && word.network == network).then_some(word)
    }

    /// LIVE-6: signed by the peer that it is about?
    pub fn is_true(&self, signed: &Signed) -> bool {
        signed.verify(&self.peer.0, DOMAIN).is_ok()
    }
}

/// What one peer says of another: hearsay, but for a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hearsay {
    Suspect { peer: PeerId, life: Generation },
    Dead { peer: PeerId, life: Generation },
    Notice(Signed),
}

pub type ProofSecret = [u8; 16];
pub type ProofTag = [u8; 16];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveRequest {
    /// Who are you? The first question, until it was answered.
    Hello { version: u8, word: Signed },
    /// Are you there? `next_ms`: when the asker will be heard again.
    Probe { version: u8, life: Generation, next_ms: u32, news: Vec<Hearsay> },
    /// Ask `target` whether it is there: I hear nothing of it.
    Reach { version: u8, target: PeerId, nonce: u64 },
    /// `asker` does not hear you: show me something that only you can show it.
    Show { version: u8, asker: PeerId, nonce: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveReply {
    Welcome {
        word: Signed,
        secret: ProofSecret,
    },
    /// `newer`: a word of the asker's own key, from a later life than the asker's.
    Alive {
        life: Generation,
        next_ms: u32,
        time: Timestamp,
        newer: Option<Signed>,
    },
    Shown(ProofTag),
    /// It did not answer me either, or I do not ask it for you.
    Silent,
}

impl LiveRequest {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn read(bytes: &[u8]) -> Result<LiveRequest, CborError> {
        let ask: LiveRequest = decode(bytes)?;
        let (LiveRequest::Hello { version, .. }
        | LiveRequest::Probe { version, .. }
        | LiveRequest::Reach { version, .. }
        | LiveRequest::Show { version, .. }) = &ask;
        if *version == VERSION { Ok(ask) } else { Err(CborError::of_version(*version)) }
    }
}

impl LiveReply {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn read(bytes: &[u8]) -> Result<LiveReply, CborError> {
        decode(bytes)
    }
}

/// LIVE-4: what we give to `asker`; nobody but us can make it, and we need not remember it.
pub fn secret(own: &[u8; 32], asker: PeerId) -> ProofSecret {
    short(&[&own[..], &asker.0.0].concat())
}

pub fn tag(secret: &ProofSecret, nonce: u64) -> ProofTag {
    short(&[&secret[..], &nonce.to_be_bytes()].concat())
}

fn short(bytes: &[u8]) -> [u8; 16] {
    let hash = sha256(bytes).0;
    std::array::from_fn(|i| hash[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::attack;

    fn life() -> Generation {
        Generation { incarnation: Incarnation { started: Timestamp(5), random: 6 }, count: 7 }
    }

    #[test]
    fn a_word_counts_only_where_it_was_signed_and_for_one_network() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let other = SecretKey::from_bytes(&[2; 32]).expect("a scalar");
        let signed = Notice::sign(&key, "main", life(), NoticeKind::Left);
        let word = Notice::peek(&signed, "main").expect("a word");
        assert!(word.is_true(&signed));
        assert_eq!(Notice::peek(&signed, "other"), None);
        let forged = Notice { peer: key.peer_id(), ..word };
        let by_other = Signed::new(&other, DOMAIN, &forged);
        assert!(!forged.is_true(&by_other), "somebody else's signature under its name");
    }

    #[test]
    fn what_is_said_is_read_and_nothing_else() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let word = Notice::sign(&key, "main", life(), NoticeKind::Alive);
        let peer = key.peer_id();
        let asks = [
            LiveRequest::Hello { version: VERSION, word: word.clone() },
            LiveRequest::Probe {
                version: VERSION,
                life: life(),
                next_ms: 9,
                news: vec![Hearsay::Suspect { peer, life: life() }, Hearsay::Notice(word.clone())],
            },
            LiveRequest::Reach { version: VERSION, target: peer, nonce: 1 },
            LiveRequest::Show { version: VERSION, asker: peer, nonce: 1 },
        ];
        for ask in asks {
            assert_eq!(LiveRequest::read(&ask.encode()), Ok(ask.clone()));
            attack("ask", &ask.encode(), |b| LiveRequest::read(b).is_ok());
        }
        let replies = [
            LiveReply::Welcome { word: word.clone(), secret: [1; 16] },
            LiveReply::Alive { life: life(), next_ms: 9, time: Timestamp(1), newer: Some(word) },
            LiveReply::Shown([2; 16]),
            LiveReply::Silent,
        ];
        for reply in replies {
            assert_eq!(LiveReply::read(&reply.encode()), Ok(reply.clone()));
            attack("reply", &reply.encode(), |b| LiveReply::read(b).is_ok());
        }
        assert!(
            LiveRequest::read(&LiveRequest::Show { version: 2, asker: peer, nonce: 1 }.encode()).is_err()
        );
    }

    #[test]
    fn only_who_has_the_secret_can_show_it() {
        let (a, b) = ([1; 32], [2; 32]);
        let asker = SecretKey::from_bytes(&[1; 32]).expect("a scalar").peer_id();
        assert_ne!(secret(&a, asker), secret(&b, asker));
        assert_ne!(tag(&secret(&a, asker), 1), tag(&secret(&a, asker), 2), "none is used twice");
    }
}
