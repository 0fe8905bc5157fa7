//! Grants hold for whom they were given, and for nobody else.

use super::*;
use crate::records::{Callers, Serving, realm::REALM_VERSION};
use dots_wire::bounded::Standing;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000_000);
const AOR: Hash = Hash([1; 32]);

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).expect("a scalar")
}

fn realm() -> RealmRecord {
    RealmRecord {
        version: REALM_VERSION,
        name: "a.test".into(),
        key: key(10).public(),
        seq: 3,
        homes: vec![key(1).peer_id(), key(2).peer_id()],
        serving: Serving::Any,
        callers: Callers::Any,
        aor_salt: Hash([9; 32]),
        valid_until: NOW.plus(Duration::from_secs(1)),
    }
}

fn grant(n: u8) -> Grant {
    Grant {
        version: GRANT_VERSION,
        permit: Permit::Bind { instance: Hash([n; 32]) },
        scope: Scope::Aor(AOR),
        realm: realm().id(),
        realm_seq: 3,
        home: key(1).peer_id(),
        serving: key(5).peer_id(),
        time: NOW,
        not_after: NOW.plus(Duration::from_secs(3600)),
    }
}

fn check(proof: &GrantProof, realm: &RealmRecord, at: Timestamp) -> Result<Grant, BadGrant> {
    verify(&mut Checked::default(), &encode(proof), key(5).peer_id(), realm, at, |_, _| None)
}

fn one(grant: Grant, by: &SecretKey) -> GrantProof {
    sign(by, &[grant]).remove(0)
}

/// REC-7.
#[test]
fn a_batch_shares_one_signature_and_each_grant_stands_alone() {
    let mut batcher = GrantBatcher::default();
    let t0 = Instant::now();
    for n in 0..7u8 {
        assert_eq!(batcher.push(t0, n, grant(n), Cause::OWN), Ok(()));
    }
    assert!(batcher.sign_due(t0, &key(1)).is_empty());
    let at = batcher.poll_timeout().expect("it is due soon");
    let signed = batcher.sign_due(at, &key(1));
    assert_eq!(signed.len(), 7);
    for (n, proof) in &signed {
        assert_eq!(proof.root, signed[0].1.root);
        assert_eq!(check(proof, &realm(), NOW), Ok(grant(*n)));
    }
    assert_eq!(batcher.poll_timeout(), None);
}

#[test]
fn a_peer_that_asks_for_all_grants_at_once_leaves_others_theirs() {
    let (mut batcher, t0) = (GrantBatcher::default(), Instant::now());
    let of = |who: &[u8]| Cause::new(Standing::Other).by(who);
    let taken = (0..50_000u32).take_while(|n| batcher.push(t0, *n, grant(1), of(b"greedy")).is_ok()).count();
    assert!((4_000..16_384).contains(&taken), "{taken}");
    for (n, who) in [b"one", b"two"].into_iter().enumerate() {
        assert_eq!(batcher.push(t0, 60_000 + n as u32, grant(1), of(who)), Ok(()));
    }
    assert_eq!(batcher.sign_due(t0 + BATCH, &key(1)).len(), taken + 2);
    assert_eq!(batcher.push(t0, 0, grant(1), of(b"greedy")), Ok(()), "signed, and its room is free again");
}

/// REC-8.
#[test]
fn what_is_refused() {
    let at_home = |g: Grant| one(g, &key(1));
    let listed = RealmRecord { serving: Serving::Homes, ..realm() };
    let removed = RealmRecord { homes: vec![key(2).peer_id()], ..realm() };
    let other_realm = RealmRecord { key: key(11).public(), ..realm() };
    let long = Grant { not_after: NOW.plus(Duration::from_secs(3601)), ..grant(0) };
    let long_call = Grant {
        permit: Permit::Call { method: "INVITE".into(), signed: Hash([4; 32]), target: Hash([2; 32]) },
        not_after: NOW.plus(Duration::from_secs(61)),
        ..grant(0)
    };
    let future = Grant {
        time: NOW.plus(Duration::from_secs(61)),
        not_after: NOW.plus(Duration::from_secs(100)),
        ..grant(0)
    };
    let cases = [
        (at_home(Grant { serving: key(6).peer_id(), ..grant(0) }), realm(), NOW, BadGrant::OtherPeer),
        (one(Grant { home: key(3).peer_id(), ..grant(0) }, &key(3)), realm(), NOW, BadGrant::NotHome),
        (one(grant(0), &key(3)), realm(), NOW, BadGrant::NotHome),
        (at_home(grant(0)), removed, NOW, BadGrant::NotHome),
        (at_home(grant(0)), other_realm, NOW, BadGrant::NotHome),
        (at_home(grant(0)), listed, NOW, BadGrant::NotServing),
        (at_home(grant(0)), realm(), NOW.plus(Duration::from_secs(3600)), BadGrant::Time),
        (at_home(long), realm(), NOW, BadGrant::Time),
        (at_home(long_call), realm(), NOW, BadGrant::Time),
        (at_home(future), realm(), NOW, BadGrant::Time),
        (at_home(Grant { version: GRANT_VERSION - 1, ..grant(0) }), realm(), NOW, BadGrant::Unreadable),
    ];
    let trunk = at_home(Grant { scope: Scope::Trunk { prefix: "+4930".into() }, ..grant(0) });
    assert_eq!(check(&trunk, &realm(), NOW), Err(BadGrant::Scope));
    for (proof, realm, at, why) in cases {
        assert_eq!(check(&proof, &realm, at), Err(why));
    }
    let big = vec![0; PROOF_MAX + 1];
    assert_eq!(
        verify(&mut Checked::default(), &big, key(5).peer_id(), &realm(), NOW, |_, _| None),
        Err(BadGrant::Unreadable)
    );
}

#[test]
fn a_revocation_by_any_home_voids_older_grants() {
    let proof = encode(&one(grant(0), &key(1)));
    let by = |home: u8, before: u64| {
        let said = (AOR, key(home).peer_id());
        let revoked = move |a, h| (a, h).eq(&said).then_some(Timestamp(before));
        verify(&mut Checked::default(), &proof, key(5).peer_id(), &realm(), NOW, revoked).map(|_| ())
    };
    assert_eq!(by(2, NOW.0 + 1), Err(BadGrant::Revoked));
    assert_eq!(by(2, NOW.0), Ok(()), "given after the change");
    assert_eq!(by(3, NOW.0 + 1), Ok(()), "no home of this realm");
}

#[test]
fn it_fits_only_what_it_names() {
    let bind = grant(4);
    assert!(bind.allows_bind(AOR, Hash([4; 32])));
    assert!(!bind.allows_bind(AOR, Hash([5; 32])), "a stolen instance");
    assert!(!bind.allows_bind(Hash([2; 32]), Hash([4; 32])));
    assert!(!bind.allows_call(AOR, "INVITE", Hash([4; 32])));
    let call = Grant {
        permit: Permit::Call { method: "INVITE".into(), signed: Hash([4; 32]), target: Hash([7; 32]) },
        ..grant(0)
    };
    assert!(call.allows_call(AOR, "INVITE", Hash([7; 32])));
    assert!(!call.allows_call(AOR, "MESSAGE", Hash([7; 32])));
    assert!(!call.allows_call(AOR, "INVITE", Hash([8; 32])));
    assert!(!call.allows_bind(AOR, Hash([7; 32])));
}

fn call(n: u8) -> Grant {
    Grant {
        permit: Permit::Call { method: "INVITE".into(), signed: Hash([n; 32]), target: Hash([7; 32]) },
        not_after: NOW.plus(Duration::from_secs(60)),
        serving: key(1).peer_id(),
        ..grant(n)
    }
}

/// REC-11.
#[test]
fn a_homes_bare_word_counts_from_its_own_mouth_only() {
    let mut checked = Checked::default();
    let mut heard = |grant: &Grant, from: u8, realm: &RealmRecord, at: Timestamp| {
        hear(&mut checked, &encode(grant), key(from).peer_id(), realm, at, |_, _| None)
    };
    assert_eq!(heard(&call(1), 1, &realm(), NOW), Ok(Heard::Spoken(call(1))));
    assert_eq!(heard(&call(1), 1, &realm(), NOW), Ok(Heard::Spoken(call(1))), "it may say so again");
    let visited = Grant { serving: key(5).peer_id(), ..call(1) };
    let other_home = Grant { home: key(2).peer_id(), ..call(1) };
    let no_home = Grant { home: key(5).peer_id(), serving: key(5).peer_id(), ..call(1) };
    let bind = Grant { serving: key(1).peer_id(), ..grant(1) };
    let trunk = Grant { scope: Scope::Trunk { prefix: "+49".into() }, ..call(1) };
    let later = NOW.plus(Duration::from_secs(60));
    let listed = RealmRecord { serving: Serving::Homes, ..realm() };
    let other_realm = RealmRecord { key: key(11).public(), ..realm() };
    for (why, grant, from, realm, at, refused) in [
        ("repeated by another peer", &call(1), 5, realm(), NOW, BadGrant::OtherPeer),
        ("by the peer that it is said to be for", &visited, 5, realm(), NOW, BadGrant::Signature),
        ("by a home of the same realm", &other_home, 1, realm(), NOW, BadGrant::Signature),
        ("by no home", &no_home, 5, realm(), NOW, BadGrant::NotHome),
        ("of another realm", &call(1), 1, other_realm, NOW, BadGrant::NotHome),
        ("a binding", &bind, 1, realm(), NOW, BadGrant::Scope),
        ("a trunk", &trunk, 1, realm(), NOW, BadGrant::Scope),
        ("too late", &call(1), 1, realm(), later, BadGrant::Time),
    ] {
        assert_eq!(heard(grant, from, &realm, at), Err(refused), "{why}");
    }
    assert!(heard(&call(1), 1, &listed, NOW).is_ok(), "a home serves its own phones");
    assert_eq!(checked.take_count(), 0, "nothing was signed, nothing is checked");
    let revoked = |_, _| Some(Timestamp(NOW.0 + 1));
    let said = hear(&mut checked, &encode(&call(1)), key(1).peer_id(), &realm(), NOW, revoked);
    assert_eq!(said, Err(BadGrant::Revoked));
    // Where a signature is asked for, none is no signature.
    let shown = verify(&mut checked, &encode(&call(1)), key(1).peer_id(), &realm(), NOW, |_, _| None);
    assert_eq!(shown, Err(BadGrant::Unreadable));
    let signed = encode(&one(visited.clone(), &key(1)));
    let shown = hear(&mut checked, &signed, key(5).peer_id(), &realm(), NOW, |_, _| None);
    assert_eq!((shown, checked.take_count()), (Ok(Heard::Signed(visited)), 1));
}

/// REC-6: a change here is a new version of the record, or a CHANGELOG line before the first release.
#[test]
fn golden_bytes() {
    let grants: Vec<Grant> = (0..3).map(grant).collect();
    let bytes = encode(&sign(&key(1), &grants)[1]);
    assert_eq!((bytes.len(), dots_wire::sha256(&bytes).to_string().as_str()), GOLDEN);
}

const GOLDEN: (usize, &str) = (407, "9f9cf81ae5777ed9254a97242f60980beba540128a86832393e0fe81be43af5a");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_changed_byte_is_believed(batch in 1usize..9, pick in 0usize..9, at in 0usize..1_536, bit in 0u8..8) {
        let grants: Vec<Grant> = (0..batch).map(|n| grant(n as u8)).collect();
        let mut bytes = encode(&sign(&key(1), &grants)[pick % batch]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(verify(&mut Checked::default(), &bytes, key(5).peer_id(), &realm(), NOW, |_, _| None).is_err());
    }
}

#[test]
fn a_proof_is_read_whole_or_not_at_all() {
    let proof = encode(&sign(&key(1), &[grant(0), grant(1)])[1]);
    let believed =
        |b: &[u8]| verify(&mut Checked::default(), b, key(5).peer_id(), &realm(), NOW, |_, _| None).is_ok();
    crate::hostile::attack("grant", &proof, believed);
}

/// Attack 27: a call grant is good for one request, however its place in the batch is written.
#[test]
fn a_call_grant_is_shown_once() {
    let call = |n: u8| Grant {
        permit: Permit::Call { method: "INVITE".into(), signed: Hash([n; 32]), target: Hash([2; 32]) },
        not_after: NOW.plus(CALL_LIFE_MAX),
        ..grant(0)
    };
    let batch = sign(&key(1), &[call(0), call(1)]);
    let (mut shown, t0) = (Shown::default(), Instant::now());
    let cause = Cause { network: 5, ..Cause::new(Standing::Other) }.of_realm(b"a.test");
    assert!(shown.is_first(t0, &encode(&batch[0]), cause));
    assert!(!shown.is_first(t0, &encode(&batch[0]), cause));
    let rewrapped = encode(&one(call(0), &key(1)));
    assert!(!shown.is_first(t0, &rewrapped, cause), "in a batch of its own");
    assert!(shown.is_first(t0, &encode(&batch[1]), cause), "another of the same target");
    assert!(!shown.is_first(t0, b"no grant", cause));
    let later = t0 + CALL_LIFE_MAX + FUTURE_MAX + Duration::from_secs(1);
    assert!(shown.is_first(later, &encode(&batch[0]), cause), "it has ended, and its times say so");
}

/// REC-10.
#[test]
fn the_second_part_is_as_deep_as_calls_are_forwarded() {
    let part = |version| {
        let part = OnBehalf {
            version,
            aor_id: AOR,
            realm: realm().id(),
            home: key(1).peer_id(),
            of: Hash([5; 32]),
            next: Hash([6; 32]),
            reason: crate::records::Reason::Forward,
            not_after: NOW,
        };
        Signed::new(&key(1), crate::records::grant::ON_BEHALF_DOMAIN, &part)
    };
    for (parts, is_read) in [
        (vec![], true),
        (vec![part(GRANT_VERSION); ON_BEHALF_MAX], true),
        (vec![part(GRANT_VERSION); ON_BEHALF_MAX + 1], false),
        (vec![part(GRANT_VERSION), part(GRANT_VERSION + 1)], false),
        (vec![Signed::new(&key(1), "x", &7u8)], false),
    ] {
        assert_eq!(read_on_behalf(&parts).map(|p| p.len()), is_read.then_some(parts.len()));
    }
    assert_eq!(sha256(&part(GRANT_VERSION).payload).to_string(), GOLDEN_ON_BEHALF);
}

const GOLDEN_ON_BEHALF: &str = "17d76a4ce26661850d63ab2ee8ad1a5fb6fff89c18ebd5deb786ca2329c71531";

#[test]
fn the_grants_of_a_batch_cost_one_check_and_none_when_they_are_shown_again() {
    let (mut checked, proofs) = (Checked::default(), sign(&key(1), &[grant(1), grant(2), grant(3)]));
    for _ in 0..3 {
        for proof in &proofs {
            let shown = verify(&mut checked, &encode(proof), key(5).peer_id(), &realm(), NOW, |_, _| None);
            assert!(shown.is_ok());
        }
    }
    assert_eq!(checked.take_count(), 1);
    // What was remembered of the signature says nothing of time, place or revocation.
    let late = NOW.plus(Duration::from_secs(3_600));
    let shown = |checked: &mut Checked, peer, at, before| {
        verify(checked, &encode(&proofs[0]), peer, &realm(), at, |_, _| before)
    };
    assert_eq!(shown(&mut checked, key(5).peer_id(), late, None), Err(BadGrant::Time));
    assert_eq!(shown(&mut checked, key(6).peer_id(), NOW, None), Err(BadGrant::OtherPeer));
    assert_eq!(shown(&mut checked, key(5).peer_id(), NOW, Some(late)), Err(BadGrant::Revoked));
    assert_eq!(checked.take_count(), 0);
}
