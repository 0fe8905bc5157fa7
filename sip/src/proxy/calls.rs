//! What is told of calls, once for each side that is served here.

use super::dialog::Pass;
use crate::{
    Output,
    border::parties::Parties,
    cx::Cx,
    ids::{AskId, Method},
    message::Message,
    output::{CallEvent, CallProgress, CallSide},
    token::Side,
};

/// The call that an event is about.
pub(super) struct Call<'a> {
    pub attempt: Option<AskId>,
    pub call_id: &'a str,
    pub from_tag: &'a str,
    pub to_tag: Option<&'a str>,
    pub caller: &'a Side,
    pub callee: &'a Side,
    pub parties: &'a Parties,
}

impl<'a> Call<'a> {
    /// The call that this INVITE is to begin.
    pub fn of(
        attempt: AskId,
        invite: &'a Message,
        (caller, callee): (&'a Side, &'a Side),
        parties: &'a Parties,
    ) -> Option<Call<'a>> {
        let (call_id, from_tag) = (invite.call_id()?, invite.from()?.tag()?);
        Some(Call { attempt: Some(attempt), call_id, from_tag, to_tag: None, caller, callee, parties })
    }

    /// The call that this request is in.
    pub fn within(pass: &'a Pass, parties: &'a Parties) -> Call<'a> {
        let (way, token) = (&pass.way, &pass.way.token);
        Call {
            attempt: None,
            call_id: &way.call_id,
            from_tag: &way.caller_tag,
            to_tag: Some(&way.callee_tag),
            caller: &token.caller,
            callee: &token.callee,
            parties,
        }
    }

    /// The INVITE of a phone of ours got nowhere: there is no other side.
    pub fn tell_of_none(
        cx: &mut Cx<'_>,
        (attempt, invite): (AskId, &Message),
        caller: &Side,
        parties: &Parties,
        status: u16,
    ) {
        let is_ours = !matches!(caller, Side::Peer(_)) && Method::of(invite) == Method::Invite;
        let Some(call) = Call::of(attempt, invite, (caller, caller), parties).filter(|_| is_ours) else {
            return;
        };
        cx.out(Output::Call(CallEvent {
            attempt: call.attempt,
            call_id: call.call_id.to_owned(),
            from_tag: call.from_tag.to_owned(),
            to_tag: None,
            side: CallSide::Caller,
            caller: parties.caller.clone(),
            callee: parties.callee.clone(),
            peer: None,
            vouch: parties.vouch.clone(),
            nonce: None,
            what: CallProgress::Failed { status },
            sdp: Vec::new(),
        }));
    }

    pub fn tell(&self, cx: &mut Cx<'_>, what: CallProgress, sdp: &[u8]) {
        let sides =
            [(CallSide::Caller, self.caller, self.callee), (CallSide::Callee, self.callee, self.caller)];
        for (side, own, other) in sides {
            if matches!(own, Side::Peer(_)) {
                continue;
            }
            let peer = match other {
                Side::Peer(label) => Some(label.clone()),
                Side::Phone { .. } | Side::Flow(_) => None,
            };
            cx.out(Output::Call(CallEvent {
                attempt: self.attempt,
                call_id: self.call_id.to_owned(),
                from_tag: self.from_tag.to_owned(),
                to_tag: self.to_tag.map(str::to_owned),
                side,
                caller: self.parties.caller.clone(),
                callee: self.parties.callee.clone(),
                peer,
                vouch: self.parties.vouch.clone(),
                nonce: if side == CallSide::Caller { cx.nonce } else { self.parties.nonce },
                what,
                sdp: sdp.to_vec(),
            }));
        }
    }
}
