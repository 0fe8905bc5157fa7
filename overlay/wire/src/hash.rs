//! SHA-256, HMAC-SHA-256 and the one Merkle tree that batches, entries and checkpoints share
//! (leaves and nodes are hashed with different tags; an odd node moves up unpaired).

use crate::Hash;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Hash {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(bytes);
    Hash(mac.finalize().into_bytes().into())
}

/// A key under which many are hashed: what HMAC makes of the key is made once (two of five blocks of a nonce).
#[derive(Clone)]
pub struct MacKey(Hmac<Sha256>);

impl MacKey {
    pub fn new(key: &[u8]) -> MacKey {
        MacKey(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// [`hmac_sha256`] of these parts, one behind the other.
    pub fn of(&self, parts: &[&[u8]]) -> Hash {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        Hash(mac.finalize().into_bytes().into())
    }
}

fn leaf(bytes: &[u8]) -> Hash {
    Hash(Sha256::new_with_prefix([0]).chain_update(bytes).finalize().into())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Root over `leaves` (their bytes, in order); the hash of nothing for no leaf.
pub fn merkle_root<B: AsRef<[u8]>>(leaves: &[B]) -> Hash {
    MerkleTree::of(leaves).root()
}

/// The tree over some leaves. Whoever wants the paths of all of them hashes each leaf once, and each pair once: a path asked of
/// the leaves alone would hash them all, and a batch of a thousand would hash a million.
pub struct MerkleTree {
    /// The leaves, their parents, and so on up to the root; nothing for no leaf.
    rows: Vec<Vec<Hash>>,
}

impl MerkleTree {
    pub fn of<B: AsRef<[u8]>>(leaves: &[B]) -> MerkleTree {
        let mut row: Vec<Hash> = leaves.iter().map(|l| leaf(l.as_ref())).collect();
        let mut rows = Vec::new();
        while row.len() > 1 {
            let above = row.chunks(2).map(|c| if let [l, r] = c { node(l, r) } else { c[0] }).collect();
            rows.push(std::mem::replace(&mut row, above));
        }
        rows.push(row);
        MerkleTree { rows }
    }

    pub fn root(&self) -> Hash {
        self.rows.last().and_then(|row| row.first()).copied().unwrap_or_else(|| sha256(&[]))
    }

    /// The siblings from leaf `index` up to the root.
    pub fn path(&self, mut index: usize) -> Vec<Hash> {
        let mut path = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            path.extend(row.get(index ^ 1).copied());
            index /= 2;
        }
        path
    }
}

/// Whether `bytes` is leaf `index` of `count` under `root`.
pub fn merkle_verify(bytes: &[u8], mut index: u32, mut count: u32, path: &[Hash], root: &Hash) -> bool {
    if index >= count {
        return false;
    }
    let mut at = leaf(bytes);
    let mut path = path.iter();
    while count > 1 {
        if index ^ 1 < count {
            let Some(sibling) = path.next() else { return false };
            at = if index & 1 == 0 { node(&at, sibling) } else { node(sibling, &at) };
        }
        index /= 2;
        count = count.div_ceil(2);
    }
    path.next().is_none() && at == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn every_leaf_of_every_small_tree_has_a_path_and_no_other_place() {
        for count in 1..20usize {
            let leaves: Vec<Vec<u8>> = (0..count).map(|i| vec![i as u8; 3]).collect();
            let tree = MerkleTree::of(&leaves);
            let root = tree.root();
            for (i, leaf) in leaves.iter().enumerate() {
                let path = tree.path(i);
                assert!(merkle_verify(leaf, i as u32, count as u32, &path, &root));
                assert!(!merkle_verify(b"other", i as u32, count as u32, &path, &root));
                assert!(!merkle_verify(leaf, (i + 1) as u32, count as u32, &path, &root) || count == 1);
            }
        }
    }

    /// A leaf that counts how often its bytes are looked at.
    struct Looked<'a>(&'a Cell<usize>);

    impl AsRef<[u8]> for Looked<'_> {
        fn as_ref(&self) -> &[u8] {
            self.0.set(self.0.get() + 1);
            b"leaf"
        }
    }

    #[test]
    fn all_paths_of_a_batch_hash_each_leaf_once() {
        let looks = Cell::new(0);
        let leaves: Vec<Looked<'_>> = (0..1_000).map(|_| Looked(&looks)).collect();
        let tree = MerkleTree::of(&leaves);
        let paths: usize = (0..1_000).map(|i| tree.path(i).len()).sum();
        assert_eq!((looks.get(), tree.root() == Hash([0; 32])), (1_000, false));
        assert!(paths <= 10 * 1_000);
    }
}
