//! The bindings that this peer serves, in memory.
//!
//! Each is one packed [`Row`] with a number. Three indexes answer the questions for which a full scan would be too slow:
//! who is bound to an AOR, what ends next, and what hung on the connection that just closed. An index entry is 64 bits (a
//! keyed hash, or a moment) and the row's number, so nobody outside can aim at one place, and whatever two names share a
//! hash are told apart by the row itself. Nothing is ever listed in the order of hashes: rows stand in the order in which
//! their phones first came. The table is changed only through [`Bindings::apply`], with the very change that goes into the
//! journal, so that replaying the journal rebuilds it.
//!
//! A binding is a promise: whether there is room is decided before its 200, and nothing is taken back. The table has a
//! limit in bytes; half of it is for accounts of our own realms, and of the rest no network, realm or account gets so much
//! that others find nothing ([`Book`]). A phone that refreshes what it has is never refused.
//!
//! A binding whose TCP connection is gone stays: the lease is the phone's, and the phone comes back with the same
//! instance on a new connection. Until then it is listed, but not *reachable*: calls do not wait 32 s on a dead
//! socket (RFC 5626 §5.3: 430).

use super::{
    Binding, BindingChange, Bound,
    row::{Marks, Row},
};
use crate::{Flow, address::realm_of, ids::Secret, listening::Listening};
use dots_wire::bounded::{Book, Cause, Limits, OverShare, Standing};
use smallvec::SmallVec;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Phones of one account: enough for a household, and the 200 that lists them all still fits a datagram.
pub const MAX_CONTACTS_PER_AOR: usize = 10;

/// All bindings together; half is for accounts of our own realms. A usual one takes 400 bytes, the largest 3 KiB.
pub const BINDINGS: Limits = Limits::new(64 << 20, 1 << 17).reserving([500, 0, 0, 0]);
/// The largest that the registrar lets in ([`super::request`]), so that these many of the largest still fit.
const _: () = assert!(BINDINGS.bytes / (4 << 10) >= 16_384);

/// What a row costs beside its own allocation: its place, three index entries, and what trees leave empty.
const ROW_BYTES: usize = size_of::<Option<Row>>() + 3 * 28 + 16;
/// Places are made so many at a time, or a sixteenth of those that are there.
const PLACES: usize = 256;

/// An index entry: a hash or a moment, and the number of the row.
type Entry = (u64, u32);

pub struct Bindings {
    /// By number; a free one is used again.
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    by_aor: BTreeSet<Entry>,
    by_expiry: BTreeSet<Entry>,
    /// Of those whose flow can be written to.
    by_flow: BTreeSet<Entry>,
    book: Book,
    /// Counts what was put: the order of refreshes.
    puts: u64,
    secret: Secret,
}

/// Why a change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// [`MAX_CONTACTS_PER_AOR`].
    Contacts,
    /// Whose part of the table is used up.
    Share(OverShare),
}

impl Bindings {
    /// `secret`: under which names are hashed.
    pub(crate) fn new(secret: Secret) -> Bindings {
        Bindings::with_limits(secret, BINDINGS)
    }

    fn with_limits(secret: Secret, limits: Limits) -> Bindings {
        Bindings {
            rows: Vec::new(),
            free: Vec::new(),
            by_aor: BTreeSet::new(),
            by_expiry: BTreeSet::new(),
            by_flow: BTreeSet::new(),
            book: Book::new(limits),
            puts: 0,
            secret,
        }
    }

    pub fn len(&self) -> usize {
        self.by_aor.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_aor.is_empty()
    }

    /// What they are charged, all together.
    pub fn bytes(&self) -> usize {
        self.book.bytes()
    }

    /// All bindings of an AOR, in the order in which they first came.
    pub fn of(&self, aor: &str) -> impl Iterator<Item = Bound<'_>> {
        self.numbers_of(aor).map(|number| self.row(number).bound())
    }

    /// A short name of an AOR, under which others may remember it; nobody outside can aim at it.
    pub fn name_of(&self, aor: &str) -> u64 {
        self.hash("aor", aor.as_bytes())
    }

    /// All bindings of the AORs of this name: nearly always of one.
    pub fn named(&self, name: u64) -> impl Iterator<Item = Bound<'_>> {
        self.by_aor.range((name, 0)..=(name, u32::MAX)).map(|(_, number)| self.row(*number).bound())
    }

    /// Places in the table, free ones too, and what stands in some of them: for who looks at all, a part at a time.
    pub fn places(&self) -> usize {
        self.rows.len()
    }
    pub fn in_places(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = Bound<'_>> {
        let rows = self.rows.iter().skip(places.start).take(places.len());
        rows.flatten().map(Row::bound)
    }

    /// Those that a request can be sent to now, best `q` first.
    pub fn reachable(&self, aor: &str, now_ms: u64) -> Vec<Bound<'_>> {
        let mut found: Vec<Bound<'_>> =
            self.of(aor).filter(|bound| bound.is_reachable() && bound.expires_at_ms > now_ms).collect();
        found.sort_by_key(|bound| std::cmp::Reverse(bound.q));
        found
    }

    pub fn by_instance(&self, aor: &str, instance: &str) -> Option<Bound<'_>> {
        self.number(aor, instance).map(|number| self.row(number).bound())
    }

    pub fn is_reachable(&self, aor: &str, instance: &str) -> bool {
        self.by_instance(aor, instance).is_some_and(|bound| bound.is_reachable())
    }

    /// The phone answered there. Nothing, if it is bound no more.
    pub(super) fn set_listens(&mut self, aor: &str, instance: &str, at: Listening) {
        let Some(number) = self.number(aor, instance) else { return };
        let bound = self.row(number).bound();
        let marks = Marks { is_open: bound.is_open, is_own: bound.is_own, refreshed: bound.refreshed };
        let binding = Binding { listens: Some(at), ..bound.to_binding() };
        // It takes no byte more: its weight stays.
        *self.place(number) = Some(Row::pack(&binding, marks));
    }

    /// The bindings that were registered over this flow and are still served by it.
    pub fn by_flow(&self, flow: &Flow) -> impl Iterator<Item = Bound<'_>> {
        let flow = *flow;
        let hash = self.hash_of_flow(&flow);
        let entries = self.by_flow.range((hash, 0)..=(hash, u32::MAX));
        let rows = entries.map(|(_, number)| self.row(*number));
        rows.filter(move |row| row.flow() == flow).map(Row::bound)
    }

    /// Is a phone registered over this flow, and still served by it?
    pub fn is_bound(&self, flow: &Flow) -> bool {
        let hash = self.hash_of_flow(flow);
        self.by_flow.range((hash, 0)..=(hash, u32::MAX)).any(|(_, number)| self.row(*number).flow() == *flow)
    }

    /// The connection is gone: what hung on it stays bound but cannot be reached on it. The count is what was cut off.
    /// A datagram "flow" cannot close; one refused datagram (ICMP) is no proof, so UDP bindings keep their state.
    pub fn flow_closed(&mut self, flow: &Flow) -> usize {
        // Number 0 is no connection, but the way to an address.
        if !flow.transport.is_reliable() || flow.connection == 0 {
            return 0;
        }
        let hash = self.hash_of_flow(flow);
        let entries = self.by_flow.range((hash, 0)..=(hash, u32::MAX));
        let cut: Vec<Entry> =
            entries.filter(|(_, number)| self.row(*number).flow() == *flow).copied().collect();
        for entry in &cut {
            self.by_flow.remove(entry);
            self.place(entry.1).as_mut().expect("an index names rows that are there").mark_closed();
        }
        cut.len()
    }

    /// Makes the change, or nothing of it. `is_own`: the AOR is of a realm of ours.
    pub fn apply(&mut self, change: &BindingChange, is_own: bool) -> Result<(), NoRoom> {
        assert!(change.put.iter().all(|binding| binding.aor == change.aor), "a change is of one AOR");
        let again = |at: usize, one: &str| change.put.iter().skip(at + 1).any(|other| other.instance == one);
        let mut instances = change.put.iter().map(|binding| binding.instance.as_str()).enumerate();
        assert!(!instances.any(|(at, one)| again(at, one)), "a change puts each phone once");
        let puts = |instance: &[u8]| change.put.iter().any(|put| put.instance.as_bytes() == instance);
        let named = |instance: &[u8]| {
            puts(instance) || change.removed.iter().any(|removed| removed.as_bytes() == instance)
        };
        let before: SmallVec<[u32; 4]> = self.numbers_of(&change.aor).collect();
        let leaving = before.iter().copied().filter(|n| named(self.row(*n).instance()));
        let leaving: SmallVec<[u32; 4]> = leaving.collect();
        let after = before.len() - leaving.len() + change.put.len();
        // A refresh or a removal is never refused for want of room.
        if after > before.len() && after > MAX_CONTACTS_PER_AOR {
            return Err(NoRoom::Contacts);
        }
        let rows: SmallVec<[Row; 2]> = change
            .put
            .iter()
            .map(|binding| {
                self.puts += 1;
                Row::pack(binding, Marks { is_open: true, is_own, refreshed: self.puts })
            })
            .collect();
        self.account(&leaving, &rows)?;
        for number in leaving {
            if !puts(self.row(number).instance()) {
                self.take_out(number);
            }
        }
        for row in rows {
            self.put_in(row);
        }
        Ok(())
    }

    /// A live binding from the journal. It was promised, so of all limits only that of the whole table counts. Its TCP
    /// connection died with the process that wrote it (and the number of that connection may be given anew), so only UDP
    /// bindings are reachable before the phone's next REGISTER.
    #[must_use]
    pub fn restore(&mut self, binding: &Binding, is_own: bool) -> bool {
        let is_open = !binding.flow.transport.is_reliable();
        self.puts += 1;
        let row = Row::pack(binding, Marks { is_open, is_own, refreshed: self.puts });
        let (cause, weight) = self.cost(&row);
        let is_full = self.book.admits(cause, weight) == Err(OverShare::Standing);
        let is_held = self.number(&binding.aor, &binding.instance).is_some();
        if is_full || is_held || self.numbers_of(&binding.aor).count() >= MAX_CONTACTS_PER_AOR {
            return false;
        }
        self.book.charge(cause, weight);
        self.put_in(row);
        true
    }

    /// When the next binding ends.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// Takes out what has ended by `now_ms`, `most` of it: one change per AOR, in the order of their first end.
    pub fn expire(&mut self, now_ms: u64, most: usize) -> Vec<BindingChange> {
        let mut changes: Vec<BindingChange> = Vec::new();
        let mut index: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..most {
            let due = self.by_expiry.first().copied().filter(|(at, _)| *at <= now_ms);
            let Some((_, number)) = due else { break };
            let bound = self.row(number).bound();
            let (aor, instance) = (bound.aor.to_owned(), bound.instance.to_owned());
            let (cause, weight) = self.cost(self.row(number));
            self.book.discharge(cause, weight);
            self.take_out(number);
            let slot = *index.entry(aor.clone()).or_insert_with(|| {
                changes.push(BindingChange { aor, put: Vec::new(), removed: Vec::new() });
                changes.len() - 1
            });
            if let Some(change) = changes.get_mut(slot) {
                change.removed.push(instance);
            }
        }
        changes
    }

    /// All bindings, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = Bound<'_>> {
        self.rows.iter().flatten().map(Row::bound)
    }

    /// Charges `rows` in the place of those that leave, or changes nothing.
    fn account(&mut self, leaving: &[u32], rows: &[Row]) -> Result<(), NoRoom> {
        let given_back: SmallVec<[(Cause, usize); 2]> =
            leaving.iter().map(|n| self.cost(self.row(*n))).collect();
        for (cause, weight) in &given_back {
            self.book.discharge(*cause, *weight);
        }
        // A promise that is renewed and no larger has its room already: those come first.
        let renews = |row: &Row, (cause, weight): (Cause, usize)| {
            leaving.iter().zip(&given_back).any(|(number, (held_by, held))| {
                self.row(*number).instance() == row.instance() && *held_by == cause && weight <= *held
            })
        };
        let costs: SmallVec<[(bool, Cause, usize); 2]> = rows
            .iter()
            .map(|row| {
                let (cause, weight) = self.cost(row);
                (renews(row, (cause, weight)), cause, weight)
            })
            .collect();
        for (_, cause, weight) in costs.iter().filter(|(renews, ..)| *renews) {
            self.book.charge(*cause, *weight);
        }
        let mut charged = Vec::new();
        for (_, cause, weight) in costs.iter().filter(|(renews, ..)| !renews) {
            if let Err(why) = self.book.admits(*cause, *weight) {
                let renewed = costs.iter().filter(|(renews, ..)| *renews).map(|(_, c, w)| (*c, *w));
                for (cause, weight) in charged.into_iter().chain(renewed) {
                    self.book.discharge(cause, weight);
                }
                for (cause, weight) in given_back {
                    self.book.charge(cause, weight);
                }
                return Err(NoRoom::Share(why));
            }
            self.book.charge(*cause, *weight);
            charged.push((*cause, *weight));
        }
        Ok(())
    }

    /// Who pays for a row, and how much.
    fn cost(&self, row: &Row) -> (Cause, usize) {
        let cause = match row.is_own() {
            true => Cause::OWN,
            false => {
                let bound = row.bound();
                Cause::new(Standing::Other)
                    .from(bound.flow.remote.ip())
                    .of_realm(realm_of(bound.aor).as_bytes())
                    .by(bound.aor.as_bytes())
            }
        };
        (cause, self.book.weight(ROW_BYTES + row.heap_bytes()))
    }

    /// Puts a row that is paid for; one of the same phone keeps its place.
    fn put_in(&mut self, row: Row) {
        let new = self.entries_of(&row);
        let mut of_aor = self.by_aor.range((new.aor, 0)..=(new.aor, u32::MAX)).map(|(_, number)| *number);
        let is_same = |held: &Row| held.aor() == row.aor() && held.instance() == row.instance();
        let held = of_aor.find(|number| is_same(self.row(*number)));
        let number = held.or_else(|| self.free.pop()).unwrap_or_else(|| self.new_place());
        // A refresh over the same flow moves one entry of three.
        let old = held.map(|number| self.entries_of(self.row(number)));
        if old.is_none() {
            self.by_aor.insert((new.aor, number));
        }
        let old_end = old.map(|old| old.expires_at_ms);
        moved(&mut self.by_expiry, number, old_end, Some(new.expires_at_ms));
        moved(&mut self.by_flow, number, old.and_then(|old| old.flow), new.flow);
        *self.place(number) = Some(row);
    }

    /// Its bytes were given back before.
    fn take_out(&mut self, number: u32) {
        self.unindex(number);
        *self.place(number) = None;
        self.free.push(number);
    }

    fn unindex(&mut self, number: u32) {
        let Entries { aor, expires_at_ms, flow } = self.entries_of(self.row(number));
        let is_indexed =
            self.by_aor.remove(&(aor, number)) && self.by_expiry.remove(&(expires_at_ms, number));
        debug_assert!(is_indexed, "every row is in the indexes");
        moved(&mut self.by_flow, number, flow, None);
    }

    fn entries_of(&self, row: &Row) -> Entries {
        let flow = row.is_open().then(|| self.hash_of_flow(&row.flow()));
        Entries { aor: self.hash("aor", row.aor()), expires_at_ms: row.expires_at_ms(), flow }
    }

    fn new_place(&mut self) -> u32 {
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact(PLACES.max(self.rows.len() / 16));
        }
        self.rows.push(None);
        u32::try_from(self.rows.len() - 1).expect("the limit of the table is far below that")
    }

    fn numbers_of(&self, aor: &str) -> impl Iterator<Item = u32> {
        let hash = self.name_of(aor);
        let entries = self.by_aor.range((hash, 0)..=(hash, u32::MAX));
        entries.map(|(_, number)| *number).filter(move |number| self.row(*number).is(aor, None))
    }

    fn number(&self, aor: &str, instance: &str) -> Option<u32> {
        let hash = self.name_of(aor);
        let mut entries = self.by_aor.range((hash, 0)..=(hash, u32::MAX)).map(|(_, number)| *number);
        entries.find(|number| self.row(*number).is(aor, Some(instance)))
    }

    fn row(&self, number: u32) -> &Row {
        let place = self.rows.get(number as usize).and_then(Option::as_ref);
        place.expect("an index names rows that are there")
    }

    fn place(&mut self, number: u32) -> &mut Option<Row> {
        self.rows.get_mut(number as usize).expect("a number is a place")
    }

    fn hash(&self, what: &str, text: &[u8]) -> u64 {
        let mut hash = self.secret.quick(what);
        hash.bytes(text);
        hash.short()
    }

    fn hash_of_flow(&self, flow: &Flow) -> u64 {
        let mut hash = self.secret.quick("flow");
        hash.number(flow.connection);
        hash.address(flow.local);
        hash.address(flow.remote);
        hash.short()
    }
}

/// Where a row stands in the indexes.
#[derive(Clone, Copy)]
struct Entries {
    aor: u64,
    expires_at_ms: u64,
    /// Of one whose flow can be written to.
    flow: Option<u64>,
}

/// An entry stays where it is the same.
fn moved(index: &mut BTreeSet<Entry>, number: u32, old: Option<u64>, new: Option<u64>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        let was_there = index.remove(&(old, number));
        debug_assert!(was_there, "every row is in the indexes");
    }
    if let Some(new) = new {
        index.insert((new, number));
    }
}

impl fmt::Debug for Bindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
