//! A phone of our own, for what other people's phones do not tell: exactly which REGISTER was answered with 200, and
//! which was not answered at all because the peer was being killed. One UDP socket, one thread, no state machine: it
//! repeats a request until its final answer comes (RFC 3261 §17.1), and answers digest challenges.

use super::wire::Wire;
use crate::{Error, Result};
use dots_sip::message::{Message, Name, NameAddr, values::param};
use dots_trust::digest::{Algorithm, ha1, response};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// First repetition; doubled up to `REPEAT_MAX`. Shorter than RFC 3261's T1: nothing is far away here.
const REPEAT: Duration = Duration::from_millis(200);
const REPEAT_MAX: Duration = Duration::from_secs(1);
const DATAGRAM_MAX: usize = 65_535;
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n";

pub struct Plain {
    wire: Wire,
    server: SocketAddr,
    user: String,
    realm: String,
    password: String,
    /// Makes Call-IDs, tags and branches of this phone its own.
    name: u64,
    counter: u32,
}

/// A call that is up.
pub struct Dialog {
    call_id: String,
    from: String,
    to: String,
    target: String,
    routes: Vec<String>,
    cseq: u32,
    sdp: String,
}

impl Dialog {
    /// What the other side answered to our SDP.
    pub fn sdp(&self) -> &str {
        &self.sdp
    }
}

struct Challenge {
    /// The header that answers it.
    says: &'static str,
    realm: String,
    nonce: String,
    algorithm: Algorithm,
    stale: bool,
}

/// What one request is made of.
struct Request<'a> {
    method: &'a str,
    uri: &'a str,
    from: &'a str,
    to: &'a str,
    call_id: &'a str,
    cseq: u32,
    more: &'a str,
    body: &'a str,
}

impl Plain {
    pub fn new(server: &str, aor: &str, password: &str, rng: &mut ChaCha8Rng) -> Result<Plain> {
        let server = server.parse().map_err(|_| Error::Other(format!("{server}: not an address")))?;
        let wire = Wire::bind(server)?;
        let (user, realm) =
            aor.split_once('@').ok_or_else(|| Error::Other(format!("{aor}: not user@realm")))?;
        let (user, realm, password) = (user.to_owned(), realm.to_owned(), password.to_owned());
        Ok(Plain { wire, server, user, realm, password, name: rng.random(), counter: 0 })
    }

    /// Where this phone is.
    pub fn address(&self) -> Result<SocketAddr> {
        self.wire.address()
    }

    /// From now on a third of what it sends is broken.
    pub fn mangle(&mut self, rng: ChaCha8Rng) {
        self.wire.mangle(rng);
    }

    /// The final status; `None` if there was none in time. `mark` makes the Contact recognisable.
    pub fn register(&mut self, expires: u32, mark: u32, limit: Duration) -> Result<Option<u16>> {
        let aor = format!("sip:{}@{}", self.user, self.realm);
        let contact = format!(
            "Contact: <sip:{}@{};mark={mark}>;+sip.instance=\"<urn:uuid:{:032x}>\"\r\nExpires: {expires}\r\n",
            self.user,
            self.address()?,
            self.name
        );
        let (from, to) = (format!("<{aor}>;tag={}", self.unique()), format!("<{aor}>"));
        let call_id = format!("reg-{:x}", self.name);
        let uri = format!("sip:{}", self.realm);
        let end = Instant::now() + limit;
        let answer =
            self.authorized("REGISTER", &uri, &from, &to, &call_id, (&contact, ""), end)?.map(|(m, _)| m);
        Ok(answer.and_then(|m| m.status()))
    }

    /// Calls and acknowledges; the status, and the dialog where it is 2xx.
    pub fn invite(&mut self, target: &str, limit: Duration) -> Result<Option<(u16, Option<Dialog>)>> {
        self.offer(target, SDP, limit)
    }

    /// The same with this SDP.
    pub fn offer(
        &mut self,
        target: &str,
        sdp: &str,
        limit: Duration,
    ) -> Result<Option<(u16, Option<Dialog>)>> {
        let id = self.unique();
        let from = format!("<sip:{}@{}>;tag={id}", self.user, self.realm);
        let (to, call_id) = (format!("<{target}>"), format!("call-{id}"));
        let more =
            format!("Contact: <sip:{}@{}>\r\nContent-Type: application/sdp\r\n", self.user, self.address()?);
        let end = Instant::now() + limit;
        let Some((answer, cseq)) =
            self.authorized("INVITE", target, &from, &to, &call_id, (&more, sdp), end)?
        else {
            return Ok(None);
        };
        let status = answer.status().unwrap_or_default();
        if status >= 300 {
            return Ok(Some((status, None)));
        }
        let contact = answer.header(&Name::Contact).and_then(NameAddr::parse);
        let mut routes: Vec<String> = answer.values(&Name::RecordRoute).map(str::to_owned).collect();
        routes.reverse();
        let dialog = Dialog {
            target: contact.map_or_else(|| target.to_owned(), |c| c.uri().to_owned()),
            to: answer.header(&Name::To).unwrap_or(&to).to_owned(),
            sdp: String::from_utf8_lossy(answer.body()).into_owned(),
            call_id,
            from,
            routes,
            cseq,
        };
        let ack = self.in_dialog("ACK", &dialog, dialog.cseq)?;
        self.wire.send(ack.1.as_bytes(), self.server)?;
        Ok(Some((status, Some(dialog))))
    }

    /// Sends a text; the final status.
    pub fn message(&mut self, target: &str, text: &str, limit: Duration) -> Result<Option<u16>> {
        let id = self.unique();
        let from = format!("<sip:{}@{}>;tag={id}", self.user, self.realm);
        let (to, call_id) = (format!("<{target}>"), format!("text-{id}"));
        let body = ("Content-Type: text/plain\r\n", text);
        let end = Instant::now() + limit;
        let answer = self.authorized("MESSAGE", target, &from, &to, &call_id, body, end)?;
        Ok(answer.and_then(|(m, _)| m.status()))
    }

    /// Hangs up; the final status.
    pub fn bye(&mut self, dialog: &Dialog, limit: Duration) -> Result<Option<u16>> {
        let (branch, bye) = self.in_dialog("BYE", dialog, dialog.cseq + 1)?;
        let answer = self.transact(&bye, &branch, "BYE", Instant::now() + limit)?;
        Ok(answer.and_then(|m| m.status()))
    }

    /// OPTIONS to the peer itself: does it serve?
    pub fn options(&mut self, limit: Duration) -> Result<Option<u16>> {
        let id = self.unique();
        let from = format!("<sip:{}@{}>;tag={id}", self.user, self.realm);
        let (uri, call_id) = (format!("sip:{}", self.server), format!("ping-{id}"));
        let to = format!("<{uri}>");
        let request = Request {
            method: "OPTIONS",
            uri: &uri,
            from: &from,
            to: &to,
            call_id: &call_id,
            cseq: 1,
            more: "",
            body: "",
        };
        let (branch, text) = self.write(&request)?;
        let answer = self.transact(&text, &branch, "OPTIONS", Instant::now() + limit)?;
        Ok(answer.and_then(|m| m.status()))
    }

    /// Rings at once, answers, is hung up on, until it is dropped.
    pub fn answer(self) -> Result<Answering> {
        self.wire.patience(Duration::from_millis(50))?;
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.user, self.address()?);
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let invited: Arc<Mutex<Option<String>>> = Arc::default();
        let (stop_too, ended_too, invited_too, wire) =
            (stop.clone(), ended.clone(), invited.clone(), self.wire);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; DATAGRAM_MAX];
            let mut byes = BTreeSet::new();
            while !stop_too.load(Ordering::Relaxed) {
                let Ok((length, from)) = wire.receive(&mut buffer) else { continue };
                let Ok(request) = Message::parse(buffer[..length].to_vec()) else { continue };
                match request.method() {
                    "BYE" if request.is_request() => {
                        // A slow answer is asked for again: one call ends once.
                        byes.insert(request.header(&Name::CallId).unwrap_or_default().to_owned());
                        ended_too.store(byes.len() as u64, Ordering::Relaxed);
                    }
                    "INVITE" if request.is_request() => {
                        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        *invited_too.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                    }
                    _ => {}
                }
                for reply in replies(&request, &contact) {
                    let _ = wire.send(reply.as_bytes(), from);
                }
            }
        });
        Ok(Answering { stop, ended, invited, thread: Some(thread) })
    }

    /// Sends, answers the challenge, sends again; and once more for each nonce that was too old (RFC 7616 §3.3: every life
    /// of a peer has its own nonces, and a peer may live several times within one request). Returns the CSeq that counted.
    #[allow(clippy::too_many_arguments)]
    fn authorized(
        &mut self,
        method: &str,
        uri: &str,
        from: &str,
        to: &str,
        call_id: &str,
        (more, body): (&str, &str),
        end: Instant,
    ) -> Result<Option<(Message, u32)>> {
        let mut credentials = String::new();
        loop {
            let cseq = self.next();
            let headers = format!("{more}{credentials}");
            let request = Request { method, uri, from, to, call_id, cseq, more: &headers, body };
            let (branch, text) = self.write(&request)?;
            let Some(answer) = self.transact(&text, &branch, method, end)? else { return Ok(None) };
            if method == "INVITE" && answer.status() >= Some(300) {
                self.ack_refusal(&request, &branch, &answer)?;
            }
            let Some(challenge) = self.challenge(&answer) else { return Ok(Some((answer, cseq))) };
            if !credentials.is_empty() && !challenge.stale {
                return Err(Error::Other(format!("{}: the password is not taken", self.user)));
            }
            credentials = self.credentials(&challenge, method, uri);
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK of a refusal belongs to the INVITE's transaction.
    fn ack_refusal(&self, invite: &Request<'_>, branch: &str, answer: &Message) -> Result<()> {
        let to = answer.header(&Name::To).unwrap_or(invite.to).to_owned();
        let ack = Request { method: "ACK", to: &to, more: "", body: "", ..*invite };
        let text = self.format(&ack, branch)?;
        self.wire.send(text.as_bytes(), self.server)
    }

    /// What a 401 or 407 asks for.
    fn challenge(&self, answer: &Message) -> Option<Challenge> {
        let (asks, says) = match answer.status()? {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return None,
        };
        let asked = answer.header(&Name::parse(asks))?.strip_prefix("Digest ")?.replace(", ", ";");
        Some(Challenge {
            says,
            realm: param(&asked, "realm")?.to_owned(),
            nonce: param(&asked, "nonce")?.to_owned(),
            algorithm: Algorithm::parse(param(&asked, "algorithm").unwrap_or_default())?,
            stale: param(&asked, "stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    fn credentials(&mut self, challenge: &Challenge, method: &str, uri: &str) -> String {
        let Challenge { says, realm, nonce, algorithm, .. } = challenge;
        let secret = ha1(*algorithm, &self.user, realm, &self.password);
        let cnonce = format!("{:x}", self.next());
        let proof = response(*algorithm, &secret, method, uri, nonce, 1, &cnonce, "auth");
        format!(
            "{says}: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{proof}\", \
             algorithm={}, qop=auth, nc=00000001, cnonce=\"{cnonce}\"\r\n",
            self.user,
            algorithm.as_str()
        )
    }

    fn in_dialog(&mut self, method: &str, dialog: &Dialog, cseq: u32) -> Result<(String, String)> {
        let routes: String = dialog.routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
        self.write(&Request {
            method,
            uri: &dialog.target,
            from: &dialog.from,
            to: &dialog.to,
            call_id: &dialog.call_id,
            cseq,
            more: &routes,
            body: "",
        })
    }

    fn write(&mut self, request: &Request<'_>) -> Result<(String, String)> {
        let branch = format!("z9hG4bK{}", self.unique());
        let text = self.format(request, &branch)?;
        Ok((branch, text))
    }

    fn format(&self, r: &Request<'_>, branch: &str) -> Result<String> {
        Ok(format!(
            "{} {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {} {}\r\n{}Content-Length: {}\r\n\r\n{}",
            r.method,
            r.uri,
            self.address()?,
            r.from,
            r.to,
            r.call_id,
            r.cseq,
            r.method,
            r.more,
            r.body.len(),
            r.body
        ))
    }

    /// Repeats `request` until a final answer to it comes. A refused datagram (nobody listens) is no answer.
    fn transact(&self, request: &str, branch: &str, method: &str, end: Instant) -> Result<Option<Message>> {
        let (mut repeat_at, mut pause, mut provisional) = (Instant::now(), REPEAT, false);
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(None);
            }
            if now >= repeat_at {
                if !(provisional && method == "INVITE") {
                    self.wire.send(request.as_bytes(), self.server)?;
                }
                repeat_at = now + pause;
                pause = (pause * 2).min(REPEAT_MAX);
            }
            let wait = repeat_at.min(end).saturating_duration_since(now).max(Duration::from_millis(1));
            self.wire.patience(wait)?;
            let Ok((length, _)) = self.wire.receive(&mut buffer) else { continue };
            let Ok(message) = Message::parse(buffer[..length].to_vec()) else { continue };
            let ours = message.via().and_then(|v| v.branch()) == Some(branch) && message.method() == method;
            match message.status() {
                Some(100..=199) if ours => provisional = true,
                Some(_) if ours => return Ok(Some(message)),
                _ => {}
            }
        }
    }

    fn unique(&mut self) -> String {
        let number = self.next();
        format!("{:x}-{number}", self.name)
    }
    fn next(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }
}

/// A phone that answers every call; stops when it is dropped.
pub struct Answering {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    invited: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// Calls that were hung up at this phone.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// The last INVITE that reached this phone, as it came.
    pub fn invited(&self) -> Option<String> {
        self.invited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn replies(request: &Message, contact: &str) -> Vec<String> {
    if !request.is_request() {
        return Vec::new();
    }
    match request.method() {
        "ACK" => Vec::new(),
        "INVITE" => {
            let sdp = format!("{contact}Content-Type: application/sdp\r\n");
            vec![reply(request, "180 Ringing", contact, ""), reply(request, "200 OK", &sdp, SDP)]
        }
        _ => vec![reply(request, "200 OK", "", "")],
    }
}

fn reply(request: &Message, status: &str, more: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in [Name::Via, Name::RecordRoute, Name::From, Name::To, Name::CallId, Name::CSeq] {
        for line in request.header_lines(&name) {
            let untagged = name == Name::To && request.to().and_then(|t| t.tag()).is_none();
            let tag = if untagged { ";tag=answer" } else { "" };
            text.push_str(&format!("{}: {line}{tag}\r\n", name.as_str()));
        }
    }
    text.push_str(&format!("{more}Content-Length: {}\r\n\r\n{body}", body.len()));
    text
}
