use super::*;

fn read(contacts: &[&str], expires: Option<&str>) -> Result<Register, Refusal> {
    Register::from_fields(&Fields {
        call_id: "c",
        cseq: 1,
        contacts: contacts.to_vec(),
        expires,
        ..Fields::default()
    })
}

fn asked(contacts: &[&str], expires: Option<&str>) -> Vec<AskedContact> {
    match read(contacts, expires).expect("well-formed").contacts {
        Contacts::Some(asked) => asked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn expires_from_where_it_is_said() {
    for (why, contact, header, expires_s) in [
        ("nowhere: the default", "<sip:a@h>", None, None),
        ("header", "<sip:a@h>", Some("60"), Some(60)),
        ("Contact beats header (R03)", "<sip:a@h>;expires=30", Some("60"), Some(30)),
        ("zero", "<sip:a@h>;expires=0", None, Some(0)),
        ("quoted", "<sip:a@h>;expires=\"30\"", None, Some(30)),
        ("text (R13)", "<sip:a@h>", Some("soon"), None),
        ("2^32 does not wrap to 0 (R13)", "<sip:a@h>", Some("4294967296"), None),
        ("negative", "<sip:a@h>;expires=-1", Some("60"), None),
        ("empty", "<sip:a@h>", Some(""), None),
        ("a parameter of the URI is none of ours", "<sip:a@h;expires=5>", None, None),
        ("without brackets it is", "sip:a@h;expires=5", None, Some(5)),
    ] {
        assert_eq!(asked(&[contact], header)[0].expires_s, expires_s, "{why}");
    }
}

#[test]
fn wildcard() {
    for (why, contacts, expires, is_good) in [
        ("R06", &["*"][..], Some("0"), true),
        ("R07: no Expires", &["*"], None, false),
        ("R07: other Expires", &["*"], Some("60"), false),
        ("no number", &["*"], Some("x"), false),
        ("R08: beside others", &["*", "<sip:a@h>"], Some("0"), false),
        ("twice", &["*", "*"], Some("0"), false),
        ("in a list", &["*, <sip:a@h>"], Some("0"), false),
        ("with a parameter", &["*;expires=0"], Some("0"), false),
    ] {
        match read(contacts, expires) {
            Ok(register) => assert!(is_good && register.contacts == Contacts::RemoveAll, "{why}"),
            Err(refusal) => assert!(!is_good && refusal.status == 400, "{why}"),
        }
    }
    assert_eq!(read(&[], Some("0")).expect("query").contacts, Contacts::Query);
}

#[test]
fn instances() {
    let instance = |contact: &str| asked(&[contact], None)[0].instance.clone();
    let urn = "<sip:a@h>;+sip.instance=\"<urn:uuid:0000-AB>\";reg-id=1";
    assert_eq!(instance(urn), "urn:uuid:0000-ab");
    let plain = instance("<sip:a@h;x=1;transport=udp>");
    assert!(plain.starts_with("c-") && plain.len() == 26, "{plain}");
    for same in ["sip:%61@H;transport=UDP;X=1", "\"A\" <sip:a@h;transport=udp;x=1>;q=0.2"] {
        let expected = if same.starts_with('"') { plain.clone() } else { instance("<sip:a@h>") };
        assert_eq!(instance(same), expected, "{same}");
    }
    for other in ["<sip:A@h;x=1;transport=udp>", "<sip:a@h:5060;x=1;transport=udp>", "<sip:a@h;x=1>"] {
        assert_ne!(instance(other), plain, "{other}");
    }
    for no_urn in ["\"<uuid:1>\"", "\"urn:uuid:1\"", "\"<c-abc>\"", "x", "\"<urn:a b>\""] {
        assert_eq!(instance(&format!("<sip:a@h>;+sip.instance={no_urn}")), instance("<sip:a@h>"));
    }
    // One phone, two Contacts: two bindings. Old out, new in: one.
    let two = asked(&["<sip:a@h>;+sip.instance=\"<urn:1>\", <sip:b@h>;+sip.instance=\"<urn:1>\""], None);
    assert!(two[0].instance == "urn:1" && two[1].instance.starts_with("c-"));
    let twice = asked(&["<sip:a@h>;+sip.instance=\"<urn:1>\", <sip:a@H>;+sip.instance=\"<urn:1>\""], None);
    assert!(twice.iter().all(|contact| contact.instance == "urn:1"));
    let moved = asked(
        &["<sip:a@h>;+sip.instance=\"<urn:1>\";expires=0", "<sip:b@h>;+sip.instance=\"<urn:1>\""],
        None,
    );
    assert!(moved.iter().all(|contact| contact.instance == "urn:1"));
    let both = Register {
        call_id: "c".into(),
        cseq: 1,
        contacts: Contacts::Some(two),
        path: vec![],
        server: None,
        rule: ContactRule::Own,
    };
    assert_eq!(both.instance(), "urn:1");
}

#[test]
fn contacts_are_kept_as_sent() {
    let one = &asked(&["\"A\" <sip:%61@H;X>; q=0.25;+x=\"y;z\""], None)[0];
    assert_eq!((one.uri.as_str(), one.params.as_str(), one.q), ("sip:%61@H;X", "; q=0.25;+x=\"y;z\"", 250));
    for (q, expected) in
        [("0", 0), ("0.7", 700), ("1.000", 1000), ("1", 1000), ("2", 1000), ("x", 1000), ("0.", 0)]
    {
        assert_eq!(asked(&[&format!("<sip:a@h>;q={q}")], None)[0].q, expected, "{q}");
    }
}

#[test]
fn refused() {
    let long = format!("<sip:{}@h>", "a".repeat(MAX_CONTACT_BYTES));
    let many = vec!["<sip:a@h>"; MAX_ASKED_CONTACTS + 1];
    for (why, contacts, status) in [
        ("broken", &["<sip:a@h"][..], 400),
        ("headers outside brackets", &["sip:a@h?Route=%3Csip:x%3E"], 400),
        ("no SIP URI", &["<name:John_Smith>"], 400),
        ("no SIP URI, with instance", &["<tel:1>;+sip.instance=\"<urn:1>\""], 400),
        ("quoted text in the URI", &["<sip:a@192.0.2.1:5060;x=\"a\">"], 400),
        ("quoted text in the user", &["<sip:a\"b@h>"], 400),
        ("no port that is one", &["<sip:a@h:99999>"], 400),
        ("empty", &[""], 400),
        ("long", &[long.as_str()], 400),
        ("many", &many, 403),
    ] {
        assert_eq!(read(contacts, None).expect_err(why).status, status, "{why}");
    }
}

#[test]
fn extensions() {
    let with = |requires: Vec<&'static str>| {
        Register::from_fields(&Fields { call_id: "c", requires, ..Fields::default() })
    };
    assert!(with(vec!["path", "Path ,"]).is_ok());
    let refusal = with(vec!["nothing, path", "other"]).expect_err("T27");
    assert_eq!(
        (refusal.status, &refusal.headers[..]),
        (420, &[("Unsupported", "nothing, other".into())][..])
    );
}

#[test]
fn paths() {
    let with = |paths: Vec<&'static str>| {
        Register::from_fields(&Fields { call_id: "c", paths, ..Fields::default() })
            .map(|register| register.path)
    };
    let path = with(vec!["<sip:a;lr>, <sip:b;lr>;x=\",\"", "<sip:c?d,e>"]);
    assert_eq!(path.expect("well-formed"), ["<sip:a;lr>", "<sip:b;lr>;x=\",\"", "<sip:c?d,e>"]);
    assert_eq!(with(vec!["<sip:a"]).expect_err("open bracket").status, 400);
    assert_eq!(with(vec!["<sip:a>"; MAX_PATHS + 1]).expect_err("too many").status, 400);
}

#[test]
fn from_a_message() {
    let text = "REGISTER sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
                From: <sip:alice@office.example>;tag=1\r\nTo: <sip:alice@office.example>\r\ni: call\r\n\
                CSeq: 7 REGISTER\r\nm: \"A, B\" <sip:a@10.0.0.1:5062;ob>;q=0.3,\r\n <sip:b@h>;expires=9\r\n\
                Contact: sip:c@h\r\nExpires: 300\r\nPath: <sip:edge;lr>\r\nRequire: path\r\nl: 0\r\n\r\n";
    let register = Register::read(&Message::parse(text.into()).expect("well-formed")).expect("good");
    assert_eq!((register.call_id.as_str(), register.cseq, register.path.len()), ("call", 7, 1));
    let Contacts::Some(asked) = register.contacts else { panic!("contacts") };
    let seen: Vec<_> = asked.iter().map(|one| (one.uri.as_str(), one.q, one.expires_s)).collect();
    let expected = [
        ("sip:a@10.0.0.1:5062;ob", 300, Some(300)),
        ("sip:b@h", 1000, Some(9)),
        ("sip:c@h", 1000, Some(300)),
    ];
    assert_eq!(seen, expected);
}
