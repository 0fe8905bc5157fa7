//! Every figure of the failure detector, with its reason.

use dots_wire::Allowance;
use std::time::Duration;

/// Probes begun per second, over all neighbours: with 64 of them each pair exchanges one every 4 s (8 s from each side), for
/// less than 4 kB/s. A dead peer is probed by all of its neighbours together, so it is found as fast as one with few.
pub const PROBES_PER_SECOND: u32 = 8;
/// No neighbour is probed more often than this, however few they are.
pub const ROUND_MIN: Duration = Duration::from_secs(1);
/// A probe is repeated after this long, or after twice the round trip where that is longer, up to [`STEP_MAX`].
pub const STEP: Duration = Duration::from_millis(350);
pub const STEP_MAX: Duration = Duration::from_millis(900);
/// Steps without an answer after which a peer is *suspect*: two probes of ours, and three through others.
pub const STEPS_SUSPECT: u32 = 2;
/// The same where somebody else had reported it: one.
pub const STEPS_SUSPECT_REPORTED: u32 = 1;
/// LIVE-3: a probe of ours that had no answer for this long makes a peer *dead*: more than the 2 s for which a busy machine stops
/// now and then, and two questions and a round trip beside, for those before the stop may have been lost; and less than the 3 s
/// after which a caller gives up.
pub const DEAD_AFTER: Duration = Duration::from_millis(2_900);
/// How many others are asked to probe, and at which steps.
pub const HELPERS: usize = 3;
pub const HELP_AT_STEPS: [u32; 3] = [1, 3, 5];
/// A timer that fires so late means that it is this machine that stands still.
pub const LATE: Duration = Duration::from_millis(200);
/// For so long after that, we take twice as long to judge others.
pub const UNWELL: Duration = Duration::from_secs(5);
/// What a peer promises: to be heard again within one and a half of its rounds, and this.
pub const PROMISE_SLACK: Duration = Duration::from_millis(350);
/// The longest promise that is believed.
pub const PROMISE_MAX: Duration = Duration::from_secs(60);
/// When a dead peer is probed again; doubles up to [`AGAIN_MAX`].
pub const AGAIN: Duration = Duration::from_secs(2);
pub const AGAIN_MAX: Duration = Duration::from_secs(30);
/// Dead peers asked again, all together: each is looked for in the network, and keys that come and go are free. Who is back says
/// so itself, by a new connection.
pub const AGAINS: Allowance = Allowance::new(8.0, 64.0);
/// A dead peer that was not heard of for so long is forgotten.
pub const FORGET: Duration = Duration::from_secs(600);

/// Neighbours that are told at once of a suspicion, a death or a new life that we found ourselves; of others' news.
pub const TELL_OWN: usize = 64;
pub const TELL_OTHERS: usize = 4;
/// Pieces of news in one message, and how often each is added to probes that go out anyway.
pub const NEWS_PER_MESSAGE: usize = 4;
pub const NEWS_TIMES: u32 = 12;
/// News kept for that; the oldest goes.
pub const NEWS_MAX: usize = 64;
/// What hearsay of one neighbour may make us do: a probe for each.
pub const HEARSAY: Allowance = Allowance::new(2.0, 32.0);
/// Signatures that one neighbour may make us check.
pub const WORDS: Allowance = Allowance::new(2.0, 32.0);
/// Probes that one neighbour may ask us for.
pub const HELP: Allowance = Allowance::new(4.0, 32.0);
/// Refutations of our own death.
pub const REFUTATIONS: Allowance = Allowance::new(1.0, 4.0);
/// Neighbours of other networks, chosen by us, whose word together makes a peer dead here.
pub const ACCUSERS: usize = 2;

/// And that only where it has not answered so many questions of ours either: a lie can hasten a verdict, not make one.
pub const STEPS_BEFORE_OTHERS: u32 = 3;

/// Peers remembered, connected or not; at the limit one that is not connected goes, the one heard of longest ago.
pub const MEMBERS_MAX: usize = 4_096;
/// Questions of our own under way.
pub const ASKS_MAX: usize = 4_096;
/// Questions for others: 64 B each.
pub const SHOWS_MAX: usize = 1_024;
/// A question that was not answered by then is forgotten; the driver gives up after 5 s.
pub const ASK_PATIENCE: Duration = Duration::from_secs(10);

const _: () =
    assert!(DEAD_AFTER.as_millis() > 2_000 + 2 * STEP.as_millis() + 160 && DEAD_AFTER.as_millis() < 3_000);
const _: () = assert!(STEP.as_millis() * (STEPS_SUSPECT as u128) < 1_000);
