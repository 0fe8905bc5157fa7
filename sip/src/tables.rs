//! What can grow in this crate, for the page of limits. Of a core: there is one in a peer today.

use crate::{limits, ping, proxy::memory, registrar::store, transaction::unheard, waiting};
use dots_wire::bounded::{Full, Limit};

/// A transaction takes at least so much.
const TRANSACTION_BYTES_MIN: usize = 640;

pub fn limits() -> Vec<Limit> {
    use Full::{HeaviestGives, Refused};
    vec![
        Limit::table(
            "registrar/store Bindings.book",
            "registered phones",
            store::BINDINGS,
            "the account, behind its realm and network; half is for our own realms",
            Refused("503 with Retry-After"),
        ),
        Limit::made(
            "transaction/servers Servers.rows",
            "transactions, of clients and servers",
            (limits::TRANSACTION_BYTES_MAX / TRANSACTION_BYTES_MIN, limits::TRANSACTION_BYTES_MAX),
            "the network of the hop; a quarter is for registered phones and connected peers",
            Refused("answers that wait for a repetition go, the oldest of the network first; then 503"),
        ),
        Limit::table(
            "transaction/unheard Sockets.0",
            "addresses, and what was sent there by UDP before anything came back",
            unheard::ADDRESSES,
            "the network",
            HeaviestGives,
        ),
        Limit::table(
            "waiting Waiting.0",
            "requests that wait for a nonce, at the registrar and at the proxy",
            waiting::LIMITS,
            "the phone's network; a quarter is for registered phones",
            Refused("503 with Retry-After"),
        )
        .times(2),
        Limit::table(
            "proxy/memory Dialogs.rows",
            "what is remembered of dialogs; a call goes on without",
            memory::ROWS,
            "the caller, behind realm and network; a quarter is for our own realms",
            HeaviestGives,
        ),
        Limit::table(
            "proxy/memory Dialogs.failed",
            "calls that failed a moment ago",
            memory::FAILED,
            "the caller, behind realm and network; a quarter is for our own realms",
            HeaviestGives,
        ),
        Limit::table(
            "registrar/probes Probes.0",
            "ports of foreign phones that are asked for a sign of life",
            limits::PROBES,
            "the account, behind its network",
            Refused("it is not asked: the phone is reached on its flow alone"),
        ),
        Limit::table(
            "ping Pings.waiting",
            "pings of phones that wait for a sign of life",
            ping::PINGS,
            "who wants to know: ourselves, half of it; verifiers",
            Refused("the phone is not asked, which says nothing of it"),
        ),
    ]
}
