//! Datagrams in.

use super::{Routes, SipEvent};
use dots_sip::{Flow, Transport};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::UdpSocket, sync::mpsc};

/// Keep-alives (CRLF, NULs, `jaK`, nothing) are shorter than any SIP message.
const MESSAGE_BYTES_MIN: usize = 16;

pub async fn read(
    socket: Arc<UdpSocket>,
    bound: SocketAddr,
    routes: Arc<Routes>,
    events: mpsc::Sender<SipEvent>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, _)) if length < MESSAGE_BYTES_MIN => {}
            Ok((length, remote)) => {
                let local = routes.local_toward(bound, remote);
                let flow = Flow { transport: Transport::Udp, connection: 0, local, remote };
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                if events.send(SipEvent::Message { flow, bytes }).await.is_err() {
                    return;
                }
            }
            // A phone's ICMP "port unreachable" for an earlier answer of ours.
            Err(e) => tracing::debug!(%e, "UDP"),
        }
    }
}
