//! The 200 to a REGISTER: what the phone is told about its account's bindings. RFC 3261 §10.3 step 8.
//!
//! All bindings are listed, each with the seconds that it has left, and the one just registered leads: many phones
//! read only the first Contact. Contact URIs are given back as they were sent, because a phone finds its own by
//! comparing text. The list fits a datagram by construction (see the assertion); when it would not fit one packet,
//! parameters that only decorate are left out.

use super::{
    Bindings, Bound, Decision, MAX_CONTACT_BYTES, MAX_CONTACTS_PER_AOR, Register, contact::Quotes,
    request::q_value,
};
use crate::message::text::{lower, put_number};
use smallvec::SmallVec;

/// Beyond this the Contact list is shortened to the parameters that have a meaning to a registrar.
const COMFORTABLE_BYTES: usize = 900;
/// The whole list is inside a UDP datagram with room for the other headers.
const _: () = assert!(MAX_CONTACTS_PER_AOR * (2 * MAX_CONTACT_BYTES + 64) < 32_768);

/// Contact, Path and Date of the 200. `bindings` already has the decision applied.
pub fn ok_headers(
    register: &Register,
    decision: &Decision,
    bindings: &Bindings,
    now_ms: u64,
) -> Vec<(&'static str, String)> {
    let aor = &decision.change.aor;
    let mut listed: SmallVec<[Bound<'_>; 2]> =
        bindings.of(aor).filter(|b| b.expires_at_ms > now_ms).collect();
    let place = |bound: &Bound<'_>| {
        let place = decision.first.iter().position(|first| first == bound.instance);
        place.unwrap_or(decision.first.len())
    };
    listed.sort_by_key(place);

    let mut headers: Vec<(&'static str, String)> = Vec::with_capacity(listed.len() + register.path.len() + 1);
    headers.extend(listed.iter().map(|bound| ("Contact", contact_value(bound, now_ms, false))));
    if headers.iter().map(|(_, value)| value.len()).sum::<usize>() > COMFORTABLE_BYTES {
        headers.clear();
        headers.extend(listed.iter().map(|bound| ("Contact", contact_value(bound, now_ms, true))));
    }
    // RFC 3327 §5.3: the Path as stored is copied into the 200.
    headers.extend(register.path.iter().map(|path| ("Path", path.clone())));
    headers.push(("Date", http_date(now_ms)));
    headers
}

fn contact_value(binding: &Bound<'_>, now_ms: u64, is_short: bool) -> String {
    // Rounded up: a lease is never said to be 0, which would read as removed.
    let left_s = binding.expires_at_ms.saturating_sub(now_ms).div_ceil(1000);
    let mut value = String::with_capacity(binding.contact.len() + binding.contact_params.len() + 32);
    for piece in ["<", binding.contact, ">;expires="] {
        value.push_str(piece);
    }
    put_number(&mut value, left_s);
    for param in params(binding.contact_params) {
        let name = lower(param.split('=').next().unwrap_or_default().trim());
        let is_kept = match &*name {
            "" | "expires" => false,
            // One that says nothing is not given back as if it did (RFC 3261 §25.1: 0 to 1).
            "q" => param.split_once('=').is_some_and(|(_, q)| q_value(q.trim()).is_some()),
            "+sip.instance" | "reg-id" => true,
            _ => !is_short,
        };
        if is_kept {
            value.push(';');
            value.push_str(param.trim());
        }
    }
    value
}

/// The parameters of `;a=b;c="d;e"`, split outside quotes.
fn params(text: &str) -> impl Iterator<Item = &str> {
    let mut quotes = Quotes::default();
    text.split(move |c: char| !quotes.is_inside(c) && c == ';')
}

/// `Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 §20.17: always GMT).
pub fn http_date(now_ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now_ms / 1000;
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Days to a civil date, counted from 0000-03-01 in 400-year eras of 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    let mut text = String::with_capacity(29);
    let put = |text: &mut String, piece: &str, number: u64| {
        text.push_str(piece);
        if number < 10 {
            text.push('0');
        }
        put_number(text, number);
    };
    text.push_str(DAYS[(days % 7) as usize]);
    put(&mut text, ", ", day);
    text.push(' ');
    text.push_str(MONTHS[month as usize]);
    put(&mut text, " ", year);
    put(&mut text, " ", second_of_day / 3600);
    put(&mut text, ":", second_of_day / 60 % 60);
    put(&mut text, ":", second_of_day % 60);
    text.push_str(" GMT");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_289_690_940_000, "Sat, 13 Nov 2010 23:29:00 GMT"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599_999, "Tue, 31 Dec 2024 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(ms), text);
        }
    }

    #[test]
    fn parameters_split_outside_quotes() {
        let got: Vec<&str> = params(r#";q=0.5;+sip.instance="<urn:x;y\";z>";ob"#).collect();
        assert_eq!(got, ["", "q=0.5", r#"+sip.instance="<urn:x;y\";z>""#, "ob"]);
    }
}
