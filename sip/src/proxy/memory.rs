//! What is remembered of dialogs beyond their route tokens: the names and Contacts that our phones wrote, to be given back
//! to them; and how far each dialog is, so that nothing new is said in one that is over.
//!
//! One row for Call-ID and caller's tag, with a leg for each callee's tag: a fork is several dialogs. It may be forgotten
//! without harm to a call that is up: what has to pass then is told by the token alone ([`super::authority`]).
//!
//! Bounded in bytes; the dialog that was least recently begun goes first. A call that failed leaves its key alone.

use crate::{
    border::parties::Parties,
    ids::DialogKey,
    limits::{DIALOG_BYTES_MAX, DIALOG_FIELD_BYTES_MAX},
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
            self.legs.push(Leg { tag, phase: Phase::Early, passed_ms: now_ms, refer: None });
            return self.legs.last_mut();
        }
        at.and_then(|at| self.legs.get_mut(at))
    }

    fn bytes(&self) -> usize {
        let fields = [
            &self.caller_contact,
            &self.callee_contact,
            &self.caller_from,
            &self.caller_to,
            &self.caller_shown,
        ];
        let texts: usize = fields.into_iter().flatten().map(String::len).sum();
        let parties = self.parties.as_ref().map_or(0, |parties| {
            let grant = parties.vouch.as_ref().map_or(0, |vouch| vouch.grant.len() + vouch.aor.len());
            parties.caller.len() + parties.callee.len() + grant
        });
        ROW_BYTES + texts + parties + self.legs.len() * size_of::<Leg>()
    }
}

fn tag_hash(tag: &str) -> u64 {
    let hash = Sha256::digest(tag.as_bytes());
    hash.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// What a remembered dialog costs beside its texts.
const ROW_BYTES: usize = 256;
/// Callees that may answer one call; what more of them say in it is not carried.
const LEGS_MAX: usize = 32;
/// Calls that failed and whose key is known yet.
const FAILED_MAX: usize = 65_536;

/// A text that is short enough to be remembered.
pub(super) fn short(text: String) -> Option<String> {
    (text.len() <= DIALOG_FIELD_BYTES_MAX).then_some(text)
}

#[derive(Default)]
pub(super) struct Dialogs {
    rows: BTreeMap<DialogKey, (u64, Dialog)>,
    by_age: BTreeMap<u64, DialogKey>,
    next: u64,
    bytes: usize,
    failed: BTreeSet<DialogKey>,
    failed_by_age: VecDeque<DialogKey>,
}

impl Dialogs {
    pub fn find(&self, key: DialogKey) -> Option<&Dialog> {
        self.rows.get(&key).map(|(_, dialog)| dialog)
    }

    /// Did the call of this key fail, a while ago at most?
    pub fn has_failed(&self, key: DialogKey) -> bool {
        self.failed.contains(&key) && !self.rows.contains_key(&key)
    }

    /// Changes what is remembered of this dialog.
    pub fn note(&mut self, key: DialogKey, change: impl FnOnce(&mut Dialog)) {
        // Tried again under the same name (with credentials, after a 3xx).
        self.failed.remove(&key);
        let (age, mut dialog) = match self.rows.remove(&key) {
            Some((age, dialog)) => {
                self.bytes -= dialog.bytes();
                (age, dialog)
            }
            None => {
                self.next += 1;
                self.by_age.insert(self.next, key);
                (self.next, Dialog::default())
            }
        };
        change(&mut dialog);
        self.bytes += dialog.bytes();
        self.rows.insert(key, (age, dialog));
        while self.bytes > DIALOG_BYTES_MAX {
            let Some((_, oldest)) = self.by_age.first_key_value() else { break };
            self.forget(*oldest);
        }
    }

    /// A call that failed, unless another INVITE of the same name was answered.
    pub fn forget_unanswered(&mut self, key: DialogKey) {
        if self.find(key).is_some_and(|dialog| !dialog.is_answered) {
            self.forget(key);
            if self.failed.insert(key) {
                self.failed_by_age.push_back(key);
            }
            if self.failed_by_age.len() > FAILED_MAX
                && let Some(oldest) = self.failed_by_age.pop_front()
            {
                self.failed.remove(&oldest);
            }
        }
    }

    /// This account is no more.
    pub fn revoke(&mut self, aor: &str) {
        for (_, dialog) in self.rows.values_mut() {
            let is_in_it = |parties: &Parties| parties.caller == aor || parties.callee == aor;
            dialog.is_revoked |= dialog.parties.as_ref().is_some_and(is_in_it);
        }
    }

    fn forget(&mut self, key: DialogKey) {
        if let Some((age, dialog)) = self.rows.remove(&key) {
            self.bytes -= dialog.bytes();
            let indexed = self.by_age.remove(&age);
            assert_eq!(indexed, Some(key), "each row has its place in the order of age");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Secret;

    #[test]
    fn it_is_bounded_in_bytes_and_the_oldest_goes() {
        let secret = Secret::new([1; 32]);
        let key = |n: usize| DialogKey::new(&n.to_string(), "t", &secret);
        let mut dialogs = Dialogs::default();
        let long = "x".repeat(DIALOG_FIELD_BYTES_MAX);
        let row = ROW_BYTES + long.len();
        let fit = DIALOG_BYTES_MAX / row;
        for n in 0..fit + 10 {
            dialogs.note(key(n), |dialog| dialog.caller_contact = Some(long.clone()));
        }
        assert!(dialogs.bytes <= DIALOG_BYTES_MAX && dialogs.rows.len() == fit);
        assert!(dialogs.find(key(9)).is_none() && dialogs.find(key(fit + 9)).is_some());
        assert_eq!(short(format!("{long}x")), None, "and no field of a stranger's is longer");
        for n in 0..fit + 10 {
            dialogs.forget(key(n));
        }
        assert_eq!((dialogs.bytes, dialogs.rows.len(), dialogs.by_age.len()), (0, 0, 0));
    }

    #[test]
    fn a_failed_call_leaves_its_key_and_no_more_than_so_many() {
        let secret = Secret::new([1; 32]);
        let key = |n: usize| DialogKey::new(&n.to_string(), "t", &secret);
        let mut dialogs = Dialogs::default();
        for n in 0..FAILED_MAX + 5 {
            dialogs.note(key(n), |dialog| dialog.is_whole = true);
            dialogs.forget_unanswered(key(n));
        }
        assert_eq!((dialogs.bytes, dialogs.failed.len()), (0, FAILED_MAX));
        assert!(!dialogs.has_failed(key(4)) && dialogs.has_failed(key(5)));
        dialogs.note(key(5), |_| {});
        assert!(!dialogs.has_failed(key(5)), "the same call is tried again, with credentials");
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
