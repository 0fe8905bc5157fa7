//! Small durable facts that an operator says: records of the segment stream "realms". Version 1.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    Alias { version: u8, alias: String, target: String },
    AliasGone { version: u8, alias: String },
}

pub const VERSION: u8 = 1;
