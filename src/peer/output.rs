//! Everything that a peer asks of its driver.

use dots_overlay::transport::NetCommand;
use dots_sip::Flow;
use dots_trust::account::Account;

#[derive(Clone, Debug)]
pub enum Output {
    SipSend {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// An account has answered a challenge on this connection: it is no stranger's any more.
    SipProved {
        flow: Flow,
    },
    Net(NetCommand),
    /// Append one record to a segment stream. `sync`: answer `Input::Appended` only after fdatasync (group commit);
    /// else after write(2), and sync within 100 ms.
    Append {
        token: u64,
        stream: Stream,
        record: Vec<u8>,
        sync: bool,
    },
    /// Replace a stream's records by these, atomically and in order with the appends around it: what is still live.
    Rewrite {
        stream: Stream,
        records: Vec<Vec<u8>>,
    },
    GetAccount {
        id: u64,
        aor: String,
    },
    PutAccount {
        id: u64,
        account: Account,
    },
    RemoveAccount {
        id: u64,
        aor: String,
    },
    /// Ask DNS for the TXT records of this name.
    LookupTxt {
        id: u64,
        name: String,
    },
    Api {
        id: u64,
        reply: super::api::Reply,
    },
    Count(&'static str),
    /// The peer must not go on (its key runs twice): say so and stop.
    Fatal(String),
}

/// The append-only truths of a peer; a directory of segment files each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Accounts: written by the account store, not by `Append`.
    Accounts,
    /// Binding journal: `BindingChange`s, local and unsigned.
    Bindings,
    /// Signed log entries, our own and foreign.
    Log,
    /// Receipts, half-signed and whole.
    Receipts,
    /// Realm records, pins and aliases.
    Realms,
}

impl Stream {
    pub const ALL: [Stream; 5] =
        [Stream::Accounts, Stream::Bindings, Stream::Log, Stream::Receipts, Stream::Realms];
    /// The directory's name.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Accounts => "accounts",
            Stream::Bindings => "bindings",
            Stream::Log => "log",
            Stream::Receipts => "receipts",
            Stream::Realms => "realms",
        }
    }
}
