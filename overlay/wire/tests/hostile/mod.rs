//! What a stranger may send instead of a record. Each crate that decodes bytes from outside takes this file into its
//! tests (`#[path]`) and lets [`attack`] loose on every reader that it has.

/// Longer than any record of ours, and all that a request or a frame may hold.
const LONG: usize = 64 * 1024;

/// Reads `good` and then everything bad that can be made of it. `read` says whether it took the bytes; that it does
/// not panic, whatever they are, is half of the test.
pub fn attack(why: &str, good: &[u8], mut read: impl FnMut(&[u8]) -> bool) {
    assert!(read(good), "{why}: the record itself is refused");
    for cut in 0..good.len() {
        assert!(!read(&good[..cut]), "{why}: read though cut off at {cut}");
    }
    for tail in [&[0][..], &[0xf6], &[0xff], &[0x80], good] {
        assert!(!read(&[good, tail].concat()), "{why}: read with {tail:02x?} behind it");
    }
    for (bomb, bytes) in bombs(LONG) {
        assert!(!read(&bytes), "{why}: read {bomb}");
    }
    // A flipped bit or a bomb in place of any item may give another record, if it breaks no rule.
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        read(&bytes);
    }
    let small = bombs(300);
    for at in 0..good.len() {
        // A third of them at each place, in turn: most items of a record stand at more than one.
        for (_, bomb) in small.iter().skip(at % 3).step_by(3) {
            read(&[&good[..at], bomb, good.get(at + 1..).unwrap_or_default()].concat());
        }
    }
    edited(good, &mut read);
}

/// Several edits at once: bytes changed, taken out, put in. The same ones in each run.
fn edited(good: &[u8], read: &mut impl FnMut(&[u8]) -> bool) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    for _ in 0..2_000 {
        let mut bytes = good.to_vec();
        for _ in 0..1 + random(5) {
            let (at, byte) = (random(bytes.len()), random(256) as u8);
            match random(3) {
                0 => bytes.insert(at, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes[at] = byte,
            }
        }
        read(&bytes);
    }
}

/// CBOR that claims more than it brings, is nested as deep as `len` allows, never ends, or is none at all.
pub fn bombs(len: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (kind, name) in [(2u8, "bytes"), (3, "text"), (4, "an array"), (5, "a map")] {
        let head = kind << 5;
        for (size, claim) in [
            (0x1a, &[0xff; 4][..]),
            (0x1b, &[0xff; 8]),
            (0x1b, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (0x1b, &[0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let empty = [&[head | size], claim].concat();
            all.push((format!("{name} of {claim:02x?} items without one"), empty.clone()));
            all.push((format!("{name} of {claim:02x?} items with some"), [empty, vec![0; len]].concat()));
        }
        all.push((format!("{name} without an end"), vec![head | 0x1f]));
        all.push((format!("{name} of empty {name} without an end"), filled(&[head | 0x1f], &[head], len)));
        all.push((format!("{name} of a reserved length"), vec![head | 0x1c]));
    }
    for (name, unit) in [
        ("arrays", &[0x81][..]),
        ("arrays without end", &[0x9f]),
        ("maps", &[0xa1, 0x00]),
        ("maps under a name", &[0xa1, 0x61, b'a']),
        ("maps without end", &[0xbf, 0x00]),
        ("tags", &[0xc0]),
        ("long tags", &[0xdb, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("arrays that claim", &[0x9b, 0, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        all.push((format!("{name} in {name}"), filled(&[], unit, len)));
    }
    let closed = [vec![0x81; len / 2], vec![0x80]].concat();
    all.push(("arrays in arrays, well formed".into(), closed));
    for (name, bytes) in [
        ("nothing", &[][..]),
        ("a break", &[0xff]),
        ("null", &[0xf6]),
        ("undefined", &[0xf7]),
        ("not a number", &[0xf9, 0x7e, 0x00]),
        ("infinity", &[0xfa, 0x7f, 0x80, 0, 0]),
        ("a negative number beyond 64 bits", &[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("an empty array", &[0x80]),
        ("an empty map", &[0xa0]),
        ("a choice with an unknown name", &[0xa1, 0x61, b'?', 0x80]),
        ("a choice by number", &[0xa1, 0x18, 0xff, 0x80]),
        ("text that is not UTF-8", &[0x62, 0xc3, 0x28]),
    ] {
        all.push((name.into(), bytes.to_vec()));
    }
    all
}

fn filled(start: &[u8], unit: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = start.to_vec();
    while bytes.len() < len {
        bytes.extend_from_slice(unit);
    }
    bytes
}
