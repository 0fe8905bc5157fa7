//! The HTTP API: routes, the token, pages, metrics. It decides nothing about telephony: it asks the peer.
//!
//! One table ([`routes::ROUTES`]) makes both the router and the OpenAPI document, so neither can have what the other
//! has not. Requests for foreign hosts are refused (a web page that rebinds its name to 127.0.0.1 gets nowhere);
//! changes, and reading calls, bindings, receipts and accounts, need the bearer token of the data directory.

mod ask;
mod guard;
mod handlers;
mod import;
mod metrics;
mod openapi;
mod page;
mod reply;
mod routes;
mod serve;
#[cfg(test)]
mod tests;

pub use ask::{ASKED_MAX, ApiHandle};
pub use metrics::Metrics;
pub use serve::serve;

use crate::drivers::store::AccountStore;
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::Semaphore;

/// Requests at work; more are answered 503.
const REQUESTS_MAX: usize = 256;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    api: ApiHandle,
    accounts: Arc<AccountStore>,
    metrics: Arc<Metrics>,
    token: Arc<str>,
    hosts: Arc<guard::Hosts>,
    slots: Arc<Semaphore>,
    /// The OpenAPI document.
    document: Arc<serde_json::Value>,
}

impl App {
    /// `bound`: where it listens. `host`: the name that the operator advertises, if any.
    pub fn new(
        api: ApiHandle,
        accounts: Arc<AccountStore>,
        metrics: Arc<Metrics>,
        token: String,
        bound: SocketAddr,
        host: Option<String>,
    ) -> App {
        App {
            api,
            accounts,
            metrics,
            token: token.into(),
            hosts: Arc::new(guard::Hosts { bound: bound.ip(), name: host.map(|h| h.to_ascii_lowercase()) }),
            slots: Arc::new(Semaphore::new(REQUESTS_MAX)),
            document: Arc::new(openapi::document(routes::ROUTES)),
        }
    }
}
