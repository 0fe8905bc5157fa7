//! What can grow in this crate, for the page of limits.

use crate::limits::{KEPT_MAX, UNFINISHED};
use dots_wire::{
    Checked,
    bounded::{Full, Limit},
};

/// A receipt that is done, with its two seals.
const RECEIPT_BYTES: usize = 1_500;

pub fn limits() -> Vec<Limit> {
    vec![
        Limit::table(
            "core/mod ReceiptCore.book",
            "calls whose receipt is not done",
            UNFINISHED,
            "the caller; 30 % is for our own phones, 15 % for realms that we know",
            Full::Refused("the call has no receipt, and is counted"),
        ),
        Limit::made(
            "core/mod ReceiptCore.finished",
            "receipts that are done and still shown",
            (KEPT_MAX, KEPT_MAX * RECEIPT_BYTES),
            "nobody: calls that both sides signed",
            Full::Otherwise("the oldest is in the segments alone"),
        ),
        Limit::table(
            "core/mod ReceiptCore.checked",
            "signatures that were checked",
            Checked::LIMITS,
            "the signer",
            Full::HeaviestGives,
        ),
    ]
}
