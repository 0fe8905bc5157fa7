//! One glance at a message that nobody has read yet: does it answer a challenge, and which? Only for the order in which
//! waiting messages are read; what counts is read from the parsed message.

use memchr::memmem;

/// The first `nonce="…"` in these bytes; of `cnonce` and others that end so it is none.
pub fn nonce_in(bytes: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"nonce=\"";
    let begin = memmem::find_iter(bytes, NAME).find(|at| {
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        before.is_some_and(|b| matches!(b, b' ' | b',' | b'\t' | b'\n'))
    })?;
    let value = bytes.get(begin + NAME.len()..)?;
    let end = memchr::memchr(b'"', value)?;
    std::str::from_utf8(value.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nonce_is_found_and_nothing_that_looks_like_it() {
        for (text, expected) in [
            ("Authorization: Digest username=\"a\", nonce=\"abc\", uri=\"x\"", Some("abc")),
            ("Authorization: Digest nonce=\"abc\"", Some("abc")),
            ("Authorization: Digest username=\"a\",nonce=\"abc\"", Some("abc")),
            ("Authorization: Digest cnonce=\"no\", nonce=\"yes\"", Some("yes")),
            ("Authorization: Digest\r\n nonce=\"folded\"", Some("folded")),
            ("cnonce=\"no\"", None),
            ("nonce=\"at the very beginning\"", None),
            ("a nonce=\"without an end", None),
            ("a nonce=unquoted", None),
            ("", None),
        ] {
            assert_eq!(nonce_in(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(nonce_in(b"a nonce=\"\xff\""), None);
    }
}
