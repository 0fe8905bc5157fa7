//! What a table holds that is full of entries, small or the largest, of one cause or of one cause each, beside what it says.

mod held;

use dots_wire::bounded::{Cache, Cause, Limits, Promises, Standing, Weight};

const BYTES: usize = 8 << 20;

/// From one network each, or all from one account.
#[derive(Clone, Copy, Debug)]
enum Causes {
    One,
    Each,
}

impl Causes {
    fn of(self, n: u64) -> Cause {
        match self {
            Causes::One => Cause { network: 1, ..Cause::new(Standing::Other) },
            Causes::Each => Cause { network: n, realm: n, who: n, ..Cause::new(Standing::Other) },
        }
    }
}

/// Bytes that the table accounts for, and those that it really holds.
fn cache<K: Ord + Clone + Weight, V: Weight>(causes: Causes, make: impl Fn(u64) -> (K, V)) -> (usize, usize) {
    let before = held::chunks();
    let mut table = Cache::new(Limits::new(BYTES, 1 << 20));
    for n in 1.. {
        let (key, value) = make(n);
        if !table.insert(causes.of(n), key, value).evicted.is_empty() {
            break;
        }
    }
    (table.bytes(), held::chunks() - before)
}

fn promises<K: Ord + Weight, V: Weight>(causes: Causes, make: impl Fn(u64) -> (K, V)) -> (usize, usize) {
    let before = held::chunks();
    let mut table = Promises::new(Limits::new(BYTES, 1 << 20));
    for n in 1.. {
        let (key, value) = make(n);
        if table.insert(causes.of(n), key, value).is_err() {
            break;
        }
    }
    (table.bytes(), held::chunks() - before)
}

/// The allocator's bytes are no less than 80 and no more than so many percent of those accounted for. 120 is what is wanted;
/// where it is more, a cause's own places and the copy of a key are what is not charged yet.
#[test]
fn a_full_table_holds_about_what_it_accounts_for() {
    let text = |n: u64, len: usize| format!("{n:0len$}");
    let mut wrong = Vec::new();
    for (what, one, each) in [
        ("cache, a number", (120, cache(Causes::One, |n| (n, ()))), (370, cache(Causes::Each, |n| (n, ())))),
        (
            "cache, two names",
            (140, cache(Causes::One, |n| (text(n, 40), text(n, 200)))),
            (190, cache(Causes::Each, |n| (text(n, 40), text(n, 200)))),
        ),
        (
            "cache, 4 KiB",
            (120, cache(Causes::One, |n| (n, vec![7u8; 4_096]))),
            (120, cache(Causes::Each, |n| (n, vec![7u8; 4_096]))),
        ),
        (
            "promises, a number",
            (135, promises(Causes::One, |n| (n, ()))),
            (270, promises(Causes::Each, |n| (n, ()))),
        ),
        (
            "promises, two names",
            (125, promises(Causes::One, |n| (text(n, 40), text(n, 200)))),
            (145, promises(Causes::Each, |n| (text(n, 40), text(n, 200)))),
        ),
        (
            "promises, 4 KiB",
            (120, promises(Causes::One, |n| (n, vec![7u8; 4_096]))),
            (120, promises(Causes::Each, |n| (n, vec![7u8; 4_096]))),
        ),
    ] {
        for (causes, (most, (accounted, held))) in [(Causes::One, one), (Causes::Each, each)] {
            let percent = held * 100 / accounted;
            println!("{what}, {causes:?}: {held} B held, {accounted} B accounted for: {percent} %");
            if !(80..=most).contains(&percent) {
                wrong.push(format!("{what}, {causes:?}: {percent} %"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
