//! A disk that is slow, and that a crash tears: what was acknowledged stays, of the rest a random part.
//!
//! A process that is killed loses what it had not yet handed to the kernel; so of each stream some prefix of the
//! unacknowledged records stays. Records are never reordered within a stream (segment files are append-only).

use dots::peer::{Recovered, Stream, account::Account, journal, notes};
use rand::Rng;
use std::{collections::BTreeMap, time::Duration};

/// An acknowledged record without fdatasync, in microseconds; and with one.
const WRITE_US: std::ops::Range<u64> = 50..3_000;
const SYNC_US: std::ops::Range<u64> = 1_000..25_000;
/// Now and then a disk is busy with something else.
const HICCUP: f64 = 0.01;
const HICCUP_FACTOR: u32 = 10;

/// What a test may break on purpose, to see that a checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// A crash loses this stream, acknowledged or not.
    Forgets(Stream),
    /// Nothing is ever acknowledged.
    Stalls,
}

#[derive(Default)]
pub struct Disk {
    streams: BTreeMap<Stream, Segment>,
    pub accounts: BTreeMap<String, Account>,
    /// The account store answers nothing.
    pub is_unreadable: bool,
    /// Accounts that got another password or were removed, and when (UTC ms).
    changed: BTreeMap<String, u64>,
    pub fault: Fault,
}

#[derive(Default)]
struct Segment {
    records: Vec<Vec<u8>>,
    /// So many of them are acknowledged.
    acknowledged: usize,
    /// The last acknowledgement that is under way.
    busy_until: Duration,
}

impl Disk {
    /// Takes a record; it is acknowledged at the time given back, in order within its stream.
    pub fn append(
        &mut self,
        at: Duration,
        stream: Stream,
        record: Vec<u8>,
        sync: bool,
        rng: &mut impl Rng,
    ) -> Option<Duration> {
        let segment = self.streams.entry(stream).or_default();
        segment.records.push(record);
        if self.fault == Fault::Stalls {
            return None;
        }
        let us = rng.random_range(if sync { SYNC_US } else { WRITE_US });
        let factor = if rng.random_bool(HICCUP) { HICCUP_FACTOR } else { 1 };
        segment.busy_until = segment.busy_until.max(at + Duration::from_micros(us) * factor);
        Some(segment.busy_until)
    }

    /// The oldest unacknowledged record of `stream` is on disk; here it is.
    pub fn acknowledge(&mut self, stream: Stream) -> Option<&[u8]> {
        let segment = self.streams.get_mut(&stream)?;
        let record = segment.records.get(segment.acknowledged)?;
        segment.acknowledged += 1;
        Some(record)
    }

    /// The process dies at this moment. The records that stay although nobody was told so.
    pub fn crash(&mut self, rng: &mut impl Rng) -> Vec<(Stream, Vec<u8>)> {
        let fault = self.fault;
        let mut kept_untold = Vec::new();
        for (stream, segment) in &mut self.streams {
            let kept = rng.random_range(segment.acknowledged..=segment.records.len());
            segment.records.truncate(kept);
            if fault == Fault::Forgets(*stream) {
                segment.records.clear();
            }
            let untold = segment.records.iter().skip(segment.acknowledged);
            kept_untold.extend(untold.map(|record| (*stream, record.clone())));
            segment.acknowledged = segment.records.len();
            segment.busy_until = Duration::ZERO;
        }
        kept_untold
    }

    /// What the next life finds. `compact`: the journals are cut down first, as a long-lived peer's are.
    pub fn recover(&mut self, wall_ms: u64, compact: bool) -> Recovered {
        if compact {
            let (live, skipped) = journal::replay(&self.records(Stream::Bindings), wall_ms);
            assert_eq!(skipped, 0, "the peer wrote a binding record that it cannot read");
            self.replace(Stream::Bindings, live.into_iter().map(journal::encode_binding).collect());
            self.replace(Stream::Realms, notes::compacted(&self.records(Stream::Realms)));
        }
        Recovered {
            bindings: self.records(Stream::Bindings),
            realms: self.records(Stream::Realms),
            log: self.records(Stream::Log),
            receipts: self.records(Stream::Receipts),
            changed: self.changed.clone(),
        }
    }

    /// Whether there was one before.
    pub fn put_account(&mut self, account: Account) -> bool {
        let (aor, at) = (account.aor.clone(), account.changed_at_ms);
        let existed = self.accounts.insert(aor.clone(), account).is_some();
        if existed {
            self.changed.insert(aor, at);
        }
        existed
    }

    /// Whether there was one.
    pub fn remove_account(&mut self, aor: String, wall_ms: u64) -> bool {
        let existed = self.accounts.remove(&aor).is_some();
        if existed {
            self.changed.insert(aor, wall_ms);
        }
        existed
    }

    pub fn forget(&mut self, stream: Stream) {
        self.streams.remove(&stream);
    }

    pub fn records(&self, stream: Stream) -> Vec<Vec<u8>> {
        self.streams.get(&stream).map(|s| s.records.clone()).unwrap_or_default()
    }

    /// Those that the peer was told are written.
    pub fn acknowledged(&self, stream: Stream) -> Vec<Vec<u8>> {
        let segment = self.streams.get(&stream);
        segment.map(|s| s.records.iter().take(s.acknowledged).cloned().collect()).unwrap_or_default()
    }

    fn replace(&mut self, stream: Stream, records: Vec<Vec<u8>>) {
        let segment = self.streams.entry(stream).or_default();
        segment.acknowledged = records.len();
        segment.records = records;
    }
}
