//! Who the two ends of a request are: canonical, and vouched for.

use super::Crossing;
use crate::{
    address::{Addressing, realm_of},
    auth::Vouch,
    output::Nonce,
};

/// The parties of a request, canonical, and who vouches for the caller.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    pub caller: String,
    pub callee: String,
    pub vouch: Option<Vouch>,
    /// What the caller's peer added to the INVITE.
    pub nonce: Option<Nonce>,
}

impl Parties {
    /// Realms whose challenges and credentials never pass from one leg to another (design: challenges): ours, and those of
    /// both parties. A callee that challenged in such a name would be given an answer that opens an account.
    pub fn guarded_realms<'a>(&'a self, addressing: &'a Addressing) -> Vec<&'a str> {
        let Addressing { default_realm, local_realms, .. } = addressing;
        let parties = [realm_of(&self.caller), realm_of(&self.callee), default_realm.as_str()];
        parties.into_iter().chain(local_realms.iter().map(String::as_str)).collect()
    }

    /// On the way of a request that the caller sends, or the callee.
    pub fn crossing(&self, by_caller: bool, from_peer: bool, to_peer: bool) -> Crossing<'_> {
        let (sender, reader) =
            if by_caller { (&self.caller, &self.callee) } else { (&self.callee, &self.caller) };
        Crossing { sender, reader, from_peer, to_peer }
    }

    /// Accounts of two realms are strangers to each other, also where one peer serves both.
    pub fn are_strangers(&self) -> bool {
        realm_of(&self.caller) != realm_of(&self.callee)
    }
}
