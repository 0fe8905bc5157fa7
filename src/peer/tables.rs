//! What can grow in the composition, for the page of limits.

use super::{
    aliases, asks,
    auth::asked_for,
    calls::{self, room},
    met,
    names::{self, belief, search},
    neighbours, rate,
};
use dots_wire::{
    Checked,
    bounded::{Full, Limit},
};

/// A phone's word in our log.
const PUBLISHED_BYTES: usize = 128;
const PUBLISHED: usize = dots_sip::registrar::BINDINGS.entries;
/// A call that waits, with its name.
const WAITER_BYTES: usize = 384;

pub fn limits() -> Vec<Limit> {
    let mut limits = calls_and_questions();
    limits.extend(realms_and_peers());
    limits
}

fn calls_and_questions() -> Vec<Limit> {
    use Full::{HeaviestGives, Otherwise, Refused};
    vec![
        Limit::table(
            "asks Asks.book",
            "questions to peers, the account store and DNS",
            asks::QUESTIONS,
            "who asks; a quarter is for ourselves, a quarter for callers that proved an account",
            Refused("503, or what a question without an answer means"),
        ),
        Limit::table(
            "calls/room Room.0",
            "calls, ringing and up",
            room::LIMITS,
            "the caller; 30 % is for our own phones, 15 % for realms that we know",
            Refused("it is carried, but neither listed nor receipted, and counted"),
        ),
        Limit::table("calls/mod Calls.ended", "calls that ended", calls::ENDED, "the caller", HeaviestGives),
        Limit::table(
            "auth/asked_for AskedFor.0",
            "who called whom a moment ago",
            asked_for::CALLERS,
            "the caller",
            HeaviestGives,
        ),
        Limit::made(
            "bindings Published.said",
            "what our log says of our phones",
            (PUBLISHED, PUBLISHED * PUBLISHED_BYTES),
            "our phones, which the registrar has admitted",
            Otherwise("there are never so many"),
        ),
        Limit::table(
            "mod Peer.checked",
            "signatures that were checked",
            Checked::LIMITS,
            "the signer",
            HeaviestGives,
        ),
        Limit::table(
            "rate Buckets.used",
            "what peers may ask",
            rate::BUCKETS,
            "the peer, behind its network",
            HeaviestGives,
        ),
        Limit::table(
            "rate Buckets.shared",
            "what all peers of a network may ask",
            rate::NETWORKS,
            "the network",
            HeaviestGives,
        ),
        Limit::table(
            "rate Buckets.of_networks",
            "what networks may ask",
            rate::NETWORKS,
            "the network",
            HeaviestGives,
        ),
        Limit::made(
            "aliases Aliases.0",
            "short names",
            (aliases::ALIASES_MAX, aliases::ALIASES_MAX * 512),
            "the operator",
            Refused("the command fails"),
        ),
    ]
}

fn realms_and_peers() -> Vec<Limit> {
    use Full::{HeaviestGives, Otherwise};
    vec![
        Limit::table(
            "met Met.realms",
            "realms that our phones called",
            met::REALMS,
            "the realm",
            HeaviestGives,
        ),
        Limit::table(
            "names/search Searches.searches",
            "realms that are searched for",
            search::SEARCHES,
            "the realm",
            HeaviestGives,
        ),
        Limit::made(
            "names/search Searches.waiting",
            "calls that wait for a realm",
            (search::WAITING_MAX, search::WAITING_MAX * WAITER_BYTES),
            "the realm: 64",
            Otherwise("the one that has waited longest waits no longer"),
        ),
        Limit::table(
            "names/mod Asking.searching",
            "how often callers may have us search",
            names::SEARCHING,
            "the caller's network",
            HeaviestGives,
        ),
        Limit::table(
            "names/mod Asking.news",
            "how much news of realms is passed on",
            belief::NEWS_TOLD,
            "the network that tells it",
            HeaviestGives,
        ),
        Limit::table(
            "names/mod Asking.dns_asked",
            "names that DNS was asked about",
            belief::DNS_NAMES,
            "the name",
            HeaviestGives,
        ),
        Limit::table(
            "neighbours Neighbours.labels",
            "short names of peers",
            neighbours::LABELS,
            "neighbours, half of it; others by network",
            HeaviestGives,
        ),
        Limit::table(
            "neighbours Neighbours.other_versions",
            "peers of another version",
            neighbours::OTHER_VERSIONS,
            "nobody: they are counted",
            HeaviestGives,
        ),
    ]
}
