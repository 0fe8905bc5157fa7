//! Everything that can happen to a peer.

use dots_overlay::transport::NetEvent;
use dots_sip::Flow;
use dots_trust::{account::Account, judge::StoreDown};

#[derive(Clone, Debug)]
pub enum Input {
    /// One whole SIP message from a phone.
    Sip {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// These headers came on a connection whose bytes cannot be told apart from there on; it ends.
    SipUnframed {
        flow: Flow,
        head: Vec<u8>,
    },
    FlowClosed {
        flow: Flow,
    },
    Net(NetEvent),
    /// `Output::Append` with this token is written (and synced, where that was asked).
    Appended {
        token: u64,
    },
    /// Answers `Output::GetAccount`. A store that cannot be read says nothing about anybody.
    Account {
        id: u64,
        account: Result<Option<Account>, StoreDown>,
    },
    /// Answers `Output::PutAccount` / `RemoveAccount`: durable. `existed`: there was one before.
    AccountStored {
        id: u64,
        existed: bool,
    },
    /// The store could not do what `Output::PutAccount` / `RemoveAccount` asked.
    AccountFailed {
        id: u64,
    },
    /// This machine's addresses and names, where they have changed (`Config::own_hosts`).
    OwnHosts {
        hosts: Vec<String>,
    },
    /// The program ends: nothing new begins, what is under way may finish.
    Drain,
    /// Answers `Output::LookupTxt`; empty where DNS says nothing.
    Txt {
        id: u64,
        records: Vec<String>,
    },
    /// Somebody at the HTTP API asks; answer with `Output::Api` of the same id.
    Api {
        id: u64,
        request: super::api::Request,
    },
}
