//! A request inside a dialog on its way to being forwarded: by its token, from the side that it says, to the other one.

use super::{
    Hands,
    calls::Call,
    dialog::{Pass, reach, speaks_for},
    ending,
    forwarding::Forwarding,
    target::Target,
};
use crate::{
    cx::Cx,
    ids::{AskId, Method},
    location::Place,
    output::CallProgress,
    status::{self, Status},
    token::Side,
    transaction::NewRequest,
};

/// Waits for where the two sides of a dialog are, those that are phones of ours.
pub(super) struct Entering {
    pass: Box<Pass>,
    sender: Option<Vec<Place>>,
    recipient: Option<Vec<Place>>,
}

/// What became of it.
pub(super) enum Entered {
    /// A side is not located yet.
    Waits(Entering),
    Forward(Box<Forwarding>),
    /// Refused, or an ACK that went on or nowhere.
    Over,
}

impl Entering {
    /// Asks for the sides that have to be located.
    pub fn begin(cx: &mut Cx<'_>, id: AskId, pass: Pass) -> Entering {
        let mut wait = |side: &Side| match side {
            Side::Phone { aor, .. } => {
                cx.locate(id, aor);
                None
            }
            Side::Flow(_) | Side::Peer(_) => Some(Vec::new()),
        };
        let (sender, recipient) = (wait(pass.way.sender()), wait(pass.way.recipient()));
        Entering { pass: Box::new(pass), sender, recipient }
    }

    /// These are the phones of this AOR.
    pub fn locate(&mut self, aor: &str, places: &[Place]) {
        let Entering { pass, sender, recipient } = self;
        for (side, slot) in [(pass.way.sender(), sender), (pass.way.recipient(), recipient)] {
            if matches!(side, Side::Phone { aor: named, .. } if named == aor) {
                *slot = Some(places.to_vec());
            }
        }
    }

    /// Goes on once both sides are located.
    pub fn go_on(self, hands: &mut Hands<'_, '_>, id: AskId, new: &NewRequest) -> Entered {
        let Entering { mut pass, sender, recipient } = self;
        let (Some(sender), Some(recipient)) = (&sender, &recipient) else {
            return Entered::Waits(Entering { pass, sender, recipient });
        };
        let is_ack = Method::of(&new.request) == Method::Ack;
        let target = reach(pass.way.recipient(), recipient);
        if let Err(status) = may_pass(hands, new, &pass, sender, target.as_ref()) {
            hands.cx.count("dialog_refused");
            if !is_ack {
                hands.refuse(new, status, &[]);
            }
            return Entered::Over;
        }
        let (from, to) = match pass.way.by_caller {
            true => (sender, recipient),
            false => (recipient, sender),
        };
        name_instance(&mut pass.way.token.caller, from);
        name_instance(&mut pass.way.token.callee, to);
        pass.remember(hands.cx, hands.dialogs, &new.request);
        if is_ack {
            let parties = pass.parties(hands.cx, hands.dialogs);
            Call::within(&pass, &parties).tell(hands.cx, CallProgress::Acknowledged, &[]);
            if let Some(target) = target {
                acknowledge(hands, new, &pass, &target);
            }
            return Entered::Over;
        }
        let parties = pass.parties(hands.cx, hands.dialogs);
        let Some(target) = target else {
            // §16.9: as a 503 of its only branch; in a dialog that is 500.
            hands.cx.count("branch_unreachable");
            ending::answered(hands, new, (&pass, &parties), None, hands.cx.now.mono);
            hands.respond(new, status::SERVER_INTERNAL_ERROR);
            return Entered::Over;
        };
        Entered::Forward(Box::new(Forwarding::in_dialog(
            (id, new, hands.cx.now.mono),
            *pass,
            parties,
            target,
        )))
    }
}

/// Nobody answers an ACK: a phone that may have answered the INVITE at either of its ports gets it at both.
fn acknowledge(hands: &mut Hands<'_, '_>, new: &NewRequest, pass: &Pass, target: &Target) {
    let branch = hands.cx.branch();
    if let Some(copy) = pass.copy(hands.cx, hands.dialogs, (&new.request, &new.hop), target, branch) {
        let both = std::iter::once(target.hop()).chain(target.on_flow().map(|target| target.hop()));
        both.for_each(|hop| hands.cx.send(&hop, copy.clone()));
    }
}

/// Is it the sender's to say, may it be said now, and does it go to whom its Routes name next?
fn may_pass(
    hands: &Hands<'_, '_>,
    new: &NewRequest,
    pass: &Pass,
    sender: &[Place],
    target: Option<&Target>,
) -> Result<(), Status> {
    if !speaks_for(&new.hop, pass.way.sender(), sender) {
        return Err(status::FORBIDDEN);
    }
    pass.judge(hands.cx, hands.dialogs, &new.request, &new.hop)?;
    let leads = target.is_none_or(|target| pass.way.leads_to(&target.hop(), &target.names()));
    if leads { Ok(()) } else { Err(Status(403, "Route Not Ours")) }
}

/// The whole name of an instance that a token names by its hash; without a binding it stays so.
fn name_instance(side: &mut Side, places: &[Place]) {
    if let Side::Phone { instance, .. } = side
        && let Some(place) = places.iter().find(|place| place.is_instance(instance))
    {
        instance.clone_from(&place.instance);
    }
}
