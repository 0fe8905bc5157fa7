//! What peers say to each other about life and death: `/dots/live/2` (docs/spec/10-liveness.md).
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
pub struct Life {
    pub incarnation: Incarnation,
    pub count: u32,
}

/// What only the peer itself can say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    Alive,
    /// It stops, and means it.
    Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Word {
    pub version: u8,
    pub network: String,
    pub peer: PeerId,
    pub life: Life,
    pub about: About,
}

impl Word {
    pub fn sign(key: &SecretKey, network: &str, life: Life, about: About) -> Signed {
        let word = Word { version: VERSION, network: network.to_owned(), peer: key.peer_id(), life, about };
        Signed::new(key, DOMAIN, &word)
    }

    /// Unchecked: to see whether it is worth checking.
    pub fn peek(signed: &Signed, network: &str) -> Option<Word> {
        let word: Word = signed.peek().ok()?;
        (word.version == VERSION && word.network == network).then_some(word)
    }

    /// Signed by the peer that it is about?
    pub fn is_true(&self, signed: &Signed) -> bool {
        signed.verify(&self.peer.0, DOMAIN).is_ok()
    }
}

/// What one peer says of another: hearsay, but for a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    Suspect { peer: PeerId, life: Life },
    Dead { peer: PeerId, life: Life },
    Word(Signed),
}

pub type Secret = [u8; 16];
pub type Tag = [u8; 16];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Who are you? The first question, until it was answered.
    Hello { version: u8, word: Signed },
    /// Are you there? `next_ms`: when the asker will be heard again.
    Probe { version: u8, life: Life, next_ms: u32, news: Vec<News> },
    /// Ask `target` whether it is there: I hear nothing of it.
    Reach { version: u8, target: PeerId, nonce: u64 },
    /// `asker` does not hear you: show me something that only you can show it.
    Show { version: u8, asker: PeerId, nonce: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Welcome {
        word: Signed,
        secret: Secret,
    },
    /// `newer`: a word of the asker's own key, from a later life than the asker's.
    Alive {
        life: Life,
        next_ms: u32,
        time: Timestamp,
        newer: Option<Signed>,
    },
    Shown(Tag),
    /// It did not answer me either, or I do not ask it for you.
    Silent,
}

impl Ask {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn read(bytes: &[u8]) -> Result<Ask, CborError> {
        let ask: Ask = decode(bytes)?;
        let (Ask::Hello { version, .. }
        | Ask::Probe { version, .. }
        | Ask::Reach { version, .. }
        | Ask::Show { version, .. }) = &ask;
        if *version == VERSION { Ok(ask) } else { Err(CborError::of_version(*version)) }
    }
}

impl Reply {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn read(bytes: &[u8]) -> Result<Reply, CborError> {
        decode(bytes)
    }
}

/// What we give to `asker`; nobody but us can make it, and we need not remember it.
pub fn secret(own: &[u8; 32], asker: PeerId) -> Secret {
    short(&[&own[..], &asker.0.0].concat())
}

pub fn tag(secret: &Secret, nonce: u64) -> Tag {
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

    fn life() -> Life {
        Life { incarnation: Incarnation { started: Timestamp(5), random: 6 }, count: 7 }
    }

    #[test]
    fn a_word_counts_only_where_it_was_signed_and_for_one_network() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let other = SecretKey::from_bytes(&[2; 32]).expect("a scalar");
        let signed = Word::sign(&key, "main", life(), About::Left);
        let word = Word::peek(&signed, "main").expect("a word");
        assert!(word.is_true(&signed));
        assert_eq!(Word::peek(&signed, "other"), None);
        let forged = Word { peer: key.peer_id(), ..word };
        let by_other = Signed::new(&other, DOMAIN, &forged);
        assert!(!forged.is_true(&by_other), "somebody else's signature under its name");
    }

    #[test]
    fn what_is_said_is_read_and_nothing_else() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a scalar");
        let word = Word::sign(&key, "main", life(), About::Alive);
        let peer = key.peer_id();
        let asks = [
            Ask::Hello { version: VERSION, word: word.clone() },
            Ask::Probe {
                version: VERSION,
                life: life(),
                next_ms: 9,
                news: vec![News::Suspect { peer, life: life() }, News::Word(word.clone())],
            },
            Ask::Reach { version: VERSION, target: peer, nonce: 1 },
            Ask::Show { version: VERSION, asker: peer, nonce: 1 },
        ];
        for ask in asks {
            assert_eq!(Ask::read(&ask.encode()), Ok(ask.clone()));
            attack("ask", &ask.encode(), |b| Ask::read(b).is_ok());
        }
        let replies = [
            Reply::Welcome { word: word.clone(), secret: [1; 16] },
            Reply::Alive { life: life(), next_ms: 9, time: Timestamp(1), newer: Some(word) },
            Reply::Shown([2; 16]),
            Reply::Silent,
        ];
        for reply in replies {
            assert_eq!(Reply::read(&reply.encode()), Ok(reply.clone()));
            attack("reply", &reply.encode(), |b| Reply::read(b).is_ok());
        }
        assert!(Ask::read(&Ask::Show { version: 2, asker: peer, nonce: 1 }.encode()).is_err());
    }

    #[test]
    fn only_who_has_the_secret_can_show_it() {
        let (a, b) = ([1; 32], [2; 32]);
        let asker = SecretKey::from_bytes(&[1; 32]).expect("a scalar").peer_id();
        assert_ne!(secret(&a, asker), secret(&b, asker));
        assert_ne!(tag(&secret(&a, asker), 1), tag(&secret(&a, asker), 2), "none is used twice");
    }
}
