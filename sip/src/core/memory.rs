//! What is remembered of dialogs, and what is told of calls.

use super::{CallInfo, Core};
use crate::address::realm_of;
use crate::{
    Output,
    address::Addressing,
    message::Message,
    output::{CallEvent, CallProgress, CallSide},
    token::Side,
};

/// Dialogs whose Contacts and identities we remember; the oldest is forgotten.
const DIALOGS_MAX: usize = 50_000;

/// What we remember of a dialog beyond its route tokens: it may be forgotten without harm to calls between phones
/// whose Contact is the one that they registered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialog {
    /// Real Contacts of our phones.
    pub caller_contact: Option<String>,
    pub callee_contact: Option<String>,
    /// From and To without tags, as our calling phone wrote them.
    pub caller_from: Option<String>,
    pub caller_to: Option<String>,
    /// The caller as our called phone sees it, where that is another name.
    pub caller_shown: Option<String>,
    pub call: Option<CallInfo>,
}

impl Core {
    pub(super) fn dialog(&mut self, call_id: &str, caller_tag: &str) -> &mut Dialog {
        let key = (call_id.to_owned(), caller_tag.to_owned());
        if !self.dialogs.contains_key(&key) {
            if self.dialog_order.len() >= DIALOGS_MAX
                && let Some(oldest) = self.dialog_order.pop_front()
            {
                self.dialogs.remove(&oldest);
            }
            self.dialog_order.push_back(key.clone());
        }
        self.dialogs.entry(key).or_default()
    }

    /// Realms whose challenges and credentials never pass from one leg to another (design §3.4): ours, and those of both
    /// parties. A callee that challenged in such a name would be given an answer that opens an account.
    pub(super) fn guarded_realms<'a>(&'a self, info: &'a CallInfo) -> Vec<&'a str> {
        let Addressing { default_realm, local_realms, .. } = &self.config.addressing;
        let parties = [realm_of(&info.caller), realm_of(&info.callee), default_realm.as_str()];
        parties.into_iter().chain(local_realms.iter().map(String::as_str)).collect()
    }

    /// Tells what happened to a call, once for each side that is served here.
    pub(super) fn call_event(
        &mut self,
        request: &Message,
        caller: &Side,
        callee: &Side,
        info: &CallInfo,
        what: CallProgress,
        sdp: &[u8],
    ) {
        let (Some(call_id), Some(tag)) = (request.call_id(), request.from().and_then(|f| f.tag())) else {
            return;
        };
        let (call_id, tag) = (call_id.to_owned(), tag.to_owned());
        self.call_event_of(call_id, tag, caller, callee, info, what, sdp);
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn call_event_of(
        &mut self,
        call_id: String,
        from_tag: String,
        caller: &Side,
        callee: &Side,
        info: &CallInfo,
        what: CallProgress,
        sdp: &[u8],
    ) {
        let peer = |side: &Side| match side {
            Side::Peer(label) => Some(label.clone()),
            Side::Phone { .. } | Side::Flow(_) => None,
        };
        let sides = [(CallSide::Caller, caller, callee), (CallSide::Callee, callee, caller)];
        for (side, own, other) in sides {
            if matches!(own, Side::Peer(_)) {
                continue;
            }
            self.out.push_back(Output::Call(CallEvent {
                call_id: call_id.clone(),
                from_tag: from_tag.clone(),
                side,
                caller: info.caller.clone(),
                callee: info.callee.clone(),
                peer: peer(other),
                vouch: info.vouch.clone(),
                what,
                sdp: sdp.to_vec(),
            }));
        }
    }
}
