//! The request protocols, as data: the table below is the only place that a new one touches, beside the room that answers it.
//!
//! A row is the libp2p name with its version, who answers, how long a request may be, and how much one neighbour may ask.
//! The driver makes one behaviour per row, the peer one token bucket per row and neighbour. The version changes when a
//! message does; a peer that speaks none of these names is counted and left alone, so nothing of one version is ever read
//! as another.

use dots_wire::Allowance;

/// Calls `$with` with the rows: the driver makes its own types of them.
macro_rules! for_each_protocol {
    ($with:ident) => {
        $with! {
            /// Leases and nonces of a home, answers returned to it, grants back.
            Auth auth { "/dots/auth/2", Trust, request_max: 64 * 1024, allowance: (2_000.0, 4_000.0) }
            /// Heads and ranges of log entries.
            Log log { "/dots/log/2", Overlay, request_max: 1024, allowance: (50.0, 200.0) }
            /// Realm records, and a home's word on which bindings an AOR has and whether it exists.
            Lookup lookup { "/dots/lookup/2", Lookup, request_max: 64 * 1024, allowance: (500.0, 1_000.0) }
            /// "Ping this binding of yours", answered with a signed outcome.
            Verify verify { "/dots/verify/2", Overlay, request_max: 1024, allowance: (200.0, 2_000.0) }
            /// Proposals and co-signatures of call receipts.
            Receipt receipt { "/dots/receipt/2", Ledger, request_max: 64 * 1024, allowance: (1_000.0, 5_000.0) }
            /// "Are you there?", for oneself and for others, and goodbyes.
            Live live { "/dots/live/2", Liveness, request_max: 4 * 1024, allowance: (50.0, 200.0) }
        }
    };
}
#[cfg(feature = "net")]
pub(crate) use for_each_protocol;

/// `/dots/sip/…`: the streams between two peers.
pub const SIP_STREAM: &str = "/dots/sip/3";
/// Kademlia's protocol.
pub const KADEMLIA: &str = "/dots/kad/2";
/// The topic on which log entries are gossiped.
pub const LOG_TOPIC: &str = "/dots/log/2";

/// The room that answers a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Trust,
    Lookup,
    Ledger,
    /// The failure detector.
    Liveness,
    /// The overlay core itself.
    Overlay,
}

macro_rules! table {
    ($($(#[$doc:meta])* $variant:ident $field:ident {
        $name:literal, $owner:ident, request_max: $request_max:expr, allowance: ($rate:expr, $burst:expr)
    })*) => {
        /// One row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Protocol { $($(#[$doc])* $variant,)* }

        impl Protocol {
            pub const ALL: &[Protocol] = &[$(Protocol::$variant),*];

            /// The libp2p protocol name. A network's name is added by the driver: `/dots/auth/2/<network>`.
            pub const fn name(self) -> &'static str {
                match self { $(Protocol::$variant => $name,)* }
            }
            pub const fn owner(self) -> Owner {
                match self { $(Protocol::$variant => Owner::$owner,)* }
            }
            /// Bytes of one request.
            pub const fn request_max(self) -> usize {
                match self { $(Protocol::$variant => $request_max,)* }
            }
            /// What one neighbour may ask. An honest peer with a few thousand phones stays well below; a flood stops here,
            /// before it costs a signature or a disk access.
            pub const fn allowance(self) -> Allowance {
                match self { $(Protocol::$variant => Allowance::new($rate, $burst),)* }
            }
        }
    };
}
for_each_protocol!(table);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_whole_and_no_name_comes_twice() {
        let names: BTreeSet<&str> = Protocol::ALL.iter().map(|p| p.name()).collect();
        assert_eq!(names.len(), Protocol::ALL.len());
        for protocol in Protocol::ALL {
            let parts: Vec<&str> = protocol.name().split('/').collect();
            let [_, "dots", what, version] = parts[..] else { panic!("{protocol:?}: {parts:?}") };
            assert!(!what.is_empty() && version.parse::<u8>().is_ok_and(|v| v >= 2), "{protocol:?}");
            let allowance = protocol.allowance();
            assert!(allowance.per_second > 0.0 && allowance.burst >= allowance.per_second, "{protocol:?}");
            assert!(protocol.request_max() <= 64 * 1024, "{protocol:?}");
        }
    }
}
