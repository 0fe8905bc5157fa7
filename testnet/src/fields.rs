//! What can grow: every field of a struct or of an enum's variant that is a map, a set, a queue, a channel, or a vector that
//! something is added to later.
//!
//! Memory that a stranger can fill is always behind such a field, so whoever knows them all knows all limits that there have to be.
//! The sources are read as text, like [`crate::circles`] does: a type counts by the names in it, an alias of such a type too, and a
//! vector where somewhere in its tree a method that grows it is called on a field of its name. What is borrowed is somebody
//! else's field.

use crate::{
    Result,
    circles::{Source, read_tree},
};
use std::{collections::BTreeSet, path::Path};

/// The tables of the ground room: bounded by what they are made with.
const TABLES: [&str; 6] = ["Cache", "Promises", "Book", "FairQueue", "Timers", "Checked"];
const GROWS: [&str; 16] = [
    "BTreeMap",
    "BTreeSet",
    "HashMap",
    "HashSet",
    "VecDeque",
    "BinaryHeap",
    "LinkedList",
    "Slab",
    "JoinSet",
    "FuturesUnordered",
    "Sender",
    "Receiver",
    "SyncSender",
    "UnboundedSender",
    "UnboundedReceiver",
    "SelectAll",
];
const VECTORS: [&str; 3] = ["Vec", "SmallVec", "BytesMut"];
/// What makes a vector longer.
const LONGER: [&str; 7] =
    ["push", "extend", "extend_from_slice", "insert", "append", "resize", "resize_with"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of the ground room: it charges causes, and is bounded by its `Limits`.
    Table,
    /// Anything else that grows: a bound of its own, or none.
    Other,
    /// It does not grow.
    Fixed,
}

/// `Table.kept` of `directory/table`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Below the root that was given, without `.rs`.
    pub module: String,
    /// `Type.field`, `Type::Variant.field`; fields without a name are numbered.
    pub name: String,
    pub kind: Kind,
}

/// All fields of the source tree `root`, in order.
pub fn find(root: &Path) -> Result<Vec<Field>> {
    let sources = read_tree(root)?;
    let aliases: BTreeSet<&str> = sources.iter().flat_map(|s| aliases(&s.text)).collect();
    let dense: String = sources.iter().flat_map(|s| s.text.chars().filter(|c| !c.is_whitespace())).collect();
    let mut found = Vec::new();
    for source in &sources {
        for (name, ty) in declared(&source.text) {
            let field = name.rsplit('.').next().unwrap_or_default();
            let kind = grows(ty, &aliases, || is_lengthened(&dense, field)).unwrap_or(Kind::Fixed);
            found.push(Field { module: source.module.join("/"), name: name.clone(), kind });
        }
    }
    found.sort();
    Ok(found)
}

/// Names of the constants of the source tree `root`.
pub fn constants(root: &Path) -> Result<BTreeSet<String>> {
    let sources = read_tree(root)?;
    let of_text = |source: &Source| -> Vec<String> {
        let named = source.text.match_indices("const ").filter_map(|(at, word)| {
            let (name, _) = source.text[at + word.len()..].split_once(':')?;
            let is_name = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            (is_name && !name.is_empty()).then(|| name.to_owned())
        });
        named.collect()
    };
    Ok(sources.iter().flat_map(of_text).collect())
}

/// Aliases of types that grow.
fn aliases(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("type ").filter_map(|(at, word)| {
        let (name, rest) = text[at + word.len()..].split_once('=')?;
        let end = rest.find(';')?;
        let name = name.split('<').next()?.trim();
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        (is_name && words(&rest[..end]).any(|w| GROWS.contains(&w))).then_some(name)
    })
}

fn grows(ty: &str, aliases: &BTreeSet<&str>, is_lengthened: impl Fn() -> bool) -> Option<Kind> {
    if ty.starts_with('&') {
        return None;
    }
    let has = |names: &dyn Fn(&str) -> bool| words(ty).any(names);
    if has(&|w| GROWS.contains(&w) || aliases.contains(w)) {
        return Some(Kind::Other);
    }
    if has(&|w| TABLES.contains(&w)) {
        return Some(Kind::Table);
    }
    (has(&|w| VECTORS.contains(&w)) && is_lengthened()).then_some(Kind::Other)
}

fn is_lengthened(dense: &str, field: &str) -> bool {
    LONGER.iter().any(|method| dense.contains(&format!(".{field}.{method}(")))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

/// The fields of all structs and variants of a text, with their types.
fn declared(text: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    for keyword in ["struct ", "enum "] {
        for (at, _) in text.match_indices(keyword) {
            let is_word = !text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
            let rest = &text[at + keyword.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let name = &rest[..end];
            let Some(body) = body(&rest[end..]).filter(|_| is_word && !name.is_empty()) else { continue };
            if keyword == "struct " {
                fields(name, body, &mut found);
                continue;
            }
            for variant in parts(body) {
                let variant = undecorated(variant);
                let end = variant.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(variant.len());
                if let Some(body) = self::body(&variant[end..]) {
                    fields(&format!("{name}::{}", &variant[..end]), body, &mut found);
                }
            }
        }
    }
    found
}

/// What stands in the braces or parentheses that follow a name, its generics and its conditions.
fn body(text: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if !text[..at].ends_with(['-', '=']) => depth -= 1,
            ';' | ',' | '=' if depth == 0 => return None,
            '{' | '(' if depth == 0 => return inside(&text[at..]),
            _ => {}
        }
    }
    None
}

/// What stands between the first bracket and the one that closes it.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(1..at);
        }
    }
    None
}

/// Divided at the commas that stand in no bracket.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            '>' if text[..at].ends_with(['-', '=']) => {}
            '}' | ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[from..].trim());
    found.retain(|part| !part.is_empty());
    found
}

/// Without attributes and visibility.
fn undecorated(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('#') {
            let Some(attribute) = inside(rest) else { return text };
            text = &rest[attribute.len() + 2..];
        } else if let Some(rest) = text.strip_prefix("pub").filter(|r| r.starts_with([' ', '('])) {
            let within = rest.starts_with('(').then(|| inside(rest)).flatten();
            text = &rest[within.map_or(0, |within| within.len() + 2)..];
        } else {
            return text;
        }
    }
}

fn fields<'a>(owner: &str, body: &'a str, found: &mut Vec<(String, &'a str)>) {
    for (n, part) in parts(body).into_iter().enumerate() {
        let part = undecorated(part);
        let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
        let named = part[end..].trim_start().strip_prefix(':').filter(|rest| !rest.starts_with(':'));
        match named {
            Some(ty) => found.push((format!("{owner}.{}", &part[..end]), ty.trim())),
            None => found.push((format!("{owner}.{n}"), part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_their_types() {
        let text = "pub(crate) struct A<K: Ord, F = fn(u8) -> u8> where K: Clone {\n #[serde(with = \"\")]\n pub a: BTreeMap<K, (u8, F)>,\n\
                    pub(super) b: fn(u8) -> Vec<u8>,\n}\nstruct B(pub Vec<u8>, u8);\nstruct C;\n\
                    enum D { One, Two(u8), #[x] Three { c: VecDeque<u8> } }\n";
        let found: Vec<String> = declared(text).iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        assert_eq!(
            found,
            [
                "A.a: BTreeMap<K, (u8, F)>",
                "A.b: fn(u8) -> Vec<u8>",
                "B.0: Vec<u8>",
                "B.1: u8",
                "D::Two.0: u8",
                "D::Three.c: VecDeque<u8>"
            ]
        );
    }
}
