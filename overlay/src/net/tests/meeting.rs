//! Two peers: requests, refusals, who is there and who is not.

use super::*;
use crate::{
    net::limits::{REQUEST_MAX, RESPONSE_MAX},
    transport::RequestError,
};

#[tokio::test]
async fn two_peers_meet_and_speak_each_protocol() {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    a.connected(b.id).await;
    b.connected(a.id).await;
    for (n, protocol) in Protocol::ALL.iter().copied().enumerate() {
        let (id, body) = (n as u64, vec![n as u8; 100]);
        b.say(NetCommand::Request { id, peer: a.id, protocol, body: body.clone() });
        let (from, heard, inbound, asked) = a.request().await;
        assert_eq!((from, heard, asked), (b.id, protocol, body));
        a.say(NetCommand::Respond { id: inbound, body: Some(vec![n as u8; 200]) });
        let answer = b.event("an answer", |e| matches!(e, NetEvent::Response { .. })).await;
        assert_eq!(answer, NetEvent::Response { id, result: Ok(vec![n as u8; 200]) });
    }
}

/// NET-2: by either transport, and by a name that DNS knows.
#[tokio::test]
async fn each_transport_reaches_a_peer_by_address_and_by_name() {
    let a = peer(1, &[]).await;
    for (n, kind) in (2..).zip(["/quic-v1", "/tcp/"]) {
        let address = a.net.listen_addrs().iter().find(|l| l.contains(kind)).expect("it listens");
        for (n, address) in
            [(n, address.clone()), (n + 10, address.replace("/ip4/127.0.0.1/", "/dns4/localhost/"))]
        {
            let mut b = start(NetConfig { bootstrap: vec![address], ..config(n, &[]) }).await;
            b.connected(a.id).await;
            b.net.shutdown().await;
        }
    }
}

/// NET-4.
#[tokio::test]
async fn bodies_up_to_the_limits_pass() {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    let to = a.id;
    let ask = |id, len| NetCommand::Request { id, peer: to, protocol: Protocol::Lookup, body: vec![7; len] };
    b.connected(to).await;
    b.say(ask(1, REQUEST_MAX));
    let (_, _, inbound, body) = a.request().await;
    assert_eq!(body.len(), REQUEST_MAX);
    a.say(NetCommand::Respond { id: inbound, body: Some(vec![8; RESPONSE_MAX]) });
    let answer = b.event("an answer", |e| matches!(e, NetEvent::Response { .. })).await;
    assert_eq!(answer, NetEvent::Response { id: 1, result: Ok(vec![8; RESPONSE_MAX]) });
    b.say(ask(2, REQUEST_MAX + 1));
    let answer = b.event("an answer", |e| matches!(e, NetEvent::Response { .. })).await;
    assert_eq!(answer, NetEvent::Response { id: 2, result: Err(RequestError::Refused) });
}

#[tokio::test]
async fn a_refusal_arrives_as_one() {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    b.connected(a.id).await;
    b.say(NetCommand::Request { id: 9, peer: a.id, protocol: Protocol::Auth, body: b"who?".to_vec() });
    let (_, _, id, _) = a.request().await;
    a.say(NetCommand::Respond { id, body: None });
    let answer = b.event("an answer", |e| matches!(e, NetEvent::Response { .. })).await;
    assert_eq!(answer, NetEvent::Response { id: 9, result: Err(RequestError::Refused) });
}

/// NET-11.
#[tokio::test]
async fn a_peer_that_nobody_knows_is_unreachable() {
    let nobody = SecretKey::from_bytes(&[99; 32]).expect("a scalar").peer_id();
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    b.connected(a.id).await;
    // Once with neighbours to ask, once without.
    for peer in [&mut b, &mut a] {
        peer.say(NetCommand::Request { id: 1, peer: nobody, protocol: Protocol::Log, body: vec![] });
        peer.say(NetCommand::OpenStream { peer: nobody });
        let answer = peer.event("an answer", |e| matches!(e, NetEvent::Response { .. })).await;
        assert_eq!(answer, NetEvent::Response { id: 1, result: Err(RequestError::Unreachable) });
        peer.event("a refusal", |e| *e == NetEvent::StreamRefused { peer: nobody }).await;
    }
}

#[tokio::test]
async fn a_peer_does_not_call_itself() {
    let mut a = peer(1, &[]).await;
    a.say(NetCommand::Request { id: 1, peer: a.id, protocol: Protocol::Log, body: vec![] });
    let answer = a.event("an answer", |e| matches!(e, NetEvent::Response { .. })).await;
    assert_eq!(answer, NetEvent::Response { id: 1, result: Err(RequestError::Unreachable) });
}

#[tokio::test]
async fn people_can_see_who_is_there() {
    let mut a = peer(1, &[]).await;
    let quic = a.net.listen_addrs().iter().find(|l| l.contains("/quic-v1")).expect("it listens").clone();
    let b = start(NetConfig { bootstrap: vec![quic], ..config(2, &[]) }).await;
    let timed = |e: &NetEvent| match e {
        NetEvent::Seen { peer, address, agent, rtt: Some(_), .. } => {
            Some((*peer, address.clone(), agent.clone()))
        }
        _ => None,
    };
    let (peer, address, agent) = a.take("a ping", timed).await;
    assert_eq!(peer, b.id);
    assert!(address.starts_with("/ip4/127.0.0.1/udp/"), "{address}");
    assert_eq!(agent, concat!("dots/", env!("CARGO_PKG_VERSION")));
}
