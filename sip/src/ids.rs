//! The names by which the layers know things: small, typed, and of one size whatever a stranger writes.
//!
//! A branch or a Call-ID on the wire is text of up to 256 bytes that somebody else chose. No table here is keyed by such
//! text: it is hashed under a secret of this process into 128 bits, so a key is 16 bytes, compares in one step, and
//! nobody outside can aim at a collision. Numbers that we mint carry the shard that minted them in their top byte.

use crate::{hop::Hop, message::Message};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::{
    hash::Hasher as _,
    net::{IpAddr, SocketAddr},
};

/// One instance of the SIP core among several that share the work; see [`crate::shards`].
pub type Shard = u8;

/// Identifies a question to the world around the core; the answer carries it back. The top byte is the shard that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u64);

const SHARD_SHIFT: u32 = 56;

impl AskId {
    pub fn new(shard: Shard, n: u64) -> AskId {
        AskId(u64::from(shard) << SHARD_SHIFT | (n & ((1 << SHARD_SHIFT) - 1)))
    }
    /// Shard and count as one number.
    pub fn number(self) -> u64 {
        self.0
    }
    pub fn shard(self) -> Shard {
        (self.0 >> SHARD_SHIFT) as Shard
    }
}

/// Chosen by whoever asks for a ping; the answer carries it back.
pub type PingId = u64;

/// A request method (RFC 3261 §7.1). Methods are case-sensitive; an unknown one is kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Message,
    Subscribe,
    Notify,
    Publish,
    Refer,
    Info,
    Update,
    Prack,
    Other(Box<str>),
}

impl Method {
    pub fn read(text: &str) -> Method {
        KNOWN
            .iter()
            .find(|(_, name)| *name == text)
            .map_or_else(|| Method::Other(text.into()), |(method, _)| method.clone())
    }

    /// The method of a request, or the one in the CSeq of a response.
    pub fn of(message: &Message) -> Method {
        Method::read(message.method())
    }

    pub fn as_str(&self) -> &str {
        match self {
            Method::Other(text) => text,
            known => KNOWN.iter().find(|(method, _)| method == known).map_or("", |(_, name)| name),
        }
    }

    /// A number for keys; unknown methods share the number of their hash.
    fn code(&self) -> u32 {
        match self {
            Method::Other(text) => {
                let hash = Sha256::digest(text.as_bytes());
                let short = hash.iter().take(3).fold(0u32, |code, byte| code << 8 | u32::from(*byte));
                0x0100_0000 | short
            }
            known => KNOWN.iter().zip(0..).find(|((method, _), _)| method == known).map_or(0, |(_, at)| at),
        }
    }
}

const KNOWN: [(Method, &str); 14] = [
    (Method::Invite, "INVITE"),
    (Method::Ack, "ACK"),
    (Method::Bye, "BYE"),
    (Method::Cancel, "CANCEL"),
    (Method::Register, "REGISTER"),
    (Method::Options, "OPTIONS"),
    (Method::Message, "MESSAGE"),
    (Method::Subscribe, "SUBSCRIBE"),
    (Method::Notify, "NOTIFY"),
    (Method::Publish, "PUBLISH"),
    (Method::Refer, "REFER"),
    (Method::Info, "INFO"),
    (Method::Update, "UPDATE"),
    (Method::Prack, "PRACK"),
];

/// A server transaction (RFC 3261 §17.2.3): branch and sent-by of the top Via, the hop that it came from, and the method.
/// The hop is part of the name, so no other hop can repeat, acknowledge or cancel the request, whoever knows the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    /// Two halves, so that a key aligns to eight bytes: each stands in two tables.
    request: [u64; 2],
    method: u32,
}

impl ServerKey {
    /// An ACK has the key of its INVITE.
    pub fn of(request: &Message, hop: &Hop, secret: &Secret) -> ServerKey {
        let method = match Method::of(request) {
            Method::Ack => Method::Invite,
            method => method,
        };
        let hash = request_hash(request, hop, secret);
        ServerKey { request: [(hash >> 64) as u64, hash as u64], method: method.code() }
    }

    /// All keys with this branch, sent-by and hop, of any method: what a CANCEL may mean (§9.2).
    pub fn any_method(self) -> std::ops::RangeInclusive<ServerKey> {
        ServerKey { method: 0, ..self }..=ServerKey { method: u32::MAX, ..self }
    }

    pub fn is_cancel(self) -> bool {
        self.method == Method::Cancel.code()
    }
}

fn request_hash(request: &Message, hop: &Hop, secret: &Secret) -> u128 {
    let via = request.via();
    let mut hash = secret.quick("transaction");
    match hop {
        Hop::Phone(flow) => {
            hash.text(flow.transport.as_str());
            hash.number(flow.connection);
            hash.address(flow.remote);
            hash.text(via.map(|v| v.host()).unwrap_or_default());
            hash.number(via.and_then(|v| v.port()).map_or(0, u64::from));
        }
        Hop::Peer(label) => hash.text(label),
    }
    match request.branch().filter(|branch| branch.starts_with(COOKIE)) {
        Some(branch) => hash.text(branch),
        // Without the cookie, what RFC 2543 compared.
        None => {
            hash.text(request.call_id().unwrap_or_default());
            hash.text(request.from_tag().unwrap_or_default());
            hash.number(request.cseq().map_or(0, |(number, _)| u64::from(number)));
            hash.text(request.uri().unwrap_or_default());
        }
    }
    hash.finish()
}

/// What every branch begins with that is unique (RFC 3261 §8.1.1.7).
pub const COOKIE: &str = "z9hG4bK";

/// A branch that we wrote into a Via of our own: a random number that the response brings back, with our shard in its
/// top byte, and for requests outside a dialog a loop mark behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Branch(u64);

impl Branch {
    /// None is smaller.
    pub(crate) const FIRST: Branch = Branch(0);

    pub fn new(shard: Shard, random: u64) -> Branch {
        Branch(u64::from(shard) << SHARD_SHIFT | random >> 8)
    }

    pub fn text(self, mark: Option<&str>) -> String {
        match mark {
            Some(mark) => format!("{COOKIE}{:016x}.{mark}", self.0),
            None => format!("{COOKIE}{:016x}", self.0),
        }
    }

    /// `None`: not a branch of ours.
    pub fn read(text: &str) -> Option<Branch> {
        let number = text.strip_prefix(COOKIE)?;
        let (number, _mark) = number.split_once('.').unwrap_or((number, ""));
        let is_ours =
            number.len() == 16 && number.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        u64::from_str_radix(number, 16).ok().filter(|_| is_ours).map(Branch)
    }

    pub fn shard(self) -> Shard {
        (self.0 >> SHARD_SHIFT) as Shard
    }
}

/// A client transaction: our branch, and whether it is the CANCEL that shares the branch of its INVITE (§9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKey {
    pub branch: Branch,
    pub is_cancel: bool,
}

/// The secret under which this process hashes what strangers write.
#[derive(Clone)]
pub struct Secret {
    whole: [u8; 32],
    /// Another key, made of it.
    quick: [u64; 2],
}

impl Secret {
    pub fn new(bytes: [u8; 32]) -> Secret {
        let quick = Sha256::new().chain_update(b"dots/sip/quick/1").chain_update(bytes).finalize();
        let half =
            |at: usize| quick.iter().skip(at).take(8).fold(0u64, |key, byte| key << 8 | u64::from(*byte));
        Secret { whole: bytes, quick: [half(0), half(8)] }
    }

    /// The tag of every answer that we write ourselves: a keyed hash of the request, so that a repetition gets the same
    /// answer from no memory at all, and the ACK of such an answer is known by its To (RFC 3261 §8.2.7).
    pub fn to_tag(&self, request: &Message, shard: Shard) -> String {
        let mut hash = self.quick("tag");
        hash.text(request.branch().unwrap_or_default());
        hash.text(request.call_id().unwrap_or_default());
        hash.text(request.from_tag().unwrap_or_default());
        hash.number(request.cseq().map_or(0, |(number, _)| u64::from(number)));
        let mut bytes = [shard; 9];
        bytes[1..].copy_from_slice(&hash.short().to_be_bytes());
        HEXLOWER.encode(&bytes)
    }

    pub(crate) fn hash(&self, purpose: &str) -> Keyed {
        let mut hash = Sha256::new();
        hash.update(self.whole);
        let mut keyed = Keyed(hash);
        keyed.text(purpose);
        keyed
    }

    /// For names in our own tables and tags of our own answers: nobody has to compute it but this peer, and it is made several
    /// times for each message.
    pub(crate) fn quick(&self, purpose: &str) -> Quick {
        let [one, two] = self.quick;
        let mut quick = Quick(SipHasher24::new_with_keys(one, two));
        quick.text(purpose);
        quick
    }
}

/// A keyed hash of 128 bits (SipHash-2-4) of parts, each with its length, so that no two lists of parts read alike.
pub(crate) struct Quick(SipHasher24);

impl Quick {
    pub fn text(&mut self, part: &str) {
        self.bytes(part.as_bytes());
    }
    /// SipHash starts and ends each piece that it is given, for as much as 20 bytes cost: a short part and its length are one.
    pub fn bytes(&mut self, part: &[u8]) {
        let mut whole = [0u8; 8 + 64];
        let (length, room) = whole.split_at_mut(8);
        length.copy_from_slice(&(part.len() as u64).to_le_bytes());
        match room.get_mut(..part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                self.0.write(whole.get(..8 + part.len()).unwrap_or_default());
            }
            None => {
                self.number(part.len() as u64);
                self.0.write(part);
            }
        }
    }
    pub fn number(&mut self, part: u64) {
        self.0.write(&part.to_le_bytes());
    }
    pub fn address(&mut self, address: SocketAddr) {
        let mut whole = [0u8; 24];
        let (port, ip) = whole.split_at_mut(8);
        port.copy_from_slice(&u64::from(address.port()).to_le_bytes());
        match address.ip() {
            IpAddr::V4(v4) => ip.copy_from_slice(&v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => ip.copy_from_slice(&v6.octets()),
        }
        self.0.write(&whole);
    }
    pub fn finish(self) -> u128 {
        self.0.finish128().as_u128()
    }
    pub fn short(self) -> u64 {
        self.0.finish128().h1
    }
}

/// A keyed hash of parts, each with its length, so that no two lists of parts read alike.
pub(crate) struct Keyed(Sha256);

impl Keyed {
    pub fn text(&mut self, part: &str) {
        self.bytes(part.as_bytes());
    }
    pub fn bytes(&mut self, part: &[u8]) {
        self.number(part.len() as u64);
        self.0.update(part);
    }
    pub fn number(&mut self, part: u64) {
        self.0.update(part.to_be_bytes());
    }
    pub fn finish(self) -> u128 {
        let hash: [u8; 32] = self.0.finalize().into();
        hash.iter().take(16).fold(0u128, |out, byte| out << 8 | u128::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flow, Transport};

    fn request(method: &str, branch: &str) -> Message {
        let text = format!(
            "{method} sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP h:5060;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@a.test>;tag=1\r\nTo: <sip:b@b.test>\r\nCall-ID: c\r\nCSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes()).expect("a message")
    }

    fn phone(port: u16) -> Hop {
        let address = |port| ([127, 0, 0, 1], port).into();
        let flow =
            Flow { transport: Transport::Udp, connection: 0, local: address(5060), remote: address(port) };
        Hop::Phone(flow)
    }

    #[test]
    fn methods_are_read_and_written_alike_and_by_case() {
        for (method, name) in &KNOWN {
            assert_eq!((&Method::read(name), method.as_str()), (method, *name));
        }
        assert_eq!(Method::read("invite"), Method::Other("invite".into()));
        assert_ne!(Method::read("WINK").code(), Method::read("BLINK").code());
    }

    /// RFC 3261 §17.2.3, and §9.2 for CANCEL.
    #[test]
    fn a_transaction_is_known_by_branch_hop_and_method() {
        let secret = Secret::new([1; 32]);
        let key = |method, branch, port| ServerKey::of(&request(method, branch), &phone(port), &secret);
        let invite = key("INVITE", "z9hG4bKa", 1);
        assert_eq!(invite, key("ACK", "z9hG4bKa", 1), "the ACK of a failure");
        assert_ne!(invite, key("INVITE", "z9hG4bKb", 1), "another branch");
        assert_ne!(invite, key("INVITE", "z9hG4bKa", 2), "another hop that knows the branch");
        assert_ne!(invite, key("BYE", "z9hG4bKa", 1), "another method");
        let cancel = key("CANCEL", "z9hG4bKa", 1);
        assert!(cancel.is_cancel() && cancel.any_method().contains(&invite));
        assert!(!cancel.any_method().contains(&key("INVITE", "z9hG4bKa", 2)));
        assert_ne!(key("INVITE", "old", 1), key("INVITE", "z9hG4bKold", 1));
    }

    #[test]
    fn our_branches_come_back() {
        let branch = Branch::new(3, u64::MAX);
        assert_eq!(branch.shard(), 3);
        for text in [branch.text(None), branch.text(Some("00ff00ff"))] {
            assert_eq!(Branch::read(&text), Some(branch), "{text}");
        }
        for text in [
            "z9hG4bK",
            "z9hG4bKabc",
            "z9hG4bK00000000000000zz",
            "0000000000000000",
            "z9hG4bK+000000000000000",
        ] {
            assert_eq!(Branch::read(text), None, "{text}");
        }
    }

    #[test]
    fn our_tag_is_the_same_for_a_repetition_and_for_the_cancel_and_no_other() {
        let secret = Secret::new([1; 32]);
        let tag = |method, branch| secret.to_tag(&request(method, branch), 0);
        assert_eq!(tag("INVITE", "z9hG4bKa"), tag("CANCEL", "z9hG4bKa"));
        assert_ne!(tag("INVITE", "z9hG4bKa"), tag("INVITE", "z9hG4bKb"));
        assert_ne!(tag("INVITE", "z9hG4bKa"), Secret::new([2; 32]).to_tag(&request("INVITE", "z9hG4bKa"), 0));
    }

    #[test]
    fn questions_carry_their_shard() {
        let id = AskId::new(7, 123);
        assert_eq!(id.shard(), 7);
        assert_ne!(id, AskId::new(6, 123));
    }
}
