//! Where a phone is: what the proxy has to know of a binding, handed over as a value. So the proxy reads no table of the
//! registrar's, and both may live in different shards.

use crate::{Flow, auth::Vouch, ping::request_uri, registrar::Binding, token::short_instance};
use std::{net::SocketAddr, sync::Arc};

/// One binding of an AOR, at the moment when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub aor: Arc<str>,
    pub instance: String,
    /// 0..=1000.
    pub q: u16,
    pub flow: Flow,
    /// See [`Binding::listens`].
    pub listens: Option<SocketAddr>,
    /// Its Contact as a Request-URI.
    pub uri: String,
    pub path: Vec<String>,
    /// See [`Binding::server`].
    pub server: Option<String>,
    /// Its flow is there; else it is bound, and cannot be called now.
    pub is_reachable: bool,
    /// What the home gave for it, and until when, UTC ms.
    pub grant: Arc<[u8]>,
    pub granted_until_ms: u64,
}

impl Place {
    pub fn of(binding: &Binding, is_reachable: bool) -> Place {
        Place {
            aor: binding.aor.as_str().into(),
            instance: binding.instance.clone(),
            q: binding.q,
            flow: binding.flow,
            listens: binding.listens,
            uri: request_uri(&binding.contact).to_owned(),
            path: binding.path.clone(),
            server: binding.server.clone(),
            is_reachable,
            grant: binding.grant.clone(),
            granted_until_ms: binding.granted_until_ms,
        }
    }

    /// Where it is asked first: the port where it listens, or the flow.
    pub fn reached_at(&self) -> Flow {
        Flow { remote: self.listens.unwrap_or(self.flow.remote), ..self.flow }
    }

    /// Is it the phone that sends on this flow?
    pub fn is_at(&self, flow: &Flow) -> bool {
        self.flow == *flow || self.reached_at() == *flow
    }

    /// Is it the phone that a route token names by the hash of its instance?
    pub fn is_instance(&self, short: &str) -> bool {
        short_instance(&self.instance) == short
    }

    /// The grant under which the phone on this flow is bound: for an INVITE while its home cannot be asked (design: home
    /// unreachable).
    pub fn vouch_for(&self, flow: &Flow, now_ms: u64) -> Option<Vouch> {
        let holds = self.is_at(flow) && self.is_reachable && self.granted_until_ms > now_ms;
        holds.then(|| Vouch {
            aor: self.aor.to_string(),
            grant: self.grant.clone(),
            not_after_ms: self.granted_until_ms,
        })
    }
}
