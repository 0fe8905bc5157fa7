//! What the HTTP API may ask of a running peer. A body is one of `dots_clients::types`, or a list of one of them: it becomes
//! JSON here and nowhere else.

use dots_clients::types::Problem;
use dots_trust::account::Account;
use serde::Serialize;
use std::fmt;

/// A question that found no room.
pub const TOO_BUSY: &str = "too busy: try again in a moment";

#[derive(Clone, Debug)]
pub enum Request {
    Status,
    Peers,
    Bindings,
    Lookup {
        aor: String,
    },
    Calls,
    Receipts {
        verify: bool,
    },
    /// An account, as an import has made it: only what is changed.
    AccountPut {
        account: Account,
    },
    /// A new account, or another password for one that is there.
    AccountWanted {
        aor: String,
        password: Password,
        roaming: Option<bool>,
    },
    AccountRemove {
        aor: String,
    },
    Aliases,
    AliasPut {
        alias: String,
        target: String,
    },
    AliasRemove {
        alias: String,
    },
    Realms,
    RealmPin {
        name: String,
        key: String,
    },
    RealmForget {
        name: String,
    },
}

/// Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// HTTP status and a JSON body; lists are whole arrays here and are cut into pages by the HTTP layer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: serde_json::Value,
}

impl Reply {
    /// 200 with this body.
    pub fn good(body: &impl Serialize) -> Reply {
        match serde_json::to_value(body) {
            Ok(body) => Reply { status: 200, body },
            Err(e) => Reply::problem(500, format!("the answer cannot be written: {e}")),
        }
    }

    /// What was wrong and what to do, in one sentence.
    pub fn problem(status: u16, error: impl Into<String>) -> Reply {
        let body = serde_json::to_value(Problem { error: error.into() });
        Reply { status, body: body.expect("a problem is one line of text") }
    }
}
