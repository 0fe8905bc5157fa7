//! What an author says in his log: events, and the words of a serving peer about a phone that a verifier had pinged.

use super::entry::NO_REALM;
use dots_wire::{Hash, Label20, PeerId, SharedBytes, Signed, Timestamp};
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub const PING_DOMAIN: &str = "dots/ping/1";

/// What an author says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Bind(Bind),
    Unbind(Unbind),
    Presence(Presence),
    Attest(Attest),
    Revoke(Revoke),
    Checkpoint(Checkpoint),
}

/// What one entry says, or the part of it that came later than the rest.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub author: PeerId,
    pub time: Timestamp,
    pub events: &'a [Event],
    /// How many more there were, and of which realms.
    pub dropped: u32,
    pub lost: &'a [Label20],
}

/// "This phone is registered here." The author is the serving peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Bind {
    pub aor_id: Hash,
    pub realm: Label20,
    pub instance: Hash,
    /// The end of the grant.
    pub until: Timestamp,
    /// The home's word; none where the author is the home.
    pub grant: Option<SharedBytes>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Unbind {
    pub aor_id: Hash,
    pub instance: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Presence {
    pub aor_id: Hash,
    pub owner: PeerId,
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttestKind {
    ServingAlive,
    PhoneSigned,
    CalleeSeen,
}

/// "I had this binding pinged, and this came back." The author is the verifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Attest {
    pub kind: AttestKind,
    /// The serving peer's signed [`PingOutcome`].
    pub proof: Signed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Life {
    /// The phone answered, whatever it said.
    Alive,
    /// It answered before, and did not now.
    Silent,
    /// It has never answered an OPTIONS; some phones do not.
    Unpingable,
    /// Not registered here (any more).
    Gone,
}

impl Life {
    pub fn as_str(self) -> &'static str {
        match self {
            Life::Alive => "alive",
            Life::Silent => "silent",
            Life::Unpingable => "unpingable",
            Life::Gone => "gone",
        }
    }
}

/// The serving peer's signed answer to a verifier's challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PingOutcome {
    pub version: u8,
    pub serving: PeerId,
    pub verifier: PeerId,
    pub aor_id: Hash,
    pub instance: Hash,
    pub challenge: Hash,
    pub life: Life,
    pub time: Timestamp,
}

/// Grants for this AOR from before this time are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Revoke {
    pub aor_id: Hash,
    pub before: Timestamp,
}

/// The author's live bindings by their [`Event::Bind`] bytes: within a realm sorted by (aor_id, instance), the realms as in
/// an entry. So presence and absence can be proved to who keeps that realm alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Checkpoint {
    pub root: Hash,
    pub count: u32,
}

impl Event {
    /// Whose event it is by itself: the realm that is charged for it.
    pub fn realm(&self) -> Label20 {
        match self {
            Event::Bind(bind) => bind.realm,
            _ => NO_REALM,
        }
    }

    /// LOG-1a: does it count in the group of this realm? A binding is charged to its own realm, and what an author says for
    /// himself stands where nobody may drop it.
    pub fn counts_in(&self, group: Label20) -> bool {
        match self {
            Event::Bind(bind) => bind.realm == group,
            Event::Checkpoint(_) | Event::Revoke(_) => group == NO_REALM,
            Event::Unbind(_) | Event::Attest(_) | Event::Presence(_) => true,
        }
    }
}
