//! Requests outside a dialog: who sends it, may it, and where does it go. RFC 3261 §16.3 to §16.5.

use super::{Ask, CallInfo, Core, Hop, Now, ServerKey, context::Target, receive::ALLOW};
use crate::address::realm_of;
use crate::{
    Output,
    auth::{AuthFailure, ChallengeKind, Purpose, Vouch, answer_for},
    input::{AskId, Resolution},
    message::{Message, Name, Via},
    registrar::vouch_for_flow,
    token::Side,
};
use std::net::IpAddr;

/// What may start something with a phone. All others exist only inside a dialog (or not at all).
const INITIAL: [&str; 4] = ["INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH"];
const IN_DIALOG_ONLY: [&str; 7] = ["BYE", "NOTIFY", "REFER", "UPDATE", "INFO", "PRACK", "ACK"];

impl Core {
    pub(super) fn on_initial(
        &mut self,
        now: Now,
        key: &ServerKey,
        hop: &Hop,
        request: &Message,
        caller: Option<String>,
    ) {
        let method = request.method();
        let uri = request.uri().unwrap_or_default();
        if method == "OPTIONS" && self.is_for_us(uri) {
            return self.on_options(now, key);
        }
        if IN_DIALOG_ONLY.contains(&method) {
            self.count("out_of_dialog_refused");
            return self.respond(now, key, 481, "Call/Transaction Does Not Exist", &[]);
        }
        if !INITIAL.contains(&method) {
            let headers = [("Allow", ALLOW.to_owned())];
            return self.respond(now, key, 405, "Method Not Allowed", &headers);
        }
        if self.foreign_route(request) {
            self.count("foreign_route_refused");
            return self.respond(now, key, 403, "Forbidden", &[]);
        }
        let mark = format!(".{}", self.loop_mark(request));
        let mut vias = request.values(&Name::Via).filter_map(Via::parse);
        if vias.any(|v| v.branch().is_some_and(|b| b.ends_with(&mark))) {
            return self.respond(now, key, 482, "Loop Detected", &[]);
        }
        let Ok(target) = self.config.addressing.canonical_aor(uri) else {
            return self.respond(now, key, 404, "Not Found", &[]);
        };
        match (hop, caller) {
            (Hop::Phone(flow), _) => self.authenticate(now, key, request, target, flow.remote.ip()),
            (Hop::Peer(label), Some(caller)) => {
                let info = CallInfo { caller, callee: target.clone(), vouch: None };
                self.fork_to_own(now, key, Side::Peer(label.clone()), info, &target);
            }
            (Hop::Peer(_), None) => self.respond(now, key, 403, "Forbidden", &[]),
        }
    }

    /// Addressed to this peer itself: an own host without a user.
    fn is_for_us(&self, uri: &str) -> bool {
        let addressing = &self.config.addressing;
        crate::uri::Uri::parse(uri).is_ok_and(|u| {
            let realm = u.host().trim_end_matches('.').to_ascii_lowercase();
            u.user().is_none()
                && (addressing.is_own_host(u.host()) || addressing.local_realms.contains(&realm))
        })
    }

    fn on_options(&mut self, now: Now, key: &ServerKey) {
        let headers = [
            ("Allow", ALLOW.to_owned()),
            ("Accept", "application/sdp".to_owned()),
            ("Supported", "path".to_owned()),
        ];
        self.respond(now, key, 200, "OK", &headers);
    }

    /// A Route that does not name us: we are no relay (design §3.6).
    fn foreign_route(&self, request: &Message) -> bool {
        request
            .values(&Name::Route)
            .filter_map(crate::message::NameAddr::parse)
            .any(|route| crate::uri::Uri::parse(route.uri()).is_ok_and(|u| !self.is_own_route(u.host())))
    }

    pub(super) fn is_own_route(&self, host: &str) -> bool {
        self.config.addressing.is_own_host(host) || host.eq_ignore_ascii_case(&self.own_host())
    }

    fn authenticate(&mut self, now: Now, key: &ServerKey, request: &Message, target: String, source: IpAddr) {
        let from = request.from().map(|f| f.uri().to_owned()).unwrap_or_default();
        let Ok(caller) = self.config.addressing.canonical_aor(&from) else {
            return self.respond(now, key, 403, "Forbidden", &[]);
        };
        let realm = realm_of(&caller).to_owned();
        let purpose = Purpose::Request { target: target.clone() };
        match answer_for(request, ChallengeKind::Proxy, &realm, &caller, purpose) {
            Err(bad) => {
                let (status, reason) = bad.status();
                self.respond(now, key, status, reason, &[]);
            }
            Ok(None) => self.challenge(key, realm, false, false),
            Ok(Some(answer)) => {
                let nonce = answer.nonce.clone();
                let id = self.ask(Ask::Request { key: key.clone(), caller, target, nonce });
                self.out.push_back(Output::Verify { id, answer: Box::new(answer), source });
            }
        }
    }

    pub(super) fn on_request_verdict(
        &mut self,
        now: Now,
        key: ServerKey,
        caller: String,
        target: String,
        result: Result<Vouch, AuthFailure>,
    ) {
        let Some(Hop::Phone(flow)) = self.servers.get(&key).map(|tx| tx.hop.clone()) else { return };
        let vouch = match result {
            Ok(vouch) if vouch.aor == caller => vouch,
            Ok(_) => return self.refuse(now, &key, AuthFailure::Forbidden),
            Err(AuthFailure::Stale) => {
                return self.challenge(&key, realm_of(&caller).to_owned(), false, true);
            }
            Err(AuthFailure::Unavailable) => {
                let is_call = key.2 == "INVITE";
                match vouch_for_flow(&flow, &caller, &self.bindings, now.wall_ms) {
                    Some(vouch) if is_call => vouch,
                    _ => return self.refuse(now, &key, AuthFailure::Unavailable),
                }
            }
            Err(failure) => return self.refuse(now, &key, failure),
        };
        // A registered phone is named by its binding, so that its dialogs survive a change of its address.
        let side = match self.bindings.by_flow(&flow).find(|b| b.aor == caller) {
            Some(b) => Side::Phone { aor: b.aor.clone(), instance: b.instance.clone() },
            None => Side::Flow(flow),
        };
        let info = CallInfo { caller: caller.clone(), callee: target.clone(), vouch: Some(vouch) };
        let id = self.ask(Ask::Resolve { key, side, info });
        self.out.push_back(Output::Resolve { id, aor: target, caller });
    }

    pub(super) fn on_resolved(&mut self, now: Now, id: AskId, resolution: Resolution) {
        let Some(Ask::Resolve { key, side, info }) = self.asks.remove(&id) else { return };
        let mut targets = self.own_targets(now, &info.callee);
        match resolution {
            Resolution::Peers(peers) => {
                targets.extend(peers.into_iter().map(|t| Target { side: Side::Peer(t.peer), q: t.q }));
            }
            Resolution::Unknown => return self.respond(now, &key, 404, "Not Found", &[]),
            Resolution::Unavailable if targets.is_empty() => {
                return self.refuse(now, &key, AuthFailure::Unavailable);
            }
            Resolution::Offline | Resolution::Unavailable => {}
        }
        self.fork(now, &key, side, info, targets);
    }

    fn fork_to_own(&mut self, now: Now, key: &ServerKey, from: Side, info: CallInfo, target: &str) {
        let targets = self.own_targets(now, target);
        self.fork(now, key, from, info, targets);
    }

    fn own_targets(&self, now: Now, aor: &str) -> Vec<Target> {
        let found = self.bindings.reachable(aor, now.wall_ms);
        found
            .into_iter()
            .map(|b| Target {
                side: Side::Phone { aor: b.aor.clone(), instance: b.instance.clone() },
                q: b.q,
            })
            .collect()
    }
}
