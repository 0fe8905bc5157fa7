//! As much of a SIP URI as a home needs to see what a phone signed: user and host (RFC 3261 §19.1.1).

/// User (escapes resolved, without password and parameters) and host (lower case, no port, no dot at its end).
pub fn user_and_host(uri: &str) -> Option<(String, String)> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return None;
    }
    // The last @: one in a user is escaped, but not every phone knows.
    let (userinfo, rest) = rest.rsplit_once('@')?;
    let user = userinfo.split([':', ';']).next().unwrap_or_default();
    let rest = rest.split([';', '?']).next().unwrap_or_default();
    let host = match rest.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => rest.split(':').next().unwrap_or_default(),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (!user.is_empty() && !host.is_empty()).then(|| (unescape(user), host))
}

/// `%40` -> `@` (RFC 3261 §19.1.2). What is no escape, or no text, stays as it is.
pub fn unescape(text: &str) -> String {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// How phones write this user where they do not write it as it is: `9903%231` for `9903#1`. One that writes a URI escapes what a
/// URI must not hold (RFC 3261 §25.1); others all that is no letter, digit or `-._~`, in either case of hex digits.
pub fn spellings(user: &str) -> Vec<String> {
    let in_uri = |byte: u8| b"-_.!~*'()&=+$,;?/".contains(&byte);
    let plain = |byte: u8| b"-._~".contains(&byte);
    let mut found = vec![escape(user, in_uri, true), escape(user, plain, true), escape(user, plain, false)];
    found.retain(|spelling| spelling != user);
    found.sort_unstable();
    found.dedup();
    found
}

fn escape(user: &str, stays: impl Fn(u8) -> bool, upper: bool) -> String {
    let mut out = String::with_capacity(user.len());
    for byte in user.bytes() {
        match (byte.is_ascii_alphanumeric() || stays(byte), upper) {
            (true, _) => out.push(char::from(byte)),
            (false, true) => out += &format!("%{byte:02X}"),
            (false, false) => out += &format!("%{byte:02x}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_phones_make_of_a_name() {
        for (user, spelt) in [
            ("alice", &[][..]),
            ("a.b-c_d~1", &[]),
            ("9903#1", &["9903%231"]),
            ("*72", &["%2A72", "%2a72"]),
            ("+49#1", &["%2B49%231", "%2b49%231", "+49%231"]),
            ("m\u{fc}ller", &["m%C3%BCller", "m%c3%bcller"]),
        ] {
            assert_eq!(spellings(user), spelt, "{user}");
            assert!(spelt.iter().all(|spelling| unescape(spelling) == user), "{user}");
        }
    }
}
