//! A request inside a dialog on its way to being forwarded: by its token, from the side that it says, to the other one.

use super::{
    Hands, Proxy,
    calls::Call,
    dialog::{Pass, reach, speaks_for},
    forwarding::InDialog,
    session::{Session, Stage},
    target::Target,
    way::NoWay,
};
use crate::{
    border::parties::Parties,
    cx::Cx,
    hop::Hop,
    ids::Method,
    location::Place,
    output::CallProgress,
    status::{self, Status},
    token::Side,
    transaction::{NewRequest, Standing, Transactions, User},
};

impl Proxy {
    /// A request with a To-tag, or the ACK of a 2xx.
    pub(super) fn enter(
        &mut self,
        cx: &mut Cx<'_>,
        tx: &mut Transactions,
        new: NewRequest,
        standing: Standing,
    ) {
        let is_ack = Method::of(&new.request) == Method::Ack;
        let pass = match Pass::find(cx, &new.request) {
            Ok(pass) => pass,
            Err(why) => {
                cx.count("dialog_refused");
                // §12.2.2 where the dialog is unknown, so that the phone ends it; 403 where somebody forges.
                let status = if why == NoWay::Unknown { status::NO_SUCH_DIALOG } else { status::FORBIDDEN };
                if !is_ack {
                    let answer = cx.answer(&new.request, status, &[]);
                    tx.refuse(cx, &new, answer);
                }
                return;
            }
        };
        let id = cx.session();
        if !is_ack && !tx.accept(cx, &new, User::Proxy(id), standing) {
            return;
        }
        let mut wait = |side: &Side| match side {
            Side::Phone { aor, .. } => {
                cx.locate(id, aor);
                None
            }
            Side::Flow(_) | Side::Peer(_) => Some(Vec::new()),
        };
        let (sender, recipient) = (wait(pass.way.sender()), wait(pass.way.recipient()));
        let is_known = sender.is_some() && recipient.is_some();
        self.begin(id, new, standing, Stage::Entering { pass: Box::new(pass), sender, recipient });
        if is_known {
            self.with(cx, tx, id, Session::enter_known);
        }
    }
}

impl Session {
    /// Neither side is a phone that would have to be located.
    fn enter_known(&mut self, hands: &mut Hands<'_, '_>) {
        if let Stage::Entering { pass, sender, recipient } = self.take_stage() {
            self.entered(hands, pass, sender, recipient);
        }
    }

    /// Goes on once both sides are located.
    pub(super) fn entered(
        &mut self,
        hands: &mut Hands<'_, '_>,
        mut pass: Box<Pass>,
        sender: Option<Vec<Place>>,
        recipient: Option<Vec<Place>>,
    ) {
        let (Some(sender), Some(recipient)) = (&sender, &recipient) else {
            self.stage = Stage::Entering { pass, sender, recipient };
            return;
        };
        let is_ack = Method::of(&self.new.request) == Method::Ack;
        let target = reach(pass.way.recipient(), recipient);
        if let Err(status) = self.may_pass(hands, &pass, sender, target.as_ref()) {
            hands.cx.count("dialog_refused");
            if !is_ack {
                hands.refuse(&self.new, status, &[]);
            }
            return;
        }
        let (from, to) = match pass.way.by_caller {
            true => (sender, recipient),
            false => (recipient, sender),
        };
        name_instance(&mut pass.way.token.caller, from);
        name_instance(&mut pass.way.token.callee, to);
        pass.remember(hands.cx, hands.dialogs, &self.new.request);
        if is_ack {
            let Some(target) = target else { return };
            let branch = hands.cx.branch();
            let copy =
                pass.copy(hands.cx, hands.dialogs, (&self.new.request, &self.new.hop), &target, branch);
            if let Some(copy) = copy {
                // Nobody answers an ACK: a phone that may have answered the INVITE at either of its ports gets it at both.
                let both = std::iter::once(target.hop()).chain(target.on_flow().map(|target| target.hop()));
                both.for_each(|hop| hands.cx.send(&hop, copy.clone()));
            }
            return;
        }
        let parties = pass.parties(hands.cx, hands.dialogs, &self.new.request);
        self.tell_call(hands.cx, &pass, &parties);
        let Some(target) = target else {
            // §16.9: as a 503 of its only branch; in a dialog that is 500.
            hands.cx.count("branch_unreachable");
            hands.respond(&self.new, status::SERVER_INTERNAL_ERROR);
            return;
        };
        self.forward_in_dialog(hands, InDialog { pass: *pass, parties, target });
    }

    /// Is it the sender's to say, may it be said now, and does it go to whom its Routes name next?
    fn may_pass(
        &self,
        hands: &Hands<'_, '_>,
        pass: &Pass,
        sender: &[Place],
        target: Option<&Target>,
    ) -> Result<(), Status> {
        if !speaks_for(&self.new.hop, pass.way.sender(), sender) {
            return Err(status::FORBIDDEN);
        }
        pass.judge(hands.cx, hands.dialogs, &self.new.request, &self.new.hop)?;
        let leads = target.is_none_or(|target| pass.way.leads_to(&target.hop(), &target.names()));
        if leads { Ok(()) } else { Err(Status(403, "Route Not Ours")) }
    }

    /// A BYE ends a call, a re-INVITE or UPDATE is a sign of its life.
    fn tell_call(&self, cx: &mut Cx<'_>, pass: &Pass, parties: &Parties) {
        let Some(call_id) = self.new.request.call_id() else { return };
        let seen_from_phone = matches!(self.new.hop, Hop::Phone(_));
        let what = match Method::of(&self.new.request) {
            Method::Bye => CallProgress::Ended { by_caller: pass.way.by_caller, seen_from_phone },
            Method::Invite | Method::Update => CallProgress::Refreshed,
            _ => return,
        };
        let call = Call {
            attempt: None,
            call_id,
            from_tag: &pass.way.caller_tag,
            to_tag: Some(&pass.way.callee_tag),
            caller: &pass.way.token.caller,
            callee: &pass.way.token.callee,
            parties,
        };
        call.tell(cx, what, &[]);
    }
}

/// The whole name of an instance that a token names by its hash; without a binding it stays so.
fn name_instance(side: &mut Side, places: &[Place]) {
    if let Side::Phone { instance, .. } = side
        && let Some(place) = places.iter().find(|place| place.is_instance(instance))
    {
        instance.clone_from(&place.instance);
    }
}
