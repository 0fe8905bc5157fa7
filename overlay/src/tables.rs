//! What can grow in this crate, for the page of limits.

use crate::{
    core::compacting,
    dht::puts,
    directory::{restating, revoked, table},
    link, liveness,
    log::{author, desk, liars, quota, room, sync::answering, treasury},
    verify::{self, serving},
};
use dots_wire::{
    Checked,
    bounded::{Full, Limit},
};

/// A member with what is known of it, and its signed life.
const MEMBER_BYTES: usize = 1_024;
/// An AOR's time: in two trees.
const TIMER_BYTES: usize = 72;

pub fn limits() -> Vec<Limit> {
    let mut limits = log();
    limits.extend(directory());
    limits.extend(neighbours());
    #[cfg(feature = "net")]
    limits.extend(net());
    limits
}

fn log() -> Vec<Limit> {
    use Full::{HeaviestGives, Otherwise, Refused};
    vec![
        Limit::made(
            "log/chains Chains.chains",
            "logs of others, to serve them on and to catch contradictions",
            (room::AUTHORS_MAX, room::TOTAL_BYTES_MAX),
            "the author, behind the network and realm whose home's grant pays for him",
            Otherwise("who is not paid for goes, then the longest chains lose their oldest entries"),
        ),
        Limit::made(
            "log/author AuthorLog.pending",
            "what our log is to say",
            (author::PENDING_BYTES_MAX / 256, author::PENDING_BYTES_MAX),
            "our own phones, which their own table has admitted",
            Refused("503 with Retry-After"),
        ),
        Limit::table(
            "log/desk Desk.accounts",
            "how often an account changes what we say",
            desk::ACCOUNTS,
            "the account",
            HeaviestGives,
        ),
        Limit::table(
            "log/quota Realms.known",
            "realms whose record is known",
            quota::KNOWN,
            "the realm",
            HeaviestGives,
        ),
        Limit::table(
            "log/treasury Treasury.purses",
            "what realms may have said of them",
            treasury::PURSES,
            "the realm, behind the network of its home",
            HeaviestGives,
        ),
        Limit::table(
            "log/sync Sync.answered",
            "what neighbours may ask of the log",
            answering::ANSWERED,
            "the neighbour",
            HeaviestGives,
        ),
        Limit::made(
            "log/liars Liars.order",
            "who was caught contradicting himself",
            (liars::FOR_GOOD_MAX + liars::MADE_UP_MAX, (liars::FOR_GOOD_MAX + 2 * liars::MADE_UP_MAX) * 64),
            "the liar",
            Otherwise("a key for which nobody paid is forgotten; it is caught again"),
        ),
        Limit::made(
            "core/compacting Written.proofs",
            "proofs of contradictions that are kept over a restart",
            (2 * compacting::PROOFS_KEPT_MAX, compacting::PROOF_BYTES_MAX),
            "the liar",
            Otherwise("the oldest half goes"),
        ),
    ]
}

fn directory() -> Vec<Limit> {
    use Full::{HeaviestGives, Otherwise};
    vec![
        Limit::table(
            "directory/table Table.kept",
            "bindings of phones elsewhere, whose home says so",
            table::KEPT,
            "the realm, behind the network in which we reach its home; reserves for known ones",
            HeaviestGives,
        ),
        Limit::table(
            "directory/table Table.waiting",
            "bindings whose home was not heard yet",
            table::WAITING,
            "the neighbour that passed them on",
            HeaviestGives,
        ),
        Limit::table(
            "directory/revoked Revoked.before",
            "grants that a home took back",
            revoked::REVOKED,
            "the neighbour; reserves for known realms",
            HeaviestGives,
        ),
        Limit::made(
            "directory/mod Directory.spared",
            "realms of which an author's log did not all come",
            (restating::SPARED_MAX, restating::SPARED_MAX * 48),
            "the author",
            Otherwise("bindings that are not said again lapse"),
        ),
        Limit::made(
            "dht/puts Puts.due",
            "phones of ours that the DHT is told of",
            (puts::AORS_MAX, puts::AORS_MAX * TIMER_BYTES),
            "our own phones, which their own table has admitted",
            Otherwise("there are never so many"),
        ),
        Limit::table(
            "verify/mod Verifier.watched",
            "bindings that this peer verifies",
            verify::WATCHED,
            "the realm at its serving peer",
            HeaviestGives,
        ),
        Limit::table(
            "verify/serving Pinger.answered",
            "phones known to answer OPTIONS",
            serving::ANSWERED,
            "the phone",
            HeaviestGives,
        ),
        Limit::table(
            "verify/serving Pinger.lately",
            "what came of the last pings",
            serving::LATELY,
            "the phone",
            HeaviestGives,
        ),
        Limit::table(
            "core/mod OverlayCore.checked",
            "signatures that were checked",
            Checked::LIMITS,
            "the signer",
            HeaviestGives,
        ),
    ]
}

fn neighbours() -> Vec<Limit> {
    use Full::{Otherwise, Refused};
    vec![
        Limit::table(
            "link/mod Links.links",
            "links to other peers",
            link::LINKS,
            "the peer, behind its network",
            Refused("one that is idle goes, else the newcomer"),
        ),
        Limit::made(
            "link/peer Link.queue",
            "frames that were not acknowledged, of all links together",
            (link::QUEUED_MAX / 1_024, link::QUEUED_MAX),
            "the link: 1 MiB, then nothing new; 2 MiB, then it is given up",
            Refused("503: the peer is not reached"),
        ),
        Limit::made(
            "liveness/mod Detector.members",
            "peers that the failure detector knows",
            (liveness::limits::MEMBERS_MAX, liveness::limits::MEMBERS_MAX * MEMBER_BYTES),
            "the peer",
            Otherwise("the one not connected that was heard of longest ago"),
        ),
    ]
}

#[cfg(feature = "net")]
fn net() -> Vec<Limit> {
    use crate::net::limits;
    use Full::{HeaviestGives, Otherwise, Refused};
    vec![
        Limit::table(
            "net/driver/dht Dht.held",
            "values that we hold for others in the DHT",
            limits::RECORDS,
            "the putter's network; reserves for own values and granted ones",
            HeaviestGives,
        ),
        Limit::table(
            "net/driver/reach Places.reaching",
            "peers that are being reached",
            limits::REACHING,
            "who wants it: ourselves, callers, others",
            HeaviestGives,
        ),
        Limit::table(
            "net/driver/reach Places.unreached",
            "peers that were not reached a moment ago",
            limits::UNREACHED,
            "nobody: a look-up each",
            HeaviestGives,
        ),
        Limit::made(
            "net/dialer Dialer.known",
            "addresses of peers",
            (limits::KNOWN_MAX, limits::KNOWN_MAX * (256 + limits::ADDRESSES_MAX * 64)),
            "the peer",
            Otherwise("one that was never met goes"),
        ),
        Limit::table(
            "net/driver/requests Requests.inbound",
            "questions of peers that wait for our answer",
            limits::INBOUND,
            "the peer, behind its network; 30 % is for realms that we met",
            Refused("it is not answered"),
        ),
        Limit::table(
            "net/driver/requests Requests.asked",
            "our questions to peers, sent or waiting in line",
            limits::ASKED,
            "who asks, and whom; 35 % is for ourselves, 20 % for callers",
            Refused("it has failed at once, and is counted"),
        ),
        Limit::table(
            "net/driver/gossip Pending.0",
            "gossip that waits for a verdict",
            limits::VERDICTS,
            "the neighbour, behind its network",
            HeaviestGives,
        ),
        Limit::table(
            "net/driver/peers Incoming.0",
            "connections from outside",
            limits::INCOMING,
            "the address, behind its network",
            HeaviestGives,
        ),
    ]
}
