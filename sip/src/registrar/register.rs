//! What a REGISTER does: RFC 3261 §10.3, steps 6 to 8, as one pure function.
//!
//! The steps before it (is the domain ours, who is this, may they) are the core's and the home's; their outcome comes
//! in as a [`Vouch`]. The result is one [`BindingChange`], which is written and made as a whole, or a [`Refusal`]
//! with nothing done: a phone never sees half of its REGISTER obeyed.
//!
//! A binding's name is its *instance*: the `+sip.instance` URN of RFC 5626, or a hash of the Contact URI for phones
//! that have none. So a phone that comes back with another address replaces itself instead of standing beside its
//! own ghost. The URI counts too: a Contact that equals a stored one by §19.1.4 is the same phone, under whatever
//! instance it was known before, but for two that name themselves and come from two addresses. So does the socket, for those without an instance: a PBX that starts again and invents a
//! new user part or `line` for its Contact is still one PBX. Order is by Call-ID and CSeq per binding (§10.3 step 7); an
//! equal CSeq with the same Contact is the same request again and changes nothing. Who makes way where an account has no
//! more places is said in [`room`]; whether the table has room is the table's word.

use super::{
    Binding, BindingChange, Bindings, Bound,
    request::{AskedContact, ContactRule, Contacts, Register, names_itself},
    room,
    sameness::is_same_uri,
};
use crate::{Flow, auth::Vouch, listening::Listening, uri::Uri};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// How long a binding may last, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryRules {
    pub min_s: u32,
    pub default_s: u32,
    pub max_s: u32,
    pub brief: Brief,
}

impl Default for ExpiryRules {
    fn default() -> Self {
        Self { min_s: 60, default_s: 3600, max_s: 3600, brief: Brief::Raise }
    }
}

/// What becomes of a registration that asks for less than the minimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Brief {
    /// It gets the minimum, and the 200 says so. RFC 3261 §10.3 step 7 knows only the refusal; phones were written against
    /// registrars that raise, and many do not try again after a 423.
    #[default]
    Raise,
    /// 423 with Min-Expires, as the RFC has it.
    Refuse,
}

impl ExpiryRules {
    /// RFC 3261 §10.3 step 7: a registrar may refuse as too brief only what is under one hour.
    fn min_s(&self) -> u32 {
        self.min_s.min(3600)
    }
}

/// A final answer other than 200; the core adds what every response has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub reason: &'static str,
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason, headers: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What to do with one REGISTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Applied to the table at once, for the next REGISTER must see it; its 200 waits until it is journaled, if
    /// [`needs_journal`].
    pub change: BindingChange,
    /// The instances that the request named, in its order: they lead the list in the 200.
    pub first: Vec<String>,
}

/// A change that says nothing (a query, a repeated request, the removal of nothing) is not written.
pub fn needs_journal(change: &BindingChange) -> bool {
    !change.put.is_empty() || !change.removed.is_empty()
}

/// `aor` is the canonical AOR of To. `bindings` is not changed: the caller applies the decision.
pub fn decide(
    register: &Register,
    flow: Flow,
    aor: &str,
    bindings: &Bindings,
    vouch: &Vouch,
    rules: &ExpiryRules,
    now_ms: u64,
) -> Result<Decision, Refusal> {
    // RFC 3261 §10.3 step 4: nobody changes another's bindings.
    if vouch.aor != aor {
        return Err(Refusal::new(403, "Forbidden"));
    }
    let mut decision = Decision {
        change: BindingChange { aor: aor.to_owned(), put: Vec::new(), removed: Vec::new() },
        first: Vec::new(),
    };
    match &register.contacts {
        Contacts::Query => {}
        Contacts::RemoveAll => {
            for old in bindings.of(aor) {
                if !is_newer(register, &old, now_ms) {
                    return Err(out_of_order());
                }
                decision.change.removed.push(old.instance.to_owned());
            }
        }
        Contacts::Some(asked) => {
            check_hosts(register, asked)?;
            let held: SmallVec<[Bound<'_>; 4]> = bindings.of(aor).collect();
            let request = Request { register, flow, aor, held: &held, vouch, rules, now_ms };
            for contact in asked {
                request.one(contact, &mut decision)?;
            }
            settle(&mut decision);
            room::make(&mut decision.change, &held);
        }
    }
    Ok(decision)
}

/// Several phones that one registers for all (RFC 3261 §10.2): they are not on its flow, and elsewhere only where the realm
/// lets accounts say so.
fn check_hosts(register: &Register, asked: &[AskedContact]) -> Result<(), Refusal> {
    if asked.len() < 2 {
        return Ok(());
    }
    let bound = || asked.iter().filter(|contact| contact.expires_s != Some(0));
    let hosts: BTreeSet<String> = bound()
        .filter_map(|contact| Uri::parse(&contact.uri).ok())
        .map(|uri| uri.host().to_ascii_lowercase())
        .collect();
    if hosts.len() < 2 {
        return Ok(());
    }
    match register.rule {
        ContactRule::Foreign | ContactRule::Own => Err(Refusal::new(403, "Contacts At Several Hosts")),
        ContactRule::Any if bound().filter(|contact| contact.elsewhere.is_none()).count() > 1 => {
            Err(Refusal::new(403, "Contact Cannot Be Reached"))
        }
        ContactRule::Any => Ok(()),
    }
}

struct Request<'a> {
    register: &'a Register,
    flow: Flow,
    aor: &'a str,
    /// What is bound already.
    held: &'a [Bound<'a>],
    vouch: &'a Vouch,
    rules: &'a ExpiryRules,
    now_ms: u64,
}

impl Request<'_> {
    fn one(&self, contact: &AskedContact, decision: &mut Decision) -> Result<(), Refusal> {
        let touched: SmallVec<[&Bound<'_>; 4]> =
            self.held.iter().filter(|old| self.is_same_phone(contact, old)).collect();
        let mut repeated = false;
        for old in &touched {
            repeated |= self.is_repeat(contact, old);
            if !is_newer(self.register, old, self.now_ms) && !self.is_repeat(contact, old) {
                return Err(out_of_order());
            }
        }
        if contact.expires_s == Some(0) {
            // RFC 3261 §10.2.2; removing what is not there is no error.
            decision.change.removed.extend(touched.iter().map(|old| old.instance.to_owned()));
            return Ok(());
        }
        let expires_at_ms = self.expires_at_ms(contact)?;
        decision.first.push(contact.instance.clone());
        if repeated {
            return Ok(());
        }
        let before_restart = self.held.iter().filter(|old| self.is_before_restart(contact, old));
        let displaced =
            touched.into_iter().chain(before_restart).filter(|old| old.instance != contact.instance);
        decision.change.removed.extend(displaced.map(|old| old.instance.to_owned()));
        decision.change.put.push(self.binding(contact, expires_at_ms));
        Ok(())
    }

    /// RFC 3261 §10.3 step 7: shortened to what we allow and to the grant's end; too brief is [`Brief`]'s matter.
    fn expires_at_ms(&self, contact: &AskedContact) -> Result<u64, Refusal> {
        let min_s = self.rules.min_s();
        let asked_s = contact.expires_s.unwrap_or(self.rules.default_s);
        if asked_s < min_s && self.rules.brief == Brief::Refuse {
            return Err(Refusal::new(423, "Interval Too Brief").with("Min-Expires", min_s.to_string()));
        }
        let granted_s = asked_s.clamp(min_s, self.rules.max_s.max(min_s));
        let until_ms = self.now_ms.saturating_add(u64::from(granted_s) * 1000).min(self.vouch.not_after_ms);
        // Phones count in seconds: a lease with less than one left is none.
        if until_ms < self.now_ms.saturating_add(1000) {
            return Err(Refusal::new(503, "Service Unavailable").with("Retry-After", "5"));
        }
        Ok(until_ms)
    }

    fn flow_of(&self, contact: &AskedContact) -> Flow {
        match (self.register.rule, contact.elsewhere) {
            // Over TCP: whichever connection leads there.
            (ContactRule::Any, Some(remote)) => Flow { remote, connection: 0, ..self.flow },
            _ => self.flow,
        }
    }

    /// The other port of a foreign phone counts once it was reached there: it answered, or its connection comes from it. A
    /// refresh keeps it.
    fn listens(&self, contact: &AskedContact) -> Option<Listening> {
        let old = self.held.iter().find(|old| old.instance == contact.instance);
        let old = old.filter(|old| old.flow.remote.ip() == self.flow.remote.ip()).and_then(|old| old.listens);
        contact.listens.filter(|at| {
            self.register.rule != ContactRule::Foreign || old == Some(*at) || at.is_at(&self.flow)
        })
    }

    fn binding(&self, contact: &AskedContact, expires_at_ms: u64) -> Binding {
        Binding {
            aor: self.aor.to_owned(),
            instance: contact.instance.clone(),
            contact: contact.uri.clone(),
            contact_params: contact.params.clone(),
            q: contact.q,
            call_id: self.register.call_id.clone(),
            cseq: self.register.cseq,
            path: self.register.path.clone(),
            server: self.register.server.clone(),
            flow: self.flow_of(contact),
            listens: self.listens(contact),
            expires_at_ms,
            grant: self.vouch.grant.clone(),
            granted_until_ms: self.vouch.not_after_ms,
        }
    }

    /// What the same socket registered before its owner started anew (another Call-ID): one socket is one target. Behind a
    /// Path there are several phones on it.
    fn is_before_restart(&self, contact: &AskedContact, old: &Bound<'_>) -> bool {
        old.flow == self.flow_of(contact)
            && old.listens == contact.listens
            && old.call_id != self.register.call_id
            && !names_itself(old.instance)
            && !names_itself(&contact.instance)
            && old.path().next().is_none()
            && self.register.path.is_empty()
    }

    /// RFC 5626 §6: of phones that name themselves the URI is not compared, for behind their routers many are
    /// `sip:alice@192.168.1.10`. At one address it is one phone that calls itself otherwise since.
    fn is_same_phone(&self, contact: &AskedContact, old: &Bound<'_>) -> bool {
        let both_named = names_itself(old.instance) && names_itself(&contact.instance);
        let is_uri_a_name = !both_named || old.flow.remote.ip() == self.flow_of(contact).remote.ip();
        old.instance == contact.instance || (is_uri_a_name && is_same_uri(old.contact, &contact.uri))
    }

    /// The same request a second time (retransmitted by a phone that lost the 200).
    fn is_repeat(&self, contact: &AskedContact, old: &Bound<'_>) -> bool {
        contact.expires_s != Some(0)
            && old.expires_at_ms > self.now_ms
            && old.call_id == self.register.call_id
            && old.cseq == self.register.cseq
            && old.contact == contact.uri
            && old.flow == self.flow_of(contact)
            && old.instance == contact.instance
    }
}

/// RFC 3261 §10.3 step 7: a different Call-ID (the phone restarted) always counts; the same one only with a higher
/// CSeq. What has ended has no say.
fn is_newer(register: &Register, old: &Bound<'_>, now_ms: u64) -> bool {
    old.expires_at_ms <= now_ms || old.call_id != register.call_id || register.cseq > old.cseq
}

/// Makes one consistent change of what the contacts asked one by one. A phone whose address changed may remove the
/// old Contact and add the new one, both with its instance, in one request: what is put is not removed.
fn settle(decision: &mut Decision) {
    let BindingChange { put, removed, .. } = &mut decision.change;
    if put.len() + removed.len() < 2 && decision.first.len() < 2 {
        return;
    }
    // The same Contact twice: the last word counts.
    let mut is_put = BTreeSet::new();
    put.reverse();
    put.retain(|binding| is_put.insert(binding.instance.clone()));
    put.reverse();
    let mut seen = is_put;
    removed.retain(|instance| seen.insert(instance.clone()));
    let mut named = BTreeSet::new();
    decision.first.retain(|instance| named.insert(instance.clone()));
}

/// RFC 3261 §10.3 step 7: "the update MUST be aborted and the request fails".
fn out_of_order() -> Refusal {
    Refusal::new(500, "CSeq Out of Order").with("Retry-After", "1")
}

#[cfg(test)]
mod tests;
