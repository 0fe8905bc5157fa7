//! The bounds of what we read and keep. Nothing grows with what a stranger sends.

use dots_wire::bounded::Limits;
use std::time::Duration;

/// A whole message: what fits one datagram, and what a TCP phone may send.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// Header lines in one message.
pub const HEADERS_MAX: usize = 256;
/// Route / Record-Route values that we look at.
pub const ROUTES_MAX: usize = 70;
/// A canonical address of record: no account has a longer one.
pub const AOR_BYTES_MAX: usize = 255;
/// One of a branch, a tag or a Call-ID: they name things in our tables.
pub const NAME_BYTES_MAX: usize = 256;

/// All server and client transactions together, bytes: the answers of 30 s at 8,000 requests a second.
pub const TRANSACTION_BYTES_MAX: usize = 212 << 20;
/// What only hops that have proved themselves may use of it: phones that are registered here, and connected peers.
pub const TRANSACTION_BYTES_RESERVED: usize = TRANSACTION_BYTES_MAX / 4;
/// Requests that wait for a nonce to be challenged with; a home answers within a round trip.
pub const CHALLENGES_MAX: usize = 8_192;
/// What these requests are, all together.
pub const CHALLENGE_BYTES_MAX: usize = 8 << 20;
/// What is remembered of dialogs.
pub const DIALOG_BYTES_MAX: usize = 24 << 20;
/// A Contact, From or To of a phone that is remembered for its dialog; a longer one is not.
pub const DIALOG_FIELD_BYTES_MAX: usize = 512;
/// Branches of one request, all groups together (RFC 5393 §5.3 bounds the breadth of a search).
pub const BRANCHES_MAX: usize = 64;

/// RFC 3261 §16.6 step 11: longer than three minutes.
pub const TIMER_C: Duration = Duration::from_secs(185);
/// A peer says 100 within 100 ms; one that does not within this time hangs.
pub const TRYING_WITHIN: Duration = Duration::from_secs(2);
/// The same where others wait to be tried.
pub const NEXT_AFTER: Duration = Duration::from_millis(700);
/// A call for which no peer says a word fails after this, the search for its callee included.
pub const CALL_WITHIN: Duration = Duration::from_millis(2_900);
const _: () = assert!(NEXT_AFTER.as_millis() < TRYING_WITHIN.as_millis());

/// A phone that listens at another port than it sends from has this long to say something there, before it is asked on its
/// flow: three times over UDP.
pub const LISTENING_WITHIN: Duration = Duration::from_secs(2);
/// Other ports of strangers' phones that are asked for a sign of life at once.
pub const PROBES: Limits = Limits::new(512 << 10, 1_024);

/// A home cannot be asked, or the program ends: long enough for either to be over.
pub const RETRY_AFTER_UNAVAILABLE_S: &str = "10";
/// A table is full: what fills it lasts 32 s at most.
pub const RETRY_AFTER_FULL_S: &str = "10";
