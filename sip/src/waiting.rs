//! Requests without credentials that wait for a nonce of their realm's home: they hold no transaction yet, and nobody has
//! proved anything. Room is taken by the network that sends them, so a flood for a home that is slow to answer takes the
//! challenges of others neither here nor there.

use crate::{
    hop::Hop,
    limits::{CHALLENGE_BYTES_MAX, CHALLENGES_MAX},
    transaction::{NewRequest, Standing},
};
use dots_wire::bounded::{self, Book, Cause, Limits};

/// What a session takes beside its request.
const SESSION_BYTES: usize = 1_024;
/// A quarter is for phones that are registered here.
pub(crate) const LIMITS: Limits = Limits::new(CHALLENGE_BYTES_MAX, CHALLENGES_MAX).reserving([0, 0, 250, 0]);

/// Whose room a request takes while it waits, and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    cause: Cause,
    weight: usize,
}

pub(crate) struct Waiting(Book);

impl Waiting {
    pub fn new() -> Waiting {
        Waiting(Book::new(LIMITS))
    }

    /// Is there room for this phone's request?
    pub fn admit(&self, new: &NewRequest, standing: Standing) -> Option<Wait> {
        let Hop::Phone(flow) = &new.hop else { return None };
        let standing = match standing {
            Standing::Known => bounded::Standing::Met,
            Standing::Stranger => bounded::Standing::Other,
        };
        let weight = self.0.weight(new.request.raw().len() + SESSION_BYTES);
        let wait = Wait { cause: Cause::new(standing).from(flow.remote.ip()), weight };
        self.0.admits(wait.cause, weight).is_ok().then_some(wait)
    }

    pub fn begin(&mut self, wait: Wait) {
        self.0.charge(wait.cause, wait.weight);
    }

    pub fn end(&mut self, wait: Wait) {
        self.0.discharge(wait.cause, wait.weight);
    }
}
