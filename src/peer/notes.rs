//! Small durable facts: what an operator says, whom we have come to believe, and where accounts of ours were right. Records of the segment stream
//! "realms" (DISK-11). Version 1.

use dots_overlay::names::{Change, Realms};
use dots_trust::brakes::Familiar;
use dots_wire::{decode, encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    Alias {
        version: u8,
        alias: String,
        target: String,
    },
    AliasGone {
        version: u8,
        alias: String,
    },
    Realm {
        version: u8,
        change: Change,
    },
    /// An account of ours proved its password through another peer.
    Been {
        version: u8,
        familiar: Familiar,
    },
}

pub const VERSION: u8 = 1;

/// What all notes together say.
#[derive(Default)]
pub struct Said {
    pub aliases: BTreeMap<String, String>,
    pub realms: Realms,
    /// The last word of each place.
    pub been: BTreeMap<(u64, u64), Familiar>,
}

pub fn replay(records: &[Vec<u8>]) -> Said {
    let mut said = Said::default();
    for record in records {
        match decode::<Note>(record) {
            Ok(Note::Alias { version: VERSION, alias, target }) => {
                said.aliases.insert(alias, target);
            }
            Ok(Note::AliasGone { version: VERSION, alias }) => {
                said.aliases.remove(&alias);
            }
            Ok(Note::Realm { version: VERSION, change }) => said.realms.replay(change),
            Ok(Note::Been { version: VERSION, familiar }) => {
                said.been.insert(familiar.name(), familiar);
            }
            Ok(_) | Err(_) => tracing::warn!("a record of the realms stream could not be read"),
        }
    }
    said
}

/// The same, in as few records as it takes.
pub fn compacted(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let said = replay(records);
    let aliases = said.aliases.iter().map(|(a, t)| Note::Alias {
        version: VERSION,
        alias: a.clone(),
        target: t.clone(),
    });
    let realms = said.realms.snapshot().map(|change| Note::Realm { version: VERSION, change });
    let been = said.been.values().map(|familiar| Note::Been { version: VERSION, familiar: *familiar });
    aliases.chain(realms).chain(been).map(|note| encode(&note)).collect()
}
