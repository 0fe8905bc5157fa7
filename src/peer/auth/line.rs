//! The one line that a refused password leaves in the log, for programs that block addresses by it.
//!
//! It has a fixed form, and nothing that somebody sent can add a word to it. It is written only where the nonce had been given to
//! the very address that it names, so nobody has another one blocked.

use std::net::IpAddr;

/// AUTH-7.
pub fn refused_password(aor: &str, phone: IpAddr) {
    tracing::info!("refused password: account={} address={phone}", plain(aor));
}

/// An account's name as a log line of a fixed form holds it: what could be read as another word of the line is escaped.
fn plain(aor: &str) -> String {
    const LONG: usize = 96;
    let mut text = String::new();
    for byte in aor.bytes().take(LONG) {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'.'
            | b'@'
            | b'-'
            | b'_'
            | b'+'
            | b'#'
            | b'*'
            | b'~' => {
                text.push(char::from(byte));
            }
            other => text += &format!("%{other:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    /// AUTH-7: whoever chooses a user name can't write another line, or another word of this one.
    #[test]
    fn a_name_in_the_log_is_one_word() {
        for (aor, shown) in [
            ("alice@a.net", "alice@a.net"),
            ("+49*30#1@a.net", "+49*30#1@a.net"),
            ("x address=192.0.2.9\n@a", "x%20address%3D192.0.2.9%0A@a"),
            ("\u{1b}[31m\u{e9}", "%1B%5B31m%C3%A9"),
        ] {
            assert_eq!(plain(aor), shown);
        }
        assert!(plain(&"\n".repeat(10_000)).len() < 300);
    }
}
