use super::{
    pcmu,
    sdes::MasterKey,
    srtp::{MediaError, Packet, Receiver, SOURCES_MAX, Sender},
};
use proptest::prelude::*;

fn key(n: u8) -> MasterKey {
    MasterKey::from_bytes(&[n; 30])
}

fn packet(sequence: u16, ssrc: u32) -> Packet {
    let timestamp = u32::from(sequence) * 160;
    Packet { payload_type: 0, sequence, timestamp, ssrc, marker: false, payload: vec![sequence as u8; 160] }
}

/// G.711 table 2a/2b: the values at the ends of each segment.
#[test]
fn mu_law_by_the_table() {
    for (sample, byte) in [
        (0, 0xff),
        (8, 0xfe),
        (-8, 0x7e),
        (120, 0xf0),
        (132, 0xef),
        (924, 0xcf),
        (32_124, 0x80),
        (-32_124, 0x00),
    ] {
        assert_eq!(pcmu::encode(sample), byte, "{sample}");
        assert_eq!(pcmu::decode(byte), sample, "{byte:#x}");
    }
    for byte in 0..=255u8 {
        // Zero has two names.
        assert_eq!(pcmu::encode(pcmu::decode(byte)), if byte == 0x7f { 0xff } else { byte });
    }
    assert_eq!(
        (pcmu::encode(i16::MAX), pcmu::encode(i16::MIN)),
        (0x80, 0x00),
        "too loud is as loud as can be"
    );
}

#[test]
fn a_key_as_phones_write_it() {
    let line = key(7).line(1);
    assert_eq!(line, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH");
    let sdp = |line: &str| format!("v=0\r\nm=audio 4000 RTP/SAVP 0\r\n{line}\r\na=sendrecv\r\n");
    assert_eq!(MasterKey::of_sdp(&sdp(&line)), Some(key(7)));
    assert_eq!(MasterKey::of_sdp(&sdp(&format!("{line}|2^31"))), Some(key(7)));
    let other = "a=crypto:1 AEAD_AES_128_GCM inline:AAAA";
    assert_eq!(
        MasterKey::of_sdp(&sdp(&format!("{other}\r\n{line}"))),
        Some(key(7)),
        "the first that we can use"
    );
    for bad in [
        "",
        "a=crypto:",
        other,
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:!",
        &format!("{line}|1:4"),
        &format!("{line} UNENCRYPTED_SRTP"),
        &line[..line.len() - 1],
    ] {
        assert_eq!(MasterKey::of_sdp(&sdp(bad)), None, "{bad}");
    }
    let video = format!("m=video 4002 RTP/SAVP 96\r\n{}\r\n", key(8).line(1));
    assert_eq!(MasterKey::of_sdp(&format!("{video}{}", sdp(&line))), Some(key(7)), "the one of the sound");
    assert_eq!(MasterKey::of_sdp(&format!("{}{video}", sdp(""))), None);
    assert_eq!(format!("{:?}", key(7)), "MasterKey");
}

#[test]
fn what_was_altered_replayed_or_sealed_by_another_is_refused() {
    let mut sender = Sender::new(&key(1)).expect("a key");
    let mut receiver = Receiver::new(&key(1)).expect("a key");
    let refused = |r: Result<Packet, MediaError>| assert!(matches!(r, Err(MediaError::Refused(_))), "{r:?}");
    let sealed: Vec<Vec<u8>> = (0..3).map(|n| sender.seal(&packet(n, 5)).expect("sealed")).collect();
    assert!(!sealed[1].windows(8).any(|w| w == [1; 8]), "it is encrypted");
    for at in 0..sealed[0].len() {
        let mut altered = sealed[0].clone();
        altered[at] ^= 1;
        assert!(receiver.open(&altered).is_err(), "byte {at}");
        receiver = Receiver::new(&key(1)).expect("a key");
    }
    refused(Receiver::new(&key(2)).expect("a key").open(&sealed[0]));
    for n in [0, 2, 1] {
        assert_eq!(receiver.open(&sealed[n]).expect("good"), packet(n as u16, 5));
        refused(receiver.open(&sealed[n]));
    }
    assert!(matches!(receiver.open(b"no packet"), Err(MediaError::NotRtp)));
}

#[test]
fn made_up_sources_take_nobodys_place() {
    let mut receiver = Receiver::new(&key(1)).expect("a key");
    let mut stranger = Sender::new(&key(2)).expect("a key");
    for ssrc in 100..200 {
        let said = receiver.open(&stranger.seal(&packet(0, ssrc)).expect("sealed"));
        assert!(matches!(said, Err(MediaError::Refused(_))), "{said:?}");
    }
    let mut sender = Sender::new(&key(1)).expect("a key");
    for ssrc in 0..SOURCES_MAX as u32 {
        receiver.open(&sender.seal(&packet(0, ssrc)).expect("sealed")).expect("good");
    }
    let over = receiver.open(&sender.seal(&packet(0, 77)).expect("sealed"));
    assert!(matches!(over, Err(MediaError::Sources)), "{over:?}");
    receiver.open(&sender.seal(&packet(1, 0)).expect("sealed")).expect("who was there is still heard");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut receiver = Receiver::new(&key(1)).expect("a key");
        prop_assert!(receiver.open(&bytes).is_err());
        if let Ok(packet) = Packet::read(&bytes) {
            prop_assert!(packet.payload.len() < bytes.len());
        }
    }

    #[test]
    fn a_packet_is_what_was_written(
        sequence in any::<u16>(), timestamp in any::<u32>(), ssrc in any::<u32>(), marker in any::<bool>(),
        payload_type in 0..128u8, payload in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let packet = Packet { payload_type, sequence, timestamp, ssrc, marker, payload };
        let written = packet.write().expect("written");
        prop_assert_eq!(&Packet::read(&written).expect("read"), &packet);
        let sealed = Sender::new(&key(1)).expect("a key").seal(&packet).expect("sealed");
        prop_assert_eq!(Receiver::new(&key(1)).expect("a key").open(&sealed).expect("opened"), packet);
    }
}
