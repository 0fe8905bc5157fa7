//! What can grow in this crate, for the page of limits.

use crate::{brakes, grant, guest, names, roaming, used, visitors};
use dots_wire::bounded::{Full, Limit};

pub fn limits() -> Vec<Limit> {
    use Full::{HeaviestGives, Otherwise, Refused};
    vec![
        Limit::table(
            "used Used.book",
            "nonces that were answered, so that no answer counts twice",
            used::LIMITS,
            "the account, behind its network; half is for answers given here",
            Refused("401 with another nonce"),
        ),
        Limit::table(
            "brakes Brakes.buckets",
            "who guessed how often",
            brakes::BUCKETS,
            "account, network, serving peer",
            HeaviestGives,
        ),
        Limit::made(
            "brakes/been Been.places",
            "where accounts gave right answers",
            (brakes::PLACES, brakes::PLACES * brakes::PLACE_BYTES),
            "the account, which knows its password",
            Otherwise("the oldest place of an account that has many; then any: it pays as a newcomer does"),
        ),
        Limit::table(
            "grant Shown.seen",
            "call grants that were shown, so that each counts once",
            grant::SHOWN,
            "the caller's realm, behind the network of the peer that shows it",
            Refused("the call is refused"),
        ),
        Limit::table(
            "grant GrantBatcher.book",
            "grants that wait 2 ms to be signed together",
            grant::PENDING,
            "the peer that asks",
            Refused("503 at the phone's peer"),
        ),
        Limit::table(
            "guest Guest.realms",
            "leases of other homes",
            guest::REALMS,
            "the realm, behind the network of the phone that named it",
            HeaviestGives,
        ),
        Limit::table(
            "guest Guest.waiting",
            "phones that wait for a lease",
            guest::WAITING,
            "the phone's network",
            Refused("503 with Retry-After"),
        ),
        Limit::made(
            "names/mod Realms.known",
            "realm records",
            (names::REALMS_MAX, names::KNOWN_BYTES_MAX),
            "the network of the peer that told it; pinned and own ones nobody",
            Otherwise("what has expired goes, then what the network told that has told most"),
        ),
        Limit::table(
            "names/dns Dns.claimed",
            "records by other keys than the one believed, until DNS has spoken",
            names::dns::CLAIMED,
            "the network of the peer that told it, then the name, then the key",
            HeaviestGives,
        ),
        Limit::table(
            "names/dns Dns.heard",
            "what DNS said",
            names::dns::HEARD,
            "the network whose record made us ask",
            HeaviestGives,
        ),
        Limit::table(
            "names/dns Dns.asked",
            "names that DNS was asked about within a minute",
            names::dns::ASKED,
            "the network whose record makes us ask",
            Refused("it is not asked about yet"),
        ),
        Limit::table(
            "roaming Roaming.at",
            "where we let our phones register",
            roaming::ROAMING,
            "the account",
            HeaviestGives,
        ),
        Limit::table(
            "visitors Visitors.wrong",
            "phones of other realms that answered wrongly",
            visitors::BUCKETS,
            "the phone's network, for each realm",
            HeaviestGives,
        ),
        Limit::table(
            "visitors Visitors.right",
            "those that answered rightly a moment ago",
            visitors::RIGHT,
            "the phone's network",
            HeaviestGives,
        ),
        Limit::table(
            "visitors Visitors.asked",
            "how often phones of a network have us ask their homes",
            visitors::ASKING,
            "the phone's network",
            HeaviestGives,
        ),
    ]
}
