//! A data directory of the first release is opened by this one: accounts, keys, aliases, pins and bindings are there, and
//! phones register with the passwords that they had (`testnet/fixtures/first-slice`).

use dots::{
    drivers::store::{AccountStore, Stores},
    peer::{Stream, journal},
};
use dots_testnet::{
    phones::plain::Plain,
    process::{Peer, binary},
};
use dots_trust::accounts::Change;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// When both phones were registered, UTC ms.
const REGISTERED_MS: u64 = 1_795_850_500_000;
const PEER_ID: &str = "16Uiu2HAmF1N84zHa7JbwRamccv8sVeN28xADjneMqPoqDuZCYbNo";
const SOON: Duration = Duration::from_secs(10);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
            // Git keeps no modes, and keys that others may read are refused.
            fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// The fixture, where a test may write to it.
fn data() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("data");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/first-slice/data"), &at);
    (dir, at)
}

#[test]
fn its_bindings_are_read_as_they_were_written() {
    let (_dir, at) = data();
    let records = Stores::open(&at).unwrap().recover(Stream::Bindings).unwrap();
    let (live, skipped) = journal::replay(&records, REGISTERED_MS);
    assert_eq!(skipped, 0);
    let seen: Vec<_> =
        live.iter().map(|b| (b.aor.as_str(), b.contact.as_str(), b.flow.remote.port())).collect();
    let expected = [
        ("alice@a.example", "sip:alice@127.0.0.1:35603", 35603),
        ("bob@a.example", "sip:bob@127.0.0.1:59204", 59204),
    ];
    assert_eq!(seen, expected);
    assert!(live.iter().all(|b| b.expires_at_ms > REGISTERED_MS + 3_500_000));
    let (over, _) = journal::replay(&records, REGISTERED_MS + 3_700_000);
    assert!(over.is_empty(), "an hour later they have ended");
}

/// DISK-9a: the changes of an old account stream have numbers, as new ones have.
#[test]
fn its_changes_of_accounts_are_numbered() {
    let (_dir, at) = data();
    let aors = |changes: Vec<(u64, Change)>| {
        changes.into_iter().map(|(number, change)| (number, change.aor().to_owned())).collect::<Vec<_>>()
    };
    let store = AccountStore::open(&at).unwrap();
    let before = aors(store.changes_since(0, 100).unwrap());
    let numbers: Vec<u64> = before.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=store.last_change()).collect::<Vec<_>>());
    for aor in ["alice@a.example", "bob@a.example", "me@a.example"] {
        assert!(before.iter().any(|(_, of)| of == aor), "{before:?}");
    }
    let last = store.last_change();
    store.remove("bob@a.example", REGISTERED_MS).unwrap();
    assert_eq!(aors(store.changes_since(last, 100).unwrap()), [(last + 1, "bob@a.example".to_owned())]);
    drop(store);
    let store = AccountStore::open(&at).unwrap();
    assert_eq!(aors(store.changes_since(0, last as usize).unwrap()), before, "numbers stay");
    assert_eq!(store.last_change(), last + 1);
}

#[test]
fn its_accounts_names_and_keys_are_there_and_its_phones_register() {
    let (_dir, at) = data();
    let peer = Peer::start_from(&binary().unwrap(), at.parent(), "a.example", &[]).unwrap();
    assert_eq!(peer.ready().peer_id, PEER_ID, "the key is the same");
    let said = |words: &str| peer.dots(&words.split(' ').collect::<Vec<_>>(), "").unwrap().ok().unwrap();
    let accounts = said("account list");
    for aor in ["alice@a.example", "bob@a.example", "me@a.example"] {
        assert!(accounts.contains(aor), "{accounts}");
    }
    assert!(said("alias list").contains("bob@b.example"));
    let realms = said("realms");
    assert!(realms.lines().any(|l| l.contains("pinned.example") && l.contains("pinned")), "{realms}");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for (aor, password) in [("alice@a.example", "wonderland-alice"), ("bob@a.example", "wonderland-bob")] {
        let mut phone = Plain::new(peer.sip().unwrap(), aor, password, &mut rng).unwrap();
        assert_eq!(phone.register(3600, 1, SOON).unwrap(), Some(200), "{aor}");
    }
}
