//! How long a call waits for a peer that says nothing.
//!
//! A search asks one home after the other and then the DHT, and each of them may be dead without anybody knowing. So a
//! question of a call is looked at while it is open: a home of which nothing has come for 0.35 s is doubted, which probes it,
//! and one of which nothing at all has come for 0.7 s is waited for no longer: the next is asked. Whoever is there and only
//! slow is heard of meanwhile, for it answers the probe, and is waited for.
//!
//! ```text
//!   asked ── 0.35 s ──▶ doubted ── 0.7 s, nothing heard ──▶ the next home, or the DHT ── 1 s, or 2.2 s in all ──▶ 480
//!     ▲                               │ heard
//!     └───────────────────────────────┘
//! ```

use super::asks::Silence;
use dots_overlay::records::Permit;
use std::time::{Duration, Instant};

/// A home of which nothing has come for so long is probed.
pub(super) const DOUBT: Duration = Duration::from_millis(350);
/// LIVE-11: and one of which nothing has come for so long is not waited for.
pub(super) const SILENT: Duration = Duration::from_millis(700);
/// All homes of one search that say nothing.
const HOMES: Duration = Duration::from_millis(1_400);
/// The DHT, and the whole search: a caller has still to wait for whoever it finds.
const DHT: Duration = Duration::from_secs(1);
const SEARCH: Duration = Duration::from_millis(2_200);

const _: () = assert!(DOUBT.as_millis() < SILENT.as_millis() && HOMES.as_millis() < SEARCH.as_millis());

/// When a home that was asked is given up if nothing comes of it. One that has to be dialled first may need longer.
pub(super) fn end_of(silence: &Silence, is_connected: bool, is_last: bool) -> Instant {
    let own = if is_connected || !is_last { SILENT } else { HOMES };
    (silence.since + own).min((silence.search.began + HOMES).max(silence.since))
}

/// When the search of the DHT ends.
pub(super) fn end_of_dht(now: Instant, began: Instant) -> Instant {
    (now + DHT).min((began + SEARCH).max(now))
}

/// When to look at a question that ends at `end`.
pub(super) fn next_look(now: Instant, since: Instant, end: Instant) -> Instant {
    let doubt = since + DOUBT;
    if now < doubt { doubt.min(end) } else { end }
}

/// Is this a call's question, which nobody may be kept waiting for? A registration waits for as long as its home lives.
pub(super) fn is_hurried(permit: &Permit) -> bool {
    matches!(permit, Permit::Call { .. })
}

/// When a question to the judge of a call is looked at first.
pub(super) fn first_look(now: Instant) -> Instant {
    now + DOUBT
}

#[cfg(test)]
mod tests {
    use super::{super::asks::Search, *};
    use dots_wire::SecretKey;

    /// LIVE-11: (why, ms from the search's begin to the question, connected, the last home, ms to its end)
    #[test]
    fn no_silent_home_is_waited_for_longer_than_its_time_and_all_of_them_no_longer_than_theirs() {
        for (why, asked, is_connected, is_last, ends) in [
            ("a neighbour", 0, true, true, 700),
            ("a neighbour, and others to ask", 0, true, false, 700),
            ("one to be dialled, and others to ask", 0, false, false, 700),
            ("one to be dialled, alone", 0, false, true, 1_400),
            ("the second of two", 700, true, true, 1_400),
            ("the second of two, to be dialled", 700, false, true, 1_400),
            ("no time is left", 1_400, true, true, 1_400),
            ("the first was there, and then silent", 3_000, true, true, 3_000),
        ] {
            let began = Instant::now();
            let home = SecretKey::from_bytes(&[1; 32]).expect("a scalar").peer_id();
            let since = began + Duration::from_millis(asked);
            let end = end_of(
                &Silence { home, since, search: Search { began, is_again: false } },
                is_connected,
                is_last,
            );
            assert_eq!(end, began + Duration::from_millis(ends), "{why}");
            let looks = [next_look(since, since, end), next_look(since + DOUBT, since, end)];
            assert!(looks[0] <= end && looks[1] == end, "{why}");
        }
    }

    #[test]
    fn a_search_of_the_dht_ends_after_a_second_and_with_the_search() {
        let began = Instant::now();
        for (at, ends) in [(0, 1_000), (1_000, 2_000), (1_400, 2_200), (2_500, 2_500)] {
            let now = began + Duration::from_millis(at);
            assert_eq!(end_of_dht(now, began), began + Duration::from_millis(ends));
        }
    }
}
