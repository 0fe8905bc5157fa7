use super::*;
use dots_wire::{SecretKey, Signature};
use hostile::attack;

#[path = "../../../overlay/wire/tests/hostile/mod.rs"]
mod hostile;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn facts() -> Facts {
    let (nonce_caller, nonce_callee) = (Hash([1; 32]), Hash([2; 32]));
    Facts {
        network: "main".into(),
        call_id: sha256(&[nonce_caller.0, nonce_callee.0].concat()),
        nonce_caller,
        nonce_callee,
        caller_peer: key(1).public(),
        callee_peer: key(2).public(),
        caller_home: key(3).public(),
        callee_home: key(4).public(),
        grant: Hash([3; 32]),
        caller_party: Hash([4; 32]),
        callee_party: Hash([5; 32]),
        salt: Hash([6; 32]),
    }
}

fn claim(side: Side) -> Claim {
    let start = Timestamp(1_700_000_000_000);
    let cause = Some(EndCause::Bye);
    Claim { version: VERSION, facts: facts(), side, start, duration_ms: Some(61_500), cause }
}

fn agreed() -> Receipt {
    agree(&claim(Side::Caller), &claim(Side::Callee)).expect("they agree")
}

fn half() -> HalfSigned {
    sealing(&key(1), |s| HalfSigned::sign(s, Side::Caller, &agreed()))
}

fn whole() -> Whole {
    half().with(sealing(&key(2), |s| HalfSigned::sign(s, Side::Callee, &agreed())).seal)
}

fn messages() -> Vec<Message> {
    let claim = sealing(&key(1), |s| claim(Side::Caller).sign(s));
    vec![
        Message::Claim(claim.clone()),
        Message::Half(Half { claim, seal: half().seal }),
        Message::Whole(whole()),
        Message::Refused(Refused { call_id: facts().call_id, reason: Refusal::Excessive }),
    ]
}

fn records() -> Vec<Stored> {
    let own = sealing(&key(1), |s| claim(Side::Caller).sign(s));
    let theirs = sealing(&key(2), |s| claim(Side::Callee).sign(s));
    let (call_id, ended, start) = (facts().call_id, Timestamp(1_700_000_061_500), claim(Side::Caller).start);
    let (duration_ms, cause) = (Some(61_500), Some(EndCause::Expired));
    vec![
        Stored::Open(OpenNote { facts: facts(), start }),
        Stored::End(EndNote { call_id, duration_ms, cause, ended }),
        Stored::Claim(ClaimNote { own: own.clone(), ended }),
        Stored::Half(HalfNote { own, theirs, half: half(), ended }),
        Stored::Whole(WholeNote { whole: whole(), is_told: true, ended }),
        Stored::Close(CloseNote { call_id, why: Close::Told }),
        Stored::Close(CloseNote { call_id, why: Close::Refused(Refusal::Unmeasured) }),
        Stored::Close(CloseNote { call_id, why: Close::Lapsed }),
    ]
}

/// A change here is a new version of the record, or a CHANGELOG line before the first release.
#[test]
fn golden_bytes() {
    let mut got = String::new();
    let mut line = |name: &str, bytes: &[u8]| got += &format!("{name} {}\n", hex::encode(bytes));
    line("receipt", &encode(&agreed()));
    line("claim", &encode(&claim(Side::Callee)));
    for (name, message) in ["claim", "half", "whole", "refused"].iter().zip(messages()) {
        line(&format!("message-{name}"), &write_bundle(&[Some(message)]));
    }
    let place = Place {
        index: 1,
        count: 3,
        path: vec![Hash([1; 32]), Hash([2; 32])],
        root: Hash([3; 32]),
        signature: Signature([4; 64]),
    };
    line("seal-batch", &encode(&Seal::Batch(Box::new(place))));
    let names = ["open", "end", "claim", "half", "whole", "told", "refused", "lapsed"];
    for (name, record) in names.iter().zip(records()) {
        line(&format!("stored-{name}"), &record.to_bytes());
    }
    assert!(got == include_str!("golden.txt"), "other bytes than golden.txt:\n{got}");
}

/// RCPT-11.
#[test]
fn what_is_written_is_read() {
    for message in messages() {
        let bundle = vec![Some(message.clone()), None];
        assert_eq!(read_bundle(&write_bundle(&bundle)), Some(bundle));
        assert_eq!(message.call_id(), Some(facts().call_id));
    }
    for record in records() {
        assert_eq!(Stored::read(&record.to_bytes()), Some(record));
    }
}

#[test]
fn what_is_not_of_this_version_and_whole_is_not_read() {
    for message in messages() {
        let bytes = write_bundle(&[Some(message)]);
        attack("message", &bytes, |b| read_bundle(b).is_some());
        for other in [1, 3] {
            let mut bytes = bytes.clone();
            bytes[1] = other;
            assert_eq!(read_bundle(&bytes), None);
        }
    }
    for record in records() {
        let bytes = record.to_bytes();
        attack("stored", &bytes, |b| Stored::read(b).is_some());
        let mut newer = bytes;
        newer[1] = VERSION + 1;
        assert_eq!(Stored::read(&newer), None);
    }
    attack("receipt", &encode(&agreed()), |b| Receipt::read(b).is_ok());
    attack("claim", &encode(&claim(Side::Caller)), |b| {
        let seal = || Seal::Alone(key(1).sign(CLAIM_DOMAIN, b));
        let signed = || Sealed { payload: b.to_vec(), seal: seal() };
        // Most of what is tried is no claim at all: nothing is signed for it.
        dots_wire::decode::<Claim>(b).is_ok() && Claim::verified(&mut Checked::default(), &signed()).is_some()
    });
}

/// RCPT-3.
#[test]
fn no_byte_of_a_receipt_or_a_claim_can_be_changed() {
    let bytes = encode(&whole());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let read = dots_wire::decode::<Whole>(&bytes);
            assert!(
                read.is_err() || read.is_ok_and(|w| w.verify(&mut Checked::default()).is_err()),
                "byte {at} bit {bit}"
            );
        }
    }
    let bytes = encode(&sealing(&key(1), |s| claim(Side::Caller).sign(s)));
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let read = dots_wire::decode::<Sealed>(&bytes);
        let verified = read.ok().and_then(|s| Claim::verified(&mut Checked::default(), &s));
        assert!(verified.is_none(), "byte {at}");
    }
}

#[test]
fn a_signature_has_one_form_and_one_domain() {
    // The group order n: n - s is the other s that plain ECDSA would take.
    const N: [u8; 32] = *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\
        \xba\xae\xdc\xe6\xaf\x48\xa0\x3b\xbf\xd2\x5e\x8c\xd0\x36\x41\x41";
    let Seal::Alone(mut high) = whole().caller else { panic!("one record has a bare signature") };
    let mut borrow = 0i16;
    for i in (0..32).rev() {
        let d = i16::from(N[i]) - i16::from(high.0[32 + i]) - borrow;
        borrow = i16::from(d < 0);
        high.0[32 + i] = (d + 256 * borrow) as u8;
    }
    let high = Whole { caller: Seal::Alone(high), ..whole() };
    assert_eq!(high.verify(&mut Checked::default()), Err(ReceiptError::Signature(Side::Caller)));

    let swapped = Whole { caller: whole().callee, callee: whole().caller, ..whole() };
    assert!(swapped.verify(&mut Checked::default()).is_err());
    let as_claim = Seal::Alone(key(1).sign(CLAIM_DOMAIN, &whole().receipt));
    assert!(Whole { caller: as_claim, ..whole() }.verify(&mut Checked::default()).is_err());
}

/// RCPT-1, RCPT-4.
#[test]
fn a_receipt_that_breaks_a_rule_does_not_hold_though_both_signed_it() {
    let both = |receipt: &Receipt| {
        let half = |n, side| sealing(&key(n), |s| HalfSigned::sign(s, side, receipt));
        half(1, Side::Caller).with(half(2, Side::Callee).seal).verify(&mut Checked::default())
    };
    let mut long = agreed();
    long.duration_ms = 6 * 3_600_000;
    assert_eq!(both(&long).as_ref(), Ok(&long));
    long.duration_ms += 1;
    assert_eq!(both(&long), Err(ReceiptError::Duration));
    let mut other = agreed();
    other.version = 2;
    assert_eq!(both(&other), Err(ReceiptError::Version));
    let mut id = agreed();
    id.facts.call_id = Hash([0; 32]);
    assert_eq!(both(&id), Err(ReceiptError::CallId));
    let mut one = agreed();
    one.facts.callee_peer = one.facts.caller_peer;
    assert_eq!(both(&one), Err(ReceiptError::OnePeer));
}

#[test]
fn bytes_that_are_not_the_one_encoding_do_not_hold() {
    // The same value with the duration in a longer form.
    let short = encode(&agreed());
    let at = short.windows(3).rposition(|w| w == [0x19, 0xf0, 0x3c]).expect("61500 in three bytes");
    let long = [&short[..at], &[0x1a, 0, 0, 0xf0, 0x3c], &short[at + 3..]].concat();
    assert_eq!(dots_wire::decode::<Receipt>(&long), Ok(agreed()));
    assert_eq!(Receipt::read(&long), Err(ReceiptError::NotARecord));
}

/// RCPT-2.
/// (why, change to the caller's claim, what follows)
#[test]
fn two_claims_give_one_receipt_or_a_reason() {
    type Change = fn(&mut Claim);
    type Outcome = Result<(u64, Option<Side>), Refusal>;
    let table: [(&str, Change, Outcome); 15] = [
        ("equal", |_| {}, Ok((61_500, None))),
        ("lower", |c| c.duration_ms = Some(1), Err(Refusal::Excessive)),
        ("2 s lower", |c| c.duration_ms = Some(59_500), Ok((59_500, None))),
        ("2 s higher", |c| c.duration_ms = Some(63_500), Ok((61_500, None))),
        ("too high", |c| c.duration_ms = Some(63_501), Err(Refusal::Excessive)),
        ("beyond bounds", |c| c.duration_ms = Some(u64::MAX), Err(Refusal::Excessive)),
        ("lost", |c| c.duration_ms = None, Ok((61_500, Some(Side::Caller)))),
        ("60 s later", |c| c.start.0 += 60_000, Ok((61_500, None))),
        ("more", |c| c.start.0 += 60_001, Err(Refusal::Mismatch)),
        ("earlier", |c| c.start.0 -= 60_001, Err(Refusal::Mismatch)),
        ("told", |c| c.cause = None, Ok((61_500, None))),
        ("version", |c| c.version = 2, Err(Refusal::Mismatch)),
        ("side", |c| c.side = Side::Callee, Err(Refusal::Mismatch)),
        ("facts", |c| c.facts.salt = Hash([0; 32]), Err(Refusal::Mismatch)),
        ("network", |c| c.facts.network = "other".into(), Err(Refusal::Mismatch)),
    ];
    for (why, change, want) in table {
        let mut caller = claim(Side::Caller);
        change(&mut caller);
        let got = agree(&caller, &claim(Side::Callee)).map(|r| (r.duration_ms, r.after_restart));
        assert_eq!(got, want, "{why}");
    }
    let mut both = [claim(Side::Caller), claim(Side::Callee)];
    both.iter_mut().for_each(|c| c.duration_ms = None);
    assert_eq!(agree(&both[0], &both[1]), Err(Refusal::Unmeasured));
}
