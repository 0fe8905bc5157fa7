//! One space of request ids and append tokens, shared by the parts of a peer: the top byte says whose it is.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Peer,
    Overlay,
    Receipts,
}

const SHIFT: u32 = 56;

pub fn join(owner: Owner, id: u64) -> u64 {
    let tag = match owner {
        Owner::Peer => 1u64,
        Owner::Overlay => 2,
        Owner::Receipts => 3,
    };
    (tag << SHIFT) | (id & ((1 << SHIFT) - 1))
}

pub fn split(id: u64) -> (Owner, u64) {
    let rest = id & ((1 << SHIFT) - 1);
    match id >> SHIFT {
        2 => (Owner::Overlay, rest),
        3 => (Owner::Receipts, rest),
        _ => (Owner::Peer, rest),
    }
}

#[cfg(test)]
#[test]
fn what_is_joined_is_split() {
    for owner in [Owner::Peer, Owner::Overlay, Owner::Receipts] {
        assert_eq!(split(join(owner, 77)), (owner, 77));
    }
}
