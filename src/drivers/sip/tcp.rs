//! Connections of phones: framing in, a bounded queue out.

use super::{CONNECTIONS_MAX, Connection, Connections, SipEvent, WRITES_MAX, has_room};
use crate::drivers::descriptors;
use dots_sip::{
    Flow, Transport,
    framing::{Frame, Framer},
};
use std::{
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

/// A phone pings every 2 minutes or refreshes within the hour (RFC 5626 §4.4.1); a silent one is gone.
const IDLE: Duration = Duration::from_secs(3_900);
/// One that connects and says nothing whole.
const FIRST_MESSAGE: Duration = Duration::from_secs(30);
/// After bytes that are no SIP nothing more is read, but what came whole before them is still answered.
const LINGER: Duration = Duration::from_millis(500);
/// A phone that takes nothing for so long is gone.
const WRITE: Duration = Duration::from_secs(20);

/// Never reused within a process.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub async fn accept(
    listener: TcpListener,
    connections: Connections,
    events: mpsc::Sender<SipEvent>,
    mut stopped: watch::Receiver<bool>,
) {
    let most = CONNECTIONS_MAX.min(descriptors::for_phones());
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
        let connection = NEXT.fetch_add(1, Ordering::Relaxed);
        let (writes, queue) = mpsc::channel(WRITES_MAX);
        {
            let mut open = connections.lock().unwrap_or_else(PoisonError::into_inner);
            if !has_room(&open, remote.ip(), most) {
                continue;
            }
            open.insert(connection, Connection { remote: remote.ip(), writes: writes.clone() });
        }
        let _ = stream.set_nodelay(true);
        let flow = Flow { transport: Transport::Tcp, connection, local, remote };
        let (connections, events) = (connections.clone(), events.clone());
        tokio::spawn(async move {
            serve(stream, flow, &events, &writes, queue).await;
            connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection);
            // The receiver is gone only when the peer stops.
            let _ = events.send(SipEvent::Closed { flow }).await;
        });
    }
}

async fn serve(
    stream: TcpStream,
    flow: Flow,
    events: &mpsc::Sender<SipEvent>,
    writes: &mpsc::Sender<Vec<u8>>,
    mut queue: mpsc::Receiver<Vec<u8>>,
) {
    let (mut input, mut output) = stream.into_split();
    let write = async move {
        while let Some(bytes) = queue.recv().await {
            if !matches!(timeout(WRITE, output.write_all(&bytes)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let read = async {
        let mut framer = Framer::default();
        let mut buffer = vec![0; 16_384];
        let mut patience = FIRST_MESSAGE;
        while let Ok(Ok(length @ 1..)) = timeout(patience, input.read(&mut buffer)).await {
            framer.push(buffer.get(..length).unwrap_or_default());
            loop {
                match framer.next_frame() {
                    Ok(Some(Frame::Message(bytes))) => {
                        patience = IDLE;
                        if events.send(SipEvent::Message { flow, bytes }).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(Frame::Ping)) => {
                        let _ = writes.try_send(b"\r\n".to_vec());
                    }
                    Ok(None) => break,
                    Err(e) => {
                        tracing::debug!(remote = %flow.remote, %e, "closed");
                        return sleep(LINGER).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}
