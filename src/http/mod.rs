//! The HTTP API: routes, the token, pages. It decides nothing about telephony: it asks the peer.

mod ask;

pub use ask::ApiHandle;
