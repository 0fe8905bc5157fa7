//! What `src/drivers/runtime.rs` does with a peer's outputs, and what happens to its process.

use super::{Event, Host, OUTPUTS_MAX, SIP_LATENCY_MS, World, disk::Disk, first_line};
use dots::peer::{Input, Output, Peer};
use dots_sip::{Flow, Transport};
use dots_trust::judge::StoreDown;
use rand::Rng;
use std::time::Duration;

impl World {
    pub(super) fn drain(&mut self, host: usize) {
        let mut said = 0;
        while let Some(output) = self.hosts[host].peer.as_mut().and_then(Peer::poll_output) {
            said += 1;
            assert!(said < OUTPUTS_MAX, "peer {host} does not stop talking");
            self.carry_out(host, output);
        }
    }

    /// What `drivers/runtime.rs` does with an output.
    fn carry_out(&mut self, host: usize, output: Output) {
        let life = self.hosts[host].life;
        match output {
            Output::SipSend { flow, bytes } => self.send_to_phone(flow, bytes),
            // Here phones speak over UDP, or over connections that nobody limits.
            Output::SipProved { .. } => {}
            Output::Net(command) => self.command(host, command),
            Output::Append { token, stream, record, sync } => {
                if stream == dots::peer::Stream::Bindings {
                    self.changed();
                }
                if stream == dots::peer::Stream::Log {
                    *self.hosts[host].counts.entry("sim_log_bytes").or_default() += record.len() as u64;
                }
                if sync && stream == dots::peer::Stream::Receipts {
                    *self.hosts[host].counts.entry("sim_receipts_synced").or_default() += 1;
                }
                let done = self.hosts[host].disk.append(self.at, stream, record, sync, &mut self.rng);
                if let Some(done) = done {
                    self.schedule(done - self.at, Event::Written { host, life, stream, token });
                }
            }
            // A driver may be too busy for it; the next life cuts the journals down (`Disk::recover`).
            Output::Rewrite { .. } => {}
            Output::GetAccount { id, aor } => {
                let disk = &self.hosts[host].disk;
                let account =
                    if disk.is_unreadable { Err(StoreDown) } else { Ok(disk.accounts.get(&aor).cloned()) };
                // As the driver does: after everything that the peer has said, not within it.
                self.schedule(
                    Duration::ZERO,
                    Event::Input { host, life, input: Input::Account { id, account } },
                );
            }
            Output::PutAccount { id, account } => {
                let after = Duration::from_millis(self.rng.random_range(1..20));
                self.schedule(after, Event::AccountPut { host, life, id, account });
            }
            Output::RemoveAccount { id, aor } => {
                let after = Duration::from_millis(self.rng.random_range(1..20));
                self.schedule(after, Event::AccountGone { host, life, id, aor });
            }
            Output::LookupTxt { id, .. } => {
                let input = Input::Txt { id, records: Vec::new() };
                self.schedule(Duration::from_millis(20), Event::Input { host, life, input });
            }
            Output::Api { id, reply } => {
                self.hosts[host].replies.insert(id, reply);
            }
            Output::Count(name) => *self.hosts[host].counts.entry(name).or_default() += 1,
            Output::Fatal(why) => self.hosts[host].fatal = Some(why),
        }
    }

    fn send_to_phone(&mut self, flow: Flow, bytes: Vec<u8>) {
        let Some(phone) = self.phones.iter().position(|p| p.address == flow.remote) else { return };
        let loss = self.sip_loss;
        if self.rng.random_bool(loss) {
            return self.note(|| format!("sip phone {phone} lost {}", first_line(&bytes)));
        }
        let after = Duration::from_millis(self.rng.random_range(SIP_LATENCY_MS));
        self.schedule(after, Event::ToPhone { phone, from: flow.local, bytes });
    }

    /// What a phone says leaves for the peer at that address.
    pub fn carry(&mut self, phone: usize) {
        while let Some((to, bytes)) = self.phones[phone].poll_send() {
            let Some(host) = self.hosts.iter().position(|h| h.address == to) else { continue };
            let loss = self.sip_loss;
            if self.rng.random_bool(loss) {
                self.note(|| format!("sip phone {phone} > {host} lost {}", first_line(&bytes)));
                continue;
            }
            self.note(|| format!("sip phone {phone} > {host} {}", first_line(&bytes)));
            let after = Duration::from_millis(self.rng.random_range(SIP_LATENCY_MS));
            let remote = self.phones[phone].address;
            let flow = Flow { transport: Transport::Udp, connection: 0, local: to, remote };
            let life = self.hosts[host].life;
            // Packets to a process that is gone are lost; those that find its successor are read.
            let life = if self.hosts[host].is_running() { life } else { life + 1 };
            self.schedule(after, Event::Input { host, life, input: Input::Sip { flow, bytes } });
        }
    }

    /// SIGKILL.
    pub fn crash(&mut self, host: usize) {
        self.note(|| format!("peer {host} is killed"));
        let Host { peer, disk, life, .. } = &mut self.hosts[host];
        if peer.take().is_none() {
            return;
        }
        *life += 1;
        for (stream, record) in Disk::crash(disk, &mut self.rng) {
            self.watch.append(stream, &record);
        }
        self.lose_host(host);
        self.changed();
    }

    /// It is started again after a while.
    pub fn restart_after(&mut self, host: usize, after: Duration) {
        self.schedule(after, Event::Restart { host });
    }

    /// A new life, from what the disk holds.
    pub fn start(&mut self, host: usize) {
        let now = self.now(host);
        self.note(|| format!("peer {host} starts"));
        let (seed, compact) = (self.rng.random(), self.rng.random_bool(0.5));
        let started_at = self.at;
        let at = &mut self.hosts[host];
        let seed = at.repeated.take().unwrap_or(seed);
        at.last_start = (seed, started_at);
        let recovered = at.disk.recover(now.wall.0, compact);
        at.peer = Some(Peer::new(at.config.clone(), recovered, seed, now));
        self.changed();
        self.drain(host);
        for other in 0..self.hosts.len() {
            let after = Duration::from_millis(self.rng.random_range(20..500));
            self.schedule(after, Event::Connect { a: host, b: other });
        }
    }

    /// The next life, which starts after `away`, will believe that it is the last one: same clock, same randomness, and
    /// no log that would tell it better.
    pub fn repeat_life(&mut self, host: usize, away: Duration) {
        let back = self.at + away - self.hosts[host].last_start.1;
        let at = &mut self.hosts[host];
        at.repeated = Some(at.last_start.0);
        at.skew_ms -= i64::try_from(back.as_millis()).unwrap_or_default();
        at.disk.forget(dots::peer::Stream::Log);
    }
}
