//! Short names that the operator gives to accounts anywhere: `12` for `sip:me@….dots`.

use super::{
    notes::{Note, VERSION},
    outside::Outside,
};
use dots_clients::types::AliasInfo;
use dots_sip::address::Addressing;
use std::collections::BTreeMap;

/// Aliases a peer may have.
pub(crate) const ALIASES_MAX: usize = 10_000;
pub(crate) const NAME_MAX: usize = 64;

pub(super) struct Aliases(BTreeMap<String, String>);

impl Aliases {
    pub fn new(recovered: BTreeMap<String, String>) -> Aliases {
        Aliases(recovered)
    }

    /// Each alias and its target.
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub fn list(&self) -> Vec<AliasInfo> {
        self.0
            .iter()
            .map(|(alias, target)| AliasInfo { alias: alias.clone(), target: target.clone() })
            .collect()
    }

    pub fn put(&mut self, outside: &mut Outside, api: u64, alias: String, target: String) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+*#._-".contains(c);
        let uri = if target.contains(':') { target } else { format!("sip:{target}") };
        let canonical = Addressing::default().canonical_aor(&uri);
        let is_name = !alias.is_empty() && alias.len() <= NAME_MAX && alias.chars().all(plain);
        let Some(target) = canonical.ok().filter(|_| is_name) else {
            let error = "an alias is a short user name or number, its target is sip:user@realm";
            return outside.problem(api, 400, error);
        };
        if self.0.len() >= ALIASES_MAX && !self.0.contains_key(&alias) {
            return outside.problem(api, 400, "too many aliases");
        }
        let existed = self.0.insert(alias.clone(), target.clone()).is_some();
        outside.note(api, &Note::Alias { version: VERSION, alias, target }, existed);
    }

    pub fn remove(&mut self, outside: &mut Outside, api: u64, alias: String) {
        if self.0.remove(&alias).is_none() {
            return outside.problem(api, 404, format!("{alias}: no such alias"));
        }
        outside.note(api, &Note::AliasGone { version: VERSION, alias }, true);
    }
}
