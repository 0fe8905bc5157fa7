//! One hash for a set, kept while members come and go, in whatever order (LtHash, Bellare and Micciancio 1997): each member is
//! expanded to 1,024 numbers of 16 bits, and the set is their sum. Two sets with one sum are a short vector in a lattice,
//! which nobody knows how to find; a plain sum of hashes would be found in an afternoon.

use dots_wire::{Hash, sha256};

const LANES: usize = 1_024;
const LANES_PER_HASH: usize = 16;

pub struct SetHash {
    lanes: Box<[u16; LANES]>,
}

impl Default for SetHash {
    fn default() -> SetHash {
        SetHash { lanes: Box::new([0; LANES]) }
    }
}

impl SetHash {
    /// `member`: the hash of what is in the set.
    pub fn insert(&mut self, member: &Hash) {
        self.change(member, u16::wrapping_add);
    }

    pub fn remove(&mut self, member: &Hash) {
        self.change(member, u16::wrapping_sub);
    }

    /// LOG-11a: lane by lane, 16 lanes of each SHA-256(member || number of the block).
    fn change(&mut self, member: &Hash, change: fn(u16, u16) -> u16) {
        for (lanes, block) in self.lanes.chunks_exact_mut(LANES_PER_HASH).zip(0u8..) {
            let mut seed = [0; 33];
            seed[..32].copy_from_slice(&member.0);
            seed[32] = block;
            let hash = sha256(&seed);
            for (lane, bytes) in lanes.iter_mut().zip(hash.0.chunks_exact(2)) {
                *lane = change(*lane, u16::from_be_bytes([bytes[0], bytes[1]]));
            }
        }
    }

    pub fn root(&self) -> Hash {
        let bytes: Vec<u8> = self.lanes.iter().flat_map(|lane| lane.to_be_bytes()).collect();
        sha256(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// LOG-11a: the same members, the same root, whatever came and went before.
        #[test]
        fn a_set_has_one_root_and_another_set_another(
            members in proptest::collection::btree_set(any::<u8>(), 0..12),
            others in proptest::collection::btree_set(any::<u8>(), 0..12),
            order in any::<u64>(),
        ) {
            let of = |set: &mut dyn Iterator<Item = u8>| {
                let mut hash = SetHash::default();
                set.for_each(|n| hash.insert(&Hash([n; 32])));
                hash
            };
            let plain = of(&mut members.iter().copied());
            let mut wandering = of(&mut others.iter().copied());
            let mut late: Vec<u8> = members.iter().copied().collect();
            if !late.is_empty() {
                let at = usize::try_from(order).unwrap_or(0) % late.len();
                late.rotate_left(at);
            }
            late.iter().for_each(|n| wandering.insert(&Hash([*n; 32])));
            others.iter().for_each(|n| wandering.remove(&Hash([*n; 32])));
            prop_assert_eq!(plain.root(), wandering.root());
            if members != others {
                prop_assert_ne!(plain.root(), of(&mut others.iter().copied()).root());
            }
        }
    }

    /// What a peer of another make must come to.
    #[test]
    fn golden_roots() {
        let mut set = SetHash::default();
        assert_eq!(
            set.root().to_string(),
            "e5a00aa9991ac8a5ee3109844d84a55583bd20572ad3ffcd42792f3c36b183ad"
        );
        set.insert(&Hash([7; 32]));
        assert_eq!(set.root().to_string(), GOLDEN_OF_ONE);
    }

    const GOLDEN_OF_ONE: &str = "727f4204dc1dc43fb1afc6c62832bfa43277bdb8e6bbbdaa2ce8730d0391d264";
}
