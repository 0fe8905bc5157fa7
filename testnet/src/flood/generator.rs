//! Many phones behind a few sockets, and what they can be made to do.

use super::{
    batch::Batch,
    forged::Forgers,
    phone::{self, Heard, Phone, Reply},
    watched::{Refreshes, Watched},
};
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Sockets of the phones; each has an address of its own, as a house has.
const LINES: usize = 32;
/// Sockets of those who do not answer challenges.
const STRANGERS: usize = 8;
/// Phones that are asked at once and may all be answered at once, within a socket buffer of the usual size.
const WINDOW: usize = 64;
/// When an answer is taken for lost, where the phone does not repeat.
const LOST: Duration = Duration::from_secs(1);
const DATAGRAM_MAX: usize = 4_096;

struct Line {
    socket: UdpSocket,
    at: SocketAddr,
}

/// Requests a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub right: u32,
    pub without: u32,
    pub forged: u32,
}

/// What came of a flood.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flood {
    pub sent_right: u64,
    pub sent_without: u64,
    pub sent_forged: u64,
    /// What the kernel on our side had no room for.
    pub unsent: u64,
    /// 200s, while the flood lasted.
    pub registered: u64,
    /// Challenges to strangers whom answers reach.
    pub challenged: u64,
    /// Challenges to phones that had answered one: their nonce was too old.
    pub stale: u64,
    pub refused: u64,
    pub watched: Refreshes,
    /// As long as it lasted.
    pub time: Duration,
}

impl Flood {
    pub fn sent(&self) -> u64 {
        self.sent_right + self.sent_without + self.sent_forged
    }
}

pub struct Generator {
    server: SocketAddr,
    realm: String,
    phones: Vec<Phone>,
    lines: Vec<Line>,
    strangers: Vec<Line>,
    batch: Batch,
    /// Whose datagrams the batch holds.
    line: usize,
    heard: Vec<(usize, u32, Heard)>,
    to_strangers: u64,
    strangers_count: u64,
}

impl Generator {
    /// `u0@realm` … as [`crate::crowd::Crowd`] imports them.
    pub fn new(server: &str, realm: &str, users: usize) -> Result<Generator> {
        let server = server.parse().map_err(|_| Error::Other(format!("{server}: not an address")))?;
        let lines =
            |net: u8, count: usize| (0..count).map(|n| Line::new(server, net, n)).collect::<Result<_>>();
        Ok(Generator {
            server,
            realm: realm.to_owned(),
            phones: (0..users).map(Phone::new).collect(),
            lines: lines(1, LINES)?,
            strangers: lines(2, STRANGERS)?,
            batch: Batch::default(),
            line: 0,
            heard: Vec::new(),
            to_strangers: 0,
            strangers_count: 0,
        })
    }

    pub fn phones(&self) -> &[Phone] {
        &self.phones
    }

    /// Until all have been answered with 200, [`WINDOW`] at a time.
    pub fn register(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        let mut todo: VecDeque<usize> = (0..self.phones.len()).collect();
        let mut waiting: BTreeMap<usize, Instant> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        while !(todo.is_empty() && waiting.is_empty()) {
            let now = Instant::now();
            if now >= end {
                let (left, why) = (todo.len() + waiting.len(), format!("refused: {refused:?}"));
                return Err(Error::Other(format!("{left} phones not registered within {limit:?}; {why}")));
            }
            while waiting.len() < WINDOW
                && let Some(number) = todo.pop_front()
            {
                self.ask(number);
                waiting.insert(number, now);
            }
            self.flush();
            if !self.hear() {
                std::thread::sleep(Duration::from_micros(200));
                let lost = |(number, at): (&usize, &Instant)| (now >= *at + LOST).then_some(*number);
                todo.extend(waiting.iter().filter_map(lost).collect::<Vec<_>>());
                waiting.retain(|_, at| now < *at + LOST);
            }
            for (number, _, heard) in std::mem::take(&mut self.heard) {
                match heard {
                    Heard::Registered => drop(waiting.remove(&number)),
                    Heard::Challenged if waiting.remove(&number).is_some() => todo.push_front(number),
                    Heard::Challenged => {}
                    // It waits, as for an answer that was lost.
                    Heard::Refused(status) => *refused.entry(status).or_insert(0_u32) += 1,
                }
            }
        }
        Ok(())
    }

    /// 200s a second where refreshes come as fast as `window` of them are answered.
    pub fn best(&mut self, window: usize, time: Duration) -> f64 {
        let (start, mut last) = (Instant::now(), Instant::now());
        let (mut next, mut under_way, mut registered) = (0, 0_usize, 0_u64);
        let window = window.min(self.phones.len());
        while start.elapsed() < time {
            while under_way < window {
                self.ask(next);
                next = (next + 1) % self.phones.len();
                under_way += 1;
            }
            self.flush();
            if self.hear() {
                last = Instant::now();
            } else if last.elapsed() > LOST {
                (under_way, last) = (0, Instant::now());
            }
            for (_, _, heard) in std::mem::take(&mut self.heard) {
                under_way = under_way.saturating_sub(1);
                registered += u64::from(heard == Heard::Registered);
            }
        }
        let taken = start.elapsed().as_secs_f64();
        self.calm();
        registered as f64 / taken
    }

    /// At these rates for this time, whatever the server does; then until the watched phones have ended. The first `watched` of
    /// the phones are these.
    pub fn flood(&mut self, rates: Rates, watched: usize, time: Duration) -> Result<Flood> {
        let start = Instant::now();
        let mut rng = ChaCha8Rng::from_os_rng();
        let mut forgers = Forgers::new(self.server, &self.realm, self.phones.len());
        let watched = watched.min(self.phones.len());
        let mut watch: Vec<Watched> =
            (0..watched).map(|n| Watched::new(start, n as f64 / watched as f64)).collect();
        let (mut flood, mut next, mut done) = (Flood::default(), watched, [0_u64; 3]);
        let to_strangers = self.to_strangers;
        loop {
            let elapsed = start.elapsed();
            let is_on = elapsed < time;
            if !is_on && !watch.iter().any(Watched::is_busy) {
                break;
            }
            self.step_watched(&mut watch, is_on, &mut flood.watched);
            if is_on {
                flood.time = elapsed;
                let due = |rate: u32, done: u64| {
                    ((elapsed.as_secs_f64() * f64::from(rate)) as u64)
                        .saturating_sub(done)
                        .min(Batch::MAX as u64)
                };
                let [right, without, forged] =
                    [due(rates.right, done[0]), due(rates.without, done[1]), due(rates.forged, done[2])];
                for _ in 0..right {
                    self.ask(next);
                    next = if next + 1 < self.phones.len() { next + 1 } else { watched };
                }
                flood.unsent += self.flush();
                flood.unsent += self.strangers(without as usize, &mut rng);
                if forged > 0 {
                    let sent = forgers.send(&mut self.batch, forged as usize, &mut rng)?;
                    flood.unsent += forged - sent as u64;
                }
                for (done, more) in done.iter_mut().zip([right, without, forged]) {
                    *done += more;
                }
            }
            if !self.hear() {
                std::thread::sleep(Duration::from_micros(300));
            }
            self.sort(&mut watch, is_on, &mut flood);
        }
        [flood.sent_right, flood.sent_without, flood.sent_forged] = done;
        flood.challenged = self.to_strangers - to_strangers;
        Ok(flood)
    }

    fn step_watched(&mut self, watch: &mut [Watched], is_on: bool, counts: &mut Refreshes) {
        let (now, now_ms) = (Instant::now(), wall_ms());
        for (number, watched) in watch.iter_mut().enumerate() {
            self.turn_to(number);
            let Some(phone) = self.phones.get_mut(number) else { continue };
            let place = (self.realm.as_str(), self.lines[self.line].at);
            watched.step(phone, &mut self.batch, place, now, now_ms, is_on, counts);
        }
        self.flush();
    }

    /// What was heard goes to the watched phones, and into the counts.
    fn sort(&mut self, watch: &mut [Watched], is_on: bool, flood: &mut Flood) {
        let (now, now_ms) = (Instant::now(), wall_ms());
        for (number, cseq, heard) in std::mem::take(&mut self.heard) {
            if is_on {
                flood.registered += u64::from(heard == Heard::Registered);
                flood.stale += u64::from(heard == Heard::Challenged);
                flood.refused += u64::from(matches!(heard, Heard::Refused(_)));
            }
            let Some(watched) = watch.get_mut(number) else { continue };
            self.turn_to(number);
            let Some(phone) = self.phones.get_mut(number) else { continue };
            let place = (self.realm.as_str(), self.lines[self.line].at);
            watched.hear(heard, cseq, phone, &mut self.batch, place, now, now_ms, &mut flood.watched);
        }
        self.flush();
    }

    fn strangers(&mut self, many: usize, rng: &mut ChaCha8Rng) -> u64 {
        let line = &self.strangers[rng.random_range(0..self.strangers.len())];
        for _ in 0..many {
            self.strangers_count += 1;
            let user = rng.random_range(0..self.phones.len());
            phone::write_stranger(self.batch.add(), &self.realm, line.at, user, self.strangers_count, None);
        }
        (many - self.batch.send(&line.socket)) as u64
    }

    /// The batch is for the line of this phone from now on.
    fn turn_to(&mut self, number: usize) {
        // Neighbours share one, so that a batch fills.
        let line = number / Batch::MAX % self.lines.len();
        if line != self.line || self.batch.is_full() {
            self.flush();
            self.line = line;
        }
    }

    fn ask(&mut self, number: usize) {
        self.turn_to(number);
        let at = self.lines[self.line].at;
        let Some(phone) = self.phones.get_mut(number) else { return };
        phone.register(self.batch.add(), &self.realm, at, wall_ms());
    }

    /// How many were lost on our side.
    fn flush(&mut self) -> u64 {
        if self.batch.is_empty() {
            return 0;
        }
        let line = &self.lines[self.line];
        (self.batch.len() - self.batch.send(&line.socket)) as u64
    }

    /// Reads all that has come. `false`: nothing.
    fn hear(&mut self) -> bool {
        let (mut buffer, mut any) = ([0; DATAGRAM_MAX], false);
        for line in &self.lines {
            while let Ok(length) = line.socket.recv(&mut buffer) {
                any = true;
                let Some(reply) = Reply::parse(&buffer[..length]) else { continue };
                let Some(number) = reply.phone else { continue };
                let Some(phone) = self.phones.get_mut(number) else { continue };
                self.heard.push((number, reply.cseq, phone.hear(&reply, &self.realm)));
            }
        }
        for line in &self.strangers {
            while line.socket.recv(&mut buffer).is_ok() {
                any = true;
                self.to_strangers += 1;
            }
        }
        any
    }

    /// Lets what is under way come in.
    fn calm(&mut self) {
        let mut last = Instant::now();
        while last.elapsed() < LOST {
            if self.hear() {
                last = Instant::now();
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.heard.clear();
    }
}

impl Line {
    /// 127.`net`.0.1 and up.
    fn new(server: SocketAddr, net: u8, number: usize) -> Result<Line> {
        let address = Ipv4Addr::new(127, net, 0, u8::try_from(number + 1).unwrap_or(u8::MAX));
        let socket = UdpSocket::bind((address, 0)).map_err(Error::io(format!("bind to {address}")))?;
        socket.connect(server).and_then(|()| socket.set_nonblocking(true)).map_err(Error::io("connect"))?;
        let at = socket.local_addr().map_err(Error::io("local address"))?;
        Ok(Line { socket, at })
    }
}

/// Milliseconds of the wall clock, which is what the server counts lifetimes by.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Challenges whoever has no answer, and says yes to the rest. It keeps nothing, so it is no registrar.
    fn server(socket: &UdpSocket, stop: &AtomicBool) -> [u64; 2] {
        let (mut buffer, mut counts) = ([0; DATAGRAM_MAX], [0; 2]);
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            let line = |start: &str| text.lines().find(|l| l.starts_with(start)).unwrap_or_default();
            let is_right = line("Authorization").contains("nonce=\"n0\"");
            counts[usize::from(is_right)] += 1;
            let (status, more) = match is_right {
                true => ("200 OK", ""),
                false => ("401 No", "WWW-Authenticate: Digest realm=\"a.test\", nonce=\"n0\"\r\n"),
            };
            let (call_id, cseq) = (line("Call-ID"), line("CSeq"));
            let answer = format!("SIP/2.0 {status}\r\n{call_id}\r\n{cseq}\r\n{more}\r\n");
            socket.send_to(answer.as_bytes(), from).unwrap();
        }
        counts
    }

    /// A test that fails stops its server too.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn everybody_registers_and_floods() {
        let (socket, stop) = (UdpSocket::bind("127.0.0.1:0").unwrap(), AtomicBool::new(false));
        let at = socket.local_addr().unwrap().to_string();
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| server(&socket, &stop));
            let stopping = Stop(&stop);
            let mut generator = Generator::new(&at, "a.test", 300).unwrap();
            generator.register(Duration::from_secs(20)).unwrap();
            assert!(generator.phones().iter().all(|p| p.has_credential() && p.promised_until_ms() > 0));
            assert!(generator.best(32, Duration::from_millis(200)) > 0.0);

            let rates = Rates { right: 1_000, without: 500, forged: 500 };
            let flood = generator.flood(rates, 20, Duration::from_secs(1)).unwrap();
            assert!(flood.sent() > 300, "{flood:?}");
            assert!(flood.registered > 0 && flood.challenged > 0, "{flood:?}");
            assert_eq!((flood.stale, flood.refused), (0, 0), "{flood:?}");
            assert!(flood.watched.started >= 4, "{flood:?}");
            assert_eq!(flood.watched.answered, flood.watched.started, "{flood:?}");
            drop(stopping);
            let [refused, right] = serving.join().unwrap();
            assert!(refused > 300 && right > 300, "{refused} {right}");
        });
    }

    #[test]
    fn nobody_there() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut generator = Generator::new(&gone, "a.test", 3).unwrap();
        assert!(generator.register(Duration::from_millis(300)).is_err());
    }
}
