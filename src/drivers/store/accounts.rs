//! The accounts: truth is the stream `accounts` (an `Account`, or a tombstone; DISK-9); lists go through the index, the loop's
//! look-ups through the book in memory.
//! Whatever a method changed is on the platter when it returns. Methods block on the disk for the length of one
//! fdatasync; async callers use `spawn_blocking` for changes.

use super::{
    book::Book,
    disk::report,
    index::{Effect, Index, IndexError, Opened},
};
use dots_trust::{
    account::Account,
    accounts::{Change, Imported, Numbers, Outcome, Voided},
};
use dots_wire::{
    disk::{DiskError, Position, SegmentStore},
    encode,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Accounts in one write and one index batch of an import.
const IMPORT_CHUNK: usize = 4_096;

/// The place of every so many-th change is kept, so that a reader of the change log begins near to where he was.
const MARK_EVERY: u64 = 1_024;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the account index cannot be used: {0}")]
    Index(String),
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> StoreError {
        match error {
            IndexError::Disk(error) => StoreError::Disk(error),
            IndexError::Sled(text) => StoreError::Index(text),
        }
    }
}

/// The accounts of this peer. Shared by reference; one change at a time.
pub struct AccountStore {
    inner: Mutex<Inner>,
    book: Book,
}

struct Inner {
    truth: SegmentStore,
    index: Index,
    index_dir: PathBuf,
    opened: Opened,
    numbers: Numbers,
    /// Where the changes 1, 1,025, 2,049 … stand.
    marks: Vec<Position>,
}

impl AccountStore {
    /// `dir`: the data directory; `accounts/` and `index/accounts/` are in it.
    pub fn open(dir: &Path) -> Result<AccountStore, StoreError> {
        let (truth, found) = SegmentStore::open(dir.join("accounts"))?;
        report("accounts", &found);
        let index_dir = dir.join("index").join("accounts");
        let (index, opened) = Index::open(&index_dir, &truth, effect)?;
        match opened {
            Opened::Used => tracing::debug!(accounts = index.len(), "account index used"),
            Opened::Replayed { records } => tracing::info!(records, "account index was behind: replayed"),
            // At a first start there is nothing to index yet.
            Opened::Rebuilt { reason } if index.len() == 0 => tracing::debug!(reason, "account index made"),
            Opened::Rebuilt { reason } => tracing::info!(reason, "account index rebuilt"),
        }
        let book = Book::default();
        let (numbers, marks) = (Numbers::default(), Vec::new());
        let mut inner = Inner { truth, index, index_dir, opened, numbers, marks };
        for record in inner.truth.iter_from(Position::START) {
            let (at, record) = record?;
            inner.number(at);
            match Change::read(&record) {
                Some(Change::Put(account)) => book.apply([(account.aor.as_str(), Some(&account))]),
                Some(Change::Removed(gone)) => book.apply([(gone.aor.as_str(), None)]),
                None => {}
            }
        }
        Ok(AccountStore { inner: Mutex::new(inner), book })
    }

    /// How the index was found.
    pub fn opened(&self) -> Opened {
        self.inner().opened
    }
    pub fn len(&self) -> u64 {
        self.inner().index.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, aor: &str) -> Result<Option<Account>, StoreError> {
        self.inner().get(aor)
    }

    /// The account as it is on the platter, from memory: never waits for the disk, and cannot fail.
    pub fn look_up(&self, aor: &str) -> Option<Account> {
        self.book.get(aor)
    }

    /// Whether there was one before.
    pub fn put(&self, account: &Account) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        let existed = inner.exists(&account.aor)?;
        inner.append(&[(Effect::Put(account.aor.clone().into_bytes()), encode(account))])?;
        inner.truth.sync()?;
        self.book.apply([(account.aor.as_str(), Some(account))]);
        Ok(existed)
    }

    /// Whether there was one.
    pub fn remove(&self, aor: &str, now_ms: u64) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        if !inner.exists(aor)? {
            return Ok(false);
        }
        let removed = Change::removed(aor, now_ms).to_bytes();
        inner.append(&[(Effect::Remove(aor.as_bytes().to_vec()), removed)])?;
        inner.truth.sync()?;
        self.book.apply([(aor, None)]);
        Ok(true)
    }

    /// Accounts that got another password or were removed, and when (UTC ms), the last time of each.
    pub fn changed(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut voided = Voided::default();
        for record in self.inner().truth.iter_from(Position::START) {
            if let Some(change) = Change::read(&record?.1) {
                voided.hear(&change);
            }
        }
        Ok(voided.into_times())
    }

    /// DISK-9a: the number of the newest change.
    pub fn last_change(&self) -> u64 {
        self.inner().numbers.last()
    }

    /// Up to `limit` changes behind the number `after`, oldest first, each with its number. What a later version wrote is left
    /// out, and its number with it.
    pub fn changes_since(&self, after: u64, limit: usize) -> Result<Vec<(u64, Change)>, StoreError> {
        let inner = self.inner();
        let mark = after / MARK_EVERY;
        let Some(from) = usize::try_from(mark).ok().and_then(|mark| inner.marks.get(mark)) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (number, record) in (mark * MARK_EVERY + 1..).zip(inner.truth.iter_from(*from)) {
            if found.len() >= limit {
                break;
            }
            let (_, record) = record?;
            if number > after
                && let Some(change) = Change::read(&record)
            {
                found.push((number, change));
            }
        }
        Ok(found)
    }

    /// Up to `limit` accounts behind `after`, ordered by AOR.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Result<Vec<Account>, StoreError> {
        let inner = self.inner();
        let keys = inner.index.range(after.map(str::as_bytes), limit)?;
        keys.into_iter().filter_map(|(_, at)| inner.at(at).transpose()).collect()
    }

    /// Many at once, one fdatasync for all. The last one of an AOR counts, and what is there as it is already is left alone.
    /// What would change an account is written where `replace` is said, else it is handed back.
    pub fn import(
        &self,
        accounts: impl IntoIterator<Item = Imported>,
        replace: bool,
    ) -> Result<Vec<Account>, StoreError> {
        let last: BTreeMap<String, Imported> =
            accounts.into_iter().map(|import| (import.account.aor.clone(), import)).collect();
        let mut inner = self.inner();
        let (mut changed, mut written) = (Vec::new(), Vec::new());
        let mut chunk = Vec::with_capacity(IMPORT_CHUNK);
        for (aor, imported) in last {
            let account = match imported.beside(inner.get(&aor)?.as_ref()) {
                Outcome::Same => continue,
                Outcome::Differs(account) if !replace => {
                    changed.push(account);
                    continue;
                }
                Outcome::New(account) | Outcome::Differs(account) => account,
            };
            chunk.push((Effect::Put(aor.into_bytes()), encode(&account)));
            written.push(account);
            if chunk.len() >= IMPORT_CHUNK {
                inner.append(&chunk)?;
                chunk.clear();
            }
        }
        inner.append(&chunk)?;
        inner.truth.sync()?;
        self.book.apply(written.iter().map(|account| (account.aor.as_str(), Some(account))));
        Ok(changed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves truth and index each whole; the mark says how they stand.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next change stands here.
    fn number(&mut self, at: Position) {
        let number = self.numbers.take();
        if (number - 1).is_multiple_of(MARK_EVERY) {
            self.marks.push(at);
        }
        debug_assert_eq!(self.marks.len() as u64, number.div_ceil(MARK_EVERY), "each mark has its place");
    }

    fn append(&mut self, changes: &[(Effect, Vec<u8>)]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let positions = self.truth.append_all(changes.iter().map(|(_, record)| record.as_slice()))?;
        for at in &positions {
            self.number(*at);
        }
        let reflected = changes.iter().map(|(effect, _)| effect.clone()).zip(positions).collect();
        let end = self.truth.end();
        if self.index.apply(reflected, end).is_err() {
            self.rebuild()?;
        }
        Ok(())
    }

    fn get(&mut self, aor: &str) -> Result<Option<Account>, StoreError> {
        match self.find(aor) {
            // DISK-14. An index that cannot be read, or leads astray, is rebuilt once; a second failure is the disk's.
            Err(_) => {
                self.rebuild()?;
                self.find(aor)
            }
            found => found,
        }
    }

    fn find(&self, aor: &str) -> Result<Option<Account>, StoreError> {
        let Some(at) = self.index.find(aor.as_bytes())? else { return Ok(None) };
        match self.at(at)? {
            Some(account) if account.aor == aor => Ok(Some(account)),
            _ => Err(StoreError::Index(format!("no account {aor} at {at:?}"))),
        }
    }

    fn exists(&mut self, aor: &str) -> Result<bool, StoreError> {
        if let Ok(found) = self.index.find(aor.as_bytes()) {
            return Ok(found.is_some());
        }
        self.rebuild()?;
        Ok(self.index.find(aor.as_bytes())?.is_some())
    }

    fn at(&self, at: Position) -> Result<Option<Account>, StoreError> {
        Ok(match Change::read(&self.truth.read(at)?) {
            Some(Change::Put(account)) => Some(account),
            Some(Change::Removed(_)) | None => None,
        })
    }

    fn rebuild(&mut self) -> Result<(), StoreError> {
        tracing::error!("the account index does not agree with the accounts: rebuilding it");
        // In a new place, because the old one is still open and locked.
        let dir = self.index_dir.with_extension(format!("{}", self.truth.end().offset));
        let (index, opened) = Index::open(&dir, &self.truth, effect)?;
        self.index = index;
        self.opened = opened;
        std::fs::remove_dir_all(&self.index_dir).ok();
        Ok(())
    }
}

/// What a record of the stream means to the index.
pub(super) fn effect(record: &[u8]) -> Effect {
    match Change::read(record) {
        Some(Change::Put(account)) => Effect::Put(account.aor.into_bytes()),
        Some(Change::Removed(gone)) => Effect::Remove(gone.aor.into_bytes()),
        None => Effect::Nothing,
    }
}
