//! `dots_wire::decode` under attack: whatever a stranger sends, it refuses without a panic, without deep recursion and
//! without asking for memory that the bytes do not pay for.

#![allow(unsafe_code, reason = "an allocator that counts is unsafe by its trait; it only forwards")]

mod hostile;

use dots_wire::{Hash, PeerId, SecretKey, Signed, decode, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use serde_bytes::ByteBuf;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    sync::atomic::{Ordering, compiler_fence},
};

/// What this thread holds, and the most that it held. Below zero where it has freed what another thread gave it.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().wrapping_add_unsigned(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub_unsigned(layout.size()));
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `f` held at once.
fn peak(f: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    // The compiler takes it that no allocation changes memory of ours.
    compiler_fence(Ordering::SeqCst);
    f();
    compiler_fence(Ordering::SeqCst);
    usize::try_from(PEAK.get() - before).expect("the peak is no lower than the beginning")
}

/// serde reserves at most this much for what a length claims, per list that is open.
const RESERVED_MAX: usize = 1024 * 1024;
/// Lists within lists, in the deepest of our records.
const LISTS_MAX: usize = 3;

/// Decodes all bombs, alone and behind heads that lead into a record's inside.
fn bombard<T: DeserializeOwned>(name: &str) {
    let inside: [&[u8]; 6] = [&[], &[0x81], &[0x82, 0x01], &[0x81, 0x81], &[0xa1, 0x61, b'a'], &[0x9f]];
    for (why, bomb) in hostile::bombs(64 * 1024) {
        for head in inside {
            let bytes = [head, &bomb[..]].concat();
            let held = peak(|| drop(decode::<T>(&bytes)));
            let most = LISTS_MAX * RESERVED_MAX + 4 * bytes.len() + 4_096;
            assert!(held <= most, "{name}: {held} bytes for {why} behind {head:02x?}");
        }
    }
}

/// The worst that a type can be for a decoder: it may hold itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Vec<Tree>),
    Named { a: Box<Option<Tree>> },
}

#[test]
fn no_length_and_no_depth_costs_more_than_its_bytes() {
    bombard::<u64>("u64");
    bombard::<String>("String");
    bombard::<ByteBuf>("ByteBuf");
    bombard::<Vec<u64>>("Vec<u64>");
    bombard::<Vec<Hash>>("Vec<Hash>");
    bombard::<Vec<Signed>>("Vec<Signed>");
    bombard::<Vec<Vec<ByteBuf>>>("Vec<Vec<ByteBuf>>");
    bombard::<BTreeMap<String, Vec<String>>>("map");
    bombard::<Option<(u8, Vec<PeerId>)>>("Option");
    bombard::<Tree>("Tree");
    bombard::<IgnoredAny>("anything");
}

#[test]
fn a_length_that_is_claimed_is_not_reserved() {
    let counted = peak(|| drop(std::hint::black_box(vec![1u8; 5_000])));
    assert!((5_000..6_000).contains(&counted), "the allocator counts {counted}");
    // Nine bytes that claim 2^32 records.
    let bytes = [0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
    let held = peak(|| assert!(decode::<Vec<Signed>>(&bytes).is_err()));
    assert!(held <= RESERVED_MAX + 4_096, "{held} bytes");
}

#[test]
fn depth_ends_before_the_stack_does() {
    let nested = |depth: usize| [vec![0x81; depth], vec![0x80]].concat();
    assert!(decode::<IgnoredAny>(&nested(100)).is_ok());
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let thread = small.spawn(move || decode::<IgnoredAny>(&nested(1 << 20)).is_err());
    assert!(thread.expect("a thread").join().expect("no overflow"), "a million arrays");
}

#[test]
fn records_are_read_whole_or_not_at_all() {
    let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
    let signed = Signed::new(&key, "dots/test/1", &(1u8, "text", Hash([2; 32])));
    type Payload = (u8, String, Hash);
    hostile::attack("signed", &encode(&signed), |b| {
        let read = decode::<Signed>(b);
        read.as_ref().is_ok_and(|s| s.peek::<Payload>().is_ok()) && read.is_ok()
    });
    hostile::attack("peer", &encode(&key.peer_id()), |b| decode::<PeerId>(b).is_ok());
    hostile::attack("hash", &encode(&Hash([1; 32])), |b| decode::<Hash>(b).is_ok());
    let tree = Tree::Node(vec![Tree::Leaf, Tree::Named { a: Box::new(Some(Tree::Node(vec![]))) }]);
    hostile::attack("tree", &encode(&tree), |b| decode::<Tree>(b).is_ok());
}

/// A change here is a new version of every signed record.
#[test]
fn golden_bytes() {
    let key = SecretKey::from_bytes(&[7; 32]).expect("a scalar");
    let signed = Signed::new(&key, "dots/test/1", &(1u8, "text"));
    let hex = data_encoding::HEXLOWER.encode(&encode(&signed));
    assert_eq!(hex, GOLDEN_SIGNED);
    assert_eq!(data_encoding::HEXLOWER.encode(&encode(&key.peer_id())), GOLDEN_PEER);
}

const GOLDEN_SIGNED: &str = "8247820164746578745840e70966523bb833b7e312a561fcd7a6e8f865f6e37a107b2acce53c0254\
    c274093c86cf34c24e3394445c47a75209f5c6dba30c03f0f7c29a9a7a96fe3846be51";
const GOLDEN_PEER: &str = "582102989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f";
