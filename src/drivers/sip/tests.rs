use super::*;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The next message or event, a datagram by itself.
async fn next(sip: &mut SipSockets) -> SipEvent {
    loop {
        match sip.recv().await {
            SipInput::Event(event) => return event,
            SipInput::Datagrams => {
                let mut batch = Vec::new();
                sip.read_datagrams(&mut batch, |_, _| Sender::Stranger);
                assert!(batch.len() <= 1, "one was sent");
                if let Some((flow, bytes)) = batch.pop() {
                    return SipEvent::Message { flow, bytes };
                }
            }
        }
    }
}

const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn udp_and_tcp_in_and_out_on_one_port() {
    let mut sip = SipSockets::bind(&["127.0.0.1:0".parse().expect("an address")]).await.expect("free");
    let at = sip.bound[0];
    let phone = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    phone.send_to(b"\r\n\r\n", at).await.expect("sent");
    phone.send_to(OPTIONS, at).await.expect("sent");
    let SipEvent::Message { flow, bytes } = next(&mut sip).await else { panic!("a message") };
    assert_eq!((flow.transport, flow.local, bytes.as_slice()), (Transport::Udp, at, OPTIONS));
    assert!(sip.send(&flow, b"back".to_vec()));
    let mut buffer = [0; 16];
    let (n, from) = phone.recv_from(&mut buffer).await.expect("an answer");
    assert_eq!((&buffer[..n], from), (&b"back"[..], at));

    let mut phone = TcpStream::connect(at).await.expect("connected");
    phone.write_all(b"\r\n\r\n").await.expect("sent");
    phone.read_exact(&mut buffer[..2]).await.expect("a pong");
    assert_eq!(&buffer[..2], b"\r\n");
    phone.write_all(OPTIONS).await.expect("sent");
    let SipEvent::Message { flow, .. } = next(&mut sip).await else { panic!("a message") };
    assert_eq!(flow.transport, Transport::Tcp);
    assert!(sip.send(&flow, b"back".to_vec()));
    phone.read_exact(&mut buffer[..4]).await.expect("an answer");
    drop(phone);
    let SipEvent::Closed { flow: closed } = next(&mut sip).await else { panic!("closed") };
    assert_eq!(closed, flow);
    assert!(!sip.send(&flow, b"late".to_vec()));
}

/// Sockets on loopback with few places, and what came out of them.
async fn few(most: usize, stranger: Duration) -> (SipSockets, SocketAddr) {
    let any = ["127.0.0.1:0".parse().expect("an address")];
    let sip = SipSockets::with_rules(&any, Rules { most, stranger }).await.expect("free");
    let at = sip.bound[0];
    (sip, at)
}

/// A connection from 127.0.0.`host`: each is a network of its own.
async fn phone(host: u8, at: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("a loopback address");
    socket.connect(at).await.expect("connected")
}

const LONG: Duration = Duration::from_secs(3_600);

/// Says something and is heard; the flow that it came on.
async fn speaks(phone: &mut TcpStream, sip: &mut SipSockets) -> Flow {
    phone.write_all(OPTIONS).await.expect("sent");
    let from = phone.local_addr().expect("bound");
    loop {
        match next(sip).await {
            SipEvent::Message { flow, .. } if flow.remote == from => return flow,
            // Of those who made room.
            SipEvent::Closed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn strangers_make_room_and_registered_phones_stay() {
    let (mut sip, at) = few(8, LONG).await;
    let mut registered = phone(1, at).await;
    let flow = speaks(&mut registered, &mut sip).await;
    sip.prove(&flow);
    let mut flood = Vec::new();
    for n in 0..200 {
        flood.push(phone(2 + n % 5, at).await);
    }
    // A newcomer of a quiet network gets a place, and the registered one has kept its own.
    let mut newcomer = phone(99, at).await;
    let new = speaks(&mut newcomer, &mut sip).await;
    assert!(sip.send(&new, b"welcome".to_vec()) && sip.send(&flow, b"still here".to_vec()));
    let mut buffer = [0; 10];
    newcomer.read_exact(&mut buffer[..7]).await.expect("an answer");
    registered.read_exact(&mut buffer).await.expect("an answer");
    assert_eq!(&buffer, b"still here");
    let counts = sip.connections();
    assert_eq!((counts.open, counts.refused), (8, 0));
    assert!(counts.evicted >= 194, "{counts:?}");
    // The first of the flood were cut.
    assert!(!matches!(flood[0].read(&mut buffer).await, Ok(1..)), "no bytes come to somebody who was cut");
}

#[tokio::test]
async fn a_stranger_s_time_ends_whatever_it_says() {
    let (mut sip, at) = few(100, Duration::from_secs(2)).await;
    let (mut registered, mut stranger) = (phone(1, at).await, phone(2, at).await);
    let flow = speaks(&mut registered, &mut sip).await;
    sip.prove(&flow);
    let strange = speaks(&mut stranger, &mut sip).await;
    let mut buffer = [0; 64];
    // Pings are answered until it is closed; no number of them buys time.
    while stranger.write_all(b"\r\n\r\n").await.is_ok() && matches!(stranger.read(&mut buffer).await, Ok(1..))
    {
    }
    let SipEvent::Closed { flow: closed } = next(&mut sip).await else { panic!("closed") };
    assert_eq!(closed, strange);
    speaks(&mut registered, &mut sip).await;
    assert!(sip.send(&flow, b"still here".to_vec()));
    registered.read_exact(&mut buffer[..10]).await.expect("an answer");
}

#[tokio::test]
async fn what_waits_for_a_stranger_is_little() {
    let (mut sip, at) = few(100, LONG).await;
    let mut stranger = phone(1, at).await;
    let flow = speaks(&mut stranger, &mut sip).await;
    // Nobody reads and this task does not yield: all of it waits.
    let sent = (0..1_000).take_while(|_| sip.send(&flow, vec![b'x'; 1_000])).count();
    assert_eq!(sent, 16);
    sip.prove(&flow);
    let more = (0..1_000).take_while(|_| sip.send(&flow, vec![b'x'; 1_000])).count();
    assert!((200..=256).contains(&(sent + more)), "{more}");
    let mut all = vec![0; (sent + more) * 1_000];
    stranger.read_exact(&mut all).await.expect("all of it");
    assert!(sip.send(&flow, vec![b'x'; 60_000]), "what was read makes room");
}

#[tokio::test]
async fn what_cannot_be_told_apart_is_answered_in_order_and_closed_at_once() {
    let (mut sip, at) = few(100, LONG).await;
    let mut phone = phone(1, at).await;
    let rubbish = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n";
    phone.write_all(&[OPTIONS, rubbish, OPTIONS].concat()).await.expect("sent");
    let began = std::time::Instant::now();
    let SipEvent::Message { flow, .. } = next(&mut sip).await else { panic!("a message") };
    assert!(sip.send(&flow, b"200".to_vec()));
    let SipEvent::Unframed { flow, head } = next(&mut sip).await else { panic!("its headers") };
    assert_eq!(head, rubbish);
    assert!(sip.send(&flow, b"400".to_vec()));
    // The loop asks for what comes next: then the end of that connection is said.
    let mut all = Vec::new();
    tokio::select! {
        read = phone.read_to_end(&mut all) => assert_eq!(read.expect("an end, and no reset"), 6),
        other = next(&mut sip) => panic!("nothing else is handed out: {other:?}"),
    }
    assert_eq!(all, b"200400");
    assert!(began.elapsed() < Duration::from_secs(1), "at once");
    assert!(!sip.send(&flow, b"late".to_vec()));
    drop(phone);
    let SipEvent::Closed { .. } = next(&mut sip).await else { panic!("closed, and nothing else") };
    assert_eq!(sip.connections().open, 0);
}
