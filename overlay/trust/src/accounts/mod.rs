//! The accounts of a home: which names they may have, what makes one, what an import may change, what a change voids, and the
//! numbered log of all changes.
//!
//! Whoever changes an account (the HTTP API, the command line beside a peer that stands still, a second home later) asks
//! here, so that all of them decide alike; whoever keeps accounts only writes down what came of it.

mod change;
mod credential;
mod rules;
#[cfg(test)]
mod tests;

pub use change::{Change, Numbers, Tombstone, Voided, is_void};
pub use credential::{BadAccount, account, account_of_ha1, ascii_realm, canonical, is_like_ha1};
pub use rules::{Home, Imported, Outcome, Wanted, Wrong};
