//! Who is meant: one pure function from what a phone wrote to `user@realm`.
//!
//! Own hosts (listen and advertised addresses, the host name, `localhost`; any port) mean the default realm.
//! `user@realm` or `user%40realm` as the user on an own host selects that realm, so a phone that knows only server,
//! user and password reaches everybody. Hosts are case-insensitive, users are not.

use crate::{
    message::text::lower,
    uri::{Uri, unescape},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

#[derive(Clone, Debug, Default)]
pub struct Addressing {
    /// Lower-case, without port; IPv6 in brackets.
    pub own_hosts: BTreeSet<String>,
    pub default_realm: String,
    pub local_realms: BTreeSet<String>,
    /// Short name to `user@realm`.
    pub aliases: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// 416
    #[error("a scheme other than sip and sips")]
    Scheme,
    /// 404 / 400
    #[error("no user part")]
    NoUser,
    /// 400
    #[error("not a URI")]
    Bad,
}

/// The right side of a canonical AOR. Nothing is called "", so whatever has no realm belongs to nobody.
pub fn realm_of(aor: &str) -> &str {
    aor.rsplit_once('@').map_or("", |(_, realm)| realm)
}

impl Addressing {
    /// Does this host mean this peer?
    pub fn is_own_host(&self, host: &str) -> bool {
        let host = plain_host(host);
        host == "localhost" || self.own_hosts.contains(&*host)
    }

    /// The name of the realm that this host would be.
    pub(crate) fn plain_realm(&self, host: &str) -> String {
        plain_host(host).into_owned()
    }

    /// `alice@office.example`.
    pub fn canonical_aor(&self, uri: &str) -> Result<String, AddressError> {
        let scheme = uri.split(':').next().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
            return Err(if uri.contains(':') { AddressError::Scheme } else { AddressError::Bad });
        }
        let uri = Uri::parse(uri).map_err(|_| AddressError::Bad)?;
        let user = unescape(uri.user().ok_or(AddressError::NoUser)?);
        if user.is_empty() || user.chars().any(|c| c.is_control() || c == ' ') {
            return Err(AddressError::Bad);
        }
        if !self.is_own_host(uri.host()) {
            let realm = plain_host(uri.host());
            return if user.contains('@') { Err(AddressError::Bad) } else { self.aliased(user, &realm) };
        }
        match user.split_once('@') {
            Some((user, realm)) if !user.is_empty() && is_host(realm) => {
                Ok(format!("{user}@{}", plain_host(realm)))
            }
            Some(_) => Err(AddressError::Bad),
            None => self.aliased(user, &self.default_realm),
        }
    }

    fn aliased(&self, mut user: String, realm: &str) -> Result<String, AddressError> {
        match self.aliases.get(&user) {
            Some(target) if self.local_realms.contains(realm) => Ok(target.clone()),
            _ => {
                user.reserve_exact(realm.len() + 1);
                user.push('@');
                user.push_str(realm);
                Ok(user)
            }
        }
    }
}

/// One spelling of a host: lower case, no dot at the end, IPv6 in its shortest form.
fn plain_host(text: &str) -> Cow<'_, str> {
    let inside = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match inside.and_then(|t| t.parse::<Ipv6Addr>().ok()) {
        Some(v6) => format!("[{v6}]").into(),
        None => lower(text.strip_suffix('.').unwrap_or(text)),
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text.len() <= 255
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REC-5.
    #[test]
    fn table() {
        let a = Addressing {
            own_hosts: ["192.0.2.1", "[2001:db8::1]", "pbx.local"].map(str::to_owned).into(),
            default_realm: "a.test".into(),
            local_realms: ["a.test", "b.test"].map(str::to_owned).into(),
            aliases: [("12".to_owned(), "me@abc.dots".to_owned())].into(),
        };
        let cases: &[(&str, Result<&str, AddressError>)] = &[
            ("sip:alice@192.0.2.1", Ok("alice@a.test")),
            ("sip:alice@192.0.2.1:5070;transport=tcp", Ok("alice@a.test")),
            ("sip:alice@LOCALHOST", Ok("alice@a.test")),
            ("sip:alice@[2001:DB8::1]:5060", Ok("alice@a.test")),
            ("sip:alice@[2001:db8:0:0:0:0:0:1]", Ok("alice@a.test")),
            ("sip:alice%40b.test@pbx.local", Ok("alice@b.test")),
            ("sip:alice%40B.test.@PBX.local.", Ok("alice@b.test")),
            ("sip:alice%40far.example@localhost:5999", Ok("alice@far.example")),
            ("sip:alice:secret@a.test;user=phone?x=y", Ok("alice@a.test")),
            ("sip:a%40b%40c@localhost", Err(AddressError::Bad)),
            ("sip:%40b.test@localhost", Err(AddressError::Bad)),
            ("sip:null-%00-null@a.test", Err(AddressError::Bad)),
            ("sip:12%40far.example@localhost", Ok("12@far.example")),
            ("sip:alice@B.test@pbx.local", Ok("alice@b.test")),
            ("sip:%61lice@A.test.", Ok("alice@a.test")),
            ("sip:Alice@a.test", Ok("Alice@a.test")),
            ("sips:bob@far.example", Ok("bob@far.example")),
            ("sip:12@192.0.2.1", Ok("me@abc.dots")),
            ("sip:12@far.example", Ok("12@far.example")),
            // Door stations and feature codes.
            ("sip:9902%232@a.test", Ok("9902#2@a.test")),
            ("sip:9902#2@a.test", Ok("9902#2@a.test")),
            ("sip:*21%2A5@a.test", Ok("*21*5@a.test")),
            ("tel:+15551234", Err(AddressError::Scheme)),
            ("sip:192.0.2.1", Err(AddressError::NoUser)),
            ("sip:alice@b.test@far.example", Err(AddressError::Bad)),
            ("sip:alice%20x@a.test", Err(AddressError::Bad)),
            ("alice", Err(AddressError::Bad)),
        ];
        for (uri, expected) in cases {
            assert_eq!(a.canonical_aor(uri), expected.map(str::to_owned), "{uri}");
        }
    }
}
