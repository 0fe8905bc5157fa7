use super::*;
use proptest::prelude::*;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

fn open(dir: &Path) -> (SegmentStore, Recovered) {
    SegmentStore::open_with(dir.to_owned(), 200).expect("a store")
}
fn all(store: &SegmentStore) -> Vec<Vec<u8>> {
    store.iter_from(Position::START).map(|r| r.expect("readable").1).collect()
}
fn fill(dir: &Path, records: &[&[u8]]) -> Vec<Position> {
    let (mut store, _) = open(dir);
    let positions = store.append_all(records.iter().copied()).expect("written");
    store.sync().expect("synced");
    positions
}
fn newest(dir: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir).expect("a dir").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files.pop().expect("a segment")
}

/// DISK-4.
#[test]
fn what_was_appended_is_read_back_across_segments_and_openings() {
    let dir = tempfile::tempdir().expect("a dir");
    let dir = dir.path().join("new/log");
    let records: Vec<Vec<u8>> = (0..50u8).map(|i| vec![i; usize::from(i) * 3]).collect();
    let mut positions = Vec::new();
    for record in &records {
        let (mut store, found) = open(&dir);
        assert_eq!((found.records, found.torn, found.damaged.len()), (positions.len() as u64, 0, 0));
        positions.push(store.append(record).expect("written"));
    }
    let (store, _) = open(&dir);
    assert!(store.end().segment > 10, "records of up to 147 bytes in segments of 200");
    assert_eq!(all(&store), records);
    for (i, at) in positions.iter().enumerate() {
        assert_eq!(store.read(*at).expect("there"), records[i]);
        assert_eq!(store.iter_from(*at).count(), records.len() - i);
        assert_eq!(Position::from_bytes(&at.to_bytes()), Some(*at));
    }
    assert_eq!(store.iter_from(store.end()).count(), 0);
    let mode = |p: &Path| fs::metadata(p).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&newest(&dir))), (0o700, 0o600));
}

/// DISK-5.
#[test]
fn a_write_torn_at_any_byte_loses_that_record_only() {
    let dir = tempfile::tempdir().expect("a dir");
    fill(dir.path(), &[b"one", b"two"]);
    let file = newest(dir.path());
    let before = fs::metadata(&file).expect("there").len();
    fill(dir.path(), &[b"the third, torn"]);
    let whole = fs::read(&file).expect("readable");
    for cut in before..whole.len() as u64 {
        fs::write(&file, &whole[..cut as usize]).expect("written");
        let (mut store, found) = open(dir.path());
        assert_eq!((found.records, found.torn), (2, cut - before), "cut at {cut}");
        assert!(found.damaged.is_empty());
        store.append(b"after").expect("written");
        drop(store);
        let (store, found) = open(dir.path());
        assert_eq!((all(&store), found.torn), (vec![b"one".to_vec(), b"two".to_vec(), b"after".to_vec()], 0));
    }
    // Blocks that were allocated but never written read as zeros.
    fs::write(&file, [&whole[..before as usize], &[0; 64][..]].concat()).expect("written");
    assert_eq!(open(dir.path()).1.torn, 64);
}

#[test]
fn a_header_torn_at_any_byte_is_written_again() {
    for cut in 0..record::HEADER {
        let dir = tempfile::tempdir().expect("a dir");
        fill(dir.path(), &[&[1; 150], &[2; 150]]);
        let file = newest(dir.path());
        let whole = fs::read(&file).expect("readable");
        fs::write(&file, &whole[..cut]).expect("written");
        let (mut store, found) = open(dir.path());
        assert_eq!((found.records, found.torn, found.damaged.len()), (1, cut as u64, 0));
        store.append(b"after").expect("written");
        assert_eq!(all(&store), [vec![1; 150], b"after".to_vec()]);
    }
}

/// DISK-5: what is damaged is told and kept.
#[test]
fn a_flipped_bit_in_the_middle_is_reported_and_hides_one_record_only() {
    let dir = tempfile::tempdir().expect("a dir");
    let positions = fill(dir.path(), &[b"first", b"second", b"third"]);
    let file = newest(dir.path());
    let whole = fs::read(&file).expect("readable");
    let (start, end) = (positions[1].offset as usize, positions[2].offset as usize);
    for bit in start * 8..end * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bytes).expect("written");
        let (store, found) = open(dir.path());
        assert_eq!(all(&store), [b"first".to_vec(), b"third".to_vec()], "bit {bit}");
        assert_eq!(found.damaged, [Damage { at: positions[1], bytes: (end - start) as u64 }]);
        assert!(matches!(store.read(positions[1]), Err(DiskError::NoRecord(_))));
        assert_eq!(fs::read(&file).expect("readable"), bytes, "damage is kept as it is");
    }
}

#[test]
fn a_torn_segment_that_is_not_the_newest_is_damage() {
    let dir = tempfile::tempdir().expect("a dir");
    fill(dir.path(), &[b"a", &[1; 150], &[2; 150]]);
    let first = store::path(dir.path(), 1);
    let whole = fs::read(&first).expect("readable");
    fs::write(&first, &whole[..whole.len() - 1]).expect("written");
    let (store, found) = open(dir.path());
    assert_eq!((found.records, found.damaged.len()), (2, 1));
    assert_eq!(all(&store), [b"a".to_vec(), vec![2; 150]]);
}

/// DISK-6.
#[test]
fn a_rewrite_is_all_or_nothing() {
    let dir = tempfile::tempdir().expect("a dir");
    fill(dir.path(), &[b"old", &[1; 150], &[2; 150]]);
    // A crash before the rename: the old records.
    fs::write(dir.path().join("base.tmp"), b"half").expect("written");
    let (mut store, _) = open(dir.path());
    assert_eq!(all(&store).len(), 3);
    let void = fs::read(store::path(dir.path(), 1)).expect("readable");
    store.rewrite([&b"new"[..], b"er"]).expect("rewritten");
    let at = store.append(b"after").expect("written");
    assert_eq!(store.read(at).expect("there"), b"after");
    let new = [b"new".to_vec(), b"er".to_vec(), b"after".to_vec()];
    assert_eq!(all(&store), new);
    // A crash after the rename and before the removal: the new ones.
    fs::write(store::path(dir.path(), 1), void).expect("written");
    let (store, _) = open(dir.path());
    assert_eq!(all(&store), new);
    assert_eq!(fs::read_dir(dir.path()).expect("a dir").count(), 1);
}

#[test]
fn too_long_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().expect("a dir");
    let (mut store, _) = SegmentStore::open(dir.path()).expect("a store");
    assert!(matches!(store.append(&vec![0; RECORD_BYTES_MAX + 1]), Err(DiskError::TooLong(_))));
    store.append(&vec![0; RECORD_BYTES_MAX]).expect("just fits");
    assert_eq!(all(&store).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is done to the bytes: no panic, and every record that is read was once appended.
    #[test]
    fn nothing_is_invented(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().expect("a dir");
        fill(dir.path(), &records.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let file = newest(dir.path());
        let mut bytes = fs::read(&file).expect("readable");
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        fs::write(&file, bytes).expect("written");
        let (store, _) = open(dir.path());
        for record in all(&store) {
            prop_assert!(records.contains(&record));
        }
    }
}

/// A change here is a new magic number, or a CHANGELOG line before the first release (DISK-2, DISK-3).
#[test]
fn golden_bytes() {
    let dir = tempfile::tempdir().expect("a dir");
    let (mut store, _) = SegmentStore::open(dir.path()).expect("a store");
    let at = store.append_all([&b"one"[..], b""]).expect("written");
    let hex = |n| data_encoding::HEXLOWER.encode(&fs::read(store::path(dir.path(), n)).expect("readable"));
    assert_eq!(hex(1), format!("{GOLDEN_HEADER}{GOLDEN_ONE}{GOLDEN_EMPTY}"));
    assert_eq!(data_encoding::HEXLOWER.encode(&at[1].to_bytes()), "00000001000000000000001f");
    store.rewrite([&b"one"[..]]).expect("rewritten");
    assert_eq!(hex(2), format!("{GOLDEN_BASE}{GOLDEN_ONE_IN_2}"));
}

const GOLDEN_HEADER: &str = "444f5453534547310100000000000000b84201a6";
const GOLDEN_ONE: &str = "03000000b2230c016f6e65";
const GOLDEN_EMPTY: &str = "00000000e6b462b1";
const GOLDEN_BASE: &str = "444f5453534547310200000001000000696f00a0";
const GOLDEN_ONE_IN_2: &str = "030000006a80adcf6f6e65";
