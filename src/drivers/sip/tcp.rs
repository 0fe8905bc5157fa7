//! Connections of phones: framing in, a bounded queue out, and an end in time.
//!
//! ```text
//!   stranger ── an account has answered a challenge ──▶ known ── silent for an hour ──▶ closed
//!      │                                                  │
//!      └─ a minute is over, or its place is needed ─▶ closed   bytes that are no SIP: 400, and closed
//! ```
//!
//! Whatever a stranger says, pings included, it has one minute. A phone that only keeps its connection needs no memory for
//! reading: bytes are taken from the kernel into a buffer of the stack.

use super::{
    Ended, Rules, SipEvent,
    begun::{Begun, STRANGERS_MESSAGE_MAX},
    places::Places,
};
use dots_sip::{
    Flow, Transport,
    framing::{Frame, Framer},
    limits::MESSAGE_BYTES_MAX,
};
use std::{
    io::ErrorKind,
    net::IpAddr,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

/// A phone pings every 2 minutes or refreshes within the hour (RFC 5626 §4.4.1); a silent one is gone.
const IDLE: Duration = Duration::from_secs(3_900);
/// One that we opened is opened again when it is needed.
const DIALLED_IDLE: Duration = Duration::from_secs(900);
/// After its end was said, what still comes is read and dropped for so long and so far: where bytes lie unread, closing
/// would take back what was just written.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;
/// A phone that takes nothing for so long is gone.
const WRITE: Duration = Duration::from_secs(20);
/// Messages that wait for one slow phone; more are dropped and counted.
const WRITES_MAX: usize = 256;
/// Bytes that wait for one slow phone, or for somebody who has proved nothing. One message may always wait.
const WRITE_BYTES_MAX: usize = 256 * 1024;
const STRANGERS_BYTES_MAX: usize = 16 * 1024;
/// Read at once.
const READ_BYTES: usize = 16 * 1024;

/// Never reused, by no later process either: a route token outlives its connection, and must not lead to another one. There are not
/// 65,536 connections in a millisecond.
static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(u64::try_from(since.as_millis()).unwrap_or_default() << 16 | 1)
});

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Stranger,
    /// An account has answered a challenge on it.
    Known,
}

/// What others see of a connection. Dropped, it is cut.
struct Connection {
    /// `None`: its end was said.
    writes: Option<Writes>,
    standing: watch::Sender<Standing>,
}

/// The way to one phone.
struct Writes {
    queue: mpsc::Sender<Vec<u8>>,
    /// Bytes in the queue.
    waiting: Arc<AtomicUsize>,
}

/// How many there are, and how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub open: usize,
    pub refused: u64,
    pub evicted: u64,
}

#[derive(Clone)]
pub(super) struct Connections {
    places: Arc<Mutex<Places<Connection>>>,
    begun: Begun,
    /// A message that has begun is whole within this time.
    whole_within: Duration,
}

impl Connections {
    pub fn new(rules: Rules) -> Connections {
        let places = Arc::new(Mutex::new(Places::new(rules.most)));
        Connections { places, begun: Begun::new(), whole_within: rules.whole_within }
    }

    fn places(&self) -> MutexGuard<'_, Places<Connection>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits. `false`: the connection is gone or full.
    pub fn send(&self, connection: u64, bytes: Vec<u8>) -> bool {
        let places = self.places();
        let Some(open) = places.get(connection) else { return false };
        let standing = *open.standing.borrow();
        open.writes.as_ref().is_some_and(|writes| writes.put(standing, bytes))
    }

    /// An account has answered a challenge on it.
    pub fn prove(&self, connection: u64) {
        let mut places = self.places();
        if let Some(open) = places.get(connection) {
            open.standing.send_if_modified(|s| std::mem::replace(s, Standing::Known) == Standing::Stranger);
            places.prove(connection);
        }
    }

    /// Nothing more goes out on it; what waits is still written, then it is closed.
    pub fn end(&self, connection: u64) {
        if let Some(open) = self.places().get_mut(connection) {
            open.writes = None;
        }
    }

    /// A place for a connection of ours to this address, which need not prove anything. `None`: there is none.
    pub fn dial(&self, remote: IpAddr) -> Option<Dialled> {
        let (number, entry, parts) = new_entry();
        let mut places = self.places();
        places.take(number, remote, entry).ok()?;
        places.get(number)?.standing.send_replace(Standing::Known);
        places.prove(number);
        Some(Dialled { number, parts })
    }

    pub fn forget(&self, number: u64) {
        self.places().remove(number);
    }

    pub fn counts(&self) -> Counts {
        let places = self.places();
        Counts { open: places.len(), refused: places.refused, evicted: places.evicted }
    }
}

/// What serves a connection, beside the entry that others see.
struct Parts {
    to_write: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    standing: watch::Receiver<Standing>,
}

fn new_entry() -> (u64, Connection, Parts) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (queue, to_write) = mpsc::channel(WRITES_MAX);
    let (known, standing) = watch::channel(Standing::Stranger);
    let waiting = Arc::new(AtomicUsize::new(0));
    let entry = Connection { writes: Some(Writes { queue, waiting: waiting.clone() }), standing: known };
    (number, entry, Parts { to_write, waiting, standing })
}

/// A connection that is being opened; what is sent on it waits.
pub(super) struct Dialled {
    number: u64,
    parts: Parts,
}

impl Dialled {
    pub fn number(&self) -> u64 {
        self.number
    }

    /// It is open: from now on as any other, until its end.
    pub async fn serve(self, stream: TcpStream, connections: Connections, events: mpsc::Sender<SipEvent>) {
        let Dialled { number: connection, parts } = self;
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let _ = stream.set_nodelay(true);
        let flow = Flow { transport: Transport::Tcp, connection, local, remote };
        let until = Instant::now();
        let line = Line { flow, events, connections, standing: parts.standing, until, idle: DIALLED_IDLE };
        line.serve(stream, parts.to_write, parts.waiting).await;
    }
}

impl Writes {
    fn put(&self, standing: Standing, bytes: Vec<u8>) -> bool {
        let most = match standing {
            Standing::Stranger => STRANGERS_BYTES_MAX,
            Standing::Known => WRITE_BYTES_MAX,
        };
        let length = bytes.len();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        let is_queued = (before == 0 || before + length <= most) && self.queue.try_send(bytes).is_ok();
        if !is_queued {
            self.waiting.fetch_sub(length, Ordering::Relaxed);
        }
        is_queued
    }
}

pub(super) async fn accept(
    listener: TcpListener,
    connections: Connections,
    rules: Rules,
    events: mpsc::Sender<SipEvent>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|s| *s) => return,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors: the kernel keeps the connection until one is free.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let (connection, entry, Parts { to_write, waiting, standing }) = new_entry();
        if connections.places().take(connection, remote.ip(), entry).is_err() {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let flow = Flow { transport: Transport::Tcp, connection, local, remote };
        let until = Instant::now() + rules.stranger;
        let (events, connections) = (events.clone(), connections.clone());
        let line = Line { flow, events, connections, standing, until, idle: IDLE };
        tokio::spawn(line.serve(stream, to_write, waiting));
    }
}

/// One connection, from its first byte to its last.
struct Line {
    flow: Flow,
    events: mpsc::Sender<SipEvent>,
    connections: Connections,
    standing: watch::Receiver<Standing>,
    /// A stranger's end.
    until: Instant,
    /// A silent one is closed after so long.
    idle: Duration,
}

impl Line {
    async fn serve(
        mut self,
        stream: TcpStream,
        to_write: mpsc::Receiver<Vec<u8>>,
        waiting: Arc<AtomicUsize>,
    ) {
        let (input, output) = stream.into_split();
        let mut place = self.standing.clone();
        let mut has_spoken = false;
        tokio::select! {
            () = async { while place.changed().await.is_ok() {} } => {}
            () = write(output, to_write, &waiting) => {}
            () = self.read(&input, &mut has_spoken) => {}
        }
        drop(input);
        self.connections.places().remove(self.flow.connection);
        if has_spoken {
            // The receiver is gone only when the peer stops.
            let _ = self.events.send(SipEvent::Closed { flow: self.flow }).await;
        }
    }

    async fn read(&mut self, input: &OwnedReadHalf, has_spoken: &mut bool) {
        let mut framer = Framer::default();
        let mut share = self.connections.begun.share(self.flow.remote.ip());
        let mut heard = Instant::now();
        // When the message began whose end has not come.
        let mut began = None;
        loop {
            let is_stranger = *self.standing.borrow_and_update() == Standing::Stranger;
            framer.set_max(if is_stranger { STRANGERS_MESSAGE_MAX } else { MESSAGE_BYTES_MAX });
            let until = if is_stranger { self.until } else { heard + self.idle };
            let whole = began.map(|began: Instant| began + self.connections.whole_within);
            tokio::select! {
                // It has another deadline now.
                changed = self.standing.changed() => if changed.is_err() { return },
                ready = timeout_at(whole.map_or(until, |whole| whole.min(until)), input.readable()) => {
                    if !matches!(ready, Ok(Ok(()))) {
                        return;
                    }
                    match take(input, |bytes| framer.push(bytes)) {
                        Some(0) => continue,
                        Some(_) => heard = Instant::now(),
                        None => return,
                    }
                    if let Err(end) = self.hand_over(&mut framer, &mut began, has_spoken).await {
                        if matches!(end, Ended::Unframed) {
                            let _ = timeout(LINGER, drain(input)).await;
                        }
                        return;
                    }
                    began = framer.is_within_message().then(|| began.unwrap_or(heard));
                    if !share.hold(framer.held_bytes(), !is_stranger) {
                        tracing::debug!(remote = %self.flow.remote, "no room for half a message: closed");
                        return;
                    }
                }
            }
        }
    }

    /// Whole messages go to the peer. A full queue waits, which slows this sender.
    async fn hand_over(
        &self,
        framer: &mut Framer,
        began: &mut Option<Instant>,
        has_spoken: &mut bool,
    ) -> Result<(), Ended> {
        let flow = self.flow;
        loop {
            let event = match framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    *began = None;
                    SipEvent::Message { flow, bytes }
                }
                Ok(Some(Frame::Ping)) => {
                    self.connections.send(flow.connection, b"\r\n".to_vec());
                    continue;
                }
                Ok(None) => return Ok(()),
                Err(e) => {
                    tracing::debug!(remote = %flow.remote, %e, "closed");
                    *has_spoken = true;
                    let unframed = SipEvent::Unframed { flow, head: e.head };
                    self.events.send(unframed).await.map_err(|_| Ended::Peer)?;
                    // After the answers to all of it.
                    self.events.send(SipEvent::End { flow }).await.map_err(|_| Ended::Peer)?;
                    return Err(Ended::Unframed);
                }
            };
            *has_spoken = true;
            self.events.send(event).await.map_err(|_| Ended::Peer)?;
        }
    }
}

/// Writes what is queued; returns when the phone takes nothing any more. After the end of the queue only the reader, who
/// waits for the other side to have read all of it, ends the connection.
async fn write(mut output: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>, waiting: &AtomicUsize) {
    while let Some(bytes) = queue.recv().await {
        let written = timeout(WRITE, output.write_all(&bytes)).await;
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
    if output.shutdown().await.is_ok() {
        std::future::pending().await
    }
}

/// Takes what is there. `None`: the other side has ended; 0: nothing was there.
fn take(input: &OwnedReadHalf, into: impl FnOnce(&[u8])) -> Option<usize> {
    let mut buffer = [0; READ_BYTES];
    match input.try_read(&mut buffer) {
        Ok(0) => None,
        Ok(length) => {
            into(buffer.get(..length).unwrap_or_default());
            Some(length)
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}

/// Reads and drops until the other side ends, or enough was read.
async fn drain(input: &OwnedReadHalf) {
    let mut dropped = 0;
    while dropped < LINGER_BYTES && input.readable().await.is_ok() {
        match take(input, |_| {}) {
            Some(length) => dropped += length,
            None => return,
        }
    }
}
