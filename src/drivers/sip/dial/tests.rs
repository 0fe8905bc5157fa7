use crate::drivers::sip::{SipInput, SipSockets};
use crate::peer::Sender;
use dots_sip::{
    Flow, Input, Now, Output, Transport,
    address::Addressing,
    auth::{AuthFailure, Challenge, Vouch},
    core::{Config, Core},
    input::Resolution,
};
use std::{net::SocketAddr, time::Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::sleep_until,
};

/// Sockets and a SIP core behind them, as `dots up` has them: who answers "right" is who he says.
struct House {
    sip: SipSockets,
    core: Core,
    at: SocketAddr,
}

fn now() -> Now {
    Now { mono: Instant::now(), wall_ms: 1_800_000_000_000 }
}

impl House {
    async fn new() -> House {
        let sip = SipSockets::bind(&["127.0.0.1:0".parse().expect("an address")]).await.expect("free");
        let at = sip.bound[0];
        let addressing = Addressing {
            own_hosts: ["127.0.0.1".to_owned()].into(),
            default_realm: "a.test".into(),
            local_realms: ["a.test".to_owned()].into(),
            ..Addressing::default()
        };
        let config = Config { addressing, ports: [at.port()].into(), ..Config::default() };
        House { sip, core: Core::new(config, [1; 32], 1), at }
    }

    /// Carries what comes to the core, and what it says to the sockets.
    async fn run(&mut self) {
        loop {
            let mut inputs = Vec::new();
            let due = self.core.poll_timeout().unwrap_or_else(|| Instant::now() + super::CONNECT);
            tokio::select! {
                input = self.sip.recv() => match input {
                    SipInput::Event(super::SipEvent::Message { flow, bytes }) => inputs.push(Input::Message { flow, bytes }),
                    SipInput::Event(super::SipEvent::Closed { flow }) => inputs.push(Input::FlowClosed { flow }),
                    SipInput::Event(other) => panic!("{other:?}"),
                    SipInput::Datagrams => {
                        let mut batch = Vec::new();
                        self.sip.read_datagrams(&mut batch, |_, _| Sender::Registered);
                        inputs.extend(batch.into_iter().map(|(flow, bytes)| Input::Message { flow, bytes }));
                    }
                },
                () = sleep_until(due.into()) => self.core.handle_timeout(now()),
            }
            self.drain();
            for input in inputs {
                self.core.handle(now(), input);
                self.drain();
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let input = match output {
                Output::Send { flow, bytes } => {
                    self.sip.send(&flow, bytes);
                    continue;
                }
                Output::Challenge { id, realm, .. } => {
                    Input::Challenge { id, result: Ok(Challenge { realm, nonce: "nonce".into() }) }
                }
                Output::Verify { id, answer, .. } => {
                    let vouch = Vouch { aor: answer.aor.clone(), grant: [].into(), not_after_ms: u64::MAX };
                    let is_right = answer.response == "right";
                    Input::Verified { id, result: if is_right { Ok(vouch) } else { Err(AuthFailure::Wrong) } }
                }
                Output::Journal { id, .. } => Input::Journaled { id },
                Output::Resolve { id, .. } => Input::Resolved { id, resolution: Resolution::Offline },
                Output::Proved { flow } => {
                    self.sip.prove(&flow);
                    continue;
                }
                _ => continue,
            };
            self.core.handle(now(), input);
        }
    }
}

/// A request with the right password. `via`: transport and sent-by.
fn request(method: &str, user: &str, to: &str, via: &str, contact: &str) -> String {
    let (uri, name) = match method {
        "REGISTER" => ("sip:a.test".to_owned(), "Authorization"),
        _ => (format!("sip:{to}@a.test"), "Proxy-Authorization"),
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{method}{user};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@a.test>;tag=1\r\nTo: <sip:{to}@a.test>\r\nCall-ID: {method}{user}\r\nCSeq: 1 {method}\r\n\
         Contact: <{contact}>\r\n{name}: Digest username=\"{user}\",realm=\"a.test\",nonce=\"nonce\",uri=\"{uri}\",\
         response=\"right\",algorithm=MD5,qop=auth,nc=00000001,cnonce=\"x\"\r\nContent-Length: 0\r\n\r\n"
    )
}

async fn read(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 4_096];
    let n = stream.read(&mut buffer).await.expect("something");
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

/// The next datagram that begins so.
async fn until(phone: &UdpSocket, first: &str) -> String {
    let mut buffer = [0; 4_096];
    loop {
        let n = phone.recv(&mut buffer).await.expect("something");
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        if text.starts_with(first) {
            return text;
        }
    }
}

/// 200 to this request, with a tag and a Contact of its own.
fn ok(request: &str, contact: &str) -> String {
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for line in request.split("\r\n") {
        let name = line.split(':').next().unwrap_or_default();
        match name {
            "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => text += &format!("{line}\r\n"),
            "To" => text += &format!("{line};tag=2\r\n"),
            _ => {}
        }
    }
    text + &format!("Contact: <{contact}>\r\nContent-Length: 0\r\n\r\n")
}

async fn caller(at: SocketAddr) -> (UdpSocket, String) {
    let alice = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    alice.connect(at).await.expect("connected");
    let here = alice.local_addr().expect("bound");
    (alice, here.to_string())
}

/// A phone that sends from one port and listens on another, by TCP; it registers by UDP, or by TCP.
#[tokio::test]
async fn a_phone_is_called_by_tcp_at_the_port_that_it_names() {
    for by_tcp in [false, true] {
        let mut house = House::new().await;
        let at = house.at;
        let phones = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            let there = listener.local_addr().expect("bound");
            let contact = format!("sip:bob@{there};transport=tcp");
            let (udp, here) = caller(at).await;
            let mut tcp = TcpStream::connect(at).await.expect("connected");
            if by_tcp {
                let via = format!("TCP {}", tcp.local_addr().expect("bound"));
                tcp.write_all(request("REGISTER", "bob", "bob", &via, &contact).as_bytes())
                    .await
                    .expect("sent");
                assert!(read(&mut tcp).await.starts_with("SIP/2.0 200 "));
            } else {
                let register = request("REGISTER", "bob", "bob", &format!("UDP {here}"), &contact);
                udp.send(register.as_bytes()).await.expect("sent");
                until(&udp, "SIP/2.0 200 ").await;
            }
            let (alice, here) = caller(at).await;
            let call =
                request("INVITE", "alice", "bob", &format!("UDP {here}"), &format!("sip:alice@{here}"));
            alice.send(call.as_bytes()).await.expect("sent");
            let (mut line, _) = listener.accept().await.expect("called there");
            let ringing = read(&mut line).await;
            assert!(ringing.starts_with(&format!("INVITE {contact} SIP/2.0\r\n")), "{ringing}");
            assert!(ringing.contains("\r\nVia: SIP/2.0/TCP "), "{ringing}");
            line.write_all(ok(&ringing, &contact).as_bytes()).await.expect("sent");
            let answered = until(&alice, "SIP/2.0 200 ").await;
            assert!(answered.contains("Record-Route: "), "{answered}");
        };
        tokio::select! {
            () = phones => {}
            () = house.run() => {}
        }
    }
}

/// Nobody listens where it says: its flow is asked, and no caller waits for a timer of TCP.
#[tokio::test]
async fn where_no_connection_can_be_had_the_flow_is_asked_at_once() {
    let mut house = House::new().await;
    let at = house.at;
    let phones = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let there = listener.local_addr().expect("bound");
        drop(listener);
        let (bob, here) = caller(at).await;
        let contact = format!("sip:bob@{there};transport=tcp");
        bob.send(request("REGISTER", "bob", "bob", &format!("UDP {here}"), &contact).as_bytes())
            .await
            .expect("sent");
        until(&bob, "SIP/2.0 200 ").await;
        let (alice, here) = caller(at).await;
        let call = request("INVITE", "alice", "bob", &format!("UDP {here}"), &format!("sip:alice@{here}"));
        alice.send(call.as_bytes()).await.expect("sent");
        until(&bob, "INVITE ").await;
    };
    tokio::select! {
        () = phones => {}
        () = house.run() => {}
    }
}

/// One connection carries all that is sent there, both ways, until it ends; then whoever waits on it is told.
#[tokio::test]
async fn one_connection_leads_there_until_it_ends() {
    let mut sip = SipSockets::bind(&["127.0.0.1:0".parse().expect("an address")]).await.expect("free");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let remote = listener.local_addr().expect("bound");
    let way = Flow { transport: Transport::Tcp, connection: 0, local: sip.bound[0], remote };
    for round in 0..2 {
        assert!(sip.send(&way, b"one ".to_vec()) && sip.send(&way, b"two".to_vec()));
        let (mut line, _) = listener.accept().await.expect("opened");
        let mut heard = [0; 7];
        line.read_exact(&mut heard).await.expect("both");
        assert_eq!(&heard, b"one two", "round {round}");
        line.write_all(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n").await.expect("sent");
        let SipInput::Event(super::SipEvent::Message { flow, .. }) = sip.recv().await else {
            panic!("a message")
        };
        assert_eq!((flow.remote, flow.connection > 0), (remote, true));
        assert!(sip.send(&flow, b"back".to_vec()));
        line.read_exact(&mut heard[..4]).await.expect("an answer");
        drop(line);
        let mut closed = Vec::new();
        while closed.len() < 2 {
            let SipInput::Event(super::SipEvent::Closed { flow }) = sip.recv().await else {
                panic!("closed")
            };
            closed.push(flow);
        }
        assert!(closed.contains(&flow) && closed.contains(&way));
    }
    drop(listener);
    assert!(sip.send(&way, b"nobody".to_vec()), "it waits");
    let SipInput::Event(super::SipEvent::Closed { flow }) = sip.recv().await else { panic!("closed") };
    assert_eq!((flow, sip.connections().open), (way, 0));
}
