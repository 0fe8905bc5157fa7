//! How the program ends when it cannot go on: one clear sentence on standard error, and one of these codes
//! (a contract: scripts depend on it).
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done, or stopped by SIGTERM or SIGINT |
//! | 1 | anything that has no code of its own |
//! | 2 | wrong flags, a bad configuration file, a bad argument |
//! | 3 | the data directory is in use by another process |
//! | 4 | an address to listen on is taken or not ours |
//! | 5 | a key, token or store in the data directory cannot be read or written |
//! | 6 | the command needs a running peer, and none answers |
//! | 7 | the peer refused: no such account, alias or realm; wrong token |
//! | 8 | `dots receipts --verify` found a receipt that does not hold |
//! | 9 | this key runs twice: a newer incarnation of this peer was seen |

use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Other(String),
    #[error("{0}")]
    Usage(String),
    #[error(
        "the data directory {} is in use by another process; stop that one or choose another with --data", .0.display()
    )]
    InUse(PathBuf),
    #[error("cannot listen on {address}: {reason}; choose another address or port 0 (any free one)")]
    Listen { address: String, reason: String },
    #[error("{}: {reason}", path.display())]
    Data { path: PathBuf, reason: String },
    #[error("{0}; start one with `dots up`")]
    NoPeer(String),
    #[error("{0}")]
    Refused(String),
    #[error("{bad} of {all} receipts do not hold")]
    Unverified { bad: usize, all: usize },
    #[error("this key runs twice: {0}")]
    Twice(String),
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Failure::Other(_) => 1,
            Failure::Usage(_) => 2,
            Failure::InUse(_) => 3,
            Failure::Listen { .. } => 4,
            Failure::Data { .. } => 5,
            Failure::NoPeer(_) => 6,
            Failure::Refused(_) => 7,
            Failure::Unverified { .. } => 8,
            Failure::Twice(_) => 9,
        }
    }
    /// An unreadable or unwritable file of the data directory.
    pub fn data(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Failure {
        Failure::Data { path: path.into(), reason: reason.to_string() }
    }
}

impl From<dots_clients::ClientError> for Failure {
    fn from(error: dots_clients::ClientError) -> Failure {
        use dots_clients::ClientError::*;
        match error {
            Unreachable { .. } => Failure::NoPeer(error.to_string()),
            Refused { .. } => Failure::Refused(error.to_string()),
            Malformed(_) => Failure::Other(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_own_code_and_one_sentence() {
        let all = [
            Failure::Other("x".into()),
            Failure::Usage("x".into()),
            Failure::InUse("/d".into()),
            Failure::Listen { address: "a:1".into(), reason: "taken".into() },
            Failure::data("/d/peer.key", "not a key"),
            Failure::NoPeer("none".into()),
            Failure::Refused("no".into()),
            Failure::Unverified { bad: 1, all: 2 },
            Failure::Twice("p".into()),
        ];
        for (i, failure) in all.iter().enumerate() {
            assert_eq!(usize::from(failure.code()), i + 1);
            assert!(!failure.to_string().contains('\n'));
        }
    }
}
