//! Changes of accounts: what the operator asked for goes to the store, and what follows from it to everybody.
//!
//! A new password, or none, voids what was granted for the old one: everywhere by a word in the log, here by taking the
//! registrations back.

use super::{Config, Output, account::Account, asks::Pending, outside::Outside};
use dots_clients::types::Changed;
use dots_overlay::{
    core::OverlayCore,
    names::Realms,
    records::{Event, Revoke},
};
use dots_sip::address::realm_of;
use dots_trust::roaming::Roaming;
use dots_wire::{Now, Timestamp};

/// One change of an account, with what it touches.
pub(super) struct Accounts<'a> {
    pub now: Now,
    pub config: &'a Config,
    pub realms: &'a Realms,
    pub overlay: &'a mut OverlayCore,
    pub roaming: &'a mut Roaming,
    pub outside: &'a mut Outside,
}

impl Accounts<'_> {
    pub fn put(&mut self, api: u64, account: Account) {
        let aor = account.aor.clone();
        if !self.config.is_home(realm_of(&aor)) {
            let error = format!("{aor}: this peer is not home of that realm; start it with --realm");
            return self.outside.problem(api, 400, error);
        }
        let id = self.outside.ask(Pending::Account { api, aor, removed: false });
        self.outside.put(Output::PutAccount { id, account });
    }

    pub fn remove(&mut self, api: u64, aor: String) {
        let id = self.outside.ask(Pending::Account { api, aor: aor.clone(), removed: true });
        self.outside.put(Output::RemoveAccount { id, aor });
    }

    /// The store has written it.
    pub fn on_stored(&mut self, id: u64, existed: bool) {
        let Some(Pending::Account { api, aor, removed }) = self.outside.asks.answered(id) else {
            return debug_assert!(false, "the account store answers each change once");
        };
        if existed {
            self.revoke(&aor, self.now.wall);
            self.roaming.forget(&aor, None);
            // Whoever is registered with the old password is not any more.
            self.outside.sip(dots_sip::Input::Unbind { aor: aor.clone() });
            if removed {
                self.outside.sip(dots_sip::Input::Gone { aor: aor.clone() });
            }
        }
        match removed && !existed {
            true => self.outside.problem(api, 404, format!("there is no account {aor}")),
            false => self.outside.reply(api, &Changed { existed }),
        }
    }

    pub fn on_failed(&mut self, id: u64) {
        let Some(Pending::Account { api, aor, .. }) = self.outside.asks.answered(id) else {
            return debug_assert!(false, "the account store answers each change once");
        };
        self.outside.problem(api, 500, format!("{aor}: the account store could not write it; see the log"));
    }

    /// A new password, or none: grants given for the old one are void everywhere.
    pub fn revoke(&mut self, aor: &str, before: Timestamp) {
        if let Some(record) = self.realms.lookup(realm_of(aor), self.now.wall) {
            let revoke = Revoke { aor_id: record.aor_id(aor), before };
            self.overlay.append(self.now, Event::Revoke(revoke));
        }
    }
}
