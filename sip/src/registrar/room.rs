//! Where an account has its ten phones already, and where the whole table has no room for one more.

use super::{BindingChange, Bound, MAX_CONTACTS_PER_AOR, NoRoom, Refusal, request::names_itself};
use dots_wire::bounded::OverShare;

/// Who does not get in now is to come back, and not soon.
const RETRY_AFTER_S: &str = "120";

/// At the cap others make way: first phones that can no longer be reached, those that end first before the others; then
/// phones without an instance, the least recently refreshed first, for one that comes back from ever new ports must not lock
/// its owner out. A phone that names itself and can be reached was promised its place.
/// `held`: all that the account has.
pub(super) fn make(change: &mut BindingChange, held: &[Bound<'_>]) {
    if held.len() + change.put.len() <= MAX_CONTACTS_PER_AOR {
        return;
    }
    let gone_or_put = |change: &BindingChange, instance: &str| {
        change.removed.iter().any(|i| i == instance) || change.put.iter().any(|b| b.instance == instance)
    };
    let staying: Vec<Bound<'_>> = held.iter().filter(|b| !gone_or_put(change, b.instance)).copied().collect();
    let excess = (staying.len() + change.put.len()).saturating_sub(MAX_CONTACTS_PER_AOR);
    let (mut nameless, mut dead): (Vec<Bound<'_>>, Vec<Bound<'_>>) =
        staying.into_iter().partition(Bound::is_reachable);
    nameless.retain(|b| !names_itself(b.instance));
    dead.sort_by_key(|b| b.expires_at_ms);
    nameless.sort_by_key(|b| b.refreshed);
    let leaving = dead.into_iter().chain(nameless).take(excess);
    let leaving: Vec<String> = leaving.map(|bound| bound.instance.to_owned()).collect();
    change.removed.extend(leaving);
}

/// Only whoever is over his share is told so, and that it may be otherwise later.
pub(super) fn refusal(why: NoRoom) -> Refusal {
    let reason = match why {
        NoRoom::Contacts => return Refusal::new(403, "Too Many Contacts"),
        NoRoom::Share(OverShare::Standing) => "Registrar Full",
        NoRoom::Share(OverShare::Network) => "Too Many Phones Of This Network",
        NoRoom::Share(OverShare::Realm) => "Too Many Phones Of This Realm",
        NoRoom::Share(OverShare::Who) => "Too Many Phones Of This Account",
    };
    Refusal::new(503, reason).with("Retry-After", RETRY_AFTER_S)
}
