//! What is remembered of dialogs beyond their route tokens: the names and Contacts that our phones wrote, to be given back
//! to them. It may be forgotten without harm to calls between phones whose Contact is the one that they registered.
//!
//! Bounded in bytes; the dialog that was least recently begun goes first. A call that failed is forgotten at once.

use crate::{
    border::parties::Parties,
    ids::DialogKey,
    limits::{DIALOG_BYTES_MAX, DIALOG_FIELD_BYTES_MAX},
};
use std::collections::BTreeMap;

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
}

impl Dialog {
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
        ROW_BYTES + texts + parties
    }
}

/// What a remembered dialog costs beside its texts.
const ROW_BYTES: usize = 256;

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
}

impl Dialogs {
    pub fn find(&self, key: DialogKey) -> Option<&Dialog> {
        self.rows.get(&key).map(|(_, dialog)| dialog)
    }

    /// Changes what is remembered of this dialog.
    pub fn note(&mut self, key: DialogKey, change: impl FnOnce(&mut Dialog)) {
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
}
