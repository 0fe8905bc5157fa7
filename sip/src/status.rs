//! Status codes that we write ourselves, each with its reason phrase (RFC 3261 §21).

/// A status and its phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16, pub &'static str);

pub const TRYING: Status = Status(100, "Trying");
pub const OK: Status = Status(200, "OK");
pub const BAD_REQUEST: Status = Status(400, "Bad Request");
pub const FORBIDDEN: Status = Status(403, "Forbidden");
/// This peer serves phones of its own realms alone.
pub const OTHER_REALMS: Status = Status(403, "Only Phones Of Our Realms");
pub const NOT_FOUND: Status = Status(404, "Not Found");
pub const METHOD_NOT_ALLOWED: Status = Status(405, "Method Not Allowed");
pub const REQUEST_TIMEOUT: Status = Status(408, "Request Timeout");
pub const UNSUPPORTED_URI_SCHEME: Status = Status(416, "Unsupported URI Scheme");
pub const BAD_EXTENSION: Status = Status(420, "Bad Extension");
pub const TEMPORARILY_UNAVAILABLE: Status = Status(480, "Temporarily Unavailable");
pub const NO_SUCH_DIALOG: Status = Status(481, "Call/Transaction Does Not Exist");
pub const LOOP_DETECTED: Status = Status(482, "Loop Detected");
pub const TOO_MANY_HOPS: Status = Status(483, "Too Many Hops");
pub const REQUEST_TERMINATED: Status = Status(487, "Request Terminated");
pub const SERVER_INTERNAL_ERROR: Status = Status(500, "Server Internal Error");
pub const SERVICE_UNAVAILABLE: Status = Status(503, "Service Unavailable");
pub const VERSION_NOT_SUPPORTED: Status = Status(505, "Version Not Supported");

/// The finals that a proxy makes up where no branch gave one (§16.7 step 6, §16.8).
pub fn of(code: u16) -> Status {
    const OWN: [Status; 6] = [
        REQUEST_TIMEOUT,
        TEMPORARILY_UNAVAILABLE,
        REQUEST_TERMINATED,
        SERVER_INTERNAL_ERROR,
        FORBIDDEN,
        SERVICE_UNAVAILABLE,
    ];
    OWN.into_iter().find(|status| status.0 == code).unwrap_or(Status(code, "Failed"))
}
