//! Who may say what, sans-IO: whose a realm is, who proved a password, what a home's word allows, and to whom.
//!
//! Everything above (the log, the directory, the SIP core, the HTTP API) asks here and decides none of it. No clock, no
//! disk, no network: time and chance come in as arguments.

pub mod account;
pub mod accounts;
pub mod answer;
pub mod brakes;
pub mod digest;
pub mod grant;
pub mod guest;
pub mod homes;
pub mod judge;
pub mod lease;
pub mod names;
pub mod records;
pub mod roaming;
pub mod tables;
mod uri;
pub mod used;
pub mod visitors;

/// What a stranger may send instead of a record: for the tests beside each type.
#[cfg(test)]
#[path = "../../wire/tests/hostile/mod.rs"]
mod hostile;
