//! A phone's answer to a challenge, found among the credentials of a request and made ready for the home.
//!
//! A request may carry several credentials, one per realm and header line (RFC 3261 §22.3): the one for *our* realm is
//! taken, the others belong to somebody else and travel on. Whether the answer is right is not judged here; only that
//! it is an answer to this very request.

use super::{Answer, Credentials, Purpose};
use crate::registrar::sameness::Parts;

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
}

/// `values`: the lines of [`super::ChallengeKind::credentials_header`]. `None`: nothing for our realm, so challenge.
/// Where a phone answered both algorithms, the stronger counts.
pub fn answer_for<'v>(
    values: impl IntoIterator<Item = &'v str>,
    asked: &Asked<'_>,
    purpose: Purpose,
) -> Result<Option<Answer>, BadCredentials> {
    let mut best: Option<Credentials> = None;
    for value in values.into_iter().take(MAX_LINES) {
        let parsed = Credentials::parse(value).map_err(|_| BadCredentials::Malformed)?;
        let Some(found) = parsed.filter(|found| found.realm == asked.realm) else { continue };
        let is_better = match found.algorithm.as_str() {
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
        username: found.username,
        realm: found.realm,
        nonce: found.nonce,
        uri: found.uri,
        response: found.response,
        algorithm: found.algorithm,
        qop: found.qop,
        nc: found.nc,
        cnonce: found.cnonce,
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

/// Does this challenge name one of these realms? A callee that challenges in our name would collect our phones'
/// answers, so such a line is removed from responses of other legs.
pub fn is_challenge_of(value: &str, realms: &[&str]) -> bool {
    match super::credentials::challenge_realm(value) {
        Some(realm) => realms.iter().any(|ours| ours.eq_ignore_ascii_case(&realm)),
        None => true,
    }
}

/// Phones leave out port and parameters, or write the one that they registered with: user and host must be the same.
/// The Request-URI of a REGISTER has no user, though some phones put theirs into the digest-uri.
fn is_for(digest_uri: &str, asked: &Asked<'_>) -> bool {
    if digest_uri == asked.request_uri {
        return true;
    }
    match (Parts::of(digest_uri), Parts::of(asked.request_uri)) {
        (Some(one), Some(two)) => {
            one.host == two.host
                && (one.user == two.user || (asked.method == "REGISTER" && two.user.is_none()))
        }
        _ => false,
    }
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

    fn ask<'a>(method: &'a str, request_uri: &'a str) -> Asked<'a> {
        Asked { method, request_uri, realm: "office.example", aor: "alice@office.example" }
    }

    fn answer(lines: &[String], asked: &Asked<'_>) -> Result<Option<Answer>, BadCredentials> {
        let purpose = Purpose::Request { target: "bob@office.example".into() };
        answer_for(lines.iter().map(String::as_str), asked, purpose)
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
            let got = answer(&lines, &ask("INVITE", uri)).expect(why);
            assert_eq!(got.as_ref().map(|answer| answer.algorithm.as_str()), algorithm, "{why}");
        }
        let got =
            answer(&[line("office.example", "MD5", uri)], &ask("INVITE", uri)).expect("good").expect("ours");
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
            ("no user", "INVITE", "sip:h", "sip:bob@h", false),
            ("registrar", "REGISTER", "sip:h", "sip:h;transport=udp", true),
            ("registrar, own user", "REGISTER", "sip:alice@h", "sip:h", true),
            ("registrar elsewhere", "REGISTER", "sip:g", "sip:h", false),
            ("no URI", "INVITE", "/", "sip:h", false),
        ] {
            let got = answer(&[line("office.example", "MD5", digest_uri)], &ask(method, request_uri));
            match is_good {
                true => assert!(matches!(got, Ok(Some(_))), "{why}"),
                false => assert_eq!(got, Err(BadCredentials::OtherUri), "{why}"),
            }
        }
        let broken = vec!["Digest username=\"a".to_owned()];
        assert_eq!(answer(&broken, &ask("INVITE", "sip:h")), Err(BadCredentials::Malformed), "D07");
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
