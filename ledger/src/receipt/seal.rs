//! Seals: signatures of one key over many records at once.
//!
//! A peer with two hundred calls a second would spend more time on the curve than on calls. Nobody waits for a receipt, so
//! records are signed together: one signature over the root of a Merkle tree, and beside each record its path to that root.
//! A record that is signed alone has a bare signature over its own bytes, as it always had. What a seal proves is the same
//! in both forms: this key signed these bytes, under this domain.

use dots_wire::{
    CborError, Checked, Hash, MerkleTree, PublicKey, SecretKey, Signature, decode, encode, merkle_verify,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};
use std::collections::BTreeMap;

/// Records under one signature: a path of at most ten hashes.
pub const BATCH_MAX: usize = 1_024;

/// RCPT-3a: a signature over the record itself, or over the root of a batch that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Seal {
    Alone(Signature),
    Batch(Box<Place>),
}

/// Where a record stands in its batch, and the signature of the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Place {
    pub index: u32,
    pub count: u32,
    pub path: Vec<Hash>,
    pub root: Hash,
    pub signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seal is not by that key over these bytes")]
pub struct BadSeal;

impl Seal {
    /// Of what is listed to be signed. It holds for nothing.
    const UNMADE: Seal = Seal::Alone(Signature([0; 64]));

    pub fn is_made(&self) -> bool {
        *self != Seal::UNMADE
    }

    /// One signature for all `records`; their seals, in order.
    pub fn all<B: AsRef<[u8]>>(key: &SecretKey, domain: &str, records: &[B]) -> Vec<Seal> {
        debug_assert!(records.len() <= BATCH_MAX, "a batch is cut before it is signed");
        if let [one] = records {
            return vec![Seal::Alone(key.sign(domain, one.as_ref()))];
        }
        let count = u32::try_from(records.len()).expect("a batch is small");
        let tree = MerkleTree::of(records);
        let root = tree.root();
        let signature = key.sign(&batch_domain(domain), &root_bytes(count, &root));
        let place = |index: u32| {
            let path = tree.path(index as usize);
            Seal::Batch(Box::new(Place { index, count, path, root, signature }))
        };
        (0..count).map(place).collect()
    }

    pub fn verify(
        &self,
        checked: &mut Checked,
        key: &PublicKey,
        domain: &str,
        bytes: &[u8],
    ) -> Result<(), BadSeal> {
        let holds = match self {
            Seal::Alone(signature) => checked.holds(key, domain, bytes, signature),
            Seal::Batch(place) => {
                let Place { index, count, path, root, signature } = place.as_ref();
                *count as usize <= BATCH_MAX
                    && merkle_verify(bytes, *index, *count, path, root)
                    && checked.holds(key, &batch_domain(domain), &root_bytes(*count, root), signature)
            }
        };
        if holds { Ok(()) } else { Err(BadSeal) }
    }
}

/// A root is never taken for a record: it has a domain of its own.
fn batch_domain(domain: &str) -> String {
    format!("{domain}/batch")
}

fn root_bytes(count: u32, root: &Hash) -> Vec<u8> {
    encode(&(count, root))
}

/// What is to be signed in one step: listed first, each with a seal in its place that is worth nothing; then sealed all at
/// once, and the seals filled in ([`Seals::fill`]) before anything is written or said.
#[derive(Default)]
pub struct Signer {
    list: Vec<(&'static str, Vec<u8>)>,
}

impl Signer {
    /// How much is listed.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What was listed after the first so many is not to be signed.
    pub fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    /// Lists this record. What stands for its seal until then.
    pub fn seal(&mut self, domain: &'static str, record: &[u8]) -> Seal {
        self.list.push((domain, record.to_owned()));
        Seal::UNMADE
    }

    /// Signs what is listed. Returns also how many signatures it took.
    pub fn sealed(self, key: &SecretKey) -> (Seals, usize) {
        let mut by_domain: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
        for (domain, record) in self.list {
            by_domain.entry(domain).or_default().push(record);
        }
        let (mut seals, mut made) = (Seals::default(), 0);
        for (domain, mut records) in by_domain {
            let sealed = seals.by_domain.entry(domain).or_default();
            while !records.is_empty() {
                let rest = records.split_off(records.len().min(BATCH_MAX));
                made += 1;
                let new = Seal::all(key, domain, &records);
                sealed.extend(std::mem::replace(&mut records, rest).into_iter().zip(new));
            }
        }
        (seals, made)
    }
}

/// The seals of one step, by what they seal.
#[derive(Default)]
pub struct Seals {
    by_domain: BTreeMap<&'static str, BTreeMap<Vec<u8>, Seal>>,
}

impl Seals {
    /// The seal of this record, if it is of this step.
    pub fn fill(&mut self, domain: &str, record: &[u8], seal: &mut Seal) {
        if let Some(made) = self.by_domain.get_mut(domain).and_then(|seals| seals.remove(record)) {
            *seal = made;
        }
    }
}

/// A record as it travels: the exact payload bytes and their seal. CBOR: `[bytes, seal]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Sealed {
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    pub seal: Seal,
}

impl Sealed {
    /// The record, unchecked: to learn who claims to have signed it.
    pub fn peek<T: DeserializeOwned>(&self) -> Result<T, CborError> {
        decode(&self.payload)
    }
}

/// A record with a seal of ours in it.
#[cfg(test)]
pub(crate) trait Fill {
    fn fill(&mut self, seals: &mut Seals);
}

/// Runs `f` as a step does: what it would sign is sealed, and filled in.
#[cfg(test)]
pub(crate) fn sealing<T: Fill>(key: &SecretKey, f: impl Fn(&mut Signer) -> T) -> T {
    let mut list = Signer::default();
    let mut made = f(&mut list);
    made.fill(&mut list.sealed(key).0);
    made
}

#[cfg(test)]
impl Fill for Sealed {
    fn fill(&mut self, seals: &mut Seals) {
        seals.fill(super::CLAIM_DOMAIN, &self.payload, &mut self.seal);
    }
}

#[cfg(test)]
impl Fill for super::HalfSigned {
    fn fill(&mut self, seals: &mut Seals) {
        seals.fill(super::RECEIPT_DOMAIN, &self.receipt, &mut self.seal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "dots/test/1";

    fn key(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).expect("a scalar")
    }

    /// RCPT-3a.
    #[test]
    fn one_signature_seals_many_and_each_holds_by_itself() {
        for size in [1, 2, 3, 100, BATCH_MAX] {
            let records: Vec<Vec<u8>> = (0..size).map(|n| format!("record {n}").into_bytes()).collect();
            let seals = Seal::all(&key(1), DOMAIN, &records);
            let mut checked = Checked::default();
            for (record, seal) in records.iter().zip(&seals) {
                assert_eq!(decode::<Seal>(&encode(seal)).as_ref(), Ok(seal));
                assert_eq!(seal.verify(&mut checked, &key(1).public(), DOMAIN, record), Ok(()));
            }
            assert_eq!(checked.take_count(), 1, "one thing was signed for {size}");
        }
    }

    /// What was listed and given up again has no seal, and no other record's is put in its place.
    #[test]
    fn what_is_listed_is_sealed_and_nothing_else() {
        let mut list = Signer::default();
        let mut seals: Vec<Seal> =
            [b"one", b"two", b"off"].iter().map(|record| list.seal(DOMAIN, *record)).collect();
        assert!(seals.iter().all(|seal| !seal.is_made()));
        list.truncate(2);
        let (mut sealed, made) = list.sealed(&key(1));
        assert_eq!(made, 1);
        for (record, seal) in [b"one", b"two", b"off"].iter().zip(&mut seals) {
            sealed.fill("dots/test/2", *record, seal);
            assert!(!seal.is_made(), "another domain");
            sealed.fill(DOMAIN, *record, seal);
        }
        assert_eq!(seals.iter().map(Seal::is_made).collect::<Vec<_>>(), [true, true, false]);
        for (record, seal) in [b"one", b"two"].iter().zip(&seals) {
            let holds = seal.verify(&mut Checked::default(), &key(1).public(), DOMAIN, *record);
            assert_eq!(holds, Ok(()));
        }
    }

    #[test]
    fn a_seal_is_good_for_its_own_record_key_and_domain_only() {
        let records = [b"one".as_slice(), b"two", b"three"];
        let seals = Seal::all(&key(1), DOMAIN, &records);
        let check = |seal: &Seal, key: &PublicKey, domain: &str, record: &[u8]| {
            seal.verify(&mut Checked::default(), key, domain, record).is_ok()
        };
        let mine = key(1).public();
        assert!(check(&seals[0], &mine, DOMAIN, b"one"));
        for (why, seal, key, domain, record) in [
            ("another record", &seals[0], mine, DOMAIN, &b"two"[..]),
            ("another key", &seals[0], key(2).public(), DOMAIN, b"one"),
            ("another domain", &seals[0], mine, "dots/test/2", b"one"),
            ("the domain of the root", &seals[0], mine, "dots/test/1/batch", b"one"),
        ] {
            assert!(!check(seal, &key, domain, record), "{why}");
        }
        let Seal::Batch(place) = &seals[0] else { panic!("a batch") };
        let changed = |change: fn(&mut Place)| {
            let mut place = place.clone();
            change(&mut place);
            Seal::Batch(place)
        };
        for (why, seal) in [
            ("another place", changed(|p| p.index = 1)),
            ("another size", changed(|p| p.count = 4)),
            ("a shorter path", changed(|p| p.path.truncate(1))),
            ("another root", changed(|p| p.root = Hash([0; 32]))),
            ("a batch beyond all bounds", changed(|p| p.count = u32::MAX)),
        ] {
            assert!(!check(&seal, &mine, DOMAIN, b"one"), "{why}");
        }
        // Who signs a record of its choice has signed no batch, and the other way round.
        let root = Seal::Alone(place.signature);
        assert!(!check(&root, &mine, DOMAIN, &root_bytes(place.count, &place.root)));
    }
}
