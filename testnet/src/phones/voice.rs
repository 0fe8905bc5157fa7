//! The voice of a phone of ours: SRTP of 20 ms packets of G.711, so that a test sees what is on the wire and what is
//! in it. It speaks a sine.

use crate::{Error, Result, free_port, tone};
use dots_clients::media::{
    pcmu,
    sdes::{KEY, MasterKey, SALT},
    srtp::{Packet, Receiver, Sender},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// Samples in a packet, and how often there is one.
const SAMPLES: u32 = 160;
const EVERY: Duration = Duration::from_millis(20);
const DATAGRAM_MAX: usize = 2_048;

pub struct Voice {
    socket: UdpSocket,
    key: MasterKey,
    ssrc: u32,
}

/// What came in.
#[derive(Debug, Default)]
pub struct Heard {
    /// Opened with the key of the other's SDP.
    pub sound: tone::Sound,
    /// The same packets to somebody without the key.
    pub wire: tone::Sound,
    /// Packets that the key did not open.
    pub refused: usize,
    /// Good packets, said once more or with one bit turned, that were taken all the same.
    pub fooled: usize,
}

impl Voice {
    pub fn new(rng: &mut ChaCha8Rng) -> Result<Voice> {
        let socket = UdpSocket::bind(("127.0.0.1", free_port()?)).map_err(Error::io("bind"))?;
        Ok(Voice {
            socket,
            key: MasterKey::from_bytes(&rng.random::<[u8; KEY + SALT]>()),
            ssrc: rng.random(),
        })
    }

    /// An offer of encrypted µ-law.
    pub fn sdp(&self) -> Result<String> {
        let at = self.socket.local_addr().map_err(Error::io("local address"))?;
        Ok(format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/SAVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\n{key}\r\na=sendrecv\r\n",
            ip = at.ip(),
            port = at.port(),
            key = self.key.line(1)
        ))
    }

    /// Speaks to whom `answer` names, and listens, for so long.
    pub fn talk(&self, answer: &str, hertz: f64, length: Duration) -> Result<Heard> {
        let other = media_address(answer).ok_or_else(|| Error::Other(format!("no address in {answer}")))?;
        let key = MasterKey::of_sdp(answer).ok_or_else(|| Error::Other(format!("no key in {answer}")))?;
        let broken = |e: dots_clients::media::srtp::MediaError| Error::Other(e.to_string());
        let mut sender = Sender::new(&self.key).map_err(broken)?;
        let mut receiver = Receiver::new(&key).map_err(broken)?;
        let mut heard = Heard::default();
        (heard.sound.rate, heard.wire.rate) = (tone::RATE, tone::RATE);
        let (start, mut buffer) = (Instant::now(), [0; DATAGRAM_MAX]);
        for n in 0.. {
            let due = start + EVERY * n;
            if due > start + length {
                break;
            }
            loop {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                self.socket.set_read_timeout(Some(left)).map_err(Error::io("timeout"))?;
                match self.socket.recv_from(&mut buffer) {
                    Ok((length, from)) if from == other => heard.take(&mut receiver, &buffer[..length]),
                    // Nobody else is listened to, and RTCP comes to another port.
                    Ok(_) => {}
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    // An earlier packet of ours came before the other listened.
                    Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
                    Err(e) => return Err(Error::Io("receive".into(), e)),
                }
            }
            let timestamp = n * SAMPLES;
            let sine = (timestamp..timestamp + SAMPLES).map(|at| pcmu::encode(tone::sine(hertz, at)));
            let packet = Packet {
                payload_type: pcmu::PAYLOAD_TYPE,
                sequence: n as u16,
                timestamp,
                ssrc: self.ssrc,
                marker: n == 0,
                payload: sine.collect(),
            };
            let sealed = sender.seal(&packet).map_err(broken)?;
            // A datagram may be lost.
            let _ = self.socket.send_to(&sealed, other);
        }
        Ok(heard)
    }
}

impl Heard {
    fn take(&mut self, receiver: &mut Receiver, bytes: &[u8]) {
        let mut altered = bytes.to_vec();
        if let Some(last) = altered.last_mut() {
            *last ^= 1;
        }
        self.fooled += usize::from(receiver.open(&altered).is_ok());
        let Ok(packet) = receiver.open(bytes) else {
            self.refused += 1;
            return;
        };
        self.fooled += usize::from(receiver.open(bytes).is_ok());
        self.sound.samples.extend(packet.payload.iter().map(|b| pcmu::decode(*b)));
        if let Ok(sealed) = Packet::read(bytes) {
            self.wire
                .samples
                .extend(sealed.payload.iter().take(packet.payload.len()).map(|b| pcmu::decode(*b)));
        }
    }
}

/// Of the first `m=audio` line, and the first `c=` line: the one of the session, where there is one.
fn media_address(sdp: &str) -> Option<SocketAddr> {
    let ip: IpAddr = sdp.lines().find_map(|l| l.strip_prefix("c=IN IP4 "))?.trim().parse().ok()?;
    let port = sdp.lines().find_map(|l| l.strip_prefix("m=audio "))?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}
