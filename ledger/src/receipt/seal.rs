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

/// What is to be signed in one step: listed on a trial, sealed all at once, then handed out.
pub enum Signer {
    Listing(Vec<(&'static str, Vec<u8>)>),
    Sealed(BTreeMap<(&'static str, Vec<u8>), Seal>),
}

impl Signer {
    pub fn listing() -> Signer {
        Signer::Listing(Vec::new())
    }

    /// Takes over what `other` has listed.
    pub fn append(&mut self, other: Signer) {
        match (self, other) {
            (Signer::Listing(list), Signer::Listing(more)) => list.extend(more),
            _ => debug_assert!(false, "only lists are joined"),
        }
    }

    /// Signs what was listed. Returns also how many signatures it took.
    pub fn sealed(self, key: &SecretKey) -> (Signer, usize) {
        let Signer::Listing(list) = self else { return (self, 0) };
        let mut by_domain: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
        for (domain, record) in list {
            by_domain.entry(domain).or_default().push(record);
        }
        let (mut seals, mut made) = (BTreeMap::new(), 0);
        for (domain, records) in by_domain {
            for batch in records.chunks(BATCH_MAX) {
                made += 1;
                let names = batch.iter().map(|record| (domain, record.clone()));
                seals.extend(names.zip(Seal::all(key, domain, batch)));
            }
        }
        (Signer::Sealed(seals), made)
    }

    /// The seal of this record; on a trial one that is worth nothing.
    pub fn seal(&mut self, domain: &'static str, record: &[u8]) -> Seal {
        match self {
            Signer::Listing(list) => {
                list.push((domain, record.to_owned()));
                Seal::Alone(Signature([0; 64]))
            }
            Signer::Sealed(seals) => {
                let name = (domain, record.to_owned());
                seals.remove(&name).expect("what is signed was listed on the trial")
            }
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

/// Runs `f` as a step does: on a trial, and again when what it would sign is sealed.
#[cfg(test)]
pub(crate) fn sealing<T>(key: &SecretKey, f: impl Fn(&mut Signer) -> T) -> T {
    let mut list = Signer::listing();
    f(&mut list);
    f(&mut list.sealed(key).0)
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
