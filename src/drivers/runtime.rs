//! The loop that runs one peer: wait for one thing, feed it to `peer`, carry out what it says. It decides nothing.
//! What has to be there before the first event is in `start`.

mod hosts;
mod listen;
mod start;
mod welcome;

use super::{
    descriptors, dns,
    sip::{SipEvent, SipInput, SipSockets},
    store::{AccountStore, Ack, Acks, Append, Disk},
};
use crate::{
    config::Options,
    datadir::{DataDir, Held},
    failure::Failure,
    http::Metrics,
    peer::{Input, Output, Peer, api},
};
use dots_overlay::{
    net::Net,
    transport::{NetCommand, NetEvent, RequestError},
};
use dots_sip::Flow;
use dots_wire::{Now, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep_until,
};

/// After SIGTERM: transactions under way may finish for this long.
const DRAIN: Duration = Duration::from_secs(5);
/// Without a deadline of the peer we look at the clock this often.
const IDLE: Duration = Duration::from_secs(60);
/// Appends that wait for the disk (a sync, a rewriting) before nothing new is taken in.
const UNWRITTEN_MAX: usize = 32_768;
/// How often this machine's addresses are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);

type ApiCall = (api::Request, oneshot::Sender<api::Reply>);

/// Both clocks, read once per event.
pub fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), wall: Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}

/// Runs a peer until SIGTERM or SIGINT.
pub async fn run(options: Options) -> Result<(), Failure> {
    descriptors::raise();
    let dir = match DataDir::take(&options.data)? {
        Held::Here(dir) => dir,
        Held::Peer { .. } => return Err(Failure::InUse(options.data)),
    };
    // Before anybody is told that this peer is ready, and may ask it to stop.
    let signals = Signals::new()?;
    let mut node = start::start(&options, &dir).await?;
    let served = node.serve(signals).await;
    let withdrawn = dir.withdraw();
    node.finish().await;
    served.and(withdrawn)
}

struct Node {
    peer: Peer,
    sip: SipSockets,
    /// Datagrams of this turn.
    datagrams: Vec<(Flow, Vec<u8>)>,
    net: Net,
    disk: Disk,
    acks: Acks,
    /// Appends that the disk had no room for, in order.
    unwritten: VecDeque<Append>,
    accounts: Arc<AccountStore>,
    /// Answers that come later, from what runs beside this loop: changes of accounts (they sync), DNS.
    later: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    api: mpsc::Receiver<ApiCall>,
    asked: BTreeMap<u64, oneshot::Sender<api::Reply>>,
    asked_next: u64,
    metrics: Arc<Metrics>,
    /// What follows at once from an output (account look-ups, commands that the network has no room for).
    next: VecDeque<Input>,
    /// The peer must not go on.
    fatal: Option<String>,
    dns: dns::Resolver,
    hosts: hosts::Hosts,
    look_at: Instant,
    http: JoinHandle<std::io::Result<()>>,
    /// Dropped, HTTP takes no more requests.
    stop_http: Option<oneshot::Sender<()>>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

enum Event {
    Input(Input),
    /// Datagrams are there to be read.
    Datagrams,
    /// These appends are synced.
    Written(Vec<u64>),
    Api(ApiCall),
    Failed(String),
    Timeout,
    Stop,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::Other(format!("cannot wait for signals: {e}")));
        Ok(Signals { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What comes from outside, each source in its turn: none of them can starve the others.
async fn strangers(api: &mut mpsc::Receiver<ApiCall>, net: &mut Net, sip: &mut SipSockets) -> Event {
    tokio::select! {
        Some(call) = api.recv() => Event::Api(call),
        event = net.recv() => match event {
            Some(event) => Event::Input(Input::Net(event)),
            None => Event::Failed("the network driver has ended".to_owned()),
        },
        input = sip.recv() => match input {
            SipInput::Datagrams => Event::Datagrams,
            SipInput::Event(SipEvent::Message { flow, bytes }) => Event::Input(Input::Sip { flow, bytes }),
            SipInput::Event(SipEvent::Unframed { flow, head }) => Event::Input(Input::SipUnframed { flow, head }),
            SipInput::Event(SipEvent::End { flow } | SipEvent::Closed { flow }) => Event::Input(Input::FlowClosed { flow }),
        },
    }
}

impl Node {
    async fn serve(&mut self, mut signals: Signals) -> Result<(), Failure> {
        let mut stopping: Option<Instant> = None;
        loop {
            self.carry_out()?;
            if let Some(why) = self.fatal.take() {
                return Err(Failure::Twice(why));
            }
            if let Some(since) = stopping
                && (self.peer.is_quiet() || since.elapsed() >= DRAIN)
            {
                return Ok(());
            }
            match self.wait(&mut signals, stopping).await {
                Event::Input(input) => self.peer.handle(now(), input),
                Event::Datagrams => self.take_datagrams(),
                Event::Written(tokens) => self.written(tokens),
                Event::Api((request, reply)) => {
                    self.asked_next += 1;
                    self.asked.insert(self.asked_next, reply);
                    self.peer.handle(now(), Input::Api { id: self.asked_next, request });
                }
                Event::Timeout => {
                    self.peer.handle_timeout(now());
                    self.look_around();
                }
                Event::Failed(why) => return Err(Failure::Other(why)),
                Event::Stop => {
                    tracing::info!("stopping");
                    self.sip.stop_accepting();
                    self.peer.handle(now(), Input::Drain);
                    self.stop_http = None;
                    stopping = Some(Instant::now());
                }
            }
        }
    }

    async fn wait(&mut self, signals: &mut Signals, stopping: Option<Instant>) -> Event {
        let limit = stopping.map_or_else(|| Instant::now() + IDLE, |s| s + DRAIN);
        let at = self.peer.poll_timeout().map_or(limit, |t| t.min(limit));
        tokio::select! {
            biased;
            () = signals.recv(), if stopping.is_none() => Event::Stop,
            Some(ack) = self.acks.recv() => match ack {
                Ack::Done { tokens } => Event::Written(tokens),
                Ack::Rewritten => Event::Written(Vec::new()),
                Ack::Failed(why) => Event::Failed(format!("the disk failed: {why}")),
            },
            () = sleep_until(at.into()) => Event::Timeout,
            Some(input) = self.later.1.recv() => Event::Input(input),
            // While the disk is far behind nothing new is taken: what waits is bounded, and senders repeat.
            event = strangers(&mut self.api, &mut self.net, &mut self.sip), if self.unwritten.len() < UNWRITTEN_MAX => {
                event
            }
        }
    }

    /// One batch, under one look at the clock: what each causes is carried out before the next is handed over; records for
    /// the disk go together when the turn ends.
    fn take_datagrams(&mut self) {
        let mut batch = std::mem::take(&mut self.datagrams);
        let peer = &self.peer;
        self.sip.read_datagrams(&mut batch, |flow, bytes| peer.sender(flow, bytes));
        let now = now();
        for (flow, bytes) in batch.drain(..) {
            self.peer.handle(now, Input::Sip { flow, bytes });
            self.answer();
        }
        self.datagrams = batch;
    }

    fn written(&mut self, tokens: Vec<u64>) {
        let now = now();
        for token in tokens {
            self.peer.handle(now, Input::Appended { token });
            self.answer();
        }
    }

    /// Now and then: has this machine got other addresses? How much is there of everything?
    fn look_around(&mut self) {
        if Instant::now() < self.look_at {
            return;
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        if let Some(hosts) = self.hosts.changed() {
            tracing::info!(?hosts, "the addresses of this machine have changed");
            self.peer.handle(now(), Input::OwnHosts { hosts });
        }
        let connections = self.sip.connections();
        let counts = [
            ("sip_connections", u64::try_from(connections.open).unwrap_or(u64::MAX)),
            ("sip_connections_refused", connections.refused),
            ("sip_kernel_drops", self.sip.kernel_drops()),
            ("sip_shed", self.sip.shed()),
            ("sip_connections_evicted", connections.evicted),
        ];
        for (name, count) in counts.into_iter().chain(self.net.counters()) {
            self.metrics.level(name, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Everything that the peer has to say, and what follows from it at once. Records for the disk are written together; what
    /// only had to be written is done with that, and its answers go in this same turn.
    fn carry_out(&mut self) -> Result<(), Failure> {
        loop {
            self.answer();
            let done = self.disk.append_all(&mut self.unwritten);
            let done = done.map_err(|e| Failure::Other(format!("the disk failed: {e}")))?;
            if done.is_empty() {
                return Ok(());
            }
            self.written(done);
        }
    }

    /// Everything but the disk's part.
    fn answer(&mut self) {
        loop {
            while let Some(output) = self.peer.poll_output() {
                self.one(output);
            }
            match self.next.pop_front() {
                Some(input) => self.peer.handle(now(), input),
                None => break,
            }
        }
    }

    fn one(&mut self, output: Output) {
        match output {
            Output::SipSend { flow, bytes } => {
                if !self.sip.send(&flow, bytes) {
                    self.metrics.count("sip_not_sent");
                }
            }
            Output::SipProved { flow } => self.sip.prove(&flow),
            Output::Net(command) => self.command(command),
            Output::Append { token, stream, record, sync } => {
                self.unwritten.push_back(Append { token, stream, record, sync });
            }
            Output::Rewrite { stream, records } => {
                // Appends before it must be with the writer first; else it waits for another time.
                if !self.unwritten.is_empty() || !self.disk.rewrite(stream, records) {
                    tracing::debug!(stream = stream.name(), "the disk is busy: not rewritten now");
                }
            }
            Output::GetAccount { id, aor } => {
                let account = Ok(self.accounts.look_up(&aor));
                self.next.push_back(Input::Account { id, account });
            }
            Output::PutAccount { id, account } => self.store(id, move |s| s.put(&account)),
            Output::RemoveAccount { id, aor } => self.store(id, move |s| s.remove(&aor, now().wall.0)),
            Output::Api { id, reply } => {
                if let Some(waiting) = self.asked.remove(&id) {
                    // Whoever asked may have hung up.
                    let _ = waiting.send(reply);
                }
            }
            Output::LookupTxt { id, name } => {
                let (done, dns) = (self.later.0.clone(), self.dns.clone());
                tokio::spawn(async move {
                    let records = dns.txt(&name).await;
                    let _ = done.send(Input::Txt { id, records }).await;
                });
            }
            Output::Count(name) => self.metrics.count(name),
            Output::Fatal(why) => self.fatal = Some(why),
        }
    }

    /// What the network has no room for has failed: nobody waits for ever.
    fn command(&mut self, command: NetCommand) {
        let failure = match &command {
            NetCommand::Request { id, .. } => {
                Some(NetEvent::Response { id: *id, result: Err(RequestError::Unreachable) })
            }
            NetCommand::OpenStream { peer } => Some(NetEvent::StreamRefused { peer: *peer }),
            NetCommand::StreamSend { stream, .. } => Some(NetEvent::StreamClosed { stream: *stream }),
            NetCommand::DhtGet { id, .. } => Some(NetEvent::DhtDone { id: *id }),
            _ => None,
        };
        if !self.net.send(command) {
            self.metrics.count("net_queue_full");
            self.next.extend(failure.map(Input::Net));
        }
    }

    /// A change of an account syncs; the loop goes on meanwhile. If it fails, nobody is told that it was done.
    fn store(
        &self,
        id: u64,
        change: impl FnOnce(&AccountStore) -> Result<bool, super::store::StoreError> + Send + 'static,
    ) {
        let (accounts, done) = (self.accounts.clone(), self.later.0.clone());
        tokio::task::spawn_blocking(move || match change(&accounts) {
            Ok(existed) => {
                let _ = done.blocking_send(Input::AccountStored { id, existed });
            }
            Err(e) => {
                tracing::error!(%e, "an account could not be written");
                let _ = done.blocking_send(Input::AccountFailed { id });
            }
        });
    }

    /// Writes and syncs what is queued.
    async fn finish(self) {
        // Nobody answers questions any more, whatever ended us; an answer just made still goes out.
        drop((self.stop_http, self.api, self.asked));
        if tokio::time::timeout(DRAIN, self.http).await.is_err() {
            tracing::warn!("somebody keeps an HTTP connection busy; it is cut");
        }
        self.net.shutdown().await;
        let mut unwritten = self.unwritten;
        if let Err(error) = self.disk.append_all(&mut unwritten) {
            tracing::error!(%error, "the disk failed at the end");
        }
        if !unwritten.is_empty() {
            tracing::error!(records = unwritten.len(), "what was left could not be written at the end");
        }
        self.disk.close();
        tracing::info!("stopped");
    }
}
