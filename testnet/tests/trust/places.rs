//! Who is where: a serving peer may say what it likes, only the home's word routes a call to it.

use super::stage::{A, ALICE, B, BOB, PASSWORD, Request, Stage};
use dots::peer::api::Request as Api;
use dots_overlay::{
    dht,
    records::{Bind, Event, RealmRecord},
    transport::NetCommand,
};
use dots_testnet::sim::{
    liar::{Draft, realm_record},
    phone::{Phone, Plan},
};
use dots_wire::sha256;
use serde_bytes::ByteBuf;
use std::time::Duration;

impl Stage {
    fn bind(&self, aor: &str, instance: &str, grant: Option<ByteBuf>) -> Bind {
        let home = if aor.ends_with("r0.test") { A } else { B };
        let record: RealmRecord = realm_record(&self.world, home, &self.world.hosts[home].realm);
        let until = self.world.now(home).wall.plus(Duration::from_secs(3_000));
        Bind {
            aor_id: record.aor_id(aor),
            realm: record.id(),
            instance: sha256(instance.as_bytes()),
            until,
            grant: grant.map(|grant| grant.into_vec().into()),
        }
    }

    pub fn publish_bind(&mut self, aor: &str, instance: &str, grant: Option<ByteBuf>) {
        let bind = self.bind(aor, instance, grant);
        self.liar.publish(&mut self.world, &[Event::Bind(bind)]);
    }

    /// Does B send calls for this AOR to the liar? Asked in both ways: what it shows, and what it does.
    pub fn is_routed_to_liar(&mut self, aor: &str) -> bool {
        let liar = self.liar.id().to_string();
        let id = self.world.put_question(B, Api::Lookup { aor: aor.to_owned() });
        self.wait(8);
        let reply = self.world.hosts[B].replies.remove(&id).expect("answered");
        let shown =
            reply.body["bindings"].as_array().into_iter().flatten().any(|b| b["serving"] == liar.as_str());
        self.liar.heard.clear();
        let plan = Plan { talk: Some(Duration::from_secs(1)), patience: Duration::from_secs(3) };
        self.with_phone(BOB, |phone, at| phone.call(at, aor, plan));
        self.wait(12);
        let called = self.liar.requests().contains("INVITE");
        assert_eq!(shown, called, "what is shown is what is done");
        called
    }

    /// Does B let an INVITE from this caller pass to its phone, on this grant?
    pub fn invite_with(&mut self, caller: &str, grant: ByteBuf) -> bool {
        let before = self.reached(BOB).len();
        let id = format!("with-{}", self.world.at.as_millis());
        let status = self.attempt(&Request::new("INVITE", caller, "bob@r1.test", &id), Some(grant), None);
        let after = self.reached(BOB).len();
        assert_eq!(after == before, status == Some(403), "{status:?}");
        after > before
    }
}

#[test]
fn a_binding_without_a_grant_is_not_routed_to() {
    let mut stage = Stage::new();
    stage.publish_bind("ann@r0.test", "phone", None);
    assert!(!stage.is_routed_to_liar("ann@r0.test"));
    // The control: with the home's word it is.
    let me = stage.liar.id();
    let grant = Draft::bind(&stage.world, A, me, "ann@r0.test", "phone").bytes();
    stage.publish_bind("ann@r0.test", "phone", Some(grant));
    assert!(stage.is_routed_to_liar("ann@r0.test"));
}

#[test]
fn a_grant_for_one_phone_binds_no_other() {
    let mut stage = Stage::new();
    let me = stage.liar.id();
    let bent: [(&str, Draft, &str); 4] = [
        ("another instance", Draft::bind(&stage.world, A, me, "ann@r0.test", "her phone"), "ann@r0.test"),
        ("another AOR", Draft::bind(&stage.world, A, me, "alice@r0.test", "phone"), "ann@r0.test"),
        (
            "a call grant",
            Draft::call(&stage.world, A, me, "ann@r0.test", "INVITE", "bob@r1.test"),
            "ann@r0.test",
        ),
        (
            "another serving peer",
            Draft::bind(&stage.world, A, stage.world.hosts[B].id, "ann@r0.test", "phone"),
            "ann@r0.test",
        ),
    ];
    for (why, draft, aor) in bent {
        stage.publish_bind(aor, "phone", Some(draft.bytes()));
        assert!(!stage.is_routed_to_liar(aor), "{why}");
    }
}

#[test]
fn a_dht_record_without_a_grant_is_not_believed_when_the_home_is_down() {
    let mut stage = Stage::new();
    stage.world.crash(A);
    stage.wait(4);
    for (grant, is_believed) in [(false, false), (true, true)] {
        let proof = Draft::bind(&stage.world, A, stage.liar.id(), "ann@r0.test", "phone").bytes();
        let bind = stage.bind("ann@r0.test", "phone", grant.then_some(proof));
        let now = stage.world.now(stage.liar.host).wall;
        let value = dht::value(&stage.liar.key, std::iter::once(bind.clone()), now);
        let (key, host) = (bind.aor_id.0.to_vec(), stage.liar.host);
        stage.world.command(host, NetCommand::DhtPut { key, value, ttl_secs: 3_000 });
        stage.wait(1);
        assert_eq!(stage.is_routed_to_liar("ann@r0.test"), is_believed);
    }
}

#[test]
fn no_such_user_is_said_on_the_homes_word_alone() {
    let mut stage = Stage::new();
    let plan = Plan { talk: None, patience: Duration::from_secs(20) };
    let call = |stage: &mut Stage, target: &str| {
        stage.with_phone(ALICE, |phone, at| phone.call(at, target, plan));
        stage.wait(15);
        stage.answered(ALICE, "INVITE")
    };
    assert_eq!(call(&mut stage, "nobody@r1.test"), Some(404), "B says so");
    assert_eq!(call(&mut stage, "ben@r1.test"), Some(480), "he exists, and is not there");
    stage.world.crash(B);
    stage.wait(4);
    assert_eq!(call(&mut stage, "nobody@r1.test"), Some(480), "nobody can say");
    assert_eq!(call(&mut stage, "nobody@r0.test"), Some(404), "A says so itself");
}

#[test]
fn two_phones_of_one_account_on_two_peers_both_ring_from_a_third() {
    let mut stage = Stage::new();
    let third = stage.world.add_host();
    stage.world.hosts[third].skew_ms = 0;
    stage.world.add_account(third, "carol", PASSWORD, true);
    stage.world.start(third);
    stage.wait(2);
    let away = stage.add_phone(A, B, "alice");
    let carol = stage.add_phone(third, third, "carol");
    for phone in [ALICE, away, carol] {
        assert_eq!(stage.answered(phone, "REGISTER"), Some(200));
        stage.world.phones[phone].picks_up = false;
    }
    let plan = Plan { talk: None, patience: Duration::from_secs(4) };
    stage.with_phone(carol, |phone: &mut Phone, at| phone.call(at, "alice@r0.test", plan));
    stage.wait(2);
    assert_eq!(stage.reached(ALICE), ["INVITE"]);
    assert_eq!(stage.reached(away), ["INVITE"]);
    stage.wait(8);
    assert_eq!(stage.reached(ALICE), ["INVITE", "CANCEL"], "and both stop when she gives up");
    assert_eq!(stage.reached(away), ["INVITE", "CANCEL"]);
}
