//! The way of a request in a dialog, as its Request-URI and Routes tell it (RFC 3261 §16.4, §16.6 step 6; TOK-5, TOK-8).
//!
//! ```text
//!   a strict router before us:  its own Route (ours) in the Request-URI, the target behind all Routes: put back
//!   Routes that only name us:   a configured outbound proxy: passed over
//!   Routes with tokens of ours: each says where to; the last of those that follow each other counts (a spiral)
//!   the rest:                   the next hop's and beyond: it must begin with whom we send to
//! ```
//!
//! A request never goes past a Route that is still in it: who is named there has asked to see it.

use crate::{
    cx::Cx,
    hop::{Hop, host_of},
    limits::ROUTES_MAX,
    message::{Message, Name, NameAddr},
    token::{Pair, Side, Token, Unproved},
    uri::Uri,
};
use std::net::IpAddr;

/// What the Routes say.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Both ends: from where the first of our tokens expects it, to where the last one leads.
    pub token: Token,
    /// Whose further tokens of a spiral were.
    pub earlier: Vec<Pair>,
    pub by_caller: bool,
    /// As the caller wrote it to us: whom it was hidden from says another (BORD-4).
    pub call_id: String,
    pub caller_tag: String,
    pub callee_tag: String,
    /// What the sender meant by the Request-URI. `None`: it was our token, and nothing else was said.
    pub uri: Option<String>,
    /// Routes of others that are left.
    pub rest: Vec<String>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoWay {
    /// No token at all: a dialog that nobody knows here (§12.2.2).
    Unknown,
    /// A token that was not sealed for this dialog.
    Forged,
}

struct Opened {
    token: Token,
    by_caller: bool,
    call_id: String,
    earlier: Vec<Pair>,
}

impl Way {
    pub fn find(cx: &Cx<'_>, request: &Message) -> Result<Way, NoWay> {
        let (from, to) = (request.from().ok_or(NoWay::Unknown)?, request.to().ok_or(NoWay::Unknown)?);
        let said = request.call_id().ok_or(NoWay::Unknown)?;
        let hidden = cx.base.border.mask().unproved(said);
        let open_as = |read: &Unproved, call_id: &str| {
            let seal = |tag: &str| read.proved(&cx.base.token_key, call_id, tag);
            let opened = |token: Token, by_caller: bool| Opened {
                token,
                by_caller,
                call_id: call_id.to_owned(),
                earlier: Vec::new(),
            };
            let by_caller = from.tag().and_then(seal).map(|token| opened(token, true));
            by_caller.or_else(|| to.tag().and_then(seal).map(|token| opened(token, false)))
        };
        let open = |user: &str| {
            let read = Token::read(user, &cx.base.token_key)?;
            open_as(&read, said).or_else(|| open_as(&read, hidden.as_deref()?))
        };
        let mut routes: Vec<String> =
            request.values(&Name::Route).take(ROUTES_MAX + 1).map(str::to_owned).collect();
        if routes.len() > ROUTES_MAX {
            return Err(NoWay::Forged);
        }
        let mut uri = request.uri().map(str::to_owned);
        // §16.4: the last Route is what the sender meant by the Request-URI.
        if let Some(ours) =
            uri.as_deref().filter(|uri| user_of(uri).is_some_and(|user| open(&user).is_some()))
        {
            let ours = format!("<{ours}>");
            uri = routes.pop().and_then(|last| Some(NameAddr::parse(&last)?.uri().to_owned()));
            routes.insert(0, ours);
        }
        let mut found: Option<Opened> = None;
        let mut passed = 0;
        for value in &routes {
            let opened = match kind_of(cx, value) {
                Kind::Us { is_port_ours } if is_port_ours || found.is_none() => {
                    passed += 1;
                    continue;
                }
                Kind::User(user) => open(&user),
                Kind::Us { .. } | Kind::Other => None,
            };
            match (opened, &mut found) {
                (Some(next), Some(first)) if next.goes_on(first) => first.follow(next.token),
                (Some(next), None) => found = Some(next),
                (None, None) if matches!(kind_of(cx, value), Kind::User(_)) => return Err(NoWay::Forged),
                _ => break,
            }
            passed += 1;
        }
        let Opened { token, by_caller, call_id, earlier } = found.ok_or(NoWay::Unknown)?;
        let tag = |addr: &NameAddr<'_>| addr.tag().unwrap_or_default().to_owned();
        let (caller, callee) = if by_caller { (&from, &to) } else { (&to, &from) };
        let rest = routes.split_off(passed);
        let (caller_tag, callee_tag) = (tag(caller), tag(callee));
        Ok(Way { token, earlier, by_caller, call_id, caller_tag, callee_tag, uri, rest })
    }

    /// Does the next Route, if there is one, name this hop? `names`: other URIs by which it is known. A phone behind a proxy
    /// of its own (a PBX) may be named by any port of its address: what was seen of it is where it sends from. Over a
    /// connection the request goes nowhere else, whatever address its other end goes by.
    pub fn leads_to(&self, hop: &Hop, names: &[&str]) -> bool {
        let Some(next) = self.rest.first() else { return true };
        let Some(addr) = NameAddr::parse(next) else { return false };
        let Ok(uri) = Uri::parse(addr.uri()) else { return false };
        match hop {
            Hop::Peer(label) => uri.host().eq_ignore_ascii_case(&host_of(label)),
            Hop::Phone(flow) if flow.transport.is_reliable() => true,
            Hop::Phone(flow) => {
                let host = uri.host().trim_start_matches('[').trim_end_matches(']');
                let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
                let is_name =
                    |name: &&str| Uri::parse(name).is_ok_and(|n| n.host().eq_ignore_ascii_case(uri.host()));
                ip == Some(flow.remote.ip().to_canonical()) || names.iter().any(is_name)
            }
        }
    }

    /// §16.6 step 6: the next hop is a strict router, so it gets its own URI as the Request-URI, and the target behind
    /// all Routes. `None`: it is none.
    pub fn toward_strict(&self, uri: &str) -> Option<(String, Vec<String>)> {
        let (first, others) = self.rest.split_first()?;
        let addr = NameAddr::parse(first)?;
        if Uri::parse(addr.uri()).ok()?.param("lr").is_some() {
            return None;
        }
        let routes = others.iter().cloned().chain([format!("<{uri}>")]).collect();
        Some((addr.uri().to_owned(), routes))
    }
}

impl Opened {
    /// Is it of the same request's way as the one before?
    fn goes_on(&self, before: &Opened) -> bool {
        self.by_caller == before.by_caller && self.call_id == before.call_id
    }

    /// The next token of ours leads on from here: whom the request goes to it says, so the dialog is that of its two.
    fn follow(&mut self, next: Token) {
        self.earlier.push(self.token.pair);
        self.token.pair = next.pair;
        let (mine, its) = match self.by_caller {
            true => (&mut self.token.callee, next.callee),
            false => (&mut self.token.caller, next.caller),
        };
        *mine = its;
    }
}

/// A Route, as far as we can tell whose it is.
enum Kind {
    /// It names us and nothing more. At a port of ours, or perhaps somebody else on this machine: a Route that led here, so
    /// one before all tokens, is ours in any case.
    Us {
        is_port_ours: bool,
    },
    /// It has a user part: a token of ours, or somebody's. Whose a token is its MAC says, not the host beside it.
    User(String),
    Other,
}

fn kind_of(cx: &Cx<'_>, value: &str) -> Kind {
    let Some(addr) = NameAddr::parse(value) else { return Kind::Other };
    match (user_of(addr.uri()), Uri::parse(addr.uri())) {
        (Some(user), _) => Kind::User(user),
        (None, Ok(uri)) if cx.is_own_route(uri.host()) => {
            let port = uri.port().unwrap_or(5060);
            let ports = &cx.config().ports;
            let is_ours = ports.contains(&port) || (ports.is_empty() && port == 5060);
            Kind::Us { is_port_ours: is_ours || uri.host().eq_ignore_ascii_case(cx.own_host()) }
        }
        // A realm has other proxies beside us, perhaps.
        (None, Ok(uri)) if cx.is_own_realm(uri.host()) => Kind::Us { is_port_ours: false },
        _ => Kind::Other,
    }
}

fn user_of(uri: &str) -> Option<String> {
    Uri::parse(uri).ok()?.user().map(str::to_ascii_lowercase)
}

impl Way {
    pub fn sender(&self) -> &Side {
        if self.by_caller { &self.token.caller } else { &self.token.callee }
    }

    pub fn recipient(&self) -> &Side {
        if self.by_caller { &self.token.callee } else { &self.token.caller }
    }
}
