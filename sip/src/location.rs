//! Where a phone is: what the proxy has to know of a binding, handed over as a value. So the proxy reads no table of the
//! registrar's, and both may live in different shards.

use crate::{
    Flow, auth::Vouch, listening::Listening, ping::request_uri, registrar::Bound, token::short_instance,
};
use std::sync::Arc;

/// One binding of an AOR, at the moment when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub aor: Arc<str>,
    pub instance: String,
    /// 0..=1000.
    pub q: u16,
    pub flow: Flow,
    /// See [`crate::registrar::Binding::listens`].
    pub listens: Option<Listening>,
    /// Its Contact as a Request-URI.
    pub uri: String,
    pub path: Vec<String>,
    /// See [`crate::registrar::Binding::server`].
    pub server: Option<String>,
    /// Its flow is there.
    pub is_open: bool,
    /// It can be called now: on its flow, or where it listens; else it is only bound.
    pub is_reachable: bool,
    /// What the home gave for it, and until when, UTC ms.
    pub grant: Arc<[u8]>,
    pub granted_until_ms: u64,
}

impl Place {
    pub fn of(bound: &Bound<'_>, now_ms: u64) -> Place {
        Place {
            aor: bound.aor.into(),
            instance: bound.instance.to_owned(),
            q: bound.q,
            flow: bound.flow,
            listens: bound.listens,
            uri: request_uri(bound.contact).to_owned(),
            path: bound.path().map(str::to_owned).collect(),
            server: bound.server.map(str::to_owned),
            is_open: bound.is_open,
            is_reachable: bound.is_reachable() && bound.expires_at_ms > now_ms,
            grant: bound.grant(),
            granted_until_ms: bound.granted_until_ms,
        }
    }

    /// Where it is asked first: the port where it listens, or the flow.
    pub fn reached_at(&self) -> Flow {
        match self.listens {
            Some(at) if !(self.is_open && at.is_at(&self.flow)) => at.beside(&self.flow),
            _ => self.flow,
        }
    }

    /// The same phone on its flow, where there is one beside the port where it listens.
    pub fn on_flow(&self) -> Option<Place> {
        let is_other = self.is_open && self.reached_at() != self.flow;
        is_other.then(|| Place { listens: None, ..self.clone() })
    }

    /// Is it the phone that sends on this flow? A connection that we opened to where it listens has a number of its own.
    pub fn is_at(&self, flow: &Flow) -> bool {
        self.flow == *flow
            || self.listens.is_some_and(|at| at.beside(&self.flow) == Flow { connection: 0, ..*flow })
    }

    /// Is it the phone that a route token names by the hash of its instance?
    pub fn is_instance(&self, short: &str) -> bool {
        short_instance(&self.instance) == short
    }

    /// The grant under which the phone on this flow is bound: for an INVITE while its home cannot be asked (design: home
    /// unreachable).
    pub fn vouch_for(&self, flow: &Flow, now_ms: u64) -> Option<Vouch> {
        let is_there = self.flow == *flow && self.is_open || self.is_at(flow);
        let holds = is_there && self.is_reachable && self.granted_until_ms > now_ms;
        holds.then(|| Vouch {
            aor: self.aor.to_string(),
            grant: self.grant.clone(),
            not_after_ms: self.granted_until_ms,
        })
    }
}
