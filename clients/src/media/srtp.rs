//! RTP (RFC 3550) and SRTP (RFC 3711): `rtp-rs` reads and writes the packets, `webrtc-srtp` encrypts and authenticates
//! them. Both are known here alone.
//!
//! What `webrtc-srtp` leaves to its user: replay protection is off unless asked for, and it keeps state for every SSRC
//! that it is shown, before it has authenticated anything. So a replay window is set, and a source is shown to it only when
//! one of its packets has been opened elsewhere.

use super::sdes::MasterKey;
use rtp_rs::{RtpPacketBuilder, RtpReader, Seq};
use std::collections::BTreeSet;
use webrtc_srtp::{context::Context, option::srtp_replay_protection, protection_profile::ProtectionProfile};

const PROFILE: ProtectionProfile = ProtectionProfile::Aes128CmHmacSha1_80;
/// Packets that may overtake each other.
const REPLAY_WINDOW: usize = 64;
/// Sources that one call may have: a phone changes its SSRC where it restarts its sound (hold, transfer).
pub const SOURCES_MAX: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("not an RTP packet")]
    NotRtp,
    #[error("more than {SOURCES_MAX} sources in one call")]
    Sources,
    /// Not encrypted with this key, altered on its way, or seen before.
    #[error("SRTP: {0}")]
    Refused(webrtc_srtp::Error),
}

/// One packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub payload_type: u8,
    pub sequence: u16,
    /// In samples.
    pub timestamp: u32,
    pub ssrc: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
}

impl Packet {
    pub fn read(bytes: &[u8]) -> Result<Packet, MediaError> {
        let rtp = RtpReader::new(bytes).map_err(|_| MediaError::NotRtp)?;
        Ok(Packet {
            payload_type: rtp.payload_type(),
            sequence: rtp.sequence_number().into(),
            timestamp: rtp.timestamp(),
            ssrc: rtp.ssrc(),
            marker: rtp.mark(),
            payload: rtp.payload().to_vec(),
        })
    }

    pub fn write(&self) -> Result<Vec<u8>, MediaError> {
        let packet = RtpPacketBuilder::new()
            .payload_type(self.payload_type)
            .sequence(Seq::from(self.sequence))
            .timestamp(self.timestamp)
            .ssrc(self.ssrc)
            .marked(self.marker)
            .payload(&self.payload)
            .build();
        // It refuses payload types above 127.
        packet.map_err(|_| MediaError::NotRtp)
    }
}

/// The way out.
pub struct Sender(Context);

impl Sender {
    pub fn new(key: &MasterKey) -> Result<Sender, MediaError> {
        Context::new(&key.key, &key.salt, PROFILE, None, None).map(Sender).map_err(MediaError::Refused)
    }

    pub fn seal(&mut self, packet: &Packet) -> Result<Vec<u8>, MediaError> {
        let sealed = self.0.encrypt_rtp(&packet.write()?).map_err(MediaError::Refused)?;
        Ok(sealed.to_vec())
    }
}

/// The way in.
pub struct Receiver {
    key: MasterKey,
    context: Context,
    /// Who proved to have the key.
    sources: BTreeSet<u32>,
}

impl Receiver {
    pub fn new(key: &MasterKey) -> Result<Receiver, MediaError> {
        Ok(Receiver { key: key.clone(), context: incoming(key)?, sources: BTreeSet::new() })
    }

    pub fn open(&mut self, bytes: &[u8]) -> Result<Packet, MediaError> {
        let ssrc = RtpReader::new(bytes).map_err(|_| MediaError::NotRtp)?.ssrc();
        if !self.sources.contains(&ssrc) {
            // Tried where nothing is kept: whoever makes up sources takes nobody's place.
            incoming(&self.key)?.decrypt_rtp(bytes).map_err(MediaError::Refused)?;
            if self.sources.len() >= SOURCES_MAX {
                return Err(MediaError::Sources);
            }
            self.sources.insert(ssrc);
        }
        let opened = self.context.decrypt_rtp(bytes).map_err(MediaError::Refused)?;
        Packet::read(&opened)
    }
}

fn incoming(key: &MasterKey) -> Result<Context, MediaError> {
    let window = Some(srtp_replay_protection(REPLAY_WINDOW));
    Context::new(&key.key, &key.salt, PROFILE, window, None).map_err(MediaError::Refused)
}
