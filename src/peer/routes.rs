//! Whose is it: events of the network and answers of the disk, handed to the core or room that waits for them.

use super::{
    Output, Peer, Pending,
    api::{Request, TOO_BUSY},
    asks::AccountQuestion,
    lookup::Verdict,
    messages::{LookupReply, LookupRequest, VERSION},
    neighbours::Neighbour,
    output::Stream,
    rate::Kind,
};
use dots_clients::types::Changed;
use dots_ledger::core::ReceiptOutput;
use dots_overlay::{
    core::OverlayOutput,
    dht,
    link::LinkOutput,
    records::RealmRecord,
    transport::{self, InboundId, NetCommand, NetEvent, Owner, Protocol, RequestError},
};
use dots_trust::{account::Account, judge::StoreDown};
use dots_wire::{Now, PeerId, bounded::network_of, decode};

impl Peer {
    pub(super) fn on_net(&mut self, now: Now, event: NetEvent) {
        match event {
            NetEvent::Connected { peer } => {
                self.neighbours.connected(peer, now.wall);
                self.liveness.on_connected(now, peer);
                self.links.handle_net(now, &event);
                self.overlay.handle_net(now, event);
                self.receipts.on_connected(now, peer);
                self.namer(now).exchange_names(peer, 0);
            }
            NetEvent::Disconnected { peer } => {
                self.neighbours.disconnected(peer);
                self.rates.gone(peer);
                self.links.handle_net(now, &event);
                self.overlay.handle_net(now, event);
                self.liveness.on_disconnected(now, peer);
            }
            NetEvent::OtherVersion { peer } => self.neighbours.other_version(peer, now.mono),
            NetEvent::Seen { peer, address, agent, rtt, dialled } => {
                self.on_live_seen(peer, &address, dialled);
                self.neighbours.seen(peer, address, agent, rtt, dialled);
                if let Some(ip) = self.neighbours.get(peer).and_then(Neighbour::ip) {
                    self.rates.seen(peer, network_of(ip));
                    self.overlay.seen(peer, network_of(ip));
                }
            }
            NetEvent::Request { peer, protocol, id, body } => self.on_request(now, peer, protocol, id, body),
            NetEvent::Response { id, result } => self.on_response(now, id, result),
            NetEvent::StreamOpened { .. }
            | NetEvent::StreamRefused { .. }
            | NetEvent::StreamFrame { .. }
            | NetEvent::StreamClosed { .. } => self.links.handle_net(now, &event),
            NetEvent::DhtValue { id, value } => self.finder(now).on_dht_value(id, &value),
            NetEvent::DhtDone { id } => self.finder(now).on_dht_done(id),
            NetEvent::Gossip { from, .. } | NetEvent::DhtOffer { from, .. } => {
                self.liveness.heard(now, from);
                if self.may_tell(now, &event) {
                    self.overlay.handle_net(now, event);
                } else {
                    self.outside.count("peer_throttled");
                    if let NetEvent::Gossip { id, .. } = event {
                        let verdict = transport::Verdict::Ignore;
                        self.outside.put(Output::Net(NetCommand::GossipVerdict { id, verdict }));
                    }
                }
            }
        }
    }

    /// May this neighbour make us look at what others say? An offer costs a check for each of its binds, and is charged to the
    /// neighbour's whole network: names of peers are free.
    fn may_tell(&mut self, now: Now, event: &NetEvent) -> bool {
        match event {
            NetEvent::Gossip { from, .. } => self.rates.take(now.mono, *from, Kind::Gossip),
            NetEvent::DhtOffer { from, value, .. } => {
                let network = self.neighbours.get(*from).and_then(Neighbour::ip).map_or(0, network_of);
                let checks = dht::count(value) as f64;
                *from == self.me
                    || (self.rates.take(now.mono, *from, Kind::Gossip)
                        && self.rates.take_of_network(now.mono, network, checks))
            }
            _ => true,
        }
    }

    fn on_request(&mut self, now: Now, peer: PeerId, protocol: Protocol, id: InboundId, body: Vec<u8>) {
        if !self.rates.take(now.mono, peer, Kind::Request(protocol)) {
            self.outside.count("peer_throttled");
            return self.outside.refuse_request(id);
        }
        if protocol.owner() != Owner::Liveness {
            self.liveness.heard(now, peer);
        }
        match protocol.owner() {
            Owner::Liveness => self.on_live_request(now, peer, id, &body),
            Owner::Trust => self.authenticator(now).on_request(peer, id, &body),
            Owner::Lookup => self.on_lookup_request(now, peer, id, &body),
            Owner::Ledger => self.receipts.on_request(now, peer, id, body),
            Owner::Overlay => {
                self.overlay.handle_net(now, NetEvent::Request { peer, protocol, id, body });
            }
        }
    }

    /// `/dots/lookup/2`.
    fn on_lookup_request(&mut self, now: Now, from: PeerId, inbound: InboundId, body: &[u8]) {
        match decode::<LookupRequest>(body) {
            // LOOKUP-1: a question of a few bytes for all that fits.
            Ok(LookupRequest::Realms { .. }) if !self.rates.take(now.mono, from, Kind::RealmList) => {
                self.outside.count("peer_throttled");
                self.outside.refuse_request(inbound);
            }
            Ok(LookupRequest::Realms { version: VERSION, records, digest, time_ms }) => {
                let mut namer = self.namer(now);
                namer.hear_clock(from, time_ms);
                namer.hear_records(from, &records);
                let records = namer.records_to_tell(digest);
                self.outside.respond(inbound, &LookupReply::Realms { records, time_ms: now.wall.0 });
            }
            Ok(LookupRequest::Named { version: VERSION, names }) => {
                let records = self.namer(now).records_named(&names);
                self.outside.respond(inbound, &LookupReply::Realms { records, time_ms: now.wall.0 });
            }
            // LOOKUP-2.
            Ok(LookupRequest::News { version: VERSION, record }) => {
                self.namer(now).hear_records(from, std::slice::from_ref(&record));
                let nothing = LookupReply::Realms { records: Vec::new(), time_ms: now.wall.0 };
                self.outside.respond(inbound, &nothing);
            }
            Ok(LookupRequest::Aor { version: VERSION, aor, grant, realm }) => {
                // One that we have costs nobody a question about realms.
                let name = realm.as_ref().and_then(|r| r.peek::<RealmRecord>().ok()).map(|r| r.name);
                let known = name.and_then(|name| self.realms.signed(&name, now.wall));
                if let Some(record) = realm.filter(|record| known != Some(record)) {
                    self.namer(now).hear_records(from, std::slice::from_ref(&record));
                }
                self.finder(now).on_peer_asks(from, inbound, aor, grant.as_deref().map(Vec::as_slice));
            }
            Ok(_) | Err(_) => {
                self.outside.count("bad_peer_message");
                self.outside.refuse_request(inbound);
            }
        }
    }

    fn on_response(&mut self, now: Now, id: u64, result: Result<Vec<u8>, RequestError>) {
        match self.outside.asks.answered(id) {
            Some(Pending::Overlay(id)) => self.overlay.handle_net(now, NetEvent::Response { id, result }),
            Some(Pending::Receipts(id)) => self.receipts.on_response(now, id, result.ok()),
            Some(Pending::Liveness(id)) => self.on_live_reply(now, id, result),
            Some(Pending::Auth(asked)) => self.authenticator(now).on_reply(asked, result),
            Some(Pending::Lookup(asked)) => self.finder(now).on_lookup_reply(asked, result),
            Some(Pending::Names { of, wanted }) => {
                self.namer(now).on_names_reply(of, wanted.as_deref(), result);
            }
            Some(Pending::Told) | None => {}
            Some(other) => other.is_no_answer_to("a request to a peer"),
        }
    }

    pub(super) fn on_appended(&mut self, now: Now, token: u64) {
        match self.outside.asks.answered(token) {
            Some(Pending::Overlay(token)) => self.overlay.durable(now, token),
            Some(Pending::Receipts(token)) => self.receipts.durable(now, token),
            Some(Pending::Journal { ask }) => self.outside.sip(dots_sip::Input::Journaled { id: ask }),
            Some(Pending::Noted { api, existed }) => self.outside.reply(api, &Changed { existed }),
            Some(Pending::Written) => {}
            Some(other) => other.is_no_answer_to("an append"),
            None => debug_assert!(false, "the disk answers each append once"),
        }
    }

    /// A question that found no room has failed: whoever waits for it is told "not now".
    pub(super) fn on_refused(&mut self, now: Now, refused: Pending) {
        self.outside.count("asks_full");
        match refused {
            Pending::Auth(asked) => self.authenticator(now).on_refused(asked),
            Pending::Lookup(asked) => self.finder(now).on_lookup_refused(asked),
            Pending::Account { api, .. } | Pending::Noted { api, .. } => {
                self.outside.problem(api, 503, TOO_BUSY);
            }
            Pending::AccountOf(asked) => self.outside.problem(asked.api(), 503, TOO_BUSY),
            Pending::Overlay(id) => {
                let result = Err(RequestError::Unreachable);
                self.overlay.handle_net(now, NetEvent::Response { id, result });
            }
            Pending::Receipts(id) => self.receipts.on_response(now, id, None),
            Pending::Liveness(id) => self.liveness.on_reply(now, id, Err(false)),
            Pending::Names { of, wanted } => {
                let result = Err(RequestError::Unreachable);
                self.namer(now).on_names_reply(of, wanted.as_deref(), result);
            }
            // Asked again when their time comes.
            Pending::Txt { .. } | Pending::Told => {}
            Pending::Journal { .. } | Pending::Written => {
                debug_assert!(false, "appends are never refused");
            }
        }
    }

    pub(super) fn on_account(&mut self, now: Now, id: u64, account: Result<Option<Account>, StoreDown>) {
        match self.outside.asks.answered(id) {
            Some(Pending::Auth(asked)) => {
                let account = account.as_ref().map(Option::as_ref).map_err(|down| *down);
                self.authenticator(now).on_account(asked, account);
            }
            Some(Pending::Lookup(asked)) => {
                self.finder(now).on_lookup_account(asked, account.map(|found| found.is_some()));
            }
            Some(Pending::AccountOf(asked)) => {
                if let Some((api, alias, target)) = self.accounts(now).on_account(asked, account) {
                    self.aliases.put(&mut self.outside, api, alias, target);
                    self.readdress();
                }
            }
            _ => {}
        }
    }

    /// Somebody at the HTTP API asks.
    pub(super) fn on_api(&mut self, now: Now, id: u64, request: Request) {
        match request {
            Request::Status => self.outside.reply(id, &self.views(now).status()),
            Request::Bindings => self.outside.reply(id, &self.views(now).bindings()),
            Request::Peers => self.outside.reply(id, &self.views(now).peers()),
            Request::Realms => self.outside.reply(id, &self.views(now).realms()),
            Request::Receipts { verify } => self.outside.reply(id, &self.views(now).receipts(verify)),
            Request::Calls => self.outside.reply(id, &self.calls.list()),
            Request::Aliases => self.outside.reply(id, &self.aliases.list()),
            Request::Lookup { aor } => {
                self.finder(now).on_api_lookup(id, aor.strip_prefix("sip:").unwrap_or(&aor).to_owned());
            }
            Request::AccountPut { account } => self.accounts(now).put(id, account),
            Request::AccountWanted { aor, password, roaming } => {
                let question = |aor| AccountQuestion::Put { api: id, aor, password, roaming };
                self.accounts(now).want(id, &aor, question);
            }
            Request::AccountRemove { aor } => {
                self.accounts(now).ask(AccountQuestion::Remove { api: id, name: aor });
            }
            Request::AliasPut { alias, target } => self.accounts(now).want_alias(id, alias, target),
            Request::AliasRemove { alias } => {
                self.aliases.remove(&mut self.outside, id, alias);
                self.readdress();
            }
            Request::RealmPin { name, key } => self.namer(now).on_pin(id, &name, &key),
            Request::RealmForget { name } => self.namer(now).on_forget(id, &name),
        }
    }

    pub(super) fn on_link_output(&mut self, now: Now, output: LinkOutput) {
        match output {
            LinkOutput::Net(command) => self.outside.put(Output::Net(command)),
            LinkOutput::Deliver { peer, body } => {
                self.liveness.heard(now, peer);
                self.legs(now).on_frame(peer, &body);
            }
            LinkOutput::Doubt { peer, since } => self.liveness.suspect(now, peer, since),
            LinkOutput::Down { peer } => {
                self.outside.count("link_down");
                let peer = self.neighbours.label(peer);
                self.outside.sip(dots_sip::Input::OverlayDown { peer });
            }
        }
    }

    pub(super) fn on_overlay_output(&mut self, now: Now, output: OverlayOutput) {
        match output {
            OverlayOutput::Net(NetCommand::Request { id, peer, protocol, body }) => {
                self.outside.request(Pending::Overlay(id), peer, protocol, body);
            }
            OverlayOutput::Net(command) => self.outside.put(Output::Net(command)),
            OverlayOutput::Append { token, record } => {
                self.outside.append(Pending::Overlay(token), Stream::Log, record, true);
            }
            OverlayOutput::PingPhone { id, aor_id, instance, asker } => {
                self.on_ping_phone(now, id, (aor_id, instance), asker);
            }
            OverlayOutput::NewBind(claim) => {
                let mut finder = self.finder(now);
                match finder.judge(&claim) {
                    Verdict::Granted { home } => {
                        let payer = finder.payer(claim.realm, home);
                        self.overlay.granted(now, claim.binding, payer);
                    }
                    Verdict::Refused => self.overlay.refused(now, claim.binding),
                    Verdict::Unknown => {}
                }
            }
            OverlayOutput::Rewrite { records } => {
                self.outside.put(Output::Rewrite { stream: Stream::Log, records });
            }
            OverlayOutput::Moved { aor_id, instance } => {
                self.outside.count("phones_moved");
                let (published, mut log, _) = self.publishing(now);
                published.withdraw(&mut log, aor_id, instance);
            }
            OverlayOutput::DirectoryChanged { .. } => {}
            OverlayOutput::RunsTwice => self.stop_twice(),
            OverlayOutput::Count(name) => self.outside.count(name),
        }
    }

    pub(super) fn on_receipt_output(&mut self, _now: Now, output: ReceiptOutput) {
        match output {
            ReceiptOutput::Append { token, record, sync } => {
                self.outside.append(Pending::Receipts(token), Stream::Receipts, record, sync);
            }
            ReceiptOutput::Request { id, peer, body } => {
                self.outside.request(Pending::Receipts(id), peer, Protocol::Receipt, body);
            }
            ReceiptOutput::Respond { id, body } => {
                self.outside.put(Output::Net(NetCommand::Respond { id, body }));
            }
            ReceiptOutput::Completed { .. } => self.outside.count("receipts_completed"),
            ReceiptOutput::Count(name) => self.outside.count(name),
        }
    }
}
