//! A phone's answer to a challenge, as a serving peer returns it to the home (AUTH-3).
//!
//! What the digest covers (method, digest-uri, nonce, count) is the phone's word. Account, instance, target and source are
//! the serving peer's; the home takes them only as far as the phone's word reaches: the account must be the one whose
//! password was proved, and the target of a call must be what the digest-uri named ([`Answer::signs_target`]).

use crate::{
    account::Account,
    digest::{self, Algorithm},
    records::Permit,
    uri,
};
use dots_wire::{Hash, sha256};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Methods for which a call grant may be asked: all but REGISTER, and those that need a dialog (RFC 3261 §16.3 has a proxy
/// pass on what it does not know).
const NEVER_GRANTED: [&str; 6] = ["REGISTER", "ACK", "CANCEL", "BYE", "PRACK", "UPDATE"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Answer {
    pub method: String,
    pub username: String,
    pub realm: String,
    pub nonce: String,
    /// The digest-uri.
    pub uri: String,
    pub response: String,
    pub algorithm: String,
    pub qop: String,
    pub nc: u32,
    pub cnonce: String,
    /// The canonical AOR of To (REGISTER) or From.
    pub aor: String,
    /// The claimed instance (REGISTER), or nothing.
    pub instance: Option<String>,
    /// The canonical target of any other request, or nothing.
    pub target: Option<String>,
    /// Where the phone is, under a key of the serving peer: tells sources apart and names none.
    pub source: Hash,
}

impl Answer {
    /// The account that the credentials name: `user` in the challenged realm, or `user@realm` in full. Some phones send the
    /// escapes that their user typed.
    pub fn account(&self) -> String {
        let username = uri::unescape(&self.username);
        match username.contains('@') {
            true => username,
            false => format!("{username}@{}", self.realm),
        }
    }

    /// What is asked for; `None` where it names an instance and a target, or neither, or does not fit the method.
    pub fn permit(&self) -> Option<Permit> {
        match (&self.instance, &self.target) {
            (Some(instance), None) if self.method == "REGISTER" => {
                Some(Permit::Bind { instance: sha256(instance.as_bytes()) })
            }
            (None, Some(target)) if !NEVER_GRANTED.contains(&self.method.as_str()) => Some(Permit::Call {
                method: self.method.clone(),
                signed: self.signed(),
                target: sha256(target.as_bytes()),
            }),
            _ => None,
        }
    }

    /// What the phone put its name to, and which of its answers it was: no two requests share a grant.
    fn signed(&self) -> Hash {
        sha256(format!("{}\0{}\0{}", self.uri, self.nonce, self.nc).as_bytes())
    }

    /// AUTH-5: did the phone sign this target? `user@realm` or `user%40realm` at any host; a bare user at a host that is no realm
    /// (`is_realm`) means its account's own.
    pub fn signs_target(&self, is_realm: impl Fn(&str) -> bool) -> bool {
        let Some(target) = &self.target else { return true };
        let Some((user, host)) = uri::user_and_host(&self.uri) else { return false };
        if user.contains('@') {
            return canonical(&user).as_ref() == Some(target);
        }
        let named = format!("{user}@{host}");
        let own = || format!("{user}@{}", self.realm);
        named == *target || (!is_realm(&host) && own() == *target)
    }

    pub fn is_right(&self, account: Option<&Account>) -> bool {
        let Some(algorithm) = Algorithm::parse(&self.algorithm) else { return false };
        let ha1 = account.and_then(|a| a.digests_of(&self.username)).map(|digests| match algorithm {
            Algorithm::Md5 => digests.md5.as_str(),
            Algorithm::Sha256 => digests.sha256.as_str(),
        });
        let expected = digest::response(
            algorithm,
            // The same work for who is nobody.
            ha1.unwrap_or("no such account"),
            &self.method,
            &self.uri,
            &self.nonce,
            self.nc,
            &self.cnonce,
            &self.qop,
        );
        digest::equal(&expected, &self.response) && ha1.is_some()
    }
}

fn canonical(aor: &str) -> Option<String> {
    let (user, host) = aor.rsplit_once('@')?;
    Some(format!("{user}@{}", host.trim_end_matches('.').to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(uri: &str, target: Option<&str>) -> Answer {
        Answer {
            method: "INVITE".into(),
            username: "alice".into(),
            realm: "a.net".into(),
            nonce: "n".into(),
            uri: uri.into(),
            response: "r".into(),
            algorithm: "MD5".into(),
            qop: "auth".into(),
            nc: 1,
            cnonce: "c".into(),
            aor: "alice@a.net".into(),
            instance: None,
            target: target.map(str::to_owned),
            source: Hash([1; 32]),
        }
    }

    /// AUTH-5: the phone signed one target, the serving peer asks a grant for another.
    #[test]
    fn a_call_grant_is_for_what_the_phone_signed() {
        let is_realm = |host: &str| ["a.net", "v.test", "b.net"].contains(&host);
        for (uri, target, is_good) in [
            ("sip:bob@v.test", "bob@v.test", true),
            ("sip:bob@V.Test.:5062;transport=tcp", "bob@v.test", true),
            ("sip:%62ob@v.test", "bob@v.test", true),
            ("sips:bob;x=y@v.test", "bob@v.test", true),
            ("sip:bob:secret@v.test", "bob@v.test", true),
            ("sip:bob%40v.test@192.0.2.1", "bob@v.test", true),
            ("sip:bob%40V.test@[2001:db8::1]:5060", "bob@v.test", true),
            ("sip:bob@192.0.2.1:5070", "bob@a.net", true),
            ("sip:bob@[2001:db8::1]", "bob@a.net", true),
            ("sip:bob@localhost", "bob@a.net", true),
            ("sip:bob@v.test", "+99900900@premium.example", false),
            ("sip:bob@v.test", "bob@premium.example", false),
            ("sip:bob@v.test", "bob@a.net", false),
            ("sip:bob%40v.test@a.net", "bob@a.net", false),
            ("sip:bob@192.0.2.1", "bob@v.test", false),
            ("sip:v.test", "bob@v.test", false),
            ("sip:Bob@v.test", "bob@v.test", false),
            ("tel:+4930", "+4930@a.net", false),
            ("/", "bob@v.test", false),
            ("", "bob@v.test", false),
        ] {
            assert_eq!(answer(uri, Some(target)).signs_target(is_realm), is_good, "{uri} for {target}");
        }
        assert!(answer("sip:h", None).signs_target(is_realm), "a registration has no target");
    }

    /// AUTH-3.
    #[test]
    fn what_may_be_asked_for() {
        let ask = |method: &str, instance: Option<&str>, target: Option<&str>| Answer {
            method: method.into(),
            instance: instance.map(str::to_owned),
            ..answer("sip:bob@v.test", target)
        };
        for (method, instance, target, is_good) in [
            ("REGISTER", Some("i"), None, true),
            ("INVITE", None, Some("bob@v.test"), true),
            ("OPTIONS", None, Some("bob@v.test"), true),
            ("UNHEARD-OF", None, Some("bob@v.test"), true),
            ("INVITE", Some("i"), None, false),
            ("REGISTER", None, Some("bob@v.test"), false),
            ("INVITE", Some("i"), Some("bob@v.test"), false),
            ("INVITE", None, None, false),
            ("BYE", None, Some("bob@v.test"), false),
            ("CANCEL", None, Some("bob@v.test"), false),
        ] {
            assert_eq!(ask(method, instance, target).permit().is_some(), is_good, "{method}");
        }
    }

    #[test]
    fn spellings_of_one_account() {
        for (username, account) in [
            ("alice", "alice@a.net"),
            ("alice@a.net", "alice@a.net"),
            ("alice%40a.net", "alice@a.net"),
            ("9903%231", "9903#1@a.net"),
            ("9903#1", "9903#1@a.net"),
            ("bob@b.net", "bob@b.net"),
            ("50%", "50%@a.net"),
        ] {
            let answer = Answer { username: username.into(), ..answer("sip:a.net", None) };
            assert_eq!(answer.account(), account);
        }
    }
}
