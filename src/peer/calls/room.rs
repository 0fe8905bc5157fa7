//! Room for calls, ringing and up: each is charged to whoever called, before it is listed. It is never taken back, so a cause
//! that is over its share has calls that are carried, but neither listed nor receipted; and nobody else has.

use dots_wire::bounded::{Book, Cause, Limits, OverShare};

/// A call with its names, its grants' hashes and its place in the tables; about 2.5 KiB at the most. What our own phones began has
/// a part for itself, and one of them no more than its share of that ([`super::Calls`]).
pub(crate) const LIMITS: Limits =
    Limits::new(if cfg!(test) { 2 << 20 } else { 32 << 20 }, if cfg!(test) { 1_000 } else { 16_000 })
        .reserving([0, 300, 150, 0]);

pub(super) struct Room(Book);

impl Default for Room {
    fn default() -> Room {
        Room(Book::new(LIMITS))
    }
}

/// What one call takes. It is given back, not dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Place(Cause);

impl Place {
    pub fn cause(&self) -> Cause {
        self.0
    }
}

impl Room {
    pub fn take(&mut self, cause: Cause) -> Result<Place, OverShare> {
        let weight = self.0.weight(0);
        self.0.admits(cause, weight)?;
        self.0.charge(cause, weight);
        Ok(Place(cause))
    }

    pub fn give_back(&mut self, place: Place) {
        self.0.discharge(place.0, self.0.weight(0));
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.bytes() == 0
    }
}
