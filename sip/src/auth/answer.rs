//! A phone's answer to a challenge, found among the credentials of a request and made ready for the home.
//!
//! A request may carry several credentials, one per realm and header line (RFC 3261 §22.3): the one for *our* realm is
//! taken, the others belong to somebody else and travel on. Whether the answer is right is not judged here; only that
//! it is an answer to this very request.

use super::{Answer, ChallengeKind, Credentials, Purpose};
use crate::{
    address::Addressing,
    message::{Editor, Message, Name},
    uri::{Uri, unescape},
};

/// Header lines looked at; a phone behind two challenging proxies has two.
const MAX_LINES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    #[error("malformed Digest credentials")]
    Malformed,
    /// RFC 7616 §3.4.6: an answer that was made for another request.
    #[error("the digest-uri is not the Request-URI")]
    OtherUri,
}

impl BadCredentials {
    /// Status and reason phrase to answer with.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "Bad Credentials"),
            Self::OtherUri => (400, "Digest URI Mismatch"),
        }
    }
}

/// The request that is to be vouched for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// As it came, before any rewriting.
    pub request_uri: &'a str,
    /// The canonical realm that we challenge for.
    pub realm: &'a str,
    /// Canonical AOR of To (REGISTER) or From.
    pub aor: &'a str,
    /// Which hosts are ours.
    pub addressing: &'a Addressing,
}

/// [`answer_for_lines`] of a request.
pub fn answer_for(
    addressing: &Addressing,
    request: &Message,
    kind: ChallengeKind,
    (realm, aor): (&str, &str),
    purpose: Purpose,
) -> Result<Option<Answer>, BadCredentials> {
    let name = match kind {
        ChallengeKind::Www => Name::Authorization,
        ChallengeKind::Proxy => Name::ProxyAuthorization,
    };
    let request_uri = request.uri().unwrap_or_default();
    let asked = Asked { method: request.method(), request_uri, realm, aor, addressing };
    answer_for_lines(request.header_lines(&name), &asked, purpose)
}

/// `values`: the lines of [`super::ChallengeKind::credentials_header`]. `None`: nothing for our realm, so challenge.
/// Where a phone answered both algorithms, the stronger counts.
pub fn answer_for_lines<'v>(
    values: impl IntoIterator<Item = &'v str>,
    asked: &Asked<'_>,
    purpose: Purpose,
) -> Result<Option<Answer>, BadCredentials> {
    let mut best: Option<Credentials<'_>> = None;
    for value in values.into_iter().take(MAX_LINES) {
        let parsed = Credentials::parse(value).map_err(|_| BadCredentials::Malformed)?;
        let Some(found) = parsed.filter(|found| found.realm == asked.realm) else { continue };
        let is_better = match &*found.algorithm {
            "SHA-256" => best.as_ref().is_none_or(|best| best.algorithm == "MD5"),
            "MD5" => best.is_none(),
            // We never offered it.
            _ => false,
        };
        if is_better {
            best = Some(found);
        }
    }
    let Some(found) = best else { return Ok(None) };
    if !is_for(&found.uri, asked) {
        return Err(BadCredentials::OtherUri);
    }
    Ok(Some(Answer {
        method: asked.method.to_owned(),
        username: found.username.into_owned(),
        realm: found.realm.into_owned(),
        nonce: found.nonce.into_owned(),
        uri: found.uri.into_owned(),
        response: found.response.into_owned(),
        algorithm: found.algorithm.into_owned(),
        qop: found.qop.into_owned(),
        nc: found.nc,
        cnonce: found.cnonce.into_owned(),
        aor: asked.aor.to_owned(),
        purpose,
    }))
}

/// Is this header line an answer for one of these realms? Such lines do not leave this peer (design §3.4): the next
/// hop could guess passwords from them. What we cannot read goes too.
pub fn is_answer_for(value: &str, realms: &[&str]) -> bool {
    match Credentials::parse(value) {
        Ok(Some(found)) => realms.iter().any(|realm| realm.eq_ignore_ascii_case(&found.realm)),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Removes the answers for these realms from a request that is forwarded.
pub fn strip_credentials(editor: &mut Editor<'_>, realms: &[&str]) {
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        editor.retain_lines(&name, |value| !is_answer_for(value, realms));
    }
}

/// Removes challenges in the name of these realms from a response of another leg. `true`: it has none left, so a 401
/// or 407 must become a 403.
pub fn strip_challenges(response: &Message, editor: &mut Editor<'_>, realms: &[&str]) -> bool {
    let mut is_bare = true;
    for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
        is_bare &= response.header_lines(&name).all(|value| is_challenge_of(value, realms));
        editor.retain_lines(&name, |value| !is_challenge_of(value, realms));
    }
    is_bare
}

/// Does this challenge name one of these realms? A callee that challenges in our name would collect our phones'
/// answers, so such a line is removed from responses of other legs.
pub fn is_challenge_of(value: &str, realms: &[&str]) -> bool {
    match super::credentials::challenge_realm(value) {
        Some(realm) => realms.iter().any(|ours| ours.eq_ignore_ascii_case(&realm)),
        None => true,
    }
}

/// RFC 7616 §3.4.6: the digest-uri and the Request-URI are to name one resource, not to be one text. Phones leave out port and
/// parameters, or write the one that they registered with: user and host must be the same. All names of this server are one
/// host, and the realm that we challenge for is another name of it: SIPp writes the address that it sends to, and many
/// phones their outbound proxy. The Request-URI of a REGISTER has no user, though some phones put theirs into the digest-uri;
/// others write only the server. None of these opens a replay: a nonce with its count is good once. What a call grant lets
/// through is judged by the caller's home.
fn is_for(digest_uri: &str, asked: &Asked<'_>) -> bool {
    if digest_uri == asked.request_uri {
        return true;
    }
    let (Ok(one), Ok(two)) = (Uri::parse(digest_uri), Uri::parse(asked.request_uri)) else { return false };
    let is_user_same = one.user().map(unescape) == two.user().map(unescape);
    let is_own = |host: &str| {
        let realm = asked.addressing.plain_realm(host);
        asked.addressing.is_own_host(host)
            || asked.addressing.local_realms.contains(&realm)
            || realm == asked.realm
    };
    let is_host_same =
        one.host().eq_ignore_ascii_case(two.host()) || (is_own(one.host()) && is_own(two.host()));
    is_host_same
        && (is_user_same || one.user().is_none() || (asked.method == "REGISTER" && two.user().is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(realm: &str, algorithm: &str, uri: &str) -> String {
        format!(
            "Digest username=\"alice\", realm=\"{realm}\", nonce=\"n\", uri=\"{uri}\", response=\"{algorithm}\", \
             algorithm={algorithm}, qop=auth, nc=00000001, cnonce=\"c\""
        )
    }

    fn addressing() -> Addressing {
        Addressing {
            own_hosts: ["192.0.2.1", "[2001:db8::1]"].map(str::to_owned).into(),
            default_realm: "own.example".into(),
            local_realms: ["own.example", "other.own.example"].map(str::to_owned).into(),
            ..Addressing::default()
        }
    }

    fn ask<'a>(addressing: &'a Addressing, method: &'a str, request_uri: &'a str) -> Asked<'a> {
        Asked { method, request_uri, realm: "office.example", aor: "alice@office.example", addressing }
    }

    fn answer(lines: &[String], asked: &Asked<'_>) -> Result<Option<Answer>, BadCredentials> {
        let purpose = Purpose::Request { target: "bob@office.example".into() };
        answer_for_lines(lines.iter().map(String::as_str), asked, purpose)
    }

    #[test]
    fn the_credentials_for_our_realm_are_found() {
        let uri = "sip:bob@office.example";
        let (ours, theirs) = (line("office.example", "MD5", uri), line("other.example", "MD5", "sip:x@y"));
        let strong = line("office.example", "SHA-256", uri);
        let foreign = "NoOneKnowsThisScheme opaque-data=here".to_owned();
        for (why, lines, algorithm) in [
            ("none", vec![], None),
            ("another's only", vec![theirs.clone()], None),
            ("another scheme", vec![foreign.clone()], None),
            ("ours behind others", vec![foreign, theirs, ours.clone()], Some("MD5")),
            ("the stronger first", vec![strong.clone(), ours.clone()], Some("SHA-256")),
            ("the stronger last", vec![ours, strong], Some("SHA-256")),
            ("never offered", vec![line("office.example", "AKAv1-MD5", uri)], None),
        ] {
            let got = answer(&lines, &ask(&addressing(), "INVITE", uri)).expect(why);
            assert_eq!(got.as_ref().map(|answer| answer.algorithm.as_str()), algorithm, "{why}");
        }
        let got = answer(&[line("office.example", "MD5", uri)], &ask(&addressing(), "INVITE", uri))
            .expect("good")
            .expect("ours");
        assert_eq!((got.method.as_str(), got.aor.as_str(), got.nc), ("INVITE", "alice@office.example", 1));
    }

    #[test]
    fn the_digest_uri_is_of_this_request() {
        for (why, method, digest_uri, request_uri, is_good) in [
            ("same text", "INVITE", "tel:+4930", "tel:+4930", true),
            ("no port, no parameters", "INVITE", "sip:bob@h", "sip:bob@H:5062;transport=tcp", true),
            ("escapes", "INVITE", "sip:%62ob@h", "sip:bob@h", true),
            ("another user (D06)", "INVITE", "sip:carol@h", "sip:bob@h", false),
            ("another host", "INVITE", "sip:bob@g", "sip:bob@h", false),
            ("only the server, as SIPp writes it", "INVITE", "sip:h", "sip:bob@h", true),
            ("registrar", "REGISTER", "sip:h", "sip:h;transport=udp", true),
            ("registrar, own user", "REGISTER", "sip:alice@h", "sip:h", true),
            ("registrar elsewhere", "REGISTER", "sip:g", "sip:h", false),
            ("no URI", "INVITE", "/", "sip:h", false),
            // What SIPp writes without -auth_uri: the address that it sends to.
            ("our address for our realm", "REGISTER", "sip:192.0.2.1:5060", "sip:own.example", true),
            ("our realm for our address", "REGISTER", "sip:own.example", "sip:192.0.2.1:5062", true),
            ("one realm of ours for another", "REGISTER", "sip:OWN.example.", "sip:other.own.example", true),
            ("the phone's realm, foreign here", "REGISTER", "sip:192.0.2.1:5060", "sip:office.example", true),
            ("IPv6", "REGISTER", "sip:[2001:DB8:0::1]:5060", "sip:own.example", true),
            ("a call, with its user", "INVITE", "sip:bob@192.0.2.1:5060", "sip:bob@own.example", true),
            ("a call, without", "INVITE", "sip:192.0.2.1:5060", "sip:bob@own.example", true),
            ("a call, another user", "INVITE", "sip:carol@192.0.2.1", "sip:bob@own.example", false),
            ("somebody else's address", "REGISTER", "sip:198.51.100.1", "sip:own.example", false),
            ("ours for somebody else's", "INVITE", "sip:bob@192.0.2.1", "sip:bob@far.example", false),
        ] {
            let got = answer(
                &[line("office.example", "MD5", digest_uri)],
                &ask(&addressing(), method, request_uri),
            );
            match is_good {
                true => assert!(matches!(got, Ok(Some(_))), "{why}"),
                false => assert_eq!(got, Err(BadCredentials::OtherUri), "{why}"),
            }
        }
        let broken = vec!["Digest username=\"a".to_owned()];
        assert_eq!(
            answer(&broken, &ask(&addressing(), "INVITE", "sip:h")),
            Err(BadCredentials::Malformed),
            "D07"
        );
    }

    fn message(first: &str, lines: &[String]) -> Message {
        let common = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:alice@office.example>;tag=1\r\n\
                      To: <sip:bob@office.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n";
        let text = format!(
            "{first}\r\n{common}{}\r\n",
            lines.iter().map(|l| format!("{l}\r\n")).collect::<String>()
        );
        Message::parse(text.into_bytes()).expect("well-formed")
    }

    #[test]
    fn on_whole_messages() {
        let uri = "sip:bob@office.example";
        let (ours, theirs) = (line("office.example", "MD5", uri), line("other.example", "MD5", uri));
        let lines = [&ours, &theirs].map(|line| format!("Proxy-Authorization: {line}"));
        let request = message(&format!("INVITE {uri} SIP/2.0"), &lines);
        let purpose = Purpose::Request { target: "bob@office.example".into() };
        let got = |kind| {
            answer_for(
                &addressing(),
                &request,
                kind,
                ("office.example", "alice@office.example"),
                purpose.clone(),
            )
        };
        assert_eq!(got(ChallengeKind::Proxy).expect("good").map(|answer| answer.uri), Some(uri.to_owned()));
        assert_eq!(got(ChallengeKind::Www), Ok(None));
        let mut editor = Editor::new(&request);
        strip_credentials(&mut editor, &["office.example"]);
        let stripped = Message::parse(editor.build()).expect("well-formed");
        let left: Vec<&str> = stripped.header_lines(&Name::ProxyAuthorization).collect();
        assert_eq!(left, [theirs.as_str()]);

        let challenge = |realm: &str| format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"");
        for (why, lines, is_bare, count) in [
            ("ours only", vec![challenge("office.example")], true, 0),
            (
                "another's beside ours",
                vec![challenge("office.example"), challenge("other.example")],
                false,
                1,
            ),
        ] {
            let response = message("SIP/2.0 407 Proxy Authentication Required", &lines);
            let mut editor = Editor::new(&response);
            assert_eq!(strip_challenges(&response, &mut editor, &["office.example"]), is_bare, "{why}");
            let left = Message::parse(editor.build()).expect("well-formed");
            assert_eq!(left.header_lines(&Name::ProxyAuthenticate).count(), count, "{why}");
        }
    }

    #[test]
    fn what_must_not_leave_or_enter() {
        let realms = ["office.example", "x.dots"];
        assert!(is_answer_for(&line("Office.example", "MD5", "sip:h"), &realms));
        assert!(is_answer_for("Digest realm=\"broken", &realms));
        assert!(!is_answer_for(&line("other.example", "MD5", "sip:h"), &realms));
        assert!(!is_answer_for("Basic YTpi", &realms));
        assert!(is_challenge_of("Digest nonce=\"n\", realm=\"OFFICE.example\"", &realms));
        assert!(is_challenge_of("Basic realm=x.dots", &realms));
        assert!(!is_challenge_of("Digest realm=\"other.example\", nonce=\"n\"", &realms));
        assert!(is_challenge_of("Digest realm=\"open", &realms), "unreadable");
        assert!(
            is_challenge_of("Digest realm=\"other\", Digest realm=\"office.example\"", &realms),
            "two in one line"
        );
    }
}
