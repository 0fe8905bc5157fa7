//! The bounds of what we read. Nothing grows with what a stranger sends.

/// A whole message: what fits one datagram, and what a TCP phone may send.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// Header lines in one message.
pub const HEADERS_MAX: usize = 256;
/// Route / Record-Route values that we look at.
pub const ROUTES_MAX: usize = 70;
