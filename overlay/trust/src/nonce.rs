//! Nonces of a home: stateless to mint, bound to the serving peer that shows them, dead after 300 s, used once per count.
//!
//! Which counts were used is not on disk. So the MAC's key is made anew at each start: a nonce of an earlier life is not
//! ours, and an answer that was used before a crash is worth nothing after it.
//!
//! `ver(1) | home label(20) | time ms(8) | SHA-256(serving PeerId)[..8] | random(8) | HMAC(home key)[..16]` as URL-safe
//! base64. Only the home can check one, so a serving peer can neither make nor refresh one.

use dots_wire::{Hash, PeerId, SecretKey, Timestamp, hmac_sha256, sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

pub const NONCE_LIFE: Duration = Duration::from_secs(300);
/// (nonce, count) pairs remembered; they are forgotten with their nonce.
const USED_MAX: usize = 200_000;
const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 20 + 8 + 8 + 8;
const MAC_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceCheck {
    Fresh,
    /// Ours, but too old.
    Stale,
    /// Ours and fresh, but this count was used before (or we can remember no more): ask again with a new one.
    Replayed,
    /// Not ours, or for another serving peer.
    Forged,
}

pub struct Minter {
    key: Hash,
    home: PeerId,
    /// Highest count seen per nonce, and the nonces by age.
    used: BTreeMap<[u8; MAC_BYTES], u32>,
    order: VecDeque<(Timestamp, [u8; MAC_BYTES])>,
}

impl Minter {
    /// `life`: random, new at every start.
    pub fn new(home: &SecretKey, life: [u8; 16]) -> Minter {
        let key = hmac_sha256(home.to_bytes().as_slice(), &[&b"dots/nonce/1"[..], &life].concat());
        Minter { key, home: home.peer_id(), used: BTreeMap::new(), order: VecDeque::new() }
    }

    pub fn mint(&self, serving: PeerId, now: Timestamp, random: [u8; 8]) -> String {
        let mut bytes = self.prefix(serving, now);
        bytes.extend_from_slice(&random);
        let mac = hmac_sha256(&self.key.0, &bytes);
        bytes.extend_from_slice(mac.0.get(..MAC_BYTES).unwrap_or_default());
        data_encoding::BASE64URL_NOPAD.encode(&bytes)
    }

    /// Is it ours, for this serving peer, and young? Remembers nothing, so that guesses cost no place.
    pub fn look(&self, nonce: &str, serving: PeerId, now: Timestamp) -> NonceCheck {
        match self.open(nonce, serving) {
            None => NonceCheck::Forged,
            Some((minted, _)) if now.since(minted) > NONCE_LIFE => NonceCheck::Stale,
            Some(_) => NonceCheck::Fresh,
        }
    }

    /// Checks and, where it is fresh, uses up (nonce, count): counts must rise (RFC 7616 §3.4). For right answers only.
    pub fn check(&mut self, nonce: &str, count: u32, serving: PeerId, now: Timestamp) -> NonceCheck {
        let Some((minted, mac)) = self.open(nonce, serving) else { return NonceCheck::Forged };
        if now.since(minted) > NONCE_LIFE {
            return NonceCheck::Stale;
        }
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > NONCE_LIFE) {
            if let Some((_, old)) = self.order.pop_front() {
                self.used.remove(&old);
            }
        }
        let full = self.used.len() >= USED_MAX;
        match self.used.get_mut(&mac) {
            Some(seen) if *seen >= count => NonceCheck::Replayed,
            Some(seen) => {
                *seen = count;
                NonceCheck::Fresh
            }
            None if full => NonceCheck::Replayed,
            None => {
                self.used.insert(mac, count);
                // Ordered by first use; minted before that, so it is stale when it leaves.
                self.order.push_back((now, mac));
                NonceCheck::Fresh
            }
        }
    }

    fn open(&self, nonce: &str, serving: PeerId) -> Option<(Timestamp, [u8; MAC_BYTES])> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(nonce.as_bytes()).ok()?;
        let (body, seen) = bytes.split_at_checked(BODY_BYTES)?;
        let seen = <[u8; MAC_BYTES]>::try_from(seen).ok()?;
        let expected = hmac_sha256(&self.key.0, body);
        let same = seen.iter().zip(&expected.0).fold(0u8, |d, (a, b)| d | (a ^ b)) == 0;
        let minted = Timestamp(u64::from_be_bytes(body.get(21..29)?.try_into().ok()?));
        let ours = body.get(..37)? == self.prefix(serving, minted).as_slice();
        (same && ours).then_some((minted, seen))
    }

    fn prefix(&self, serving: PeerId, time: Timestamp) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.home.0.label().0);
        bytes.extend_from_slice(&time.0.to_be_bytes());
        bytes.extend_from_slice(sha256(&serving.to_bytes()).0.get(..8).unwrap_or_default());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_once_per_count_stale_later_forged_elsewhere() {
        let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
        let (home, b, c) = (key(1), key(2).peer_id(), key(3).peer_id());
        let mut minter = Minter::new(&home, [1; 16]);
        let t0 = Timestamp(1_000_000);
        let nonce = minter.mint(b, t0, [7; 8]);
        let later = |s| t0.plus(Duration::from_secs(s));
        assert_eq!(minter.check(&nonce, 1, b, later(1)), NonceCheck::Fresh);
        assert_eq!(minter.check(&nonce, 1, b, later(1)), NonceCheck::Replayed);
        assert_eq!(minter.check(&nonce, 3, b, later(2)), NonceCheck::Fresh);
        assert_eq!(minter.check(&nonce, 2, b, later(2)), NonceCheck::Replayed, "counts rise");
        assert_eq!(minter.check(&nonce, 4, b, later(301)), NonceCheck::Stale);
        assert_eq!(minter.check(&nonce, 4, c, later(1)), NonceCheck::Forged, "minted for another peer");
        let mut other = Minter::new(&key(9), [1; 16]);
        assert_eq!(other.check(&nonce, 1, b, t0), NonceCheck::Forged, "another home's");
        let mut restarted = Minter::new(&home, [2; 16]);
        assert_eq!(restarted.check(&nonce, 4, b, later(1)), NonceCheck::Forged, "of an earlier life");
        for at in 0..nonce.len() {
            let mut bytes = nonce.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(minter.check(&changed, 9, b, later(1)), NonceCheck::Forged, "changed at {at}");
        }
        assert_eq!(minter.check("", 1, b, t0), NonceCheck::Forged);
    }

    /// A change here is a new version of the nonce: old ones are then forged, and phones are challenged once more.
    #[test]
    fn golden_bytes() {
        let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
        let nonce = Minter::new(&key(1), [1; 16]).mint(key(2).peer_id(), Timestamp(1_000_000), [7; 8]);
        assert_eq!(nonce, GOLDEN);
    }

    #[test]
    fn of_another_version_cut_off_or_longer_is_forged() {
        let key = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar");
        let (b, now) = (key(2).peer_id(), Timestamp(1_000_000));
        let mut minter = Minter::new(&key(1), [1; 16]);
        let mut bytes = minter.prefix(b, now);
        bytes[0] = VERSION + 1;
        bytes.extend([7; 8]);
        let mac = hmac_sha256(&minter.key.0, &bytes);
        bytes.extend(&mac.0[..MAC_BYTES]);
        let newer = data_encoding::BASE64URL_NOPAD.encode(&bytes);
        assert_eq!(minter.check(&newer, 1, b, now), NonceCheck::Forged, "with a MAC of ours");
        let good = minter.mint(b, now, [7; 8]);
        for cut in 0..good.len() {
            assert_eq!(minter.check(&good[..cut], 1, b, now), NonceCheck::Forged, "cut off at {cut}");
        }
        for tail in ["A", "AA", "=", "====", "\0", "é", &good] {
            let longer = format!("{good}{tail}");
            assert_eq!(minter.check(&longer, 1, b, now), NonceCheck::Forged, "{tail:?} behind it");
        }
        assert_eq!(minter.check(&good, 1, b, now), NonceCheck::Fresh);
    }

    const GOLDEN: &str = "AfHRIBJAa4evsn9t0WrAp2_NqlXtAAAAAAAPQkA2KVdLDbABjwcHBwcHBwcHefwy7R9ryfrhge51cjBccA";
}
