//! Golden bytes (`records.txt`: a name and hex), and that what is written is read, whole or not at all.

use super::*;

/// What was said so far, one line each.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(&mut self, name: &str, value: &T) {
        let bytes = encode(value);
        self.bytes(name, &bytes);
        assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value), "{name}");
        attack(name, &bytes, |b| decode::<T>(b).is_ok());
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.0 += &format!("{name} {}\n", hex::encode(bytes));
    }
}

#[test]
fn golden_bytes() {
    let mut lines = Lines::default();
    messages(&mut lines);
    notes(&mut lines);
    lines.add("account", &account());
    lines.add("account-spelt", &spelt_account());
    lines.bytes("binding-change", &encode_change(&change()));
    assert!(lines.0 == include_str!("records.txt"), "other bytes than records.txt:\n{}", lines.0);
}

fn messages(lines: &mut Lines) {
    let record = realm_record(&key(10));
    let nonce = Some(Hash([5; 32]));
    let grant = Some(ByteBuf::from([6, 7]));
    lines.add("envelope", &envelope());
    let sip = b"OPTIONS".to_vec();
    lines.add("envelope-initial", &Envelope { sip, grant, realm: Some(record.clone()), nonce, ..envelope() });

    let version = VERSION;
    lines.add("auth-lease", &AuthRequest::Lease { version, realm: "a.test".into() });
    let register = answer(Some("urn:uuid:1"), None);
    lines.add("answer", register.as_ref());
    lines.add("auth-verify-register", &AuthRequest::Verify { version, answer: register });
    let invite = answer(None, Some("bob@b.test"));
    lines.add("auth-verify-invite", &AuthRequest::Verify { version, answer: invite });
    lines.add("auth-reply-lease", &AuthReply::Lease { lease: ByteBuf::from([6, 7]) });
    let aor = "alice@a.test".to_owned();
    let granted = AuthReply::Granted { grant: ByteBuf::from([6, 7]) };
    lines.add("auth-reply-granted", &granted);
    for (name, reply) in [
        ("wrong", AuthReply::Wrong),
        ("stale", AuthReply::Stale),
        ("forbidden", AuthReply::Forbidden),
        ("unavailable", AuthReply::Unavailable),
    ] {
        lines.add(&format!("auth-reply-{name}"), &reply);
    }

    let records = vec![record];
    let (own, digest) = (records.clone(), Hash([8; 32]));
    lines.add("lookup-realms", &LookupRequest::Realms { version, records: own, digest, time_ms: NOW.0 });
    lines.add("lookup-named", &LookupRequest::Named { version, names: vec!["a.test".into()] });
    let news = records.first().cloned().expect("there is one");
    let realm = Some(news.clone());
    lines.add("lookup-news", &LookupRequest::News { version, record: news });
    let nobody = LookupRequest::Aor { version, aor: aor.clone(), grant: None, realm: None };
    lines.add("lookup-aor", &nobody);
    let grant = Some(ByteBuf::from([6, 7]));
    lines.add("lookup-aor-called", &LookupRequest::Aor { version, aor, grant, realm });
    lines.add("lookup-reply-realms", &LookupReply::Realms { records, time_ms: NOW.0 });
    let bindings = vec![FoundBinding { serving: key(2).peer_id(), until_ms: NOW.0, stale: true }];
    lines.add("lookup-reply-aor", &LookupReply::Aor { exists: Some(true), bindings, unsure: false });
    lines.add("lookup-reply-not-home", &LookupReply::NotHome);
}

fn notes(lines: &mut Lines) {
    let version = notes::VERSION;
    let alias = "12".to_owned();
    lines.add("note-alias", &Note::Alias { version, alias: alias.clone(), target: "alice@a.test".into() });
    lines.add("note-alias-gone", &Note::AliasGone { version, alias });
    for (name, change) in changes() {
        // A record that was read is checked again when the note is; only its bytes are kept.
        let bytes = encode(&Note::Realm { version, change });
        lines.bytes(&format!("note-realm-{name}"), &bytes);
        let again: Note = decode(&bytes).expect("what we wrote");
        assert_eq!(encode(&again), bytes, "{name}");
        attack(name, &bytes, |b| decode::<Note>(b).is_ok());
    }
}

/// All that can become of a name.
fn changes() -> Vec<(&'static str, Change)> {
    let home = key(1).peer_id();
    let mut realms = Realms::default();
    let mut heard = |realm_key: &SecretKey| match realms.accept(&realm_record(realm_key), home, NOW) {
        Ok(dots_overlay::names::Heard::Changed(mut changes)) => changes.pop().expect("one at least"),
        other => panic!("{other:?}"),
    };
    let (first, rival) = (heard(&key(10)), heard(&key(11)));
    let pinned = realms.pin("b.test", key(12).public(), Belief::Pinned).expect("it is new");
    let forgotten = realms.forget("a.test").expect("it was known");
    vec![("heard", first), ("rival", rival), ("pinned", pinned), ("forgotten", forgotten)]
}

/// DISK-10.
#[test]
fn a_change_of_bindings_is_read_whole_or_not_at_all() {
    let bytes = encode_change(&change());
    assert_eq!(decode_change(&bytes).as_ref(), Ok(&change()));
    attack("binding change", &bytes, |b| decode_change(b).is_ok());
    let mut newer = bytes.clone();
    newer[1] += 1;
    assert!(decode_change(&newer).is_err(), "of another version");
}

/// The same change as the first release wrote it: what a phone was promised then is kept.
#[test]
fn a_change_of_bindings_of_version_1_is_read() {
    const OLD: &str = "84016c616c69636540612e74657374818e6a75726e3a757569643a3178187369703a616c696365403139322e302e322e313a35303630663b713d302e351901f4616307816f3c7369703a702e746573743b6c723e6e3139322e302e322e393a35303630f4a16256348284187f0000011913c4a162563682901820010d18b80000000000000000000000011913c51b0000018bcfe576104201021b0000018bcfe573b8816a75726e3a757569643a32";
    let mut expected = change();
    for binding in &mut expected.put {
        binding.listens = None;
    }
    let bytes = hex::decode(OLD).expect("hex");
    assert_eq!(decode_change(&bytes), Ok(expected));
}

/// DISK-11.
#[test]
fn a_note_of_another_version_says_nothing() {
    let version = notes::VERSION + 1;
    let mut said = vec![encode(&Note::Alias { version, alias: "12".into(), target: "alice@a.test".into() })];
    for (_, change) in changes() {
        said.push(encode(&Note::Realm { version, change }));
    }
    let said = notes::replay(&said);
    assert!(said.aliases.is_empty() && said.realms.iter().next().is_none());
    let alias = |version| encode(&Note::Alias { version, alias: "12".into(), target: "b@a.test".into() });
    let gone = encode(&Note::AliasGone { version, alias: "12".into() });
    assert_eq!(notes::replay(&[alias(notes::VERSION), gone]).aliases.len(), 1);
}
