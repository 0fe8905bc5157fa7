//! All scenarios once more, with four SIP cores behind one face: bindings are sharded by AOR, transactions by Call-ID.
#![allow(clippy::duplicate_mod, reason = "each file of scenarios brings the common module as it does alone")]

#[path = "border.rs"]
mod border;
#[path = "calls.rs"]
mod calls;
#[path = "dialogs.rs"]
mod dialogs;
#[path = "guards.rs"]
mod guards;
#[path = "listening.rs"]
mod listening;
#[path = "transfer.rs"]
mod transfer;
#[path = "trouble.rs"]
mod trouble;

mod common;

use common::*;
use dots_sip::message::Message;

/// The call's core is that of its Call-ID, the phones' those of their AORs: over some calls every core has its share.
#[test]
fn a_call_is_really_carried_by_several_cores() {
    let World { now, mut a, .. } = World::new();
    a.register(now, "alice", 1);
    a.register(now, "bob", 2);
    let registered = a.core.used().clone();
    for n in 0..20 {
        let call = format!("call-{n}");
        a.phone(now, 1, &invite(1, &call, "alice", "bob", "a.test"));
        let ringing: Message = a.got(2);
        a.phone(now, 2, &answer(&ringing, "200 OK", 2));
        let ok = a.got(1);
        let text = |text: String| text.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{n}x"));
        a.phone(now, 1, &text(in_dialog("ACK", 7, 1, &ok, true, &call)));
        assert_eq!(a.got(2).method(), "ACK");
        a.phone(now, 2, &text(in_dialog("BYE", 1, 2, &ringing, false, &call)));
        let bye = a.got(1);
        a.phone(now, 1, &answer(&bye, "200 OK", 1));
        assert_eq!(a.got(2).status(), Some(200));
    }
    assert_eq!(a.core.used().len(), 4);
    assert!(registered.len() <= 2, "two AORs have at most two cores; the calls used the others");
    assert_eq!(a.core.bindings().count(), 2);
}
