//! Every bound of this crate, with its reason.

use dots_wire::{Allowance, bounded::Limits};
use std::time::Duration;

/// RCPT-6: what a claim may be above the other side's measurement: the slower of two message paths.
pub const TOLERANCE_MS: u64 = 2_000;
/// … or one part in this many of it, for long calls and bad oscillators.
pub const TOLERANCE_PART: u64 = 100;
/// RCPT-6: by how much the wall clocks of both sides may differ at the answer.
pub const START_SKEW: Duration = Duration::from_secs(60);
/// The longest call of a receipt; one that never ends is cut here.
pub const DURATION_MAX: Duration = Duration::from_secs(6 * 3600);

/// RCPT-10: how long a receipt without its second signature is asked for, from the end of the call.
pub const RETRY_FOR: Duration = Duration::from_secs(24 * 3600);
/// RCPT-8a: claims of calls that end within this time are signed and sent together. Nobody waits for a receipt.
pub const BATCH: Duration = Duration::from_secs(5);
/// The side that did not see the BYE, or that has answered, leaves the other this long before it asks itself.
pub const TURN: Duration = Duration::from_secs(12);
/// First pause between two attempts; each next one is twice as long, up to [`RETRY_MAX`].
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
pub const RETRY_MAX: Duration = Duration::from_secs(600);
/// An answer that has not come by then is taken for lost.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// RCPT-6a: how late a BYE can come: as long as its sender repeats it (RFC 3261 §17.1.2.2), and a little.
pub const BYE_LATE_MAX: Duration = Duration::from_secs(40);

/// Calls, open or ended, whose receipt is not done: about 32 MB. Each is charged to whoever called; what our own phones
/// and those of realms that we know began has a part for itself, so that calls of strangers with peers that never sign
/// leave theirs room. A call above its share has no receipt.
pub const UNFINISHED: Limits =
    Limits::new(if cfg!(test) { 4 << 20 } else { 32 << 20 }, if cfg!(test) { 2_000 } else { 16_000 })
        .reserving([0, 300, 150, 0]);
/// RCPT-7a: a call about which a signature did not hold is not listened to for so long, and twice as long each time.
pub const DEAF_FIRST: Duration = Duration::from_secs(1);
pub const DEAF_MAX: Duration = Duration::from_secs(600);
/// Signatures of one peer that do not hold, of all its calls; beyond, nothing of it is listened to.
pub const FORGED: Allowance = Allowance::new(2.0, 40.0);
/// Receipts that are done and still shown: about 7 MB. Older ones are in the segments alone.
pub const KEPT_MAX: usize = 5_000;
/// Requests under way toward one peer; more wait.
pub const REQUESTS_PER_PEER: usize = 16;
/// Requests of one peer that wait for our disk; one more is refused.
pub const WAITING_PER_PEER: usize = 2 * REQUESTS_PER_PEER;
/// Requests and answers that are taken in together, and signed by one signature: 4 MiB at most.
pub const SAID_MAX: usize = 64;
/// Calls in one request: each message is at most about 1.5 kB, with the paths of two seals.
pub const BUNDLE_MAX: usize = 32;
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024;
/// The name of a network, as it stands in each record.
pub const NETWORK_MAX: usize = 255;

const _: () = assert!(RETRY_MAX.as_secs() < RETRY_FOR.as_secs() && TURN.as_secs() < RETRY_MAX.as_secs());
const _: () = assert!(BATCH.as_secs() < TURN.as_secs());
