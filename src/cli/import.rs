//! The file of `dots account import`: one account a line, `user@realm` and a password, as editors and spreadsheets write it.
//!
//! * The first of `,` `;` and TAB behind the address is the separator, the same one in every line. Without quotes the
//!   password is all behind the first comma, commas included; behind `;` and TAB it is one column.
//! * Blanks around a field do not count. A field in double quotes is taken as it stands, `""` in it being one quote
//!   (RFC 4180 §2).
//! * Empty lines and lines that begin with `#` are nothing (an address that begins so stands in quotes), and so is a first
//!   line of column names. A byte order mark and CRLF are what some editors write.
//! * What could be meant in two ways is refused, and so is what looks like a digest where a password is wanted. Every line is
//!   read before anything is stored, and every wrong one is told.

use crate::drivers::store;
use dots_clients::types::AccountChange;
use std::{collections::BTreeMap, io::BufRead};

/// The longest line.
const LINE_MAX: usize = 1_024;
/// Wrong lines that are told.
const WRONG_MAX: usize = 20;
const SEPARATORS: [char; 3] = [',', ';', '\t'];
/// Names of a first and of a second column.
const ADDRESS_NAMES: [&str; 12] = [
    "aor",
    "account",
    "user",
    "username",
    "user name",
    "address",
    "sip address",
    "sip uri",
    "uri",
    "name",
    "login",
    "extension",
];
const PASSWORD_NAMES: [&str; 5] = ["password", "pass", "pw", "secret", "sip password"];
const HA1_NAMES: [&str; 4] = ["ha1", "ha1_md5", "hash", "digest"];

/// What the second column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Passwords; what looks like an HA1 is refused.
    Passwords,
    /// Passwords, whatever they look like.
    Plain,
    /// H(user:realm:password)
    Ha1,
}

/// Accounts, each with the number of its line.
pub type Lines = Vec<(usize, AccountChange)>;
/// What is wrong, by line.
pub type Wrong = Vec<(usize, String)>;

pub fn parse(reader: impl BufRead, column: Column) -> Result<Lines, Wrong> {
    let mut reading =
        Reading { column, separator: None, has_header: None, good: Vec::new(), seen: BTreeMap::new() };
    let mut wrong = Wrong::new();
    for (i, line) in reader.split(b'\n').enumerate() {
        let read = line.map_err(|e| e.to_string()).and_then(|line| reading.line(i + 1, &line));
        if let Err(why) = read {
            wrong.push((i + 1, why));
        }
    }
    if wrong.is_empty() { Ok(reading.good) } else { Err(wrong) }
}

/// The wrong lines as a text for people: one sentence for one, else a list.
pub fn told(file: &str, wrong: &[(usize, String)]) -> String {
    if let [(line, why)] = wrong {
        return format!("{file} line {line}: {why}; nothing was imported");
    }
    let mut text = format!("{file}: {} lines are wrong; nothing was imported", wrong.len());
    for (line, why) in wrong.iter().take(WRONG_MAX) {
        text.push_str(&format!("\n  line {line}: {why}"));
    }
    if wrong.len() > WRONG_MAX {
        text.push_str(&format!("\n  and {} more", wrong.len() - WRONG_MAX));
    }
    text
}

struct Reading {
    column: Column,
    separator: Option<char>,
    /// Known once the first line with something in it was read.
    has_header: Option<bool>,
    good: Lines,
    /// Line of each address.
    seen: BTreeMap<String, usize>,
}

impl Reading {
    fn line(&mut self, number: usize, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > LINE_MAX {
            return Err(format!("longer than {LINE_MAX} bytes"));
        }
        if number == 1 && (bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])) {
            return Err("this is UTF-16: save the file as UTF-8".into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8: save the file as UTF-8")?;
        let text = if number == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let (address, separator, password) = fields(text)?;
        let is_first = self.has_header.is_none();
        if is_first && self.header(&address, &password)? {
            self.separator = Some(separator);
            return Ok(());
        }
        match self.separator {
            Some(first) if first != separator => {
                return Err(format!(
                    "the lines before are separated by {first:?}, this one by {separator:?}"
                ));
            }
            _ => self.separator = Some(separator),
        }
        let aor = store::canonical(&address).map_err(|e| e.to_string())?;
        self.check(&aor, &password)?;
        if let Some(before) = self.seen.insert(aor.clone(), number) {
            return Err(format!("{aor} is in line {before} already"));
        }
        self.good.push((number, AccountChange { aor: Some(aor), password, roaming: None }));
        Ok(())
    }

    /// Is the first line one of column names? They have to say what is meant.
    fn header(&mut self, address: &str, password: &str) -> Result<bool, String> {
        let (address, password) = (address.to_lowercase(), password.to_lowercase());
        let is_header = ADDRESS_NAMES.contains(&address.as_str());
        self.has_header = Some(is_header);
        if !is_header {
            return Ok(false);
        }
        let is_ha1 = HA1_NAMES.contains(&password.as_str());
        if !is_ha1 && !PASSWORD_NAMES.contains(&password.as_str()) {
            return Err(format!(
                "the second column is named {password:?}: \"password\" or \"ha1\" is wanted"
            ));
        }
        match (is_ha1, self.column) {
            (true, Column::Passwords | Column::Plain) => Err(format!(
                "the second column is named {password:?}: import it with --ha1 if it holds H(user:realm:password)"
            )),
            (false, Column::Ha1) => {
                Err(format!("the second column is named {password:?}: it is imported without --ha1"))
            }
            _ => Ok(true),
        }
    }

    fn check(&self, aor: &str, password: &str) -> Result<(), String> {
        if password.is_empty() || password.chars().any(char::is_control) {
            return Err("the password is empty or has a control character in it".into());
        }
        let is_like_ha1 = store::is_like_ha1(password);
        match self.column {
            Column::Ha1 if !is_like_ha1 => Err(format!(
                "{aor}: an HA1 is 32 hex digits (MD5) or 64 (SHA-256); without --ha1 these are passwords"
            )),
            Column::Passwords if is_like_ha1 => Err(format!(
                "{aor}: {} hex digits look like an HA1: import with --ha1 if that is what they are, with --plain if \
                 they are passwords",
                password.len()
            )),
            _ => Ok(()),
        }
    }
}

/// The two fields, and what is between them.
fn fields(line: &str) -> Result<(String, char, String), String> {
    let wanted = || "user@realm,password is wanted".to_owned();
    let line = line.trim_matches(' ');
    let (address, rest) = match line.strip_prefix('"') {
        Some(inside) => quoted(inside)?,
        None => {
            let at = line.find(SEPARATORS).ok_or_else(wanted)?;
            (line[..at].trim().to_owned(), &line[at..])
        }
    };
    let rest = rest.trim_start_matches(' ');
    let separator = rest.chars().next().filter(|c| SEPARATORS.contains(c)).ok_or_else(wanted)?;
    let rest = rest[1..].trim();
    if let Some(inside) = rest.strip_prefix('"') {
        let (password, behind) = quoted(inside)?;
        return match behind.trim().is_empty() {
            true => Ok((address, separator, password)),
            false => Err("something stands behind the password in quotes: two columns are wanted".into()),
        };
    }
    let bounds = rest.chars().next().zip(rest.chars().next_back());
    if bounds.is_some_and(|(a, b)| SEPARATORS.contains(&a) || SEPARATORS.contains(&b)) {
        return Err(
            "an empty column: two are wanted; a password that begins or ends so stands in double quotes"
                .into(),
        );
    }
    if separator != ',' && rest.contains(separator) {
        return Err(
            "three columns: two are wanted; a password with that character in it stands in double quotes"
                .into(),
        );
    }
    if bounds.is_some_and(|(a, b)| {
        rest.chars().count() > 1
            && ['\'', '“', '„', '‘', '`'].contains(&a)
            && ['\'', '”', '“', '’', '`'].contains(&b)
    }) {
        return Err(
            "quotes other than \" around the password: are they part of it? Then put \" around all".into()
        );
    }
    Ok((address, separator, rest.to_owned()))
}

/// What is inside quotes, and what is behind them.
fn quoted(inside: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = inside;
    loop {
        let (before, behind) = rest.split_once('"').ok_or("a quote that does not end")?;
        field.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(text: &str) -> Vec<String> {
        let lines = parse(text.as_bytes(), Column::Passwords).expect(text);
        lines.into_iter().map(|(_, c)| format!("{} {}", c.aor.expect("an AOR"), c.password)).collect()
    }

    #[test]
    fn what_editors_and_spreadsheets_write_is_read_as_it_is_meant() {
        for text in [
            "a@x.test,p w\nb@x.test,q\n",
            "\u{feff}a@x.test,p w\r\nb@x.test,q",
            "a@X.test, p w\nb@x.test ,  q \n\n",
            "\"a@x.test\",\"p w\"\r\n\"b@x.test\",\"q\"\r\n",
            "\u{feff}\"Account\";\"Password\"\r\n\"a@x.test\";\"p w\"\r\nb@x.test;q\r\n",
            "user\tsecret\na@x.test\tp w\nb@x.test\tq\t\n",
            "# ours\nsip:a@x.test,p w\n# b@x.test,old\n#c@x.test,gone\nb@x.test,q\n",
        ] {
            assert_eq!(passwords(text), ["a@x.test p w", "b@x.test q"], "{text:?}");
        }
        assert_eq!(
            passwords("a@x,p,q\r\nb@x,\" p\"\"q;,\"\n\"#31@x\",r;s\nd@x,pa\"ss\n9902%232@x,s\n"),
            ["a@x p,q", "b@x  p\"q;,", "#31@x r;s", "d@x pa\"ss", "9902#2@x s"]
        );
        assert_eq!(passwords("me@bücher.example,p\n"), ["me@xn--bcher-kva.example p"]);
        assert_eq!(passwords("\u{feff}\n# nothing\n"), [""; 0]);
    }

    #[test]
    fn what_could_be_meant_otherwise_is_refused_with_its_line() {
        let hex = "0123456789abcdef0123456789ABCDEF";
        for (text, line, word) in [
            ("a@x,p\nb", 2, "user@realm,password"),
            ("a@x,p\nb@x", 2, "user@realm,password"),
            ("a@x p", 1, "user@realm,password"),
            ("a@x,", 1, "empty"),
            ("a@x,\"\"", 1, "empty"),
            ("a@x,p\n\n@x,p", 3, "address of record"),
            ("a,p", 1, "address of record"),
            ("a%zz@x,p", 1, "address of record"),
            ("a@x,\"p", 1, "quote"),
            ("a@x,\"p\",q", 1, "two columns"),
            ("a@x,p,", 1, "two are wanted"),
            ("a@x,,p", 1, "two are wanted"),
            ("a@x;p;q", 1, "three columns"),
            ("a@x\tp\tq", 1, "three columns"),
            ("a@x,p\nb@x;q", 2, "separated by"),
            ("a@x,'p'", 1, "quotes other"),
            ("a@x,“p”", 1, "quotes other"),
            ("a@x,p\u{7}", 1, "control"),
            ("a@x,p\nb@x,q\nA@x,r\na@X.,s", 4, "in line 1"),
            (&format!("a@x,{hex}"), 1, "--ha1"),
            (&format!("a@x,{hex}{hex}"), 1, "--ha1"),
            ("user,ha1\na@x,p", 1, "--ha1"),
            ("user,password,name\na@x,p", 1, "named"),
            ("password,user\np,a@x", 1, "address of record"),
        ] {
            let wrong = parse(text.as_bytes(), Column::Passwords).expect_err(text);
            let first = wrong.first().expect("one");
            assert!(first.0 == line && first.1.contains(word), "{text:?}: {wrong:?}");
        }
        let wrong = parse([b"a@x,p\n".as_slice(), b"b@x,\xe9\n"].concat().as_slice(), Column::Passwords);
        assert_eq!(wrong, Err(vec![(2, "not UTF-8: save the file as UTF-8".to_owned())]));
        let wrong = parse(b"\xff\xfea\0@\0".as_slice(), Column::Passwords).expect_err("UTF-16");
        assert!(wrong[0].1.contains("UTF-16"));
        let long = format!("a@x,{}", "p".repeat(LINE_MAX));
        assert!(parse(long.as_bytes(), Column::Passwords).is_err());
    }

    #[test]
    fn a_digest_is_one_where_it_is_said_to_be() {
        let hex = "0123456789abcdef0123456789ABCDEF";
        let text = format!("user,ha1\na@x,{hex}\n");
        assert_eq!(parse(text.as_bytes(), Column::Ha1).expect("good").len(), 1);
        assert_eq!(parse(format!("a@x,{hex}").as_bytes(), Column::Plain).expect("good").len(), 1);
        assert!(parse("a@x,pass word".as_bytes(), Column::Ha1).is_err());
        assert!(parse(format!("user,password\na@x,{hex}").as_bytes(), Column::Ha1).is_err());
    }

    #[test]
    fn every_wrong_line_is_told_up_to_a_limit() {
        let text: String = (0..30).map(|n| format!("u{n}\n")).collect();
        let wrong = parse(text.as_bytes(), Column::Passwords).expect_err("30");
        let told = told("list", &wrong);
        assert!(told.starts_with("list: 30 lines are wrong; nothing was imported\n  line 1: "), "{told}");
        assert!(told.contains("\n  line 20: ") && told.ends_with("\n  and 10 more"), "{told}");
    }
}
