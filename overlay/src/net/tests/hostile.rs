//! What strangers send.

use super::*;
use crate::net::{
    NetError,
    behaviour::{self, Behaviour, BehaviourEvent},
    identity,
    limits::{RECORD_MAX, REQUEST_MAX},
    streams,
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{Multiaddr, Swarm, kad, multiaddr::Protocol as Part, swarm::SwarmEvent};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

fn port(peer: &Peer, kind: &str) -> u16 {
    let address = peer.net.listen_addrs().iter().find(|l| l.contains(kind)).expect("it listens");
    let address: Multiaddr = address.parse().expect("a multiaddr");
    let port = |part| match part {
        Part::Tcp(port) | Part::Udp(port) => Some(port),
        _ => None,
    };
    address.iter().find_map(port).expect("a port")
}

#[tokio::test]
async fn garbage_does_no_harm() {
    let mut a = peer(1, &[]).await;
    let noise: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let words: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS sip:x SIP/2.0\r\n\r\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\x7f",
        &[0; 1000],
        &noise,
    ];
    let mut half_open = Vec::new();
    for word in words.into_iter().cycle().take(60) {
        let mut tcp = TcpStream::connect(("127.0.0.1", port(&a, "/tcp/"))).await.expect("it listens");
        let _ = tcp.write_all(word).await;
        let _ = tcp.shutdown().await;
        // It closes; what it said before that does not matter.
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("it hangs up");
        half_open.push(TcpStream::connect(("127.0.0.1", port(&a, "/tcp/"))).await.expect("it listens"));
    }
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for chunk in noise.chunks(1_200) {
        udp.send_to(chunk, ("127.0.0.1", port(&a, "/udp/"))).await.expect("sent");
    }
    assert!(a.count("net_handshakes_failed") > 0);
    let b = peer(2, &[&a]).await;
    assert_eq!(a.event("a connection", |_| true).await, NetEvent::Connected { peer: b.id });
}

/// A peer of the same network whose program says what it likes.
async fn liar(n: u8, victim: &Peer) -> Swarm<Behaviour> {
    let key = SecretKey::from_bytes(&[n; 32]).expect("a scalar");
    let mut swarm = behaviour::swarm(&key, "test", false).expect("starts");
    let address: Multiaddr = victim.net.listen_addrs()[0].parse().expect("a multiaddr");
    swarm.dial(address).expect("dials");
    let connected = async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    };
    timeout(PATIENCE, connected).await.expect("connects");
    swarm
}

#[tokio::test]
async fn a_frame_that_claims_too_much_ends_its_stream_and_nothing_else() {
    let mut a = peer(1, &[]).await;
    let victim = identity::to_libp2p(a.id);
    let mut swarm = liar(66, &a).await;
    swarm.behaviour_mut().streams.open(victim);
    let mut stream = loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(streams::Event::Opened { stream, .. })) => {
                break stream;
            }
            _ => continue,
        }
    };
    let swarm = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let (from, id, _) = a.stream().await;
    assert_eq!(from, SecretKey::from_bytes(&[66; 32]).expect("a scalar").peer_id());
    let wire = [&[0, 0, 0, 1, 7][..], &[0, 0, 0, 0], &[0x7f, 0xff, 0xff, 0xff], &[1; 64]].concat();
    stream.write_all(&wire).await.expect("written");
    stream.flush().await.expect("written");
    for frame in [vec![7], vec![]] {
        a.event("a frame", |e| *e == NetEvent::StreamFrame { stream: id, frame: frame.clone() }).await;
    }
    a.event("the end", |e| *e == NetEvent::StreamClosed { stream: id }).await;
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or(0), 0);
    swarm.abort();
}

#[tokio::test]
async fn records_and_messages_beyond_the_limits_are_not_shown() {
    let mut a = peer(1, &[]).await;
    let victim = identity::to_libp2p(a.id);
    let mut swarm = liar(66, &a).await;
    let record = |key: &[u8], len, publisher| kad::Record {
        key: kad::RecordKey::new(&key),
        value: vec![7; len],
        publisher,
        expires: None,
    };
    let records = [
        record(&[1; 32], RECORD_MAX + 1, None),
        record(&[2; 65], 10, None),
        // "You said so yourself."
        record(&[3; 32], 10, Some(victim)),
        record(&[4; 32], 10, None),
    ];
    for record in records {
        swarm.behaviour_mut().kad.put_record_to(record, [victim].into_iter(), kad::Quorum::One);
    }
    swarm.behaviour_mut().requests.lookup.send_request(&victim, vec![0; REQUEST_MAX + 1]);
    let swarm = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let (mut offered, mut refused) = (0, 0);
    while offered == 0 || refused < 2 {
        a.take("an offer", |e| match e {
            NetEvent::DhtOffer { key, .. } => {
                assert_eq!(key[..], [4; 32]);
                offered += 1;
                Some(())
            }
            NetEvent::Request { .. } => panic!("{e:?}"),
            _ => Some(()),
        })
        .await;
        refused = a.count("net_records_refused");
    }
    assert_eq!((offered, refused), (1, 2));
    swarm.abort();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let a = peer(1, &[]).await;
    for listen in a.net.listen_addrs() {
        let bare = listen.split_once("/p2p/").expect("has a peer id").0;
        let both = vec!["/ip4/127.0.0.1/tcp/0".to_owned(), bare.to_owned()];
        let taken = Net::start(NetConfig { listen: both, ..config(2, &[]) }).await.err();
        let Some(NetError::Listen { address, reason }) = taken else { panic!("{bare} was given twice") };
        assert_eq!(address, bare);
        assert!(reason.contains("in use"), "{reason}");
    }
}

#[tokio::test]
async fn what_is_no_address_is_named() {
    for wrong in ["", "127.0.0.1:4001", "/ip4/300.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/99999"] {
        let listen = NetConfig { listen: vec![wrong.to_owned()], ..config(1, &[]) };
        let bootstrap = NetConfig { bootstrap: vec![wrong.to_owned()], ..config(1, &[]) };
        for config in [listen, bootstrap] {
            let error = Net::start(config).await.err().expect("refused").to_string();
            assert!(error.contains(&format!("{wrong}: ")) || error.contains(wrong), "{error}");
        }
    }
    let elsewhere = NetConfig { listen: vec!["/ip4/192.0.2.1/tcp/0".to_owned()], ..config(1, &[]) };
    assert!(matches!(Net::start(elsewhere).await, Err(NetError::Listen { .. })));
    for network in ["", "a/b", "ä", &"x".repeat(64)] {
        let config = NetConfig { network: network.to_owned(), ..config(1, &[]) };
        assert!(matches!(Net::start(config).await, Err(NetError::Network(_))), "{network}");
    }
}

#[tokio::test]
async fn a_wildcard_becomes_the_addresses_of_the_host() {
    let listen = vec!["/ip4/0.0.0.0/udp/0/quic-v1".to_owned(), "/ip4/0.0.0.0/tcp/0".to_owned()];
    let a = start(NetConfig { listen, ..config(1, &[]) }).await;
    let addresses = a.net.listen_addrs();
    let end = format!("/p2p/{}", a.id);
    assert!(addresses.iter().all(|l| l.ends_with(&end) && !l.contains("0.0.0.0")), "{addresses:?}");
    for kind in ["/ip4/127.0.0.1/udp/", "/ip4/127.0.0.1/tcp/"] {
        assert!(addresses.iter().any(|l| l.starts_with(kind)), "{addresses:?}");
    }
}

#[tokio::test]
async fn both_families_share_a_port() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return eprintln!("this host has no IPv6");
    }
    let on = |port: u16| -> Vec<String> {
        [("udp", "/quic-v1"), ("tcp", "")]
            .into_iter()
            .flat_map(|(t, q)| ["/ip4/0.0.0.0", "/ip6/::"].map(|ip| format!("{ip}/{t}/{port}{q}")))
            .collect()
    };
    // A port that is free for both, as far as one can know.
    let mut started = None;
    for port in 40_000..40_100 {
        started = Net::start(NetConfig { listen: on(port), ..config(1, &[]) }).await.ok();
        if started.is_some() {
            break;
        }
    }
    let net = started.expect("a port is free");
    let mut a = Peer { net, id: SecretKey::from_bytes(&[1; 32]).expect("a scalar").peer_id() };
    for kind in ["/ip6/::1/udp/", "/ip6/::1/tcp/", "/ip4/127.0.0.1/udp/", "/ip4/127.0.0.1/tcp/"] {
        let address = a.net.listen_addrs().iter().find(|l| l.starts_with(kind)).expect("it listens").clone();
        let b = start(NetConfig { bootstrap: vec![address], listen: vec![], ..config(2, &[]) }).await;
        a.connected(b.id).await;
        let id = b.id;
        b.net.shutdown().await;
        a.disconnected(id).await;
    }
}

/// A peer of this network that speaks `Streams` of these names, and says so.
#[derive(libp2p::swarm::NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Other {
    identify: libp2p::identify::Behaviour,
    requests: libp2p::request_response::Behaviour<crate::net::codec::Codec>,
    streams: crate::net::streams::Behaviour,
}

/// NET-3a: programs of other versions say who they are, and each lacks a name of ours: one speaks what came before all of them,
/// one has all that is asked and answered and an older stream for SIP.
#[tokio::test]
async fn a_peer_of_another_version_is_counted_and_left() {
    let mut a = peer(1, &[]).await;
    let same: Vec<&str> = Protocol::ALL.iter().map(|p| p.name()).collect();
    let older = ["/dots/auth/1", "/dots/log/1"].to_vec();
    let but_one: Vec<&str> = same.iter().skip(1).copied().collect();
    let cases =
        [(66, older, "/dots/sip/1"), (67, same, "/dots/sip/2"), (68, but_one, crate::transport::SIP_STREAM)];
    for (count, (n, requests, streams)) in (1..).zip(cases) {
        let key = SecretKey::from_bytes(&[n; 32]).expect("a scalar");
        let named = |what: &str| behaviour::name(what, "test").expect("a name");
        let mut old = libp2p::SwarmBuilder::with_existing_identity(identity::keypair(&key))
            .with_tokio()
            .with_quic()
            .with_behaviour(|k| {
                use libp2p::request_response::{Behaviour, Config, ProtocolSupport};
                let version = behaviour::network_version("test");
                let names = requests.iter().map(|name| (named(name), ProtocolSupport::Full));
                Other {
                    identify: libp2p::identify::Behaviour::new(libp2p::identify::Config::new(
                        version,
                        k.public(),
                    )),
                    requests: Behaviour::with_codec(
                        crate::net::codec::Codec { request_max: 1 },
                        names,
                        Config::default(),
                    ),
                    streams: crate::net::streams::Behaviour::new(named(streams)),
                }
            })
            .expect("a behaviour")
            .build();
        let address = a.net.listen_addrs().iter().find(|l| l.contains("/quic-v1")).expect("it listens");
        old.dial(address.parse::<Multiaddr>().expect("a multiaddr")).expect("dialled");
        let old = tokio::spawn(async move {
            loop {
                old.select_next_some().await;
            }
        });
        let event = a.event("who it is", |_| true).await;
        assert_eq!(event, NetEvent::OtherVersion { peer: key.peer_id() }, "{streams}");
        assert_eq!(a.count("net_other_version"), count);
        old.abort();
    }
}
