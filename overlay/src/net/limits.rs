//! Every limit of the driver, with its reason. libp2p's own defaults are unbounded, or meant for another network.

use crate::{dht, link};
use dots_wire::bounded::Limits;
use std::time::Duration;

/// Events that wait for the program. Beyond, the swarm is not polled: its senders wait.
pub const EVENTS_MAX: usize = 4_096;
/// Events of one step that wait for a place in that queue.
pub const OUT_HIGH: usize = 256;
/// Commands that wait for the driver. Beyond, [`super::Net::send`] says no.
pub const COMMANDS_MAX: usize = 8_192;
/// Upkeep: redials, what has expired.
pub const TICK: Duration = Duration::from_millis(250);
/// How long a shutdown waits for connections to close.
pub const SHUTDOWN_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether its ports are free.
pub const SHUTDOWN_POLL: Duration = Duration::from_millis(10);
/// A wildcard listener reports its interfaces one by one; when none came for this long, all are known.
pub const LISTEN_SETTLE: Duration = Duration::from_millis(100);
/// A listener that has reported no address by then has failed.
pub const LISTEN_MAX: Duration = Duration::from_secs(5);

// Connections.

/// NET-10: QUIC and TCP, each dialled from both sides.
pub const CONNECTIONS_PER_PEER: u32 = 4;
/// About 130 KiB each.
pub const CONNECTIONS_MAX: u32 = 1_024;
/// The rest is for peers that we choose: strangers cannot fill the table.
pub const CONNECTIONS_IN_MAX: u32 = 768;
/// Of these so many may stay; with more the network that has most of them loses its oldest, so that whoever comes gets in.
pub const INCOMING_MAX: usize = 704;
pub const INCOMING: Limits = Limits::new(256 * 1024, INCOMING_MAX);
/// Handshakes under way.
pub const HANDSHAKES_MAX: u32 = 256;
/// Incoming, from one IP address (one /64 of IPv6): a stranger with one host does not fill the table either. An office
/// behind one address fits; this host itself is not counted.
pub const CONNECTIONS_PER_ADDRESS: usize = 64;
/// By then a peer has proved to be of our network, or goes.
pub const IDENTIFY_MAX: Duration = Duration::from_secs(10);
/// A neighbour that says nothing is a neighbour still: the directory calls a peer dead when its connection goes. What
/// limits the number of connections is the number of connections.
pub const IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// libp2p has 5 s: a dial of a dead peer takes that long, and the query that needs it.
pub const QUIC_HANDSHAKE_MAX: Duration = Duration::from_secs(3);
/// QUIC misses a peer after this long; libp2p has 10 s. Three keep-alives must be lost.
pub const QUIC_IDLE_MAX: Duration = Duration::from_secs(7);
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// On TCP a peer is missed when two pings in a row were not answered; libp2p's own judgement takes up to 25 s. Less would
/// mistake a busy peer for a dead one, and dial it, which makes it busier.
pub const PING_EVERY: Duration = Duration::from_secs(5);
pub const PING_MAX: Duration = Duration::from_secs(5);
pub const SILENT_MAX: Duration = Duration::from_secs(15);
/// Streams that a peer may open at once on one connection, before they are accepted.
pub const NEGOTIATING_MAX: usize = 64;
/// yamux and QUIC streams of one connection.
pub const MUXED_MAX: u32 = 256;
/// Unread bytes of one QUIC stream, and of one QUIC connection.
pub const QUIC_STREAM_WINDOW: u32 = 2 << 20;
pub const QUIC_CONNECTION_WINDOW: u32 = 8 << 20;

// Whom to dial.

/// Up to here every peer seeks to know every peer.
pub const NEIGHBOURS: usize = 64;
/// Peers whose addresses we remember besides Kademlia's table.
pub const KNOWN_MAX: usize = 1_024;
/// Addresses of one peer, and beside them those that others tell of it.
pub const ADDRESSES_MAX: usize = 16;
pub const TOLD_MAX: usize = 4;
/// Of two peers that lost each other the one with the smaller id dials first, so that they do not both.
pub const REDIAL_FIRST: Duration = Duration::from_millis(250);
pub const REDIAL_SECOND: Duration = Duration::from_millis(750);
/// The delay doubles up to here.
pub const REDIAL_MAX: Duration = Duration::from_secs(30);
/// After so many dials in vain a peer is forgotten, unless it is a bootstrap peer.
pub const REDIALS: u32 = 10;
/// Dials begun in one tick.
pub const DIALS_PER_TICK: usize = 16;
/// Peers kept on disk, of which at most so many of one network (/24, /48), and addresses of each: whoever has many addresses
/// in one place is not the only one that we find again.
pub const REMEMBERED_MAX: usize = 64;
pub const REMEMBERED_PER_NETWORK: usize = 8;
pub const ADDRESSES_REMEMBERED: usize = 4;
/// More than that many lines have.
pub const FILE_MAX: u64 = 128 * 1024;
/// How soon a change is on disk.
pub const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// How long a peer of another network, met by chance, is not dialled again; and how many of these are remembered.
pub const FOREIGN_FOR: Duration = Duration::from_secs(600);
pub const FOREIGN_MAX: usize = 256;

// Requests.

/// The longest of any protocol; each row of their table has its own.
pub const REQUEST_MAX: usize = 64 * 1024;
pub const RESPONSE_MAX: usize = 1 << 20;
/// From request to answer, or to an open stream.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests toward one peer under way at once; what is more waits for its turn.
pub const UNDER_WAY_PER_PEER: usize = 64;
/// Of one protocol on one connection, both directions, and what we ask of our own accord.
pub const REQUESTS_PER_CONNECTION: usize = 2 * UNDER_WAY_PER_PEER + 32;
/// To outside, under way or waiting.
pub const ASKED_MAX: usize = 8_192;
/// A third is for what we ask of our own accord, a fifth for calls; of the rest no peer that is slow to answer takes more than it leaves.
pub const ASKED: Limits = Limits::new(16 * 1024 * 1024, ASKED_MAX).reserving([350, 0, 200, 0]);
/// From outside, not answered yet: shared by network and peer, so that questions which take their time take the room of nobody
/// else's. Peers that we dialled have some that others cannot enter.
pub const INBOUND_MAX: usize = 2_048;
pub const INBOUND: Limits = Limits::new(256 * 1024, INBOUND_MAX).reserving([0, 0, 300, 0]);
/// Peers that are being looked for, and what waits for each.
pub const REACHING_MAX: usize = 256;
/// A fifth is for what we do ourselves, three tenths for calls.
pub const REACHING: Limits = Limits::new(64 * 1024, REACHING_MAX).reserving([200, 0, 300, 0]);
/// Peers that were not reached, and how long nobody tries again for anybody's sake: the dialer does.
pub const UNREACHED: Limits = Limits::new(512 * 1024, 2_048);
pub const UNREACHED_FOR: Duration = Duration::from_secs(5);
pub const REACHING_WORK_MAX: usize = 32;

// Streams.

/// One is in use; others are there while two peers open at once, or reopen.
pub const STREAMS_PER_PEER: usize = 4;
pub const STREAMS_MAX: usize = 2 * link::LINKS_MAX;
/// A link resends all it kept on a new stream, while new frames come.
pub const STREAM_QUEUE_FRAMES: usize = 4 * link::QUEUE_FRAMES;
pub const STREAM_QUEUE_BYTES: usize = 4 * link::QUEUE_BYTES;
/// A peer that does not read for this long is not there.
pub const STREAM_STALL: Duration = Duration::from_secs(10);
/// What one write gathers.
pub const STREAM_WRITE: usize = 64 * 1024;

// Gossip.

/// An entry is 48 KiB; a proof is two of them.
pub const GOSSIP_MAX: usize = 128 * 1024;
/// Messages without a verdict yet. gossipsub forgets them after five heartbeats anyway.
pub const VERDICTS_MAX: usize = 4_096;
pub const VERDICTS: Limits = Limits::new(2 * 1024 * 1024, VERDICTS_MAX);
pub const VERDICT_MAX: Duration = Duration::from_secs(5);
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Heartbeats for which a message is kept, and for which it is told of to those outside the mesh. libp2p has 5 and 3: a
/// message whose verdict took some seconds would hardly be told of at all.
pub const HISTORY: usize = 10;
pub const HISTORY_TOLD: usize = 6;
/// How long a message may wait for a neighbour that is busy: our own, and others'. libp2p has 5 s and 1 s, and queues of
/// 5,000 messages.
pub const PUBLISH_QUEUED_MAX: Duration = Duration::from_secs(10);
pub const FORWARD_QUEUED_MAX: Duration = Duration::from_secs(5);
pub const GOSSIP_QUEUE: usize = 1_024;
/// gossipsub waits 5 s by default, in which a new peer has no mesh.
pub const HEARTBEAT_FIRST: Duration = Duration::from_millis(100);

// DHT.

/// libp2p has 1,024 and never evicts: a full store refuses everybody. Here the heaviest network gives way, and own values and
/// those that a home vouches for have room of their own.
pub const RECORDS_MAX: usize = 16_384;
pub const RECORDS: Limits = Limits::new(24 * 1024 * 1024, RECORDS_MAX).reserving([250, 0, 350, 0]);
pub const RECORD_MAX: usize = dht::VALUE_MAX;
/// An aor_id has 32 bytes.
pub const RECORD_KEY_MAX: usize = 64;
/// A record and twenty peers with their addresses share one packet; libp2p has 16 KiB.
pub const KAD_PACKET_MAX: usize = RECORD_MAX + 32 * 1024;
/// libp2p has 60 s: most of it is spent on peers that are dead.
pub const QUERY_MAX: Duration = Duration::from_secs(5);
pub const KAD_STREAM_MAX: Duration = Duration::from_secs(5);
/// Gets and lookups under way.
pub const QUERIES_MAX: usize = 256;
/// Queries of any kind beyond which nothing is put.
pub const PUTS_MAX: usize = 1_024;
/// Different values that one get reports: a reader unions them, and each costs a check.
pub const VALUES_MAX: usize = 64;
/// libp2p has 5 min.
pub const BOOTSTRAP_EVERY: Duration = Duration::from_secs(60);
/// While neighbours are wanted we look around, at random: one look shows twenty peers, so of sixty each is missed by
/// eight looks with a chance of 4 %. After so many without anybody new, ever less often.
pub const WALK_FIRST: Duration = Duration::from_secs(2);
pub const WALKS_IN_VAIN: u32 = 8;
pub const WALK_MAX: Duration = BOOTSTRAP_EVERY;
/// No record outlives this, whatever its putter says.
pub const RECORD_TTL_MAX: Duration = Duration::from_secs(2 * 3600);
pub const SWEEP_EVERY: Duration = Duration::from_secs(30);

const _: () = assert!(INCOMING_MAX < CONNECTIONS_IN_MAX as usize);
const _: () = assert!(RESPONSE_MAX >= crate::log::sync::ANSWER_BYTES_MAX);
const _: () = assert!(GOSSIP_MAX > 2 * crate::records::entry::ENTRY_MAX + 1024);
const _: () =
    assert!(SILENT_MAX.as_millis() > (PING_EVERY.as_millis() + PING_MAX.as_millis()) + TICK.as_millis());
const _: () = assert!(VERDICT_MAX.as_millis() < HISTORY_TOLD as u128 * HEARTBEAT.as_millis());
const _: () = assert!(CONNECTIONS_IN_MAX as usize + NEIGHBOURS <= CONNECTIONS_MAX as usize);
