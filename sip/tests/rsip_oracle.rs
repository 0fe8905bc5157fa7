//! A second opinion: what is well formed and within rsip's abilities, rsip and we read alike (decision 1 says why we do
//! not use it outside of tests). Where we are known to disagree stands in [`disagreements`], each with the reason.

use dots_sip::{
    message::{Message, Via},
    uri::Uri,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use rsip::{SipMessage, prelude::*};

/// What both must see.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    status: Option<u16>,
    uri: Option<String>,
    call_id: String,
    cseq: (u32, String),
    from: (String, Option<String>),
    to: (String, Option<String>),
    via: (String, Option<u16>, Option<String>),
    max_forwards: Option<u32>,
    body: Vec<u8>,
}

/// URIs that mean the same are the same (RFC 3261 §19.1.4): rsip writes `transport=UDP` where `udp` stood.
fn common(uri: &str, other: &str) -> bool {
    match (Uri::parse(uri), Uri::parse(other)) {
        (Ok(a), Ok(b)) => a.equals(&b),
        _ => uri == other,
    }
}

/// The first thing that two readers see differently.
fn difference(a: &Seen, b: &Seen) -> Option<&'static str> {
    let same_uri = match (&a.uri, &b.uri) {
        (Some(a), Some(b)) => common(a, b),
        (a, b) => a == b,
    };
    let checks = [
        ("method", a.method == b.method),
        ("status", a.status == b.status),
        ("uri", same_uri),
        ("call_id", a.call_id == b.call_id),
        ("cseq", a.cseq == b.cseq),
        ("from", common(&a.from.0, &b.from.0) && a.from.1 == b.from.1),
        ("to", common(&a.to.0, &b.to.0) && a.to.1 == b.to.1),
        ("via", a.via == b.via),
        ("max_forwards", a.max_forwards == b.max_forwards),
        ("body", a.body == b.body),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

fn ours(raw: &[u8]) -> Result<Seen, String> {
    let m = Message::parse(raw.to_vec()).map_err(|e| e.to_string())?;
    let via: Via = m.via().ok_or("no Via")?;
    let (from, to) = (m.from().ok_or("no From")?, m.to().ok_or("no To")?);
    let tag = |tag: Option<&str>| tag.map(str::to_owned);
    let (seq, cseq_method) = m.cseq().ok_or("no CSeq")?;
    Ok(Seen {
        method: m.method().to_owned(),
        status: m.status(),
        uri: m.uri().map(str::to_owned),
        call_id: m.call_id().ok_or("no Call-ID")?.to_owned(),
        cseq: (seq, cseq_method.to_owned()),
        from: (from.uri().to_owned(), tag(from.tag())),
        to: (to.uri().to_owned(), tag(to.tag())),
        via: (via.host().to_owned(), via.port(), via.branch().map(str::to_owned)),
        max_forwards: m.max_forwards(),
        body: m.body().to_vec(),
    })
}

fn rsips(raw: &[u8]) -> Result<Seen, String> {
    read_by_rsip(raw).map_err(|e| e.to_string())
}

fn read_by_rsip(raw: &[u8]) -> Result<Seen, rsip::Error> {
    let m = SipMessage::try_from(raw)?;
    let (from, to) = (m.from_header()?.typed()?, m.to_header()?.typed()?);
    let via = m.via_header()?.typed()?;
    let cseq = m.cseq_header()?.typed()?;
    let (method, status, uri) = match &m {
        SipMessage::Request(r) => (r.method.to_string(), None, Some(r.uri.to_string())),
        SipMessage::Response(r) => (cseq.method.to_string(), Some(r.status_code.code()), None),
    };
    Ok(Seen {
        method,
        status,
        uri,
        call_id: m.call_id_header()?.value().to_owned(),
        cseq: (cseq.seq, cseq.method.to_string()),
        from: (from.uri.to_string(), from.tag().map(ToString::to_string)),
        to: (to.uri.to_string(), to.tag().map(ToString::to_string)),
        via: (
            via.uri.host().to_string(),
            via.uri.port().map(|p| *p.value()),
            via.branch().map(ToString::to_string),
        ),
        max_forwards: m.max_forwards_header().ok().and_then(|h| h.num().ok()),
        body: m.body().clone(),
    })
}

const METHODS: [&str; 14] = [
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "INVITE",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
];

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,10}[a-z0-9](\\.[a-z][a-z0-9]{1,8}){0,3}",
        (any::<[u8; 4]>()).prop_map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")),
    ]
}

fn host_port() -> impl Strategy<Value = String> {
    (host(), option::of(1u16..)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn uri() -> impl Strategy<Value = String> {
    let user = "[A-Za-z0-9_.!~*'&=+$,/%-]{1,12}";
    let params = select(vec!["", ";transport=udp", ";transport=TCP", ";lr", ";user=phone", ";ob;x=1.2-3"]);
    let scheme = select(vec!["sip", "sips", "SIP"]);
    (scheme, option::of(user), host_port(), params).prop_map(|(scheme, user, host, params)| match user {
        Some(user) => format!("{scheme}:{user}@{host}{params}"),
        None => format!("{scheme}:{host}{params}"),
    })
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,20}"
}

/// From or To.
fn party() -> impl Strategy<Value = String> {
    let display =
        prop_oneof![Just(String::new()), "[A-Za-z0-9]{1,8}( [A-Za-z]{1,5})? ", "\"[A-Za-z0-9 ,;:@]{0,12}\" "];
    let more = select(vec!["", ";x=y", ";flag"]);
    (display, uri(), option::of(token()), more).prop_map(|(display, uri, tag, more)| {
        let tag = tag.map(|t| format!(";tag={t}")).unwrap_or_default();
        format!("{display}<{uri}>{tag}{more}")
    })
}

fn via() -> impl Strategy<Value = String> {
    let transport = select(vec!["UDP", "TCP", "TLS", "WS", "WSS", "SCTP"]);
    let params =
        select(vec!["", ";rport", ";rport=5061;received=192.0.2.1", ";received=192.0.2.9", ";x=y;alias"]);
    (transport, host_port(), token(), params).prop_map(|(transport, host, token, params)| {
        format!("SIP/2.0/{transport} {host};branch=z9hG4bK{token}{params}")
    })
}

/// A name as written, in any case.
fn cased(name: &'static str) -> impl Strategy<Value = String> {
    select(vec![name.to_owned(), name.to_lowercase(), name.to_uppercase()])
}

fn line(name: &'static str, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (cased(name), select(vec![":", ": ", ":   "]), value)
        .prop_map(|(n, colon, v)| format!("{n}{colon}{v}\r\n"))
}

fn other_line() -> impl Strategy<Value = String> {
    prop_oneof![
        line("Subject", "[ -~]{0,30}".prop_map(|s| s.trim().to_owned())),
        line("Contact", uri().prop_map(|u| format!("<{u}>;q=0.5;+sip.instance=\"<urn:uuid:1>\""))),
        line("Route", uri().prop_map(|u| format!("<{u};lr>"))),
        line("Record-Route", uri().prop_map(|u| format!("<{u};lr>"))),
        line("X-Unknown", "[!-~]{0,20}"),
        line("Supported", Just("100rel, path,outbound".to_owned())),
    ]
}

/// Plain, well-formed messages in every order of headers.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        (select(METHODS.to_vec()), uri()).prop_map(|(m, uri)| (m, format!("{m} {uri} SIP/2.0\r\n"))),
        (select(METHODS.to_vec()), 100u16..700, "[A-Za-z][A-Za-z ]{0,15}")
            .prop_map(|(m, status, reason)| (m, format!("SIP/2.0 {status} {reason}\r\n"))),
    ];
    let body = prop_oneof![
        Just(String::new()),
        "[ -~]{1,40}",
        Just("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n\r\nm=audio 4000 RTP/AVP 0\r\n".to_owned()),
    ];
    let number = (0u32..1 << 31, "[A-Za-z0-9.@-]{1,24}", 0u32..256);
    let lists = (vec(via(), 1..4), vec(other_line(), 0..5));
    (start, number, (party(), party()), lists, body, any::<u64>()).prop_flat_map(
        |((method, start), (cseq, call_id, hops), (from, to), (vias, mut others), body, order)| {
            let turn = order as usize % others.len().max(1);
            others.rotate_left(turn);
            let lines = (
                line("From", Just(from)),
                line("To", Just(to)),
                line("Call-ID", Just(call_id)),
                line("CSeq", Just(format!("{cseq} {method}"))),
                line("Max-Forwards", Just(hops.to_string())),
                line("Content-Length", Just(body.len().to_string())),
                vias.into_iter().map(|v| line("Via", Just(v))).collect::<Vec<_>>(),
            );
            lines.prop_map(move |(from, to, call_id, cseq, hops, length, vias)| {
                let mut headers =
                    [vec![from, to, call_id, cseq, hops, length], others.clone(), vias].concat();
                // Vias keep their order among each other: a rotation moves all alike.
                let n = headers.len();
                headers.rotate_left(order as usize % 6 % n);
                [start.clone(), headers.concat(), "\r\n".into(), body.clone()].concat().into_bytes()
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn both_read_plain_messages_alike(raw in message()) {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let (our, theirs) = (ours(&raw), rsips(&raw));
        prop_assert!(our.is_ok(), "we refuse: {our:?}\n{text}");
        prop_assert!(theirs.is_ok(), "rsip refuses: {theirs:?}\n{text}");
        let (our, theirs) = (our.expect("asserted"), theirs.expect("asserted"));
        prop_assert_eq!(difference(&our, &theirs), None, "{:?}\n{:?}\n{}", our, theirs, text);
        // And what rsip makes of it is the same message to us.
        let printed = SipMessage::try_from(raw.as_slice()).expect("it was read").to_string();
        let again = ours(printed.as_bytes());
        prop_assert!(again.is_ok(), "we refuse what rsip printed: {again:?}\n{printed}");
        prop_assert_eq!(difference(&our, &again.expect("asserted")), None, "{}", printed);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// rsip reads it.
    WeRefuse,
    /// We read it.
    RsipRefuses,
    /// Both read it; this is seen differently.
    Differs(&'static str),
    Agree,
}

/// A plain INVITE with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> Vec<u8> {
    const PLAIN: &str = "INVITE sip:bob@b.test SIP/2.0\r\nVia: SIP/2.0/UDP h.test:5070;branch=z9hG4bK1\r\n\
        Max-Forwards: 70\r\nFrom: \"A\" <sip:alice@a.test>;tag=1\r\nTo: <sip:bob@b.test>\r\nCall-ID: c@h\r\n\
        CSeq: 7 INVITE\r\nContent-Length: 2\r\n\r\nhi";
    assert!(PLAIN.contains(from), "{from}");
    PLAIN.replacen(from, to, 1).into_bytes()
}

fn disagreements() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    use Outcome::{Differs, RsipRefuses, WeRefuse};
    vec![
        (
            "IPv6: rsip cuts hosts at the first colon",
            changed("h.test:5070", "[2001:db8::1]:5070"),
            RsipRefuses,
        ),
        ("IPv6 in a Request-URI", changed("bob@b.test SIP", "bob@[2001:db8::1] SIP"), RsipRefuses),
        (
            "a method that rsip does not list (§7.1: unknown methods pass)",
            String::from_utf8_lossy(&changed("INVITE sip", "FROB sip"))
                .replace("7 INVITE", "7 FROB")
                .into_bytes(),
            RsipRefuses,
        ),
        ("methods are case-sensitive (§7.1); rsip's are not", changed("7 INVITE", "7 Invite"), WeRefuse),
        ("a transport that rsip does not list; ours between peers", changed("/UDP", "/DOTS"), RsipRefuses),
        ("a folded header (§7.3.1)", changed("7 INVITE", "7\r\n INVITE"), RsipRefuses),
        ("compact forms (§7.3.3)", changed("From:", "f:"), RsipRefuses),
        ("a blank before the colon (§7.3.1)", changed("From:", "From :"), RsipRefuses),
        ("blanks around the semicolon (§25.1)", changed(";tag=1", " ; tag=1"), RsipRefuses),
        ("a quoted parameter", changed(";tag=1", ";tag=1;x=\"a b\""), RsipRefuses),
        ("a bracket in a quoted name", changed("\"A\"", "\"A <b>\""), RsipRefuses),
        (
            "bare line feeds, as some phones write",
            changed("To: <sip:bob@b.test>\r\n", "To: <sip:bob@b.test>\n"),
            RsipRefuses,
        ),
        (
            "octets behind Content-Length (§18.3): rsip ignores the length",
            changed("\r\n\r\nhi", "\r\n\r\nhi there"),
            Differs("body"),
        ),
        ("a length beyond the datagram", changed("Length: 2", "Length: 3"), WeRefuse),
        ("two lengths", changed("Content-Length: 2", "Content-Length: 2\r\nContent-Length: 2"), WeRefuse),
        ("two Froms: rsip takes the first", changed("To:", "From: <sip:eve@e.test>;tag=2\r\nTo:"), WeRefuse),
        ("a CSeq of 2^31 or more (§8.1.1.5)", changed("CSeq: 7", "CSeq: 2147483648"), WeRefuse),
        ("a CSeq of another method (§8.2.2.1)", changed("7 INVITE", "7 BYE"), WeRefuse),
        ("a Call-ID with a blank", changed("c@h", "c @h"), WeRefuse),
        ("headers in a Request-URI (§19.1.1)", changed("bob@b.test SIP", "bob@b.test?a=b SIP"), WeRefuse),
        ("a comma in an unquoted name (RFC 4475 §3.1.2.15)", changed("\"A\"", "A, B"), WeRefuse),
    ]
}

#[test]
fn known_disagreements() {
    let mut wrong = Vec::new();
    for (why, raw, known) in disagreements() {
        let outcome = match (ours(&raw), rsips(&raw)) {
            (Ok(a), Ok(b)) => difference(&a, &b).map_or(Outcome::Agree, Outcome::Differs),
            (Ok(_), Err(_)) => Outcome::RsipRefuses,
            (Err(_), Ok(_)) => Outcome::WeRefuse,
            (Err(_), Err(_)) => Outcome::Agree,
        };
        if outcome != known {
            wrong.push(format!("{why}: {outcome:?}, not {known:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Why nothing from outside ever passes through rsip's printer.
#[test]
fn rsip_prints_other_bytes_than_it_read() {
    let mut raw = changed("hi", "");
    raw.extend([0xff, 0xfe]);
    let printed = SipMessage::try_from(raw.as_slice()).expect("it reads binary bodies").to_string();
    assert_eq!(ours(&raw).expect("so do we").body, [0xff, 0xfe]);
    assert_ne!(printed.as_bytes(), raw);
}
