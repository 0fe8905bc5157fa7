//! What a REGISTER says, read once and checked for form.
//!
//! Values that have a tolerant reading get it: an Expires that is no number of 32 bits is treated as absent (RFC 3261
//! §20.19 allows the default; one that wraps to 0 would unregister the phone), a q out of range is as if it were not
//! there. What has none, a broken Contact, one that no request could be sent to, `*` beside others or without
//! `Expires: 0`, is a 400 with nothing done.

use super::{
    Refusal,
    contact::{self, MAX_ASKED_CONTACTS},
    sameness::{is_same_uri, normal_form},
};
use crate::{
    Flow,
    listening::{Listening, Ours, address_of, listens_at, may_be_reached},
    message::{Message, Name, NameAddr, grammar::is_uri_text, parse::is_target},
    ping::request_uri,
    uri::Uri,
};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;

/// One of a Contact URI, its parameters or a Path value, bytes; longer is refused: it is stored, journaled and listed
/// in each 200.
pub const MAX_CONTACT_BYTES: usize = 512;
/// Edge proxies between a phone and us, and all of their URIs together.
pub const MAX_PATHS: usize = 8;
const MAX_PATH_BYTES: usize = 1_024;
/// Header lines of one name: one more than any limit below, so that too many is seen as such.
const MAX_LINES: usize = MAX_ASKED_CONTACTS + 1;
const MAX_CALL_ID_BYTES: usize = 256;
const MAX_INSTANCE_BYTES: usize = 100;
/// What a Require may name (RFC 3327).
const EXTENSIONS: [&str; 1] = ["path"];

/// The fields of a REGISTER that the registrar reads, as they came; lists have one element per header line.
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    pub call_id: &'a str,
    pub cseq: u32,
    pub contacts: Vec<&'a str>,
    pub expires: Option<&'a str>,
    pub paths: Vec<&'a str>,
    pub requires: Vec<&'a str>,
}

/// A REGISTER as the registrar understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub call_id: String,
    pub cseq: u32,
    pub contacts: Contacts,
    /// Path values as sent, topmost first (RFC 3327).
    pub path: Vec<String>,
    /// See [`super::Binding::server`]; set by whoever knows which hosts are ours.
    pub server: Option<String>,
    pub rule: ContactRule,
}

/// Where the Contacts of an account may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContactRule {
    /// An account of another realm: a phone is reached on its flow, at another port of its host once it answered there.
    #[default]
    Foreign,
    /// An account of ours: at another port of its host at once.
    Own,
    /// An account of ours whose realm lets others register for it: anywhere.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contacts {
    /// No Contact: only the list is wanted (RFC 3261 §10.2.3).
    Query,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll,
    Some(Vec<AskedContact>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedContact {
    /// The URI as sent, without angle brackets.
    pub uri: String,
    /// The header parameters as sent, each with its semicolon.
    pub params: String,
    /// 0..=1000.
    pub q: u16,
    pub instance: String,
    /// The port of its host where this phone listens; see [`crate::listening`].
    pub listens: Option<Listening>,
    /// The address in the first Path or in the Contact, where that is another host and may be reached: with
    /// [`ContactRule::Any`] requests go there.
    pub elsewhere: Option<SocketAddr>,
    /// The Contact's own, else the Expires header's; `None`: the registrar's default.
    pub expires_s: Option<u32>,
}

impl Register {
    /// The errors are those of form: 400, 403 (too many Contacts), 420.
    pub fn read(request: &Message) -> Result<Self, Refusal> {
        Self::from_fields(&Fields::of(request)?)
    }

    /// Is its form good? Said before anybody is asked for a password, of a request that may never come back: nothing is made of
    /// it.
    pub(super) fn check(request: &Message) -> Result<(), Refusal> {
        let fields = Fields::of(request)?;
        check_head(&fields)?;
        if !is_wildcard(&fields)? {
            each_contact(&fields, |_| {})?;
        }
        path(&fields.paths).map(drop)
    }

    pub fn from_fields(fields: &Fields<'_>) -> Result<Self, Refusal> {
        check_head(fields)?;
        Ok(Self {
            call_id: fields.call_id.to_owned(),
            cseq: fields.cseq,
            contacts: contacts(fields)?,
            path: path(&fields.paths)?,
            server: None,
            rule: ContactRule::default(),
        })
    }

    /// Finds out where each Contact would be reached. `request`: this REGISTER.
    pub(crate) fn find(&mut self, request: &Message, flow: &Flow, ours: Ours<'_>) {
        let first_path = self.path.first().and_then(|path| NameAddr::parse(path)).map(|path| path.uri());
        let Contacts::Some(asked) = &mut self.contacts else { return };
        for contact in asked {
            let (uri, path) = (Uri::parse(&contact.uri).ok(), first_path.map(Uri::parse));
            // Behind a Path the Contact is the last of several hops.
            let listens =
                uri.filter(|_| path.is_none()).and_then(|uri| listens_at(&uri, request, flow, ours));
            let target = path.map_or(uri, Result::ok);
            let at = target.and_then(|target| address_of(&target, flow.transport));
            contact.elsewhere =
                at.filter(|at| at.ip() != flow.remote.ip().to_canonical() && may_be_reached(*at, flow, ours));
            contact.listens = listens;
        }
    }

    /// The instance that this request is about, for [`crate::auth::Purpose::Register`]: the first that is bound, else
    /// the first that is removed; `*` for all, empty for a query.
    pub fn instance(&self) -> &str {
        match &self.contacts {
            Contacts::Query => "",
            Contacts::RemoveAll => "*",
            Contacts::Some(asked) => {
                let bound = asked.iter().find(|contact| contact.expires_s != Some(0));
                bound.or(asked.first()).map_or("", |contact| contact.instance.as_str())
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn of(request: &'a Message) -> Result<Fields<'a>, Refusal> {
        let lines = |name: &Name| request.header_lines(name).take(MAX_LINES).collect();
        Ok(Fields {
            call_id: request.call_id().unwrap_or_default(),
            cseq: request.cseq().ok_or(bad("Bad CSeq"))?.0,
            contacts: lines(&Name::Contact),
            expires: request.header(&Name::Expires),
            paths: lines(&Name::Path),
            requires: lines(&Name::Require),
        })
    }
}

fn check_head(fields: &Fields<'_>) -> Result<(), Refusal> {
    check_require(&fields.requires)?;
    if fields.call_id.is_empty() || fields.call_id.len() > MAX_CALL_ID_BYTES {
        return Err(bad("Bad Call-ID"));
    }
    Ok(())
}

/// RFC 3261 §8.2.2.3.
fn check_require(requires: &[&str]) -> Result<(), Refusal> {
    let named = requires.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|tag| !tag.is_empty());
    let unknown: Vec<&str> =
        named.filter(|tag| !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag))).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(420, "Bad Extension").with("Unsupported", unknown.join(", ")))
}

/// RFC 3261 §10.3 step 6: `*` stands alone, and with Expires: 0, which must be said.
fn is_wildcard(fields: &Fields<'_>) -> Result<bool, Refusal> {
    if !fields.contacts.iter().any(|line| line.trim() == "*") {
        return Ok(false);
    }
    match (&fields.contacts[..], fields.expires.and_then(delta_seconds)) {
        ([_], Some(0)) => Ok(true),
        _ => Err(bad("Bad Wildcard Contact")),
    }
}

fn contacts(fields: &Fields<'_>) -> Result<Contacts, Refusal> {
    if fields.contacts.is_empty() {
        return Ok(Contacts::Query);
    }
    if is_wildcard(fields)? {
        return Ok(Contacts::RemoveAll);
    }
    let mut asked: Vec<AskedContact> = Vec::with_capacity(1);
    each_contact(fields, |sent| {
        let mut one = sent.asked();
        // Two Contacts of one phone in one request (two transports): the first keeps the instance's name. One
        // that removes needs no name of its own.
        let is_taken = |other: &AskedContact| {
            other.instance == one.instance && other.expires_s != Some(0) && !is_same_uri(&other.uri, &one.uri)
        };
        if one.expires_s != Some(0) && asked.iter().any(is_taken) {
            one.instance = hashed(&sent.uri);
        }
        asked.push(one);
    })?;
    Ok(Contacts::Some(asked))
}

/// A Contact as it stands in the request, its form good.
struct Sent<'a> {
    raw: contact::RawContact<'a>,
    uri: Uri<'a>,
    q: u16,
    /// See [`urn`].
    named: Option<String>,
    expires_s: Option<u32>,
}

fn each_contact(fields: &Fields<'_>, mut take: impl FnMut(Sent<'_>)) -> Result<(), Refusal> {
    let mut count = 0;
    for line in &fields.contacts {
        for raw in contact::split(line) {
            take(Sent::read(raw.map_err(|_| bad("Bad Contact"))?, fields.expires)?);
            count += 1;
        }
    }
    if count > MAX_ASKED_CONTACTS {
        return Err(Refusal::new(403, "Too Many Contacts"));
    }
    Ok(())
}

impl<'a> Sent<'a> {
    fn read(raw: contact::RawContact<'a>, expires: Option<&str>) -> Result<Sent<'a>, Refusal> {
        if raw.uri.len() > MAX_CONTACT_BYTES || raw.params.len() > MAX_CONTACT_BYTES {
            return Err(bad("Contact Too Long"));
        }
        // A Contact that is no SIP URI is refused with or without an instance; so is one to which no request could be
        // written and read again, for a 200 promises that the phone can be called.
        let uri = Uri::parse(raw.uri).map_err(|_| bad("Bad Contact URI"))?;
        let target = request_uri(raw.uri);
        let is_callable = match target.len() == raw.uri.len() {
            true => is_uri_text(target) && uri.headers().is_empty(),
            false => is_target(target),
        };
        if !is_callable {
            return Err(bad("Bad Contact URI"));
        }
        let [mut q, mut named, mut own_expires] = [const { None }; 3];
        for param in contact::params(raw.params) {
            let (name, value) = param.map_err(|_| bad("Bad Contact"))?;
            let known = [("q", &mut q), ("+sip.instance", &mut named), ("expires", &mut own_expires)];
            let found = known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            // Of two the first counts.
            if let Some((_, place)) = found {
                place.get_or_insert(value);
            }
        }
        // RFC 3261 §10.2.1.1: the Contact's own expires beats the header.
        let expires_s = own_expires.as_deref().or(expires).and_then(delta_seconds);
        let q = q.as_deref().and_then(q_value).unwrap_or(1000);
        Ok(Sent { raw, uri, q, named: named.as_deref().and_then(urn), expires_s })
    }

    fn asked(&self) -> AskedContact {
        AskedContact {
            uri: self.raw.uri.to_owned(),
            params: self.raw.params.to_owned(),
            q: self.q,
            instance: self.named.clone().unwrap_or_else(|| hashed(&self.uri)),
            listens: None,
            elsewhere: None,
            expires_s: self.expires_s,
        }
    }
}

/// Does this instance come from the phone's own `+sip.instance`, or did we make it from its Contact?
pub(super) fn names_itself(instance: &str) -> bool {
    instance.starts_with("urn:")
}

/// RFC 5626 §4.1: a URN in angle brackets. Letter case has no meaning in the UUID form, which is what phones send.
fn urn(value: &str) -> Option<String> {
    let urn = value.trim().strip_prefix('<')?.strip_suffix('>')?.to_ascii_lowercase();
    let is_plain = urn.bytes().all(|b| b.is_ascii_graphic());
    (urn.starts_with("urn:") && is_plain && urn.len() <= MAX_INSTANCE_BYTES).then_some(urn)
}

/// The instance of a phone that names none: its Contact URI, normalised as §19.1.4 compares, hashed.
fn hashed(uri: &Uri<'_>) -> String {
    let digest = Sha256::digest(normal_form(uri));
    let mut name = String::with_capacity(26);
    name.push_str("c-");
    BASE32_NOPAD.encode_append(digest.get(..15).unwrap_or_default(), &mut name);
    name.make_ascii_lowercase();
    name
}

/// RFC 3261 §20.19: `None` for what is no number of 32 bits.
fn delta_seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `0`, `0.7`, `0.125`, `1.0` in thousandths.
pub(super) fn q_value(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_short = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| is_short)?;
    match whole {
        "0" | "" => Some(part),
        "1" => Some(1000),
        _ => None,
    }
}

fn path(lines: &[&str]) -> Result<Vec<String>, Refusal> {
    let mut path: Vec<String> = Vec::new();
    for line in lines {
        for value in contact::values(line) {
            let value = value.map_err(|_| bad("Bad Path"))?;
            if value.is_empty() || value.contains(char::is_control) {
                return Err(bad("Bad Path"));
            }
            let bytes: usize = path.iter().map(String::len).sum::<usize>() + value.len();
            if path.len() >= MAX_PATHS || value.len() > MAX_CONTACT_BYTES || bytes > MAX_PATH_BYTES {
                return Err(bad("Path Too Long"));
            }
            path.push(value.to_owned());
        }
    }
    Ok(path)
}

fn bad(reason: &'static str) -> Refusal {
    Refusal::new(400, reason)
}

#[cfg(test)]
mod tests;
