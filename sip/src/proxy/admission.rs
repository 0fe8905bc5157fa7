//! May this request pass at all, before anybody is asked who sends it (RFC 3261 §16.3 to §16.5). Every refusal here is
//! written from the request alone and keeps nothing.

use super::outbound::loop_mark;
use crate::{
    cx::Cx,
    ids::Method,
    limits::{AOR_BYTES_MAX, NAME_BYTES_MAX},
    message::{Editor, Message, Name, NameAddr, Via},
    status::{self, Status},
    uri::Uri,
};

/// What we answer to `Allow`.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, NOTIFY, REFER, PUBLISH, INFO, UPDATE, PRACK";

/// An answer, and a counter where it is worth counting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: Status,
    pub headers: Vec<(&'static str, String)>,
    pub counter: Option<&'static str>,
}

impl Refusal {
    fn plain(status: Status) -> Refusal {
        Refusal { status, headers: Vec::new(), counter: None }
    }
    fn counted(status: Status, counter: &'static str) -> Refusal {
        Refusal { status, headers: Vec::new(), counter: Some(counter) }
    }
}

/// §16.3: what every request has to fulfil, whoever it is for. `for_us`: this peer is its target, so no hop is used up.
pub(crate) fn check(request: &Message, for_us: bool) -> Result<(), Refusal> {
    if !has_short_names(request) {
        return Err(Refusal::counted(Status(400, "Name Too Long"), "sip_malformed"));
    }
    // §16.3 step 3 before step 2: a request that may go no further is not looked at.
    match request.header(&Name::MaxForwards).map(|text| text.trim().parse::<u32>()) {
        Some(Ok(0)) if !for_us => return Err(Refusal::plain(status::TOO_MANY_HOPS)),
        Some(Err(_)) => return Err(Refusal::plain(Status(400, "Bad Max-Forwards"))),
        _ => {}
    }
    let scheme = request.uri().unwrap_or_default().split(':').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return Err(Refusal::plain(status::UNSUPPORTED_URI_SCHEME));
    }
    if request.header_lines(&Name::ProxyRequire).any(|line| !line.is_empty()) {
        let required = request.header_lines(&Name::ProxyRequire).collect::<Vec<_>>().join(", ");
        let headers = vec![("Unsupported", required)];
        return Err(Refusal { status: status::BAD_EXTENSION, headers, counter: None });
    }
    Ok(())
}

/// Branch, tags and Call-ID name things in our tables and are echoed in answers.
fn has_short_names(request: &Message) -> bool {
    [
        request.branch().map_or(0, str::len),
        request.via().map_or(0, |via| via.host().len()),
        request.from_tag().map_or(0, str::len),
        request.to_tag().map_or(0, str::len),
        request.call_id().map_or(0, str::len),
    ]
    .into_iter()
    .all(|length| length <= NAME_BYTES_MAX)
}

/// §16.4, §16.5 for a request outside a dialog: the canonical AOR that it is for.
pub(super) fn target(cx: &Cx<'_>, request: &Message) -> Result<String, Refusal> {
    match Method::of(request) {
        // Inside a dialog only (§15, RFC 3311, RFC 3262).
        Method::Bye | Method::Update | Method::Prack => {
            return Err(Refusal::counted(status::NO_SUCH_DIALOG, "out_of_dialog_refused"));
        }
        _ => {}
    }
    if has_foreign_route(cx, request) {
        return Err(Refusal::counted(Status(403, "Route Not Ours"), "foreign_route_refused"));
    }
    let mark = format!(".{}", loop_mark(cx, request));
    let mut vias = request.values(&Name::Via).filter_map(Via::parse);
    if vias.any(|via| via.branch().is_some_and(|branch| branch.ends_with(&mark))) {
        return Err(Refusal::plain(status::LOOP_DETECTED));
    }
    let uri = request.uri().unwrap_or_default();
    // No account has a longer name, and what is called is kept.
    let target = cx.addressing().canonical_aor(uri).ok().filter(|aor| aor.len() <= AOR_BYTES_MAX);
    target.ok_or(Refusal::plain(status::NOT_FOUND))
}

/// §16.4 for who takes us for a strict router: it wrote us into the Request-URI, and its target behind all Routes.
pub(crate) fn mended(cx: &Cx<'_>, request: &Message) -> Option<Message> {
    let last = request.values(&Name::Route).last().filter(|_| is_for_us(cx, request))?;
    let uri = NameAddr::parse(last)?.uri().to_owned();
    Uri::parse(&uri).ok().filter(|uri| uri.user().is_some())?;
    let mut routes: Vec<String> = request.values(&Name::Route).map(str::to_owned).collect();
    routes.pop();
    let mut edit = Editor::new(request);
    edit.set_uri(&uri);
    edit.set_values(&Name::Route, &routes);
    edit.finish().checked().ok()
}

/// A Route that does not name us: we are no relay.
fn has_foreign_route(cx: &Cx<'_>, request: &Message) -> bool {
    let routes = request.values(&Name::Route).filter_map(NameAddr::parse);
    let mut uris = routes.filter_map(|route| Uri::parse(route.uri()).ok().map(|uri| uri.host().to_owned()));
    uris.any(|host| !cx.is_own_route(&host) && !cx.is_own_realm(&host))
}

/// Addressed to this peer itself: an own host or realm without a user.
pub(crate) fn is_for_us(cx: &Cx<'_>, request: &Message) -> bool {
    Uri::parse(request.uri().unwrap_or_default()).is_ok_and(|uri| {
        uri.user().is_none() && (cx.addressing().is_own_host(uri.host()) || cx.is_own_realm(uri.host()))
    })
}

/// A REFER or NOTIFY outside a dialog goes to phones of the sender's own account only: to anybody else's it would be a
/// remote control.
pub(super) fn is_own_account_only(request: &Message) -> bool {
    matches!(Method::of(request), Method::Refer | Method::Notify)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, more: &str) -> Message {
        let method = line.split(' ').next().expect("a method");
        let text = format!(
            "{line} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@a.test>;tag=1\r\nTo: <sip:b@b.test>\r\n\
             Call-ID: c\r\nCSeq: 7 {method}\r\n{more}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes()).expect("a message")
    }

    /// RFC 3261 §16.3.
    #[test]
    fn section_16_3() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let cases: [(&str, &str, &str, bool, Option<u16>); 10] = [
            ("as it should be", "INVITE sip:b@b.test", "Max-Forwards: 70\r\n", false, None),
            ("no Max-Forwards is allowed", "INVITE sip:b@b.test", "", false, None),
            ("step 3: no hop is left", "INVITE sip:b@b.test", "Max-Forwards: 0\r\n", false, Some(483)),
            (
                "OPTIONS to a user is forwarded too",
                "OPTIONS sip:b@b.test",
                "Max-Forwards: 0\r\n",
                false,
                Some(483),
            ),
            ("whoever is the target may answer", "OPTIONS sip:b.test", "Max-Forwards: 0\r\n", true, None),
            ("before the scheme", "INVITE tel:1", "Max-Forwards: 0\r\n", false, Some(483)),
            ("not a number", "INVITE sip:b@b.test", "Max-Forwards: x\r\n", false, Some(400)),
            ("step 2: a scheme of others", "INVITE tel:1", "", false, Some(416)),
            ("step 5: Proxy-Require", "INVITE sip:b@b.test", "Proxy-Require: a\r\n", false, Some(420)),
            ("names in our tables are short", "INVITE sip:b@b.test", "", false, Some(400)),
        ];
        for (why, line, more, for_us, expected) in cases {
            let mut message = request(line, more);
            if why.starts_with("names") {
                let text = String::from_utf8(message.raw().to_vec()).expect("text");
                let text = text.replace("Call-ID: c", &format!("Call-ID: {long}"));
                message = Message::parse(text.into_bytes()).expect("a message");
            }
            let status = check(&message, for_us).err().map(|refusal| refusal.status.0);
            assert_eq!(status, expected, "{why}");
        }
    }
}
