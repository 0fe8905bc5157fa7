use super::{
    accounts::effect,
    index::{Effect, Index},
    *,
};
use crate::peer::{account::Account, golden::hostile::attack, output::Stream};
use dots_trust::accounts::Change;
use dots_wire::{disk::SegmentStore, encode};
use std::{collections::VecDeque, fs, path::Path, time::Instant};

fn alice(password: &str) -> Account {
    account("alice@a.test", password, true, 7).expect("a good account")
}
fn numbered(range: std::ops::Range<u32>) -> impl Iterator<Item = Account> {
    let pattern = alice("x");
    range.map(move |n| Account { aor: format!("u{n:06}@a.test"), ..pattern.clone() })
}
fn import(store: &AccountStore, accounts: impl Iterator<Item = Account>) -> Result<Vec<Account>, StoreError> {
    store.import(accounts.map(Imported::from), true)
}
fn filled(dir: &Path, range: std::ops::Range<u32>) {
    let store = AccountStore::open(dir).expect("opens");
    import(&store, numbered(range)).expect("imported");
}
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a dir") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}
/// Opens, checks that exactly `count` accounts are there and every one is found, and says how the index was found.
fn opened(dir: &Path, count: u32) -> Opened {
    let store = AccountStore::open(dir).expect("opens");
    assert_eq!(store.len(), u64::from(count));
    for n in 0..count {
        let aor = format!("u{n:06}@a.test");
        assert_eq!(
            store.get(&aor).expect("readable"),
            store.look_up(&aor),
            "the book says what the disk says"
        );
        assert_eq!(store.get(&aor).expect("readable").map(|a| a.aor), Some(aor));
    }
    assert_eq!(store.list(None, usize::MAX).expect("listed").len(), count as usize);
    store.opened()
}

#[test]
fn an_account_is_put_changed_listed_and_removed_and_all_that_survives() {
    let dir = tempfile::tempdir().expect("a dir");
    let mut store = AccountStore::open(dir.path()).expect("opens");
    assert!(!store.put(&alice("one")).expect("put"));
    assert!(store.put(&alice("two")).expect("put"));
    import(&store, numbered(0..3)).expect("imported");
    assert!(store.remove("u000001@a.test", 9).expect("removed"));
    assert!(!store.remove("u000001@a.test", 9).expect("gone"));
    for open_again in [false, true] {
        if open_again {
            drop(store);
            store = AccountStore::open(dir.path()).expect("opens again");
            assert_eq!(store.opened(), Opened::Used);
        }
        assert_eq!(store.get("alice@a.test").expect("readable"), Some(alice("two")));
        assert_eq!(store.look_up("alice@a.test"), Some(alice("two")));
        assert_eq!(store.look_up("u000001@a.test"), None, "removed");
        let changed =
            [("alice@a.test".to_owned(), alice("two").changed_at_ms), ("u000001@a.test".to_owned(), 9)];
        assert_eq!(store.changed().expect("read"), changed.into());
        assert_eq!(store.get("u000001@a.test").expect("readable"), None);
        let names = |after, limit| -> Vec<String> {
            store.list(after, limit).expect("listed").into_iter().map(|a| a.aor).collect()
        };
        assert_eq!(names(None, 2), ["alice@a.test", "u000000@a.test"]);
        assert_eq!(names(Some("u000000@a.test"), 2), ["u000002@a.test"]);
    }
}

#[test]
fn an_import_changes_what_is_other_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a dir");
    let store = AccountStore::open(dir.path()).expect("opens");
    import(&store, numbered(0..4)).expect("imported");
    let again = |n: u32| Account { changed_at_ms: 77, ..numbered(n..n + 1).next().expect("one") };
    let other = |n: u32| Account { short: alice("y").short, ..again(n) };
    // Of two lines for one account the last counts, whatever the first said.
    let left = store.import([other(0), again(0), again(1), other(2)].map(Imported::from), false);
    assert_eq!(left.expect("imported"), [other(2)], "handed back, for a peer to change");
    assert_eq!(store.changed().expect("read"), [].into());
    // Unsaid, roaming stays as it is.
    store.put(&Account { roaming: false, ..again(3) }).expect("put");
    let unsaid = Imported { account: again(3), keeps_roaming: true };
    let written = store.import([unsaid, other(2).into()], true).expect("imported");
    assert_eq!(written, []);
    let changed = [("u000002@a.test".to_owned(), 77), ("u000003@a.test".to_owned(), 77)];
    assert_eq!(store.changed().expect("read"), changed.into(), "one by the import, one by us");
    assert_eq!(store.get("u000003@a.test").expect("readable").map(|a| a.roaming), Some(false));
    assert_eq!(store.get("u000000@a.test").expect("readable"), numbered(0..1).next());
}

#[test]
fn an_index_that_is_equal_is_used() {
    let dir = tempfile::tempdir().expect("a dir");
    filled(dir.path(), 0..100);
    assert_eq!(opened(dir.path(), 100), Opened::Used);
}

#[test]
fn an_index_that_is_behind_is_replayed() {
    let dir = tempfile::tempdir().expect("a dir");
    filled(dir.path(), 0..100);
    copy(&dir.path().join("index"), &dir.path().join("old"));
    filled(dir.path(), 100..250);
    fs::remove_dir_all(dir.path().join("index")).expect("removed");
    fs::rename(dir.path().join("old"), dir.path().join("index")).expect("renamed");
    assert_eq!(opened(dir.path(), 250), Opened::Replayed { records: 150 });
    assert_eq!(opened(dir.path(), 250), Opened::Used);
}

/// DISK-13.
#[test]
fn an_index_that_is_ahead_is_rebuilt() {
    let dir = tempfile::tempdir().expect("a dir");
    filled(dir.path(), 0..100);
    copy(&dir.path().join("accounts"), &dir.path().join("old"));
    filled(dir.path(), 100..150);
    fs::remove_dir_all(dir.path().join("accounts")).expect("removed");
    fs::rename(dir.path().join("old"), dir.path().join("accounts")).expect("renamed");
    assert_eq!(opened(dir.path(), 100), Opened::Rebuilt { reason: "ahead" });
    assert_eq!(opened(dir.path(), 100), Opened::Used);
}

/// DISK-12.
#[test]
fn an_index_that_is_missing_is_rebuilt() {
    let dir = tempfile::tempdir().expect("a dir");
    filled(dir.path(), 0..100);
    fs::remove_dir_all(dir.path().join("index")).expect("removed");
    assert_eq!(opened(dir.path(), 100), Opened::Rebuilt { reason: "missing" });
    assert_eq!(opened(dir.path(), 100), Opened::Used);
}

/// DISK-14.
#[test]
fn an_index_that_is_damaged_anywhere_still_gives_every_account() {
    let dir = tempfile::tempdir().expect("a dir");
    filled(dir.path(), 0..500);
    let db = dir.path().join("index/accounts/db");
    let whole = fs::read(&db).expect("sled's file");
    let used = whole.iter().rposition(|b| *b != 0).expect("it is not empty");
    let mut rebuilt = 0;
    for step in 0..12 {
        let mut bytes = whole.clone();
        let at = used * step / 12;
        for b in bytes.iter_mut().skip(at).take(256) {
            *b ^= 0x5a;
        }
        fs::write(&db, bytes).expect("written");
        rebuilt += usize::from(matches!(opened(dir.path(), 500), Opened::Rebuilt { .. }));
    }
    for file in ["db", "conf"] {
        fs::write(dir.path().join("index/accounts").join(file), b"not a database").expect("written");
        rebuilt += usize::from(matches!(opened(dir.path(), 500), Opened::Rebuilt { .. }));
    }
    assert!(rebuilt > 0, "the damage never reached what is read");
}

#[test]
fn a_hundred_thousand_accounts_are_imported_and_opened_from_their_index() {
    let dir = tempfile::tempdir().expect("a dir");
    let store = AccountStore::open(dir.path()).expect("opens");
    let start = Instant::now();
    let digests = numbered(0..100_000).map(|a| account(&a.aor, "a password", true, 1).expect("good"));
    import(&store, digests).expect("imported");
    assert_eq!(store.len(), 100_000);
    let imported = start.elapsed();
    drop(store);
    let start = Instant::now();
    let store = AccountStore::open(dir.path()).expect("opens");
    let opened = start.elapsed();
    assert_eq!((store.len(), store.opened()), (100_000, Opened::Used));
    assert!(store.get("u099999@a.test").expect("readable").is_some());
    println!("import {imported:?}, open {opened:?}");
    // How long either takes is the machine's; that opening rebuilds nothing shows in their ratio too.
    assert!(opened * 2 < imported, "import {imported:?}, open {opened:?}");
}

#[test]
fn the_index_of_a_rewritten_stream_is_rebuilt() {
    let dir = tempfile::tempdir().expect("a dir");
    filled(dir.path(), 0..10);
    let (mut truth, _) = SegmentStore::open(dir.path().join("accounts")).expect("opens");
    let records: Vec<Vec<u8>> = numbered(0..4).map(|a| dots_wire::encode(&a)).collect();
    truth.rewrite(records.iter().map(Vec::as_slice)).expect("rewritten");
    let (index, how) = Index::open(&dir.path().join("index/accounts"), &truth, effect).expect("opens");
    assert_eq!((index.len(), how), (4, Opened::Rebuilt { reason: "of another stream" }));
}

#[test]
fn an_aor_has_one_form_and_four_digests() {
    for (text, aor) in [
        ("alice@a.test", Some("alice@a.test")),
        ("sip:Alice@A.Test.", Some("Alice@a.test")),
        ("a/b+c@x", Some("a/b+c@x")),
        ("alice", None),
        ("@a.test", None),
        ("alice@", None),
        ("a b@a.test", None),
        ("alice@a.test:5060", None),
        ("alice@[::1]", None),
    ] {
        assert_eq!(canonical(text).ok().as_deref(), aor, "{text}");
    }
    let a = alice("secret");
    // printf 'alice:a.test:secret' | md5sum
    assert_eq!(
        a.short.md5,
        dots_trust::digest::ha1(dots_trust::digest::Algorithm::Md5, "alice", "a.test", "secret")
    );
    let all = [&a.short, &a.full, &a.escaped].map(|d| [&d.md5, &d.sha256]).concat();
    assert!((0..6).all(|i| (0..i).all(|j| all[i] != all[j])));
    assert!(account("alice@a.test", "", true, 0).is_err());
}

/// DISK-7.
#[tokio::test]
async fn what_only_has_to_be_written_is_done_at_once_and_the_rest_when_it_is_synced() {
    let dir = tempfile::tempdir().expect("a dir");
    let (disk, mut acks) = Stores::open(dir.path()).expect("opens").start();
    let (mut done, mut synced) = (Vec::new(), Vec::new());
    for token in 0..2_000u64 {
        let stream = if token % 3 == 0 { Stream::Log } else { Stream::Bindings };
        let record = token.to_be_bytes().to_vec();
        let mut turn = VecDeque::from([Append { token, stream, record, sync: token % 3 == 0 }]);
        done.extend(disk.append_all(&mut turn).expect("written"));
        assert!(turn.is_empty(), "there is room");
    }
    // Written is in the kernel's hands: a peer that is killed here has it.
    let there = Stores::open(dir.path()).expect("opens").recover(Stream::Bindings).expect("read");
    assert_eq!(there.len(), done.len());
    while synced.len() < 667 {
        match acks.recv().await {
            Some(Ack::Done { tokens }) => synced.extend(tokens),
            other => panic!("{other:?}"),
        }
    }
    assert!(done.is_sorted() && done.len() == 1_333 && done.iter().all(|token| token % 3 != 0));
    assert!(synced.is_sorted() && synced.iter().all(|token| token % 3 == 0));
    disk.close();
    assert_eq!(acks.recv().await, None);
    let mut stores = Stores::open(dir.path()).expect("opens");
    let bytes = |tokens: &[u64]| tokens.iter().map(|t| t.to_be_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(stores.recover(Stream::Log).expect("read"), bytes(&synced));
    assert_eq!(stores.recover(Stream::Bindings).expect("read"), bytes(&done));
    stores.compact(Stream::Bindings, &[b"live".to_vec()]).expect("compacted");
    drop(stores);
    let stores = Stores::open(dir.path()).expect("opens");
    assert_eq!(stores.recover(Stream::Bindings).expect("read"), [b"live".to_vec()]);
}

/// DISK-8.
#[tokio::test]
async fn what_waits_for_a_sync_is_bounded_and_a_disk_that_failed_takes_nothing() {
    let dir = tempfile::tempdir().expect("a dir");
    let (disk, mut acks) = Stores::open(dir.path()).expect("opens").start();
    let append = |token, size| Append { token, stream: Stream::Realms, record: vec![0; size], sync: true };
    let most = QUEUE_MAX as u64;
    let mut turn: VecDeque<Append> = (0..most + 5).map(|token| append(token, 1)).collect();
    assert!(disk.append_all(&mut turn).expect("written").is_empty(), "nothing is done before its sync");
    assert_eq!(turn.len(), 5, "nobody received, so no more than that");
    disk.append_all(&mut turn).expect("nothing to write");
    assert_eq!(turn.front().map(|a| a.token), Some(most), "what stays keeps its order");
    let Some(Ack::Done { tokens }) = acks.recv().await else { panic!("synced") };
    assert_eq!(tokens.first(), Some(&0));
    turn = VecDeque::from([append(most, dots_wire::disk::RECORD_BYTES_MAX + 1)]);
    assert!(disk.append_all(&mut turn).is_err(), "and it is said at once");
    turn = VecDeque::from([append(0, 1)]);
    assert_eq!(disk.append_all(&mut turn).ok(), Some(Vec::new()));
    assert_eq!(turn.len(), 1, "a disk that failed takes nothing");
}

/// Appends to a stream that is rewritten wait and come behind the new records; other streams and senders go on.
#[tokio::test]
async fn what_comes_while_a_stream_is_rewritten_is_written_behind_it() {
    let dir = tempfile::tempdir().expect("a dir");
    let (disk, mut acks) = Stores::open(dir.path()).expect("opens").start();
    let append = |token: u64| Append {
        token,
        stream: Stream::Bindings,
        record: token.to_be_bytes().to_vec(),
        sync: false,
    };
    let live: Vec<Vec<u8>> = (1_000..21_000u64).map(|n| n.to_be_bytes().to_vec()).collect();
    let mut done = disk.append_all(&mut [append(0)].into()).expect("written");
    assert!(disk.rewrite(Stream::Bindings, live.clone()));
    let mut waiting: VecDeque<Append> = (1..50).map(append).collect();
    while !waiting.is_empty() {
        done.extend(disk.append_all(&mut waiting).expect("written"));
        if !waiting.is_empty() {
            assert_eq!(acks.recv().await, Some(Ack::Rewritten));
        }
    }
    assert!(done.iter().copied().eq(0..50));
    disk.close();
    let behind = (1..50u64).map(|n| n.to_be_bytes().to_vec());
    let expected: Vec<Vec<u8>> = live.into_iter().chain(behind).collect();
    assert_eq!(Stores::open(dir.path()).expect("opens").recover(Stream::Bindings).expect("read"), expected);
}

/// A change here is a new version of the record, or a CHANGELOG line before the first release (DISK-9). The bytes of an
/// account are pinned in `src/peer/golden/`.
#[test]
fn golden_bytes_of_a_removal() {
    assert_eq!(
        hex::encode(Change::removed("alice@a.test", 1_700_000_000_000).to_bytes()),
        "83016c616c69636540612e746573741b0000018bcfe56800"
    );
}

#[test]
fn a_record_of_another_version_or_not_whole_does_nothing() {
    let key = b"alice@a.test".to_vec();
    let put = encode(&alice("x"));
    let gone = Change::removed("alice@a.test", 1).to_bytes();
    assert_eq!((effect(&put), effect(&gone)), (Effect::Put(key.clone()), Effect::Remove(key)));
    for good in [put, gone] {
        let mut newer = good.clone();
        newer[1] += 1;
        assert_eq!(effect(&newer), Effect::Nothing);
        attack("account", &good, |record| effect(record) != Effect::Nothing);
    }
}

/// DISK-9a.
#[test]
fn changes_have_numbers_that_stay() {
    let dir = tempfile::tempdir().expect("a dir");
    let numbers = |store: &AccountStore, after| {
        let changes = store.changes_since(after, 3_000).expect("read");
        changes.into_iter().map(|(number, change)| (number, change.aor().to_owned())).collect::<Vec<_>>()
    };
    let store = AccountStore::open(dir.path()).expect("opens");
    assert_eq!((store.last_change(), numbers(&store, 0)), (0, vec![]));
    import(&store, numbered(0..2_100)).expect("imported");
    store.put(&alice("one")).expect("put");
    assert_eq!(store.remove("nobody@a.test", 5).ok(), Some(false), "nothing has changed");
    store.remove("alice@a.test", 5).expect("removed");
    assert_eq!(store.last_change(), 2_102);
    let last = [(2_101, "alice@a.test".to_owned()), (2_102, "alice@a.test".to_owned())];
    assert_eq!(numbers(&store, 2_100), last);
    let all = numbers(&store, 0);
    assert_eq!((all.len(), all[0].0, all[2_101].0), (2_102, 1, 2_102));
    drop(store);
    std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
    let store = AccountStore::open(dir.path()).expect("opens");
    for after in [0, 1, 1_023, 1_024, 1_025, 2_047, 2_048, 2_100, 2_101, 2_102, 9_999] {
        let expected = all.iter().skip(after).cloned().collect::<Vec<_>>();
        assert_eq!(numbers(&store, after as u64), expected, "the same after a restart, behind {after}");
    }
    assert_eq!(store.changes_since(1_000, 30).expect("read").len(), 30);
    store.put(&alice("two")).expect("put");
    assert_eq!(numbers(&store, 2_102), [(2_103, "alice@a.test".to_owned())]);
}
