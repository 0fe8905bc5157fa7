//! What the HTTP API answers, as types. Field names are the JSON names; times are UTC milliseconds, durations say
//! their unit. A list is `{ "<last word of the path>": […], "next": "<cursor>" | null }`: pass `next` as `?after=`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/status`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Status {
    pub peer_id: String,
    pub version: String,
    pub network: String,
    /// The realm that a bare IP or host name means.
    pub default_realm: String,
    /// Every realm for which this peer is home.
    pub realms: Vec<String>,
    pub started_at_ms: u64,
    pub sip: Vec<String>,
    pub p2p: Vec<String>,
    pub http: String,
    /// Connected peers.
    pub peers: u64,
    /// Peers of this network that were met within a quarter of an hour and speak only another version of its protocols.
    #[serde(default)]
    pub old_peers: u64,
    /// Phones registered at this peer.
    pub bindings: u64,
    /// Bindings of others in the directory.
    pub directory: u64,
    pub calls_active: u64,
    pub receipts: u64,
    /// What an operator should know and do something about.
    pub warnings: Vec<String>,
}

/// One of `GET /v1/peers`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct PeerInfo {
    pub peer_id: String,
    pub addresses: Vec<String>,
    pub connected: bool,
    /// The program that it runs, in its own words.
    pub agent: String,
    pub since_ms: u64,
    /// Round trip of the last ping.
    pub rtt_us: Option<u64>,
    /// Realms for which it is a home.
    pub realms: Vec<String>,
    /// The newest log entry of it that this peer holds.
    pub log_seq: Option<u64>,
}

/// One of `GET /v1/bindings`: a phone registered at this peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct BindingInfo {
    pub aor: String,
    pub instance: String,
    pub contact: String,
    /// `UDP 192.0.2.7:5060`
    pub flow: String,
    /// 0 to 1000.
    pub q: u16,
    pub expires_at_ms: u64,
    /// `pending`, `verified`, `unpingable` or `stale`.
    pub state: String,
}

/// `GET /v1/lookup/{aor}`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LookupInfo {
    pub aor: String,
    /// On a home's word; `null` where no home has answered.
    pub exists: Option<bool>,
    pub bindings: Vec<LookupBinding>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LookupBinding {
    pub serving: String,
    /// Hash of the instance; the instance itself only where the phone is registered here.
    pub instance: String,
    pub until_ms: u64,
    /// `own`, `directory`, `home` or `dht`.
    pub source: String,
    /// `pending`, `verified`, `unpingable` or `stale`.
    pub state: String,
    pub attests: Vec<AttestInfo>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AttestInfo {
    pub by: String,
    /// `serving-alive`, `phone-signed` or `callee-seen`.
    pub kind: String,
    pub at_ms: u64,
    /// What the ping saw: `alive`, `silent`, `unpingable` (never answered one) or `gone`.
    pub outcome: String,
}

/// One of `GET /v1/calls`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CallInfo {
    /// SIP Call-ID.
    pub call_id: String,
    pub from: String,
    pub to: String,
    /// `ringing`, `up`, `ended` or `failed`.
    pub state: String,
    pub started_at_ms: u64,
    pub answered_at_ms: Option<u64>,
    pub ended_at_ms: Option<u64>,
    pub duration_ms: Option<u64>,
    /// How it ended: `bye`, or the final status.
    pub cause: Option<String>,
    /// `e2e`, `peers-could-read` or `plain`.
    pub media: String,
    /// Receipt of this call, where there is one.
    pub receipt: Option<String>,
    pub warnings: Vec<String>,
}

/// One of `GET /v1/receipts`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReceiptInfo {
    /// Hex of H(nonce_A, nonce_B).
    pub call_id: String,
    /// `whole`: both signatures; `half`: ours only, being retried; `refused`.
    pub state: String,
    pub originating: String,
    pub terminating: String,
    pub start_ms: u64,
    pub duration_ms: u64,
    pub cause: String,
    /// Only with `?verify=true`: whether both signatures and every rule hold.
    pub verified: Option<bool>,
    pub error: Option<String>,
}

/// One of `GET /v1/aliases`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AliasInfo {
    pub alias: String,
    pub target: String,
}

/// One of `GET /v1/realms`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RealmInfo {
    pub name: String,
    pub key: String,
    /// `own`, `self-certifying`, `pinned`, `dns` or `unclaimed`.
    pub belief: String,
    pub homes: Vec<String>,
    pub seq: u64,
    pub valid_until_ms: u64,
    /// Other keys that were heard for this name and are not believed.
    pub rivals: Vec<String>,
}

/// One of `GET /v1/accounts`: never a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AccountInfo {
    pub aor: String,
    pub roaming: bool,
    pub changed_at_ms: u64,
}

/// `PUT /v1/accounts/{aor}`, and one of `POST /v1/accounts/import`. The password is digested and forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// Only in an import; else the path names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aor: Option<String>,
    pub password: String,
    /// May it register at other peers? Unsaid, it stays as it is; a new account may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roaming: Option<bool>,
}

/// `POST /v1/accounts/import`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountImport {
    pub accounts: Vec<AccountChange>,
}

/// The answer to `POST /v1/accounts/import`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Imported {
    /// Accounts that are there now, as they were imported; 0 where it was only a check.
    pub imported: u64,
    /// Accounts that were there with another password, or other rights.
    pub differ: Vec<String>,
}

/// `PUT /v1/aliases/{alias}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasChange {
    pub target: String,
}

/// `PUT /v1/realms/{name}`: pins the name to this key (hex).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RealmChange {
    pub key: String,
}

/// The answer to any change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Changed {
    /// There was one before.
    pub existed: bool,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Problem {
    /// One sentence: what was wrong and what to do.
    pub error: String,
}
