//! Leases and nonces: how a home lets other peers challenge its phones without being asked each time (REC-9).
//!
//! A home gives a serving peer a *lease*, and the serving peer makes any number of nonces from it:
//!
//! ```text
//!   lease = ver(1) | home label(20) | time ms(8) | SHA-256(serving PeerId)[..8] | random(8) | MAC of the home(16)
//!   nonce = lease | counter(8) | tag of the serving peer(16)                               as URL-safe base64
//! ```
//!
//! Only the home can make or check a lease: it is good for 300 s, at the serving peer that it names. The tag is the
//! serving peer's own: it binds the nonce to the address that was challenged (IPv4 address, IPv6 /64, never the port,
//! which NATs change), so an answer that comes from elsewhere is known to be no answer of that phone. Both keys are
//! new at each start: which counts were used is not on disk, so what was answered in an earlier life is worth nothing.

use dots_wire::{MacKey, PeerId, SecretKey, Timestamp, hmac_sha256, sha256};
use std::{net::IpAddr, time::Duration};

pub const LEASE_LIFE: Duration = Duration::from_secs(300);
/// A lease dated further ahead is not ours, or our clock was set back.
const FUTURE_MAX: Duration = Duration::from_secs(60);
const VERSION: u8 = 2;
const BODY_BYTES: usize = 1 + 20 + 8 + 8 + 8;
const MAC_BYTES: usize = 16;
pub const LEASE_BYTES: usize = BODY_BYTES + MAC_BYTES;
const NONCE_BYTES: usize = LEASE_BYTES + 8 + MAC_BYTES;

/// A lease as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(pub [u8; LEASE_BYTES]);

/// A lease without the rest: what the used counts are remembered under.
pub type LeaseMac = [u8; MAC_BYTES];

impl Lease {
    pub fn read(bytes: &[u8]) -> Option<Lease> {
        bytes.try_into().ok().map(Lease)
    }

    /// Of the version that we know?
    pub fn is_known(&self) -> bool {
        self.0.first() == Some(&VERSION)
    }

    pub fn mac(&self) -> LeaseMac {
        let (_, mac) = self.0.split_at(BODY_BYTES);
        mac.try_into().expect("a lease ends with its MAC")
    }

    fn body(&self) -> &[u8] {
        self.0.split_at(BODY_BYTES).0
    }
}

/// A nonce, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    pub lease: Lease,
    /// Made new for each challenge by the serving peer.
    pub counter: u64,
    tag: LeaseMac,
}

impl Nonce {
    pub fn read(text: &str) -> Option<Nonce> {
        // Anything longer is none of ours: it is not even decoded.
        if text.len() != NONCE_BYTES.div_ceil(3) * 4 - (3 - NONCE_BYTES % 3) % 3 {
            return None;
        }
        let mut bytes = [0; NONCE_BYTES];
        data_encoding::BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes).ok()?;
        let (lease, rest) = bytes.split_at_checked(LEASE_BYTES)?;
        let (counter, tag) = rest.split_at_checked(8)?;
        Some(Nonce {
            lease: Lease::read(lease)?,
            counter: u64::from_be_bytes(counter.try_into().ok()?),
            tag: tag.try_into().ok()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseCheck {
    Fresh,
    /// Ours, but too old.
    Stale,
    /// Not ours, or for another serving peer.
    Forged,
}

/// The home's side: who may challenge our phones.
pub struct Lessor {
    key: MacKey,
    home: PeerId,
}

impl Lessor {
    /// `life`: random, new at every start.
    pub fn new(home: &SecretKey, life: [u8; 16]) -> Lessor {
        let key = hmac_sha256(home.to_bytes().as_slice(), &[&b"dots/lease/2"[..], &life].concat());
        Lessor { key: MacKey::new(&key.0), home: home.peer_id() }
    }

    pub fn lease(&self, serving: PeerId, now: Timestamp, random: [u8; 8]) -> Lease {
        let mut body = self.prefix(serving, now);
        body.extend_from_slice(&random);
        let mac = self.key.of(&[&body]);
        body.extend(mac.0.iter().take(MAC_BYTES));
        Lease::read(&body).expect("its parts have these lengths")
    }

    /// Is it ours, for this serving peer, and young? Remembers nothing, so that guesses cost no place.
    pub fn check(&self, lease: &Lease, serving: PeerId, now: Timestamp) -> LeaseCheck {
        let expected = self.key.of(&[lease.body()]);
        let is_same = differ(&lease.mac(), &expected.0) == 0;
        let Some(time) = lease.0.get(21..29).and_then(|t| t.try_into().ok()).map(u64::from_be_bytes) else {
            return LeaseCheck::Forged;
        };
        let time = Timestamp(time);
        let is_for_it = lease.0.get(..37) == Some(self.prefix(serving, time).as_slice());
        if !is_same || !is_for_it {
            return LeaseCheck::Forged;
        }
        match now.since(time) > LEASE_LIFE || time.since(now) > FUTURE_MAX {
            true => LeaseCheck::Stale,
            false => LeaseCheck::Fresh,
        }
    }

    fn prefix(&self, serving: PeerId, time: Timestamp) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.home.0.label().0);
        bytes.extend_from_slice(&time.0.to_be_bytes());
        bytes.extend(sha256(&serving.to_bytes()).0.iter().take(8));
        bytes
    }
}

/// The serving peer's side: nonces from leases, each for one address.
pub struct Stamp {
    key: MacKey,
    counter: u64,
}

impl Stamp {
    /// `life`: random, new at every start.
    pub fn new(serving: &SecretKey, life: [u8; 16]) -> Stamp {
        let key = hmac_sha256(serving.to_bytes().as_slice(), &[&b"dots/nonce/2"[..], &life].concat());
        Stamp { key: MacKey::new(&key.0), counter: 0 }
    }

    /// A nonce that was never given before.
    pub fn nonce(&mut self, lease: &Lease, phone: IpAddr) -> String {
        self.counter += 1;
        let mut bytes = Vec::with_capacity(NONCE_BYTES);
        bytes.extend_from_slice(&lease.0);
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        bytes.extend_from_slice(&self.tag(lease, self.counter, phone));
        data_encoding::BASE64URL_NOPAD.encode(&bytes)
    }

    /// Did we give this nonce to this very address?
    pub fn is_given_to(&self, nonce: &Nonce, phone: IpAddr) -> bool {
        differ(&nonce.tag, &self.tag(&nonce.lease, nonce.counter, phone)) == 0
    }

    fn tag(&self, lease: &Lease, counter: u64, phone: IpAddr) -> LeaseMac {
        let mac = self.key.of(&[&lease.0, &counter.to_be_bytes(), &place(phone)]);
        std::array::from_fn(|i| mac.0[i])
    }
}

/// What stays the same of a phone's address: an IPv4 address, or an IPv6 network of 64 bits.
pub fn place(phone: IpAddr) -> Vec<u8> {
    match phone {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.octets().to_vec(),
            None => v6.octets().iter().take(8).copied().collect(),
        },
    }
}

/// Zero where the shorter is the beginning of the longer, in time that does not depend on where they differ.
fn differ(one: &[u8], other: &[u8]) -> u8 {
    one.iter().zip(other).fold(0u8, |d, (a, b)| d | (a ^ b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar")
    }
    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// REC-9.
    #[test]
    fn a_lease_is_good_for_300_s_at_its_serving_peer() {
        let lessor = Lessor::new(&key(1), [1; 16]);
        let (b, c, t0) = (key(2).peer_id(), key(3).peer_id(), Timestamp(1_000_000));
        let later = |s| t0.plus(Duration::from_secs(s));
        let lease = lessor.lease(b, t0, [7; 8]);
        for (why, lessor, serving, at, expected) in [
            ("at once", &lessor, b, t0, LeaseCheck::Fresh),
            ("to the end", &lessor, b, later(300), LeaseCheck::Fresh),
            ("after it", &lessor, b, later(301), LeaseCheck::Stale),
            ("a clock set back", &lessor, b, t0.minus(Duration::from_secs(61)), LeaseCheck::Stale),
            ("by another peer", &lessor, c, t0, LeaseCheck::Forged),
            ("another home's", &Lessor::new(&key(9), [1; 16]), b, t0, LeaseCheck::Forged),
            ("of an earlier life", &Lessor::new(&key(1), [2; 16]), b, t0, LeaseCheck::Forged),
        ] {
            assert_eq!(lessor.check(&lease, serving, at), expected, "{why}");
        }
        for at in 0..LEASE_BYTES {
            let mut changed = lease;
            changed.0[at] ^= 1;
            assert_eq!(lessor.check(&changed, b, t0), LeaseCheck::Forged, "byte {at}");
        }
    }

    #[test]
    fn a_nonce_belongs_to_one_address_and_comes_once() {
        let lease = Lessor::new(&key(1), [1; 16]).lease(key(2).peer_id(), Timestamp(1), [7; 8]);
        let mut stamp = Stamp::new(&key(2), [3; 16]);
        let (one, two) = (stamp.nonce(&lease, ip("192.0.2.1")), stamp.nonce(&lease, ip("2001:db8:1:2::3")));
        assert_ne!(one, two);
        let (one, two) = (Nonce::read(&one).expect("ours"), Nonce::read(&two).expect("ours"));
        assert_eq!((one.lease, one.counter, two.counter), (lease, 1, 2));
        for (why, nonce, at, expected) in [
            ("the phone", &one, "192.0.2.1", true),
            ("the phone, mapped", &one, "::ffff:192.0.2.1", true),
            ("its neighbour", &one, "192.0.2.2", false),
            ("privacy addresses of one network", &two, "2001:db8:1:2:9::1", true),
            ("another network", &two, "2001:db8:1:3::3", false),
        ] {
            assert_eq!(stamp.is_given_to(nonce, ip(at)), expected, "{why}");
        }
        let other = Stamp::new(&key(2), [4; 16]);
        assert!(!other.is_given_to(&one, ip("192.0.2.1")), "of an earlier life");
        assert!(!stamp.is_given_to(&Nonce { counter: 9, ..one }, ip("192.0.2.1")), "a count of their own");
    }

    /// A change here is a new version of the nonce: old ones are then unreadable, and phones are challenged once more.
    #[test]
    fn golden_bytes() {
        let lease = Lessor::new(&key(1), [1; 16]).lease(key(2).peer_id(), Timestamp(1_000_000), [7; 8]);
        let nonce = Stamp::new(&key(2), [3; 16]).nonce(&lease, ip("192.0.2.1"));
        assert_eq!(nonce, GOLDEN);
    }

    #[test]
    fn cut_off_longer_or_no_text_of_ours_is_unreadable() {
        let lease = Lessor::new(&key(1), [1; 16]).lease(key(2).peer_id(), Timestamp(1), [7; 8]);
        let good = Stamp::new(&key(2), [3; 16]).nonce(&lease, ip("192.0.2.1"));
        for cut in 0..good.len() {
            assert_eq!(Nonce::read(&good[..cut]), None, "cut off at {cut}");
        }
        for tail in ["A", "AA", "=", "====", "\0", "é", &good] {
            assert_eq!(Nonce::read(&format!("{good}{tail}")), None, "{tail:?} behind it");
        }
        assert_eq!(Nonce::read(&"é".repeat(good.len() / 2)), None);
        assert!(Nonce::read(&good).is_some());
    }

    const GOLDEN: &str = "AvHRIBJAa4evsn9t0WrAp2_NqlXtAAAAAAAPQkA2KVdLDbABjwcHBwcHBwcH3vFm_BIE-wO6UPq1Dtll9AAAAAAAAAABnmm3PVZHslI2A2Nds0gW7g";
}
