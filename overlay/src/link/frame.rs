//! The bytes of `/dots/sip/3` (docs/spec/3-sip-link.md, LINK-1 to LINK-5). Integers are big-endian.

/// LINK-1: a frame, header included, is at most 64 KiB.
pub const FRAME_MAX: usize = 64 * 1024;
/// Type, sequence number and acknowledgement.
pub const DATA_HEADER: usize = 1 + 8 + 8;
/// The longest body that fits into one frame.
pub const BODY_MAX: usize = FRAME_MAX - DATA_HEADER;

const VERSION: u8 = 1;
const HELLO: u8 = 0;
const DATA: u8 = 1;
const ACK: u8 = 2;
const BYE: u8 = 3;

/// LINK-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// First on every stream: who we are in this life, and the oldest frame that we can still send.
    Hello {
        session: u64,
        oldest: u64,
    },
    /// Frame `seq`; all of the other's frames below `ack` have arrived.
    Data {
        seq: u64,
        ack: u64,
        body: &'a [u8],
    },
    Ack {
        ack: u64,
    },
    /// The stream is closed because it was idle; nobody needs to open it anew.
    Bye,
}

impl<'a> Frame<'a> {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Frame::Hello { session, oldest } => {
                [&[HELLO, VERSION][..], &session.to_be_bytes(), &oldest.to_be_bytes()].concat()
            }
            Frame::Data { seq, ack, body } => {
                [&[DATA][..], &seq.to_be_bytes(), &ack.to_be_bytes(), body].concat()
            }
            Frame::Ack { ack } => [&[ACK][..], &ack.to_be_bytes()].concat(),
            Frame::Bye => vec![BYE],
        }
    }

    /// `None`: not a frame of this protocol; the stream is closed.
    pub fn decode(bytes: &'a [u8]) -> Option<Frame<'a>> {
        if bytes.len() > FRAME_MAX {
            return None;
        }
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            HELLO => {
                let (version, rest) = rest.split_first()?;
                let (session, rest) = number(rest)?;
                let (oldest, rest) = number(rest)?;
                (*version == VERSION && rest.is_empty()).then_some(Frame::Hello { session, oldest })
            }
            DATA => {
                let (seq, rest) = number(rest)?;
                let (ack, body) = number(rest)?;
                Some(Frame::Data { seq, ack, body })
            }
            ACK => {
                let (ack, rest) = number(rest)?;
                rest.is_empty().then_some(Frame::Ack { ack })
            }
            BYE => rest.is_empty().then_some(Frame::Bye),
            _ => None,
        }
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// LINK-1, LINK-2.
    #[test]
    fn golden_bytes() {
        let table: [(Frame, &str); 4] = [
            (Frame::Hello { session: 1, oldest: 2 }, "000100000000000000010000000000000002"),
            (Frame::Data { seq: 3, ack: 4, body: b"hi" }, "01000000000000000300000000000000046869"),
            (Frame::Ack { ack: 5 }, "020000000000000005"),
            (Frame::Bye, "03"),
        ];
        for (frame, bytes) in table {
            assert_eq!(hex::encode(frame.encode()), bytes);
            assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        }
        for bad in ["", "04", "0002", "0200", "0300", "00020000000000000001", "0200000000000000050"] {
            let bytes = hex::decode(bad).unwrap_or_else(|_| vec![9]);
            assert_eq!(Frame::decode(&bytes), None, "{bad}");
        }
        let longest = Frame::Data { seq: 3, ack: 4, body: &[7; 65_519] }.encode();
        assert!(longest.len() == 65_536 && Frame::decode(&longest).is_some());
        assert_eq!(Frame::decode(&[&longest[..], &[7]].concat()), None, "longer than a frame");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }
    }
}
