//! The log on disk is cut while the peer runs. A later start needs our own entries from the newest checkpoint on (no life may
//! come before them, and what is revoked stays revoked) and the proofs that convict others; nothing else is read again.

use super::{OverlayCore, OverlayOutput};
use crate::records::Entry;

/// Written since the log was cut last, at least, before it is again; and so much of what was left then.
const REWRITE_AFTER: usize = 4 * 1024 * 1024;
const TIMES: usize = 2;
/// Proofs on our disk. Beyond, a conviction lasts until the next start.
pub(crate) const PROOFS_KEPT_MAX: usize = 1_000;
pub(crate) const PROOF_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was written of the log, as far as it decides when to write it anew.
pub(super) struct Written {
    bytes: usize,
    rewrite_at: usize,
    /// Two entries after the other, without what realms say in them.
    proofs: Vec<Vec<u8>>,
    proof_bytes: usize,
}

impl Default for Written {
    fn default() -> Written {
        Written { bytes: 0, rewrite_at: REWRITE_AFTER, proofs: Vec::new(), proof_bytes: 0 }
    }
}

impl Written {
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A proof that is to outlive this start, as it is written: the headers say it all. `None`: there is no room for it.
    pub fn proof(&mut self, first: &[u8], second: &[u8]) -> Option<[Vec<u8>; 2]> {
        let bare =
            |bytes: &[u8]| Entry::read(bytes).map(|entry| entry.checked_before().bare().bytes.to_vec());
        let pair = [bare(first)?, bare(second)?];
        let bytes = pair.iter().map(Vec::len).sum::<usize>();
        if self.proofs.len() >= 2 * PROOFS_KEPT_MAX || self.proof_bytes + bytes > PROOF_BYTES_MAX {
            return None;
        }
        self.proof_bytes += bytes;
        self.proofs.extend(pair.iter().cloned());
        Some(pair)
    }
}

impl OverlayCore {
    /// LOG-8a: when much was written, all that a later start needs takes its place.
    pub(super) fn compact_if_due(&mut self) {
        if self.written.bytes < self.written.rewrite_at {
            return;
        }
        let held = self.chains.range(self.me, self.author.incarnation(), 0, usize::MAX);
        let waiting = self.author.unwritten().map(|entry| entry.bytes.clone());
        let own = held.into_iter().chain(waiting).map(|bytes| bytes.to_vec());
        let records: Vec<Vec<u8>> = self.written.proofs.iter().cloned().chain(own).collect();
        let kept = records.iter().map(Vec::len).sum::<usize>();
        self.written.bytes = 0;
        self.written.rewrite_at = REWRITE_AFTER.max(TIMES * kept);
        self.out.push_back(OverlayOutput::Rewrite { records });
    }
}
