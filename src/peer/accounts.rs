//! Changes of accounts: what the operator wants is decided by `dots_trust::accounts` beside what is there, goes to the store, and
//! what follows from it to everybody. Neither HTTP nor the store decides any of it.
//!
//! A new password, or none, voids what was granted for the old one: everywhere by a word in the log, here by taking the
//! registrations back.

use super::{
    Config, Output,
    account::Account,
    asks::{AccountQuestion, Pending},
    outside::Outside,
};
use dots_clients::types::Changed;
use dots_overlay::{
    core::OverlayCore,
    names::Realms,
    records::{Event, Revoke},
};
use dots_sip::address::realm_of;
use dots_trust::{
    accounts::{Home, Wanted, Wrong, canonical},
    judge::StoreDown,
    roaming::Roaming,
};
use dots_wire::{Now, Timestamp};
use std::collections::BTreeMap;

/// One change of an account, with what it touches.
pub(super) struct Accounts<'a> {
    pub now: Now,
    pub config: &'a Config,
    pub realms: &'a Realms,
    pub overlay: &'a mut OverlayCore,
    pub roaming: &'a mut Roaming,
    pub aliases: &'a BTreeMap<String, String>,
    pub outside: &'a mut Outside,
}

impl Accounts<'_> {
    /// Asks about the account that this is about; [`Accounts::on_account`] goes on.
    pub fn ask(&mut self, question: AccountQuestion) {
        let aor = match &question {
            AccountQuestion::Put { aor, .. } | AccountQuestion::Alias { aor, .. } => aor.clone(),
            AccountQuestion::Remove { name, .. } => name.clone(),
        };
        self.outside.account(Pending::AccountOf(question), aor);
    }

    /// `aor`: in any form that [`canonical`] takes.
    pub fn want(&mut self, api: u64, aor: &str, question: impl FnOnce(String) -> AccountQuestion) {
        match canonical(aor) {
            Ok(aor) => self.ask(question(aor)),
            Err(why) => self.outside.problem(api, 400, why.to_string()),
        }
    }

    /// `dots alias add`. Each account that it would hide is asked about.
    pub fn want_alias(&mut self, api: u64, alias: String, target: String) {
        let mut left = self.home().hidden_by(&alias);
        match left.pop() {
            Some(aor) => self.ask(AccountQuestion::Alias { api, alias, target, aor, left }),
            None => self.outside.problem(api, 400, "this peer is home of no realm"),
        }
    }

    fn home(&self) -> Home<'_> {
        Home { realms: &self.config.realms, aliases: self.aliases }
    }

    /// What is there. An alias that hides nobody is returned: it may be put.
    pub fn on_account(
        &mut self,
        asked: AccountQuestion,
        known: Result<Option<Account>, StoreDown>,
    ) -> Option<(u64, String, String)> {
        let Ok(known) = known else {
            self.outside.problem(asked.api(), 500, "the account store cannot be read; see the log");
            return None;
        };
        match asked {
            AccountQuestion::Put { api, aor, password, roaming } => {
                let wanted = Wanted { aor: &aor, password: &password.0, is_ha1: false, roaming };
                match self.home().put(known.as_ref(), &wanted, self.now.wall.0) {
                    Ok(account) => self.put(api, account),
                    Err(why @ Wrong::Alias { .. }) => self.outside.problem(api, 409, why.to_string()),
                    Err(why) => self.outside.problem(api, 400, why.to_string()),
                }
            }
            AccountQuestion::Remove { api, name } => {
                match known.map_or_else(|| canonical(&name), |found| Ok(found.aor)) {
                    Ok(aor) => self.remove(api, aor),
                    Err(why) => self.outside.problem(api, 400, why.to_string()),
                }
            }
            AccountQuestion::Alias { api, alias, aor, .. } if known.is_some() => {
                let why =
                    format!("there is an account {aor}: an alias {alias} would hide it; choose another name");
                self.outside.problem(api, 409, why);
            }
            AccountQuestion::Alias { api, alias, target, mut left, .. } => match left.pop() {
                Some(aor) => self.ask(AccountQuestion::Alias { api, alias, target, aor, left }),
                None => return Some((api, alias, target)),
            },
        }
        None
    }

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
            self.roaming.forget(&aor);
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
