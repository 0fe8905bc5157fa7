//! Tokens that are sealed, opened, forged, cut off and read by others.

use super::*;
use crate::{Flow, Transport};

/// TOK-4, TOK-10.
#[test]
fn every_side_comes_back_and_is_short() {
    for label in ["abcdefghijklmnopqrstuvwxyz234567", "aaaa", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"] {
        let instance = short_instance("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
        let phone = Side::Phone { aor: "alice@abcdefghijklmnopqrst.dots".into(), instance };
        let token = token(Side::Peer(label.into()), phone.clone());
        let text = token.seal(&key(3), "call", "tag");
        let opened = Token::open(&text, &key(3), "call", "tag").expect("our own token");
        assert_eq!(opened.caller, token.caller, "{label}");
        // The other two are no labels that a peer can have, and are kept as text.
        let real = label.starts_with("abc");
        assert!(!real || text.len() <= 135, "{} characters", text.len());
    }
}

/// TOK-3.
#[test]
fn opens_only_for_its_dialog_and_untouched() {
    let flow = Flow {
        transport: Transport::Tcp,
        connection: 7,
        local: "127.0.0.1:5060".parse().expect("an address"),
        remote: "[::1]:9".parse().expect("an address"),
    };
    let bob = Side::Phone { aor: "bob@b.test".into(), instance: "urn:uuid:1".into() };
    let token = token(Side::Flow(flow), bob);
    let text = token.seal(&key(1), "call", "tag");
    let instance = short_instance("urn:uuid:1");
    let token = Token { callee: Side::Phone { aor: "bob@b.test".into(), instance }, ..token };
    assert_eq!(Token::open(&text, &key(1), "call", "tag"), Some(token.clone()));
    assert_eq!(Token::open(&text.to_ascii_uppercase(), &key(1), "call", "tag"), Some(token));
    assert_eq!(Token::open(&text, &key(2), "call", "tag"), None);
    assert_eq!(Token::open(&text, &key(1), "other", "tag"), None);
    assert_eq!(Token::open(&text, &key(1), "call", "gat"), None);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        let forged = String::from_utf8(bytes).expect("ASCII");
        // The last character has spare bits, which base32 refuses or which change nothing.
        let opened = Token::open(&forged, &key(1), "call", "tag");
        assert!(opened.is_none(), "changed at {at}");
    }
}

/// A stranger's text of any length opens nothing, and panics nowhere; our longest does open.
#[test]
fn its_length_is_looked_at_first() {
    for length in [0, 1, 2, 18, 19, 1_024, 1_025, 13_072, 13_136, 20_000, 65_000] {
        for version in ["gi", "gj", "aa"] {
            let text: String = version.chars().chain(std::iter::repeat('a')).take(length).collect();
            assert_eq!(Token::open(&text, &key(3), "call", "tag"), None, "{length}");
        }
    }
    let phone = |c: &str| Side::Phone { aor: c.repeat(255), instance: "urn:uuid:1".into() };
    let text = token(phone("a"), phone("b")).seal(&key(3), "call", "tag");
    assert!(text.len() <= TEXT_BYTES_MAX, "{}", text.len());
    assert!(Token::open(&text, &key(3), "call", "tag").is_some());
}

fn token(caller: Side, callee: Side) -> Token {
    Token::new(Usage::Call, 500_000 * HOUR_MS, pair(), (caller, callee))
}

/// TOK-11, TOK-12.
#[test]
fn it_ends_and_is_nobody_elses() {
    let side = Side::Peer("abcdefghijklmnopqrstuvwxyz234567".into());
    let day = 24 * HOUR_MS;
    for usage in [Usage::Call, Usage::Subscription] {
        let at = 500_000 * HOUR_MS;
        let text = Token::new(usage, at, pair(), (side.clone(), side.clone())).seal(&key(3), "c", "t");
        let token = Token::open(&text, &key(3), "c", "t").expect("our own");
        assert_eq!(token.usage, usage);
        let ends = [0, at, at + day, at + day + HOUR_MS, at + 1_000 * day];
        assert_eq!(ends.map(|at| token.is_over(at)), [false, false, false, true, true]);
        assert_eq!(token.pair, pair());
    }
}

/// TOK-12: whoever makes up accounts cannot look for two that are taken for these.
#[test]
fn the_mark_of_two_accounts_is_nobody_elses() {
    for (n, caller, callee) in [
        (3, "bob@b.test", "alice@a.test"),
        (3, "alice@a.tes", "tbob@b.test"),
        (3, "alice@a.test", ""),
        (3, "", ""),
        (4, "alice@a.test", "bob@b.test"),
    ] {
        assert_ne!(Pair::of(&key(n), caller, callee), pair(), "{n} {caller} {callee}");
    }
}

fn key(n: u8) -> TokenKey {
    TokenKey::new(&[n; 32])
}

fn pair() -> Pair {
    Pair::of(&key(3), "alice@a.test", "bob@b.test")
}

/// TOK-9.
#[test]
fn nothing_can_be_read_in_it() {
    let phone = Side::Phone { aor: "alice@a.test".into(), instance: "urn:uuid:1".into() };
    let text = token(flow(Transport::Udp, "192.168.1.20:5060"), phone).seal(&key(3), "call", "tag");
    let bytes = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).expect("base32");
    for word in ["192.168.1.20", "127.0.0.1", "alice", "a.test"] {
        assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
    }
}

fn flow(transport: Transport, remote: &str) -> Side {
    let local = "127.0.0.1:5060".parse().expect("an address");
    Side::Flow(Flow { transport, connection: 7, local, remote: remote.parse().expect("an address") })
}

/// A change here is a new version byte: calls that are up lose their tokens with it (TOK-2).
#[test]
fn golden_bytes() {
    let phone = Side::Phone { aor: "alice@a.test".into(), instance: "urn:uuid:1".into() };
    let peer = Side::Peer("abcdefghijklmnopqrstuvwxyz234567".into());
    let sides = [
        (phone.clone(), peer),
        (flow(Transport::Udp, "192.0.2.1:5060"), phone),
        (flow(Transport::Tcp, "[2001:db8::1]:9"), Side::Peer("h.test".into())),
    ];
    let sealed = sides.map(|(caller, callee)| token(caller, callee).seal(&key(3), "call", "tag"));
    assert_eq!(sealed, GOLDEN);
}

/// TOK-5.
#[test]
fn of_another_version_cut_off_or_longer_opens_nothing() {
    let key = key(3);
    let sides = [flow(Transport::Udp, "192.0.2.1:5060"), Side::Peer("h.test".into())];
    let mut body = vec![0; 3 + PAIR_BYTES];
    sides.iter().for_each(|side| side::write(&mut body, side));
    let sealed = |body: &[u8]| data_encoding::BASE32_NOPAD.encode(&close(&key, body, "call", "tag"));
    let opened = |text: &str| Token::open(text, &key, "call", "tag").is_some();
    assert!(opened(&sealed(&body)));
    // All of these bear our MAC: it is the form that is refused.
    let mut other = close(&key, &body, "call", "tag");
    other[0] += 1;
    assert!(!opened(&data_encoding::BASE32_NOPAD.encode(&other)), "of another version");
    assert!(!opened(&sealed(&[&body[..], b"x"].concat())), "bytes behind it");
    for cut in 0..body.len() {
        assert!(!opened(&sealed(&body[..cut])), "cut off at {cut}");
    }
    for bit in 0..body.len() * 8 {
        let mut other = body.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        opened(&sealed(&other));
    }
    let good = sealed(&body);
    for cut in 0..good.len() {
        assert!(!opened(&good[..cut]), "cut off at {cut}");
    }
    for tail in ["a", "aa", "=", "======", " ", "é", &good] {
        assert!(!opened(&format!("{good}{tail}")), "{tail:?} behind it");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_opens_and_none_makes_it_panic(text in "[a-zA-Z2-7=]{0,80}|\\PC{0,40}") {
        proptest::prop_assert_eq!(Token::open(&text, &key(3), "call", "tag"), None);
    }
}

const GOLDEN: [&str; 3] = [
    "gpc3ffada7e33gp3jotpclq7rqatjjtlrz3dqzybdgaakfojay4ucvfexyr7hcrpt2zy7dodyprdzyd6zbugymwk275quxpywhghc5kl",
    "gopgvqcmaohwcekzjxnzgmym5yooy7pn744scclatwwgko24l3yqjppb2knw6dmacshgfu2cshjhvg5iwlde6mbifao73zcthb55csokfvzfemm3cgtf64ini3pgk6dzrgy2i",
    "goezx5unyyp7zyjf2mxf4e2xr7wxhfzkecw3imffw7o2amag576xh4b5zc4ngd7bqgsdkwd2dlndtqctr6qiacba3pdxwnjjvf7mgumbb2zmt76y",
];
