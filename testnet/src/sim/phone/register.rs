//! Registering, sending text, and answering challenges (RFC 3261 §10, §22).

use super::{AHEAD, Nonce, Phone, Promise, Purpose, Registration, Transaction, text};
use dots_sip::message::{Message, Name};
use rand::Rng;
use std::{net::SocketAddr, time::Duration};

impl Phone {
    /// REGISTER at its server; `expires` 0 removes the binding there. `false`: one is under way, and RFC 3261 §10.2
    /// allows no second.
    pub fn register(&mut self, at: Duration, expires: u32) -> bool {
        let server = self.server;
        let is_pending = |t: &Transaction| {
            t.server == server && matches!(t.purpose, Purpose::Register { .. }) && !t.is_done
        };
        if self.clients.iter().any(is_pending) {
            return false;
        }
        let fresh = || Registration {
            call_id: String::new(),
            cseq: 0,
            tag: String::new(),
            promise: Promise::Nothing,
        };
        let entry = self.registrations.entry(server).or_insert_with(fresh);
        if entry.call_id.is_empty() {
            entry.call_id = format!("reg-{:016x}", self.rng.random::<u64>());
            entry.tag = format!("{:08x}", self.rng.random::<u32>());
        }
        // Until the answer comes neither the one nor the other can be relied on; a refresh takes nothing away.
        entry.promise = match entry.promise {
            Promise::Bound { until } if expires > 0 => Promise::Bound { until },
            _ => Promise::Nothing,
        };
        self.send_register(at, server, expires, None, 0);
        true
    }

    pub(super) fn send_register(
        &mut self,
        at: Duration,
        server: SocketAddr,
        expires: u32,
        answer: Option<String>,
        tries: u8,
    ) {
        let uri = format!("sip:{}", self.realm);
        let answer = answer
            .or_else(|| self.answer_ahead(server, "REGISTER", &uri).map(|a| format!("Authorization: {a}")));
        let Some(entry) = self.registrations.get_mut(&server) else { return };
        entry.cseq += 1;
        let (cseq, call_id, tag) = (entry.cseq, entry.call_id.clone(), entry.tag.clone());
        let (aor, contact, instance) = (self.aor(), self.contact(), self.instance.clone());
        let branch = self.branch();
        let via = self.via(&branch);
        let contact = format!("<{contact}>;+sip.instance=\"<{instance}>\"");
        let text = text::request(
            &format!("REGISTER {uri}"),
            &[
                via,
                format!("From: <sip:{aor}>;tag={tag}"),
                format!("To: <sip:{aor}>"),
                format!("Call-ID: {call_id}"),
                format!("CSeq: {cseq} REGISTER"),
                format!("Contact: {contact}"),
                format!("Expires: {expires}"),
                answer.unwrap_or_default(),
            ],
            "",
        );
        self.start(at, server, branch, text, Purpose::Register { expires }, tries);
    }

    pub(super) fn on_registered(&mut self, server: SocketAddr, status: u16, expires: u32, sent_at: Duration) {
        let Some(entry) = self.registrations.get_mut(&server) else { return };
        if status == 200 {
            let until = sent_at + Duration::from_secs(expires.into());
            entry.promise = if expires == 0 { Promise::Gone } else { Promise::Bound { until } };
        }
    }

    /// The same request with credentials; `false`: the challenge cannot be read.
    pub(super) fn answer_challenge(
        &mut self,
        at: Duration,
        server: SocketAddr,
        purpose: &Purpose,
        request: &Message,
        response: &Message,
        tries: u8,
    ) -> bool {
        let www = response.status() == Some(401);
        let name = if www { Name::WwwAuthenticate } else { Name::ProxyAuthenticate };
        let offers: Vec<(String, String, &'static str)> =
            response.header_lines(&name).filter_map(text::challenge).collect();
        if offers.is_empty() {
            return false;
        }
        let (realm, nonce, algorithm) = offers[self.rng.random_range(0..offers.len())].clone();
        self.nonces.insert(server, Nonce { realm, nonce, algorithm, count: 0 });
        let Some(answer) = self.answer(server, request.method(), request.uri().unwrap_or_default()) else {
            return false;
        };
        let header = if www { "Authorization" } else { "Proxy-Authorization" };
        let line = Some(format!("{header}: {answer}"));
        match purpose {
            Purpose::Register { expires } => self.send_register(at, server, *expires, line, tries + 1),
            Purpose::Invite { call } => self.send_invite(at, call, line, tries + 1),
            Purpose::Bye { .. } => return false,
            Purpose::Other => {
                let target = request.uri().unwrap_or_default().trim_start_matches("sip:").to_owned();
                let body = String::from_utf8_lossy(request.body()).into_owned();
                let call_id = request.call_id().unwrap_or_default().to_owned();
                let cseq = request.cseq().map_or(1, |(n, _)| n + 1);
                self.send_message(at, &target, &body, &call_id, cseq, line, tries + 1);
            }
        }
        true
    }

    pub(super) fn answer_ahead(&mut self, server: SocketAddr, method: &str, uri: &str) -> Option<String> {
        if !self.rng.random_bool(AHEAD) {
            return None;
        }
        self.answer(server, method, uri)
    }

    fn answer(&mut self, server: SocketAddr, method: &str, uri: &str) -> Option<String> {
        let cnonce = format!("{:08x}", self.rng.random::<u32>());
        let known = self.nonces.get_mut(&server)?;
        known.count += 1;
        Some(text::answer(
            &self.user,
            &self.password,
            &known.realm,
            &known.nonce,
            known.algorithm,
            known.count,
            &cnonce,
            method,
            uri,
        ))
    }

    /// A MESSAGE to this AOR.
    pub fn message(&mut self, at: Duration, target: &str, body: &str) {
        let answer = None;
        self.next_call += 1;
        let call_id = format!("msg-{}-{}-{:08x}", self.user, self.next_call, self.rng.random::<u32>());
        self.send_message(at, target, body, &call_id, 1, answer, 0);
    }

    #[allow(clippy::too_many_arguments)]
    fn send_message(
        &mut self,
        at: Duration,
        target: &str,
        body: &str,
        call_id: &str,
        cseq: u32,
        answer: Option<String>,
        tries: u8,
    ) {
        let branch = self.branch();
        let server = self.server;
        let lines = [
            self.via(&branch),
            format!("From: <sip:{}>;tag=m{}", self.aor(), self.next_call),
            format!("To: <sip:{target}>"),
            format!("Call-ID: {call_id}"),
            format!("CSeq: {cseq} MESSAGE"),
            "Content-Type: text/plain".to_owned(),
            answer.unwrap_or_default(),
        ];
        let text = text::request(&format!("MESSAGE sip:{target}"), &lines, body);
        self.start(at, server, branch, text, Purpose::Other, tries);
    }
}
