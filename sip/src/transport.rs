//! The transports as rows of one table: what stands in a Via, in a URI, in tokens and on disk, and what each can do. Another
//! transport is another row, and a driver that carries it.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Udp,
    Tcp,
}

struct Row {
    transport: Transport,
    /// In tokens and on disk: never given to another.
    code: u8,
    /// Via's name for it (RFC 3261 §20.42).
    via: &'static str,
    /// The value of a URI's `transport` (§19.1.1); `None`: what is meant where nothing stands.
    parameter: Option<&'static str>,
    is_reliable: bool,
    is_secure: bool,
}

const ROWS: [Row; 2] = [
    Row {
        transport: Transport::Udp,
        code: b'u',
        via: "UDP",
        parameter: None,
        is_reliable: false,
        is_secure: false,
    },
    Row {
        transport: Transport::Tcp,
        code: b't',
        via: "TCP",
        parameter: Some("tcp"),
        is_reliable: true,
        is_secure: false,
    },
];

impl Transport {
    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub const fn code(self) -> u8 {
        self.row().code
    }

    pub fn of_code(code: u8) -> Option<Transport> {
        ROWS.iter().find(|row| row.code == code).map(|row| row.transport)
    }

    /// As in a Via header: `UDP`, `TCP`.
    pub const fn as_str(self) -> &'static str {
        self.row().via
    }

    /// The value of a URI's `transport` parameter; `None` where it needs none.
    pub const fn parameter(self) -> Option<&'static str> {
        self.row().parameter
    }

    /// RFC 3261 §17: the timers that repeat a message run only where the transport may lose it. What is reliable runs over a
    /// connection, which has an end.
    pub const fn is_reliable(self) -> bool {
        self.row().is_reliable
    }

    /// Nobody on the way reads it (§26.2.2: what `sips` asks for).
    pub const fn is_secure(self) -> bool {
        self.row().is_secure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_stands_in_its_row_and_no_code_or_name_twice() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.transport as usize, index);
            assert_eq!(Transport::of_code(row.code), Some(row.transport));
            let same = |other: &&Row| {
                other.code == row.code || other.via == row.via || other.parameter == row.parameter
            };
            assert_eq!(ROWS.iter().filter(same).count(), 1);
        }
        assert_eq!(Transport::of_code(0), None);
        assert_eq!((Transport::Udp.parameter(), Transport::Tcp.parameter()), (None, Some("tcp")));
        assert!(!Transport::Udp.is_reliable() && Transport::Tcp.is_reliable());
        assert!(!Transport::Tcp.is_secure());
    }
}
