//! How much later an INVITE comes because a server stands between. The callee's socket is in this process too, so that one clock
//! tells both ends; he is busy (486), which keeps calls short and costs servers of both kinds the same. First each INVITE
//! goes straight to the callee: what that takes, and what this program takes, is no server's fault and is taken away.
//!
//! Half load is half of what fits into one core, by what such an INVITE costs this server in CPU time.

use super::{
    cores, cpu,
    plan::Plan,
    rows::Measure,
    servers::{REALM, Server, Side},
};
use crate::{
    Error, Result,
    crowd::Crowd,
    flood::{Heard, Phone, Reply},
};
use dots_sip::message::{Message, Name};
use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Who call each other in turn.
const USERS: usize = 20;
const CALIBRATION: usize = 400;
const CALIBRATION_RATE: f64 = 200.0;
/// More than that this program would not follow.
const RATE_MAX: f64 = 2_000.0;
const DATAGRAM_MAX: usize = 4_096;
const PATIENCE: Duration = Duration::from_secs(5);

struct Caller {
    socket: UdpSocket,
    at: SocketAddr,
    phones: Vec<Phone>,
    /// All INVITEs so far; tells them apart.
    count: usize,
}

/// When each INVITE reached the callee, by its number.
type Arrivals = Mutex<Vec<(usize, Instant)>>;

pub fn latency(side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    let server = Server::start(side, plan)?;
    let (roots, sip) = (server.processes(), server.sip()?.to_owned());
    server.import(&[&Crowd::new(REALM, USERS)?])?;
    let to: SocketAddr = sip.parse().map_err(|_| Error::Other(format!("{sip}: not an address")))?;
    let callee = UdpSocket::bind("127.0.0.1:0").map_err(Error::io("bind"))?;
    let at = callee.local_addr().map_err(Error::io("local address"))?;
    register(&callee, at, to)?;
    let apart = cores::apart(&roots)?;
    let (stop, arrivals) = (AtomicBool::new(false), Arrivals::default());
    let numbers = std::thread::scope(|scope| {
        scope.spawn(|| answer(&callee, &stop, &arrivals));
        let done = measure(side, plan, &roots, to, at, &arrivals);
        stop.store(true, Ordering::Relaxed);
        done
    })?;
    drop(apart);
    server.stop()?;
    Ok(numbers)
}

fn measure(
    side: Side,
    plan: &Plan,
    roots: &[u32],
    server: SocketAddr,
    callee: SocketAddr,
    arrivals: &Arrivals,
) -> Result<Vec<Measure>> {
    let mut caller = Caller::new()?;
    // The first of each phone is challenged.
    caller.invite(server, 2 * USERS, CALIBRATION_RATE, arrivals)?;
    let before = cpu::used(roots)?;
    caller.invite(server, CALIBRATION, CALIBRATION_RATE, arrivals)?;
    let ticks = cpu::used(roots)?.saturating_sub(before) as f64;
    let cost = ticks / cpu::ticks_per_second()? / CALIBRATION as f64;
    let rate = (0.5 / cost.max(1e-6)).min(RATE_MAX);
    let direct = caller.invite(callee, plan.calls(), rate, arrivals)?;
    let through = caller.invite(server, plan.calls(), rate, arrivals)?;
    let added = |part: f64| percentile(&through, part) - percentile(&direct, 0.5);
    println!(
        "  {side:?}: {rate:.0} INVITEs/s, each {:.0} us CPU; {:.0} us straight",
        cost * 1e6,
        percentile(&direct, 0.5)
    );
    Ok(vec![Measure::new("latency-p50", added(0.5)), Measure::new("latency-p99", added(0.99))])
}

/// All users, one after the other, at the callee's socket.
fn register(socket: &UdpSocket, at: SocketAddr, server: SocketAddr) -> Result<()> {
    socket.set_read_timeout(Some(PATIENCE)).map_err(Error::io("timeout"))?;
    let mut buffer = [0; DATAGRAM_MAX];
    for number in 0..USERS {
        let mut phone = Phone::new(number);
        loop {
            let mut text = Vec::new();
            phone.register(&mut text, REALM, at, 0);
            socket.send_to(&text, server).map_err(Error::io("send"))?;
            let length = socket.recv(&mut buffer).map_err(Error::io("an answer to a REGISTER"))?;
            let Some(reply) = Reply::parse(&buffer[..length]) else { continue };
            match phone.hear(&reply, REALM) {
                Heard::Registered => break,
                Heard::Challenged if reply.cseq == 1 => {}
                other => return Err(Error::Other(format!("u{number}: {other:?}"))),
            }
        }
    }
    Ok(())
}

/// Notes when an INVITE came, and is busy.
fn answer(socket: &UdpSocket, stop: &AtomicBool, arrivals: &Arrivals) {
    let mut buffer = [0; DATAGRAM_MAX];
    let _ = socket.set_read_timeout(Some(Duration::from_millis(50)));
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let now = Instant::now();
        let Ok(request) = Message::parse(buffer[..length].to_vec()) else { continue };
        let status = match request.method() {
            "INVITE" if request.is_request() => "486 Busy Here",
            "OPTIONS" if request.is_request() => "200 OK",
            _ => continue,
        };
        let number = request.header(&Name::parse("Subject")).and_then(|n| n.parse().ok());
        if let Some(number) = number {
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((number, now));
        }
        let _ = socket.send_to(reply(&request, status).as_bytes(), from);
    }
}

fn reply(request: &Message, status: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        for line in request.header_lines(&name) {
            let tag = if name == Name::To { ";tag=busy" } else { "" };
            text.push_str(&format!("{}: {line}{tag}\r\n", name.as_str()));
        }
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text
}

impl Caller {
    fn new() -> Result<Caller> {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(Error::io("bind"))?;
        socket.set_nonblocking(true).map_err(Error::io("nonblocking"))?;
        let at = socket.local_addr().map_err(Error::io("local address"))?;
        Ok(Caller { socket, at, phones: (0..USERS).map(Phone::new).collect(), count: 0 })
    }

    /// So many at this rate; microseconds that each took to the callee, sorted. Not one may be missing more than in a
    /// hundred, but for those that are challenged.
    fn invite(&mut self, to: SocketAddr, many: usize, rate: f64, arrivals: &Arrivals) -> Result<Vec<f64>> {
        let (start, first) = (Instant::now(), self.count);
        let mut sent = Vec::with_capacity(many);
        while sent.len() < many {
            let due = (start.elapsed().as_secs_f64() * rate) as usize;
            // One at a time: a caller's burst is not the server's delay.
            if due >= sent.len() {
                let text = self.write(self.count);
                sent.push(Instant::now());
                // The kernel may tell here what an earlier one met.
                let _ = self.socket.send_to(text.as_bytes(), to);
                self.count += 1;
            }
            self.read(to);
            std::thread::sleep(Duration::from_micros(50));
        }
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            self.read(to);
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut took: Vec<Option<f64>> = vec![None; many];
        for (number, at) in arrivals.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A repetition comes later: the first counts.
            let place = number.checked_sub(first).and_then(|n| Some((took.get_mut(n)?, sent.get(n)?)));
            if let Some((took, sent)) = place {
                took.get_or_insert(at.duration_since(*sent).as_secs_f64() * 1e6);
            }
        }
        let mut all: Vec<f64> = took.into_iter().flatten().collect();
        all.sort_by(f64::total_cmp);
        if all.len() * 100 < many.saturating_sub(USERS) * 99 {
            return Err(Error::Other(format!("{} of {many} INVITEs arrived", all.len())));
        }
        Ok(all)
    }

    fn write(&mut self, number: usize) -> String {
        let (from, to) = (number % USERS, (number + 1) % USERS);
        let (uri, at) = (format!("sip:u{to}@{REALM}"), self.at);
        let credentials = self.phones[from].credentials("Proxy-Authorization", "INVITE", REALM, &uri);
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
            at.port()
        );
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-late-{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:u{from}@{REALM}>;tag={number}\r\nTo: <{uri}>\r\nCall-ID: flood-{from}\r\nCSeq: {} INVITE\r\n\
             Subject: {number}\r\nContact: <sip:u{from}@{at}>\r\n{}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            number + 1,
            credentials.unwrap_or_default(),
            body.len()
        )
    }

    /// Challenges are taken for the next time, refusals are acknowledged (RFC 3261 §17.1.1.3).
    fn read(&mut self, to: SocketAddr) {
        let mut buffer = [0; DATAGRAM_MAX];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let Some(reply) = Reply::parse(&buffer[..length]) else { continue };
            if reply.status < 200 {
                continue;
            }
            if let Some(phone) = reply.phone.and_then(|n| self.phones.get_mut(n)) {
                let _ = phone.hear(&reply, REALM);
            }
            if let Some(ack) = ack(&buffer[..length]) {
                let _ = self.socket.send_to(ack.as_bytes(), to);
            }
        }
    }
}

fn ack(answer: &[u8]) -> Option<String> {
    let answer = Message::parse(answer.to_vec()).ok()?;
    let line = |name| answer.header(&name);
    let number = line(Name::CSeq)?.split(' ').next()?.to_owned();
    let to = line(Name::To)?;
    let uri = to.split_once('<')?.1.split_once('>')?.0;
    Some(format!(
        "ACK {uri} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {number} ACK\r\n\
         Content-Length: 0\r\n\r\n",
        line(Name::Via)?,
        line(Name::From)?,
        line(Name::CallId)?
    ))
}

/// Of what is sorted. 0 where there is nothing.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = (part * sorted.len() as f64) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((percentile(&hundred, 0.5), percentile(&hundred, 0.99)), (50.0, 99.0));
        assert_eq!((percentile(&[7.0], 0.99), percentile(&[], 0.5)), (7.0, 0.0));
    }

    #[test]
    fn straight_to_the_callee() {
        let callee = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (at, stop, arrivals) =
            (callee.local_addr().unwrap(), AtomicBool::new(false), Arrivals::default());
        std::thread::scope(|scope| {
            scope.spawn(|| answer(&callee, &stop, &arrivals));
            let mut caller = Caller::new().unwrap();
            for _ in 0..2 {
                let took = caller.invite(at, 30, 500.0, &arrivals).unwrap();
                assert_eq!(took.len(), 30);
                assert!(took.iter().all(|us| (0.0..1e6).contains(us)), "{took:?}");
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_refusal_is_acknowledged_in_its_transaction() {
        let mut caller = Caller::new().unwrap();
        let invite = Message::parse(caller.write(3).into_bytes()).unwrap();
        let ack = ack(reply(&invite, "486 Busy Here").as_bytes()).unwrap();
        let ack = Message::parse(ack.into_bytes()).unwrap();
        assert_eq!((ack.method(), ack.header(&Name::CSeq)), ("ACK", Some("4 ACK")));
        assert_eq!(ack.header(&Name::Via), invite.header(&Name::Via));
        assert_eq!(ack.header(&Name::To), Some("<sip:u4@a.test>;tag=busy"));
    }
}
