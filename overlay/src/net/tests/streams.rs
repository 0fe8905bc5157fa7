//! Streams: order, both ways, their ends.

use super::*;
use crate::{
    link::FRAME_MAX,
    net::limits::{STREAM_QUEUE_FRAMES, STREAMS_PER_PEER},
};

async fn pair() -> (Peer, StreamId, Peer, StreamId) {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    b.connected(a.id).await;
    b.say(NetCommand::OpenStream { peer: a.id });
    let (of, outbound, true) = b.stream().await else { panic!("we opened it") };
    assert_eq!(of, a.id);
    let (of, inbound, false) = a.stream().await else { panic!("they opened it") };
    assert_eq!(of, b.id);
    (a, inbound, b, outbound)
}

/// Sends `count` numbered frames and takes as many, with at most `window` under way.
async fn flood(mut peer: Peer, stream: StreamId, count: u64) -> Peer {
    let window = STREAM_QUEUE_FRAMES as u64 / 4;
    let (mut sent, mut received) = (0u64, 0u64);
    while received < count {
        while sent < count && sent < received + window {
            let frame = [&sent.to_be_bytes()[..], &vec![sent as u8; sent as usize % 700]].concat();
            peer.say(NetCommand::StreamSend { stream, frame });
            sent += 1;
        }
        let frame = peer
            .take("a frame", |e| match e {
                NetEvent::StreamFrame { stream: of, frame } if *of == stream => Some(frame.clone()),
                NetEvent::StreamClosed { .. } => panic!("closed after {received} frames"),
                _ => None,
            })
            .await;
        assert_eq!(frame[..8], received.to_be_bytes());
        assert_eq!(frame.len(), 8 + received as usize % 700);
        received += 1;
    }
    peer
}

#[tokio::test]
async fn ten_thousand_frames_each_way_arrive_in_order() {
    let (a, inbound, b, outbound) = pair().await;
    let began = std::time::Instant::now();
    let (a, b) =
        tokio::join!(tokio::spawn(flood(a, inbound, 10_000)), tokio::spawn(flood(b, outbound, 10_000)));
    eprintln!("20,000 frames in {:?}", began.elapsed());
    let (_a, _b) = (a.expect("ends"), b.expect("ends"));
}

#[tokio::test]
async fn what_is_queued_before_the_end_arrives() {
    let (mut a, inbound, mut b, outbound) = pair().await;
    for n in 0..200u8 {
        b.say(NetCommand::StreamSend { stream: outbound, frame: vec![n; FRAME_MAX / 16] });
    }
    b.say(NetCommand::StreamClose { stream: outbound });
    for n in 0..200u8 {
        let expected = NetEvent::StreamFrame { stream: inbound, frame: vec![n; FRAME_MAX / 16] };
        let next =
            a.event("a frame", |e| !matches!(e, NetEvent::Seen { .. } | NetEvent::Connected { .. })).await;
        assert!(next == expected, "frame {n}");
    }
    a.event("the end", |e| *e == NetEvent::StreamClosed { stream: inbound }).await;
    b.event("the end", |e| *e == NetEvent::StreamClosed { stream: outbound }).await;
}

#[tokio::test]
async fn a_stream_whose_reader_sleeps_is_cut_not_kept() {
    let (mut a, inbound, mut b, outbound) = pair().await;
    // `a` takes no events: its queue fills, then the window of the stream, then our queue.
    let frame = vec![7; FRAME_MAX];
    let mut sent = 0u32;
    let cut = async {
        loop {
            b.net.send(NetCommand::StreamSend { stream: outbound, frame: frame.clone() });
            sent += 1;
            match tokio::time::timeout(Duration::from_millis(1), b.net.recv()).await {
                Ok(Some(NetEvent::StreamClosed { stream })) if stream == outbound => break,
                Ok(None) => panic!("the driver runs"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, cut).await.expect("it is cut");
    assert_eq!(b.count("net_streams_full"), 1);
    // What is between them is bounded, and `a` is none the worse.
    eprintln!("cut after {sent} frames");
    a.event("the end", |e| *e == NetEvent::StreamClosed { stream: inbound }).await;
    b.say(NetCommand::OpenStream { peer: a.id });
    a.stream().await;
}

/// NET-5.
#[tokio::test]
async fn a_frame_that_is_too_long_ends_the_stream() {
    let (mut a, inbound, mut b, outbound) = pair().await;
    b.say(NetCommand::StreamSend { stream: outbound, frame: vec![0; FRAME_MAX + 1] });
    b.event("the end", |e| *e == NetEvent::StreamClosed { stream: outbound }).await;
    a.event("the end", |e| *e == NetEvent::StreamClosed { stream: inbound }).await;
}

#[tokio::test]
async fn a_peer_that_opens_many_streams_gets_a_few() {
    let (mut a, _, mut b, _) = pair().await;
    for _ in 0..100 {
        b.say(NetCommand::OpenStream { peer: a.id });
    }
    // Those beyond the limit are reset.
    for _ in 0..100 - STREAMS_PER_PEER + 1 {
        b.event("an end", |e| matches!(e, NetEvent::StreamClosed { .. } | NetEvent::StreamRefused { .. }))
            .await;
    }
    assert_eq!(a.count("net_streams_refused"), 100 - STREAMS_PER_PEER as u64 + 1);
    for _ in 1..STREAMS_PER_PEER {
        a.stream().await;
    }
}

#[tokio::test]
async fn streams_end_with_their_connection() {
    let (a, _, mut b, outbound) = pair().await;
    let (id, _) = (a.id, a.net.shutdown().await);
    b.event("the end", |e| *e == NetEvent::StreamClosed { stream: outbound }).await;
    b.disconnected(id).await;
}
