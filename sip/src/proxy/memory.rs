//! What is remembered of dialogs beyond their route tokens: the names and Contacts that our phones wrote, to be given back
//! to them; and how far each dialog is, so that nothing new is said in one that is over.
//!
//! One row for Call-ID, caller's tag and the two accounts, with a leg for each tag that the callee gave: a fork is several
//! dialogs. Whoever uses somebody's Call-ID and tag for a call of his own has a row of his own. It may be forgotten
//! without harm to a call that is up: what has to pass then is told by the token alone ([`super::authority`]).
//!
//! Charged to the caller, account below realm below network: full, the table takes from whoever has most in it, what was
//! used longest ago first. A call that failed leaves its key alone.

use crate::{
    border::parties::Parties,
    ids::Secret,
    limits::{DIALOG_BYTES_MAX, DIALOG_FIELD_BYTES_MAX},
    token::Pair,
};
use dots_wire::bounded::{Cache, Cause, Limits, Weight};
use sha2::{Digest as _, Sha256};

/// A dialog as this peer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DialogKey {
    /// Call-ID, as the caller wrote it to us, and the caller's tag, hashed.
    name: u128,
    pub pair: Pair,
}

impl DialogKey {
    pub fn new((call_id, caller_tag): (&str, &str), pair: Pair, secret: &Secret) -> DialogKey {
        DialogKey { name: name(call_id, caller_tag, secret), pair }
    }

    /// Of other accounts under the same name.
    pub fn with(self, pair: Pair) -> DialogKey {
        DialogKey { pair, ..self }
    }
}

/// A dialog's row, and whose it is if it is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub key: DialogKey,
    pub cause: Cause,
}

fn name(call_id: &str, caller_tag: &str, secret: &Secret) -> u128 {
    let mut hash = secret.quick("dialog");
    hash.text(call_id);
    hash.text(caller_tag);
    hash.finish()
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dialog {
    /// Contacts of our phones.
    pub caller_contact: Option<String>,
    pub callee_contact: Option<String>,
    /// URIs of From and To, as our calling phone wrote them.
    pub caller_from: Option<String>,
    pub caller_to: Option<String>,
    /// The caller as our called phone sees it, where that is another name.
    pub caller_shown: Option<String>,
    pub parties: Option<Parties>,
    /// The caller's CSeq in its first request.
    pub first_cseq: u32,
    /// A 2xx has passed.
    pub is_answered: bool,
    /// Its beginning was seen, so a tag that is in no leg is of no dialog.
    pub is_whole: bool,
    /// The account of one of our phones in it was removed.
    pub is_revoked: bool,
    pub legs: Vec<Leg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The callee has said something, and not yet yes.
    Early,
    Up,
    Ended,
}

/// One callee's side of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    tag: u64,
    pub phase: Phase,
    /// UTC ms of the last request that passed.
    pub passed_ms: u64,
    /// A REFER passed in it, which is still reported on.
    pub refer: Option<Refer>,
    /// The highest CSeq of the caller's requests, and of the callee's, that passed.
    pub cseq: [u32; 2],
}

/// The subscription that a REFER makes (RFC 3515 §2.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refer {
    pub by_caller: bool,
    pub until_ms: u64,
}

impl Dialog {
    pub fn leg(&self, callee_tag: &str) -> Option<&Leg> {
        let tag = tag_hash(callee_tag);
        self.legs.iter().find(|leg| leg.tag == tag)
    }

    /// The leg of this tag, begun here if it is new. Where there are too many, one that only rings makes room; `None`: none
    /// does.
    pub fn leg_mut(&mut self, callee_tag: &str, now_ms: u64) -> Option<&mut Leg> {
        let tag = tag_hash(callee_tag);
        let at = self.legs.iter().position(|leg| leg.tag == tag);
        if at.is_none() && self.legs.len() >= LEGS_MAX {
            let early = self.legs.iter().position(|leg| leg.phase == Phase::Early)?;
            self.legs.remove(early);
        }
        if at.is_none() {
            let cseq = [self.first_cseq, 0];
            self.legs.push(Leg { tag, phase: Phase::Early, passed_ms: now_ms, refer: None, cseq });
            return self.legs.last_mut();
        }
        at.and_then(|at| self.legs.get_mut(at))
    }
}

fn tag_hash(tag: &str) -> u64 {
    let hash = Sha256::digest(tag.as_bytes());
    hash.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Callees that may answer one call; what more of them say in it is not carried.
const LEGS_MAX: usize = 32;
/// A quarter is for calls that our own realms' phones make.
pub(crate) const ROWS: Limits =
    Limits::new(DIALOG_BYTES_MAX, DIALOG_BYTES_MAX / 512).reserving([250, 0, 0, 0]);
/// Calls that failed and whose key is known yet.
pub(crate) const FAILED: Limits = Limits::new(128 * 32_768, 32_768).reserving([250, 0, 0, 0]);

/// A text that is short enough to be remembered.
pub(super) fn short(text: String) -> Option<String> {
    (text.len() <= DIALOG_FIELD_BYTES_MAX).then_some(text)
}

struct Row {
    cause: Cause,
    dialog: Dialog,
}

impl Weight for DialogKey {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Weight for Row {
    fn heap_bytes(&self) -> usize {
        let Dialog { caller_contact, callee_contact, caller_from, caller_to, caller_shown, .. } =
            &self.dialog;
        let texts = [caller_contact, callee_contact, caller_from, caller_to, caller_shown];
        let parties =
            self.dialog.parties.as_ref().map(|parties| (parties.caller.heap_bytes(), &parties.callee));
        texts.into_iter().map(Weight::heap_bytes).sum::<usize>()
            + parties.map_or(0, |(caller, callee)| caller + callee.heap_bytes())
            + self.dialog.legs.capacity() * size_of::<Leg>()
    }
}

pub(super) struct Dialogs {
    rows: Cache<DialogKey, Row>,
    failed: Cache<DialogKey, ()>,
}

impl Dialogs {
    pub fn new() -> Dialogs {
        Dialogs { rows: Cache::new(ROWS), failed: Cache::new(FAILED) }
    }

    pub fn find(&self, key: DialogKey) -> Option<&Dialog> {
        self.rows.get(&key).map(|row| &row.dialog)
    }

    /// Those of this Call-ID and caller's tag that this account is in: as a header names a dialog.
    pub fn of(
        &self,
        (call_id, caller_tag): (&str, &str),
        account: &str,
        secret: &Secret,
    ) -> impl Iterator<Item = &Parties> {
        let name = name(call_id, caller_tag, secret);
        let first = DialogKey { name, pair: Pair::FIRST };
        let rows =
            self.rows.range(first..).take_while(move |(key, _)| key.name == name).take(ROWS_OF_NAME_MAX);
        rows.filter_map(|(_, row)| row.dialog.parties.as_ref())
            .filter(move |parties| parties.caller == account || parties.callee == account)
    }

    /// Did the call of this key fail, a while ago at most?
    pub fn has_failed(&self, key: DialogKey) -> bool {
        self.failed.contains(&key) && !self.rows.contains(&key)
    }

    /// Changes what is remembered of this dialog, which is the most recently used one of its caller then.
    pub fn note(&mut self, Slot { key, cause }: Slot, change: impl FnOnce(&mut Dialog)) {
        // Tried again under the same name (with credentials, after a 3xx).
        self.failed.remove(&key);
        if self.rows.contains(&key) {
            self.rows.update(&key, |row| change(&mut row.dialog));
        } else {
            let mut row = Row { cause, dialog: Dialog::default() };
            change(&mut row.dialog);
            self.rows.insert(cause, key, row);
        }
    }

    /// A call that failed, unless another INVITE of the same name was answered.
    pub fn forget_unanswered(&mut self, key: DialogKey) {
        if self.find(key).is_some_and(|dialog| !dialog.is_answered)
            && let Some(row) = self.rows.remove(&key)
        {
            self.failed.insert(row.cause, key, ());
        }
    }

    /// This account is no more.
    pub fn revoke(&mut self, aor: &str) {
        let is_in_it = |parties: &Parties| parties.caller == aor || parties.callee == aor;
        let rows = self.rows.iter().filter(|(_, row)| row.dialog.parties.as_ref().is_some_and(is_in_it));
        let keys: Vec<DialogKey> = rows.map(|(key, _)| *key).collect();
        for key in keys {
            self.rows.get_mut(&key).expect("it was there a line above").dialog.is_revoked = true;
        }
    }
}

/// Rows of one name that are looked at: it takes as many callees of one Call-ID and tag to make more.
const ROWS_OF_NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenKey;
    use dots_wire::bounded::Standing;

    fn key(n: usize) -> DialogKey {
        DialogKey::new(
            (&n.to_string(), "t"),
            Pair::of(&TokenKey::new(&[2; 32]), "a", "b"),
            &Secret::new([1; 32]),
        )
    }

    fn parties(caller: &str, callee: &str) -> Parties {
        Parties { caller: caller.into(), callee: callee.into(), vouch: None, nonce: None }
    }

    fn of(account: &str) -> Cause {
        let realm = crate::address::realm_of(account);
        Cause::new(Standing::Other).of_realm(realm.as_bytes()).by(account.as_bytes())
    }

    /// One account that calls and calls takes from itself, and what is used stays.
    #[test]
    fn it_is_bounded_in_bytes_and_whoever_has_most_gives() {
        let mut dialogs = Dialogs::new();
        let long = "x".repeat(DIALOG_FIELD_BYTES_MAX);
        let mut note = |n: usize, cause: Cause| {
            dialogs.note(Slot { key: key(n), cause }, |dialog| dialog.caller_contact = Some(long.clone()));
        };
        let count = DIALOG_BYTES_MAX / DIALOG_FIELD_BYTES_MAX;
        for n in 0..10 {
            note(n, of("alice@a.test"));
        }
        for n in 1_000..1_000 + count {
            note(n, of("eve@z.test"));
            note(1_000, of("alice@a.test"));
        }
        assert!(dialogs.rows.bytes() <= DIALOG_BYTES_MAX && dialogs.rows.len() > count / 3);
        assert!((0..10).all(|n| dialogs.find(key(n)).is_some()), "whoever holds little keeps it");
        assert!(dialogs.find(key(1_000)).is_some(), "what is used is kept, and stays its caller's");
        assert!(dialogs.find(key(1_001)).is_none() && dialogs.find(key(999 + count)).is_some());
        assert_eq!(short(format!("{long}x")), None, "and no field of a stranger's is longer");
    }

    /// Each has a row of his own under the same Call-ID and tag.
    #[test]
    fn a_name_is_several_dialogs() {
        let secret = Secret::new([1; 32]);
        let mut dialogs = Dialogs::new();
        let pairs =
            [("alice@a.test", "bob@b.test"), ("eve@z.test", "bob@b.test"), ("alice@a.test", "carol@c.test")];
        for (caller, callee) in pairs {
            let key = DialogKey::new(("c", "t"), Pair::of(&TokenKey::new(&[2; 32]), caller, callee), &secret);
            dialogs.note(Slot { key, cause: of(caller) }, |dialog| {
                dialog.parties = Some(parties(caller, callee))
            });
        }
        dialogs.note(Slot { key: key(1), cause: of("alice@a.test") }, |dialog| {
            dialog.parties = Some(parties("alice@a.test", "x@x.test"))
        });
        for (account, others) in
            [("alice@a.test", 2), ("bob@b.test", 2), ("eve@z.test", 1), ("carol@c.test", 1), ("x@x.test", 0)]
        {
            assert_eq!(dialogs.of(("c", "t"), account, &secret).count(), others, "{account}");
        }
        dialogs.revoke("bob@b.test");
        let revoked = |(caller, callee)| {
            let key = DialogKey::new(("c", "t"), Pair::of(&TokenKey::new(&[2; 32]), caller, callee), &secret);
            dialogs.find(key).expect("noted").is_revoked
        };
        assert_eq!(pairs.map(revoked), [true, true, false]);
    }

    #[test]
    fn a_failed_call_leaves_its_key_and_no_more_than_so_many() {
        let mut dialogs = Dialogs::new();
        let cause = of("eve@z.test");
        for n in 0..FAILED.entries + 5 {
            dialogs.note(Slot { key: key(n), cause }, |dialog| dialog.is_whole = true);
            dialogs.forget_unanswered(key(n));
        }
        assert!(dialogs.rows.is_empty() && dialogs.failed.len() <= FAILED.entries);
        let last = FAILED.entries + 4;
        assert!(!dialogs.has_failed(key(4)) && dialogs.has_failed(key(last)));
        dialogs.note(Slot { key: key(last), cause }, |_| {});
        assert!(!dialogs.has_failed(key(last)), "the same call is tried again, with credentials");
    }

    #[test]
    fn the_legs_of_a_fork_are_bounded() {
        let mut dialog = Dialog::default();
        for n in 0..LEGS_MAX {
            assert!(dialog.leg_mut(&n.to_string(), 7).is_some());
        }
        assert!(dialog.leg_mut("3", 9).is_some() && dialog.leg("3").expect("known").passed_ms == 7);
        assert!(dialog.leg_mut("more", 7).is_some() && dialog.leg("0").is_none(), "the oldest that rings");
        dialog.legs.iter_mut().for_each(|leg| leg.phase = Phase::Up);
        assert!(dialog.leg_mut("even more", 7).is_none() && dialog.legs.len() == LEGS_MAX);
    }
}
