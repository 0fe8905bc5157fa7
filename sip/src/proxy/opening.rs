//! What a request begins: a session that waits for its first answer, or nothing.
//!
//! Who sends it and whether it may be sent is judged here as far as the request alone tells. What is refused leaves nothing
//! behind; a session is returned to the proxy, which keeps it.

use super::{
    admission::{self, Refusal, is_own_account_only},
    dialog::Pass,
    entering::Entering,
    session::{Session, Stage, phone_of},
    way::NoWay,
};
use crate::{
    Output,
    address::realm_of,
    auth::{ChallengeKind, Purpose, Vouch, answer_for},
    border::parties::Parties,
    cx::Cx,
    hop::Hop,
    ids::Method,
    input::{Resolution, Vouched},
    limits::AOR_BYTES_MAX,
    status::{self, Status},
    token::Side,
    transaction::{NewRequest, Standing, Transactions, User},
};

/// A request without a To-tag. `caller`: who a peer vouches for; `may_challenge`: there is room for one that waits for a
/// nonce.
pub(super) fn admit(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    new: NewRequest,
    caller: Option<Vouched>,
    standing: Standing,
    may_challenge: bool,
) -> Option<Session> {
    let target = match admission::target(cx, &new.request) {
        Ok(target) => target,
        Err(refusal) => {
            refuse(cx, tx, &new, refusal);
            return None;
        }
    };
    match (&new.hop, caller) {
        (Hop::Phone(_), _) => authenticate(cx, tx, (new, standing), target, may_challenge),
        (Hop::Peer(label), Some(caller))
            if caller.aor.len() <= AOR_BYTES_MAX
                && (!is_own_account_only(&new.request) || caller.aor == target) =>
        {
            let from = Side::Peer(label.clone());
            let Vouched { aor: caller, grant } = caller;
            let vouch = Some(Vouch { aor: caller.clone(), grant, not_after_ms: 0 });
            let parties = Parties { caller, callee: target.clone(), vouch, nonce: cx.nonce };
            let id = cx.session();
            if !tx.accept(cx, &new, User::Proxy(id), standing) {
                return None;
            }
            cx.locate(id, &target);
            // Only our own phones: what a peer sends us goes to no third one.
            let others = Some(Resolution::Offline);
            Some(Session::new(
                (id, cx.now.mono),
                new,
                standing,
                Stage::Resolving { from, parties, own: None, others },
            ))
        }
        (Hop::Peer(_), _) => {
            refuse_with(cx, tx, &new, status::FORBIDDEN);
            None
        }
    }
}

fn authenticate(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    (new, standing): (NewRequest, Standing),
    target: String,
    may_challenge: bool,
) -> Option<Session> {
    let from = new.request.from().map(|f| f.uri().to_owned()).unwrap_or_default();
    let caller = cx.addressing().canonical_aor(&from).ok().filter(|aor| aor.len() <= AOR_BYTES_MAX);
    let Some(caller) = caller else {
        refuse_with(cx, tx, &new, status::FORBIDDEN);
        return None;
    };
    let realm = realm_of(&caller).to_owned();
    if !cx.serves(&realm) {
        cx.count("call_not_served");
        refuse_with(cx, tx, &new, status::OTHER_REALMS);
        return None;
    }
    let purpose = Purpose::Request { target: target.clone() };
    let id = cx.session();
    match answer_for(cx.addressing(), &new.request, ChallengeKind::Proxy, (&realm, &caller), purpose) {
        Err(bad) => {
            let (status, reason) = bad.status();
            refuse_with(cx, tx, &new, Status(status, reason));
            None
        }
        Ok(None) if !may_challenge => {
            cx.count("challenges_dropped");
            None
        }
        Ok(None) => {
            cx.out(Output::Challenge { id, realm, source: phone_of(&new.hop) });
            Some(Session::new(
                (id, cx.now.mono),
                new,
                standing,
                Stage::Challenging { caller, target, stale: false },
            ))
        }
        Ok(Some(answer)) => {
            if !tx.accept(cx, &new, User::Proxy(id), standing) {
                return None;
            }
            let nonce = answer.nonce.clone();
            cx.out(Output::Verify { id, answer: Box::new(answer), source: phone_of(&new.hop) });
            Some(Session::new((id, cx.now.mono), new, standing, Stage::Verifying { caller, target, nonce }))
        }
    }
}

/// A request with a To-tag, or the ACK of a 2xx (TOK-6).
pub(super) fn enter(
    cx: &mut Cx<'_>,
    tx: &mut Transactions,
    new: NewRequest,
    standing: Standing,
) -> Option<Session> {
    let is_ack = Method::of(&new.request) == Method::Ack;
    let pass = match Pass::find(cx, &new.request) {
        Ok(pass) => pass,
        Err(why) => {
            cx.count("dialog_refused");
            // §12.2.2 where the dialog is unknown, so that the phone ends it; 403 where somebody forges.
            let status = if why == NoWay::Unknown { status::NO_SUCH_DIALOG } else { status::FORBIDDEN };
            if !is_ack {
                refuse_with(cx, tx, &new, status);
            }
            return None;
        }
    };
    let id = cx.session();
    if !is_ack && !tx.accept(cx, &new, User::Proxy(id), standing) {
        return None;
    }
    let entering = Entering::begin(cx, id, pass);
    Some(Session::new((id, cx.now.mono), new, standing, Stage::Entering(entering)))
}

fn refuse(cx: &mut Cx<'_>, tx: &mut Transactions, new: &NewRequest, refusal: Refusal) {
    if let Some(counter) = refusal.counter {
        cx.count(counter);
    }
    let answer = cx.answer(&new.request, refusal.status, &refusal.headers);
    tx.refuse(cx, new, answer);
}

fn refuse_with(cx: &mut Cx<'_>, tx: &mut Transactions, new: &NewRequest, status: Status) {
    let answer = cx.answer(&new.request, status, &[]);
    tx.refuse(cx, new, answer);
}
