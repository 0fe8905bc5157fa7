//! URIs by which a message names somebody else: Refer-To and Referred-By (RFC 3515, RFC 3892) and the Contacts of a 3xx.
//!
//! A phone that knows its server by address alone writes `sip:carol@192.168.1.2`, which means nothing at another peer; and
//! one that transfers to whom it talks to may write that phone's Contact, which is an opaque name. Both become the
//! account: `sip:carol@realm`. Toward a phone that knows its server by address it is written so that it can be dialled
//! there, as From is. Parameters and all headers inside the URI but Replaces are left out (BORD-7): phones obey some.

use super::{
    identity::plain_uri,
    references::{EMBEDDED_MAX, dialog, escape_header},
};
use crate::{
    address::Addressing,
    message::NameAddr,
    uri::{Uri, escape_user, unescape},
};

/// What may stand in a URI behind `?` (BORD-7).
const EMBEDDED: [&str; 2] = ["replaces", "require"];

/// What somebody's URI is on the other side.
pub(crate) struct Translation<'a> {
    pub addressing: &'a Addressing,
    /// Whom the dialog that this Replaces names leads to, if it is known.
    pub other_end: &'a dyn Fn(&str) -> Option<String>,
    /// What a Call-ID is called on the other side.
    pub call_id: &'a dyn Fn(&str) -> Option<String>,
    /// The address by which the reader knows its server, if it knows nothing else.
    pub server: Option<&'a str>,
}

impl Translation<'_> {
    /// Of a Refer-To, or of a Contact of a 3xx. `None`: it is no way to call somebody.
    pub fn target(&self, value: &str) -> Option<String> {
        let addr = NameAddr::parse(value)?;
        let (uri, embedded) = addr.uri().split_once('?').unwrap_or((addr.uri(), ""));
        let scheme = uri.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if scheme == "tel" {
            let number = uri.split(';').next().unwrap_or_default();
            return Some(format!("<{number}>"));
        }
        if !["sip", "sips"].contains(&scheme.as_str()) {
            return None;
        }
        let headers: Vec<(String, String)> =
            headers_in(embedded).filter(|(name, _)| EMBEDDED.contains(&name.as_str())).collect();
        let replaces = headers.iter().find(|(name, _)| name == "replaces").map(|(_, value)| value.as_str());
        let known = replaces.and_then(|replaces| (self.other_end)(replaces));
        let uri = known.map_or_else(|| self.account(uri), |aor| self.uri_of(&aor));
        let headers: Vec<String> = headers.iter().map(|(name, value)| self.embedded(name, value)).collect();
        let mark = if headers.is_empty() { "" } else { "?" };
        Some(format!("<{uri}{mark}{}>", headers.join("&")))
    }

    /// Does this URI name a dialog of somebody else than the account that it says?
    pub fn names_another(&self, uri: &str) -> bool {
        let Some((uri, embedded)) = uri.split_once('?') else { return false };
        let end = headers_in(embedded).find_map(|(name, value)| match name.as_str() {
            "replaces" => (self.other_end)(&value),
            _ => None,
        });
        end.is_some_and(|end| self.addressing.canonical_aor(uri).ok() != Some(end))
    }

    /// Of a Referred-By outside a dialog: what is said there nobody has proved.
    pub fn referrer(&self, value: &str) -> Option<String> {
        self.target(NameAddr::parse(value)?.uri().split('?').next()?)
    }

    fn embedded(&self, name: &str, value: &str) -> String {
        match name {
            "replaces" => {
                let renamed = dialog(value, self.call_id);
                format!("Replaces={}", escape_header(renamed.as_deref().unwrap_or(value)))
            }
            _ => format!("Require={}", escape_header(value)),
        }
    }

    /// The account that a URI means here; what is no account stays, without parameters.
    fn account(&self, uri: &str) -> String {
        match self.addressing.canonical_aor(uri) {
            Ok(aor) => self.uri_of(&aor),
            Err(_) => plain_uri(uri),
        }
    }

    /// As the reader can dial it.
    pub fn uri_of(&self, aor: &str) -> String {
        match (self.server, aor.rsplit_once('@')) {
            (Some(server), Some((user, realm))) => {
                let user = if realm == self.addressing.default_realm { user } else { aor };
                format!("sip:{}@{server}", escape_user(user))
            }
            _ => super::identity::uri_of(aor),
        }
    }
}

/// What stands in a URI behind `?`, names in lower case; nothing where there is more of it than a transfer has.
fn headers_in(embedded: &str) -> impl Iterator<Item = (String, String)> {
    let is_short = embedded.split('&').nth(EMBEDDED_MAX).is_none();
    let headers = embedded.split('&').filter(move |_| is_short).filter_map(|header| header.split_once('='));
    headers.map(|(name, value)| (unescape(name).to_ascii_lowercase(), unescape(value)))
}

/// The host by which a phone knows its server, where that is all it knows: its own From names us.
pub(crate) fn server_in<'a>(addressing: &Addressing, from: &'a str) -> Option<&'a str> {
    let uri = Uri::parse(from).ok().filter(|uri| addressing.is_own_host(uri.host()))?;
    let behind = from.rsplit_once('@').map_or(from, |(_, host)| host);
    let end = behind.find([';', '?']).unwrap_or(behind.len());
    behind.get(..end).filter(|host| !host.is_empty() && uri.user().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressing() -> Addressing {
        Addressing {
            own_hosts: ["192.168.1.2".to_owned()].into(),
            default_realm: "a.test".into(),
            local_realms: ["a.test".to_owned()].into(),
            ..Addressing::default()
        }
    }

    fn target(value: &str, server: Option<&str>) -> Option<String> {
        let translation = Translation {
            addressing: &addressing(),
            other_end: &|replaces| replaces.starts_with("known").then(|| "carol@c.test".to_owned()),
            call_id: &|call_id| call_id.contains('@').then(|| "dx.hidden".to_owned()),
            server,
        };
        translation.target(value)
    }

    /// BORD-7.
    #[test]
    fn whoever_is_named_can_be_dialled_on_the_other_side() {
        for (value, there) in [
            ("<sip:carol@192.168.1.2>", Some("<sip:carol@a.test>")),
            ("sip:carol@192.168.1.2:5062;transport=tcp", Some("<sip:carol@a.test>")),
            ("\"Carol\" <sip:carol%40c.test@192.168.1.2;user=phone>;x=y", Some("<sip:carol@c.test>")),
            ("<sips:carol@C.test>", Some("<sip:carol@c.test>")),
            ("<sip:carol@c.test;intercom=true?Alert-Info=x&Call-Info=y&Route=z>", Some("<sip:carol@c.test>")),
            ("<sip:carol@c.test;method=BYE>", Some("<sip:carol@c.test>")),
            (
                "<sip:c@c.test?Subject=x&replaces=x%4010.0.0.1%3Bto-tag%3Da&Require=replaces>",
                Some("<sip:c@c.test?Replaces=dx.hidden%3Bto-tag%3Da&Require=replaces>"),
            ),
            (
                "<sip:x7@p1.peer.dots?Replaces=known%3Bto-tag%3Da>",
                Some("<sip:carol@c.test?Replaces=known%3Bto-tag%3Da>"),
            ),
            (
                "<sip:carol@10.0.0.3:5060?Replaces=known%3Bto-tag%3Da>",
                Some("<sip:carol@c.test?Replaces=known%3Bto-tag%3Da>"),
            ),
            ("<tel:+4930;phone-context=x>", Some("<tel:+4930>")),
            ("<sip:192.168.1.2;lr>", Some("<sip:192.168.1.2>")),
            ("<http://192.0.2.1/x>", None),
            ("<javascript:x>", None),
            ("*", None),
        ] {
            assert_eq!(target(value, None).as_deref(), there, "{value}");
        }
    }

    #[test]
    fn a_phone_that_knows_only_its_server_can_dial_it() {
        for (value, shown) in [
            ("<sip:carol@c.test>", "<sip:carol%40c.test@192.168.1.2:5060>"),
            ("<sip:carol@a.test>", "<sip:carol@192.168.1.2:5060>"),
            (
                "<sip:carol@c.test?Replaces=x%3Bto-tag%3Da>",
                "<sip:carol%40c.test@192.168.1.2:5060?Replaces=x%3Bto-tag%3Da>",
            ),
        ] {
            assert_eq!(target(value, Some("192.168.1.2:5060")).as_deref(), Some(shown));
        }
        for (from, server) in [
            ("sip:alice@192.168.1.2:5060;x=y", Some("192.168.1.2:5060")),
            ("sip:alice@a.test", None),
            ("sip:192.168.1.2", None),
        ] {
            assert_eq!(server_in(&addressing(), from), server, "{from}");
        }
    }
}
