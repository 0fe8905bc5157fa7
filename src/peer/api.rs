//! What the HTTP API may ask of a running peer. Replies are the JSON values that `dots_clients::types` describes.

use dots_trust::account::Account;

#[derive(Clone, Debug)]
pub enum Request {
    Status,
    Peers,
    Bindings,
    Lookup { aor: String },
    Calls,
    Receipts { verify: bool },
    AccountPut { account: Account },
    AccountRemove { aor: String },
    Aliases,
    AliasPut { alias: String, target: String },
    AliasRemove { alias: String },
    Realms,
    RealmPin { name: String, key: String },
    RealmForget { name: String },
}

/// HTTP status and a JSON body; lists are whole arrays here and are cut into pages by the HTTP layer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: serde_json::Value,
}
