//! Circles between the files of one folder, by imports and by calls.
//!
//! A picture of imports is calm where a room is one object with a hundred methods cut into files: its files know each other
//! through `self`, and no import says so. Here both count. The nodes are the files of one folder; an arrow leads from a file to each one that it names in a path (`super::context`,
//! `crate::peer::calls`), and to each one in which a method is defined that it calls on `self` (methods of one type that
//! are defined in several files). A circle is a strongly connected component: everybody in it reaches everybody.
//!
//! The folder's own front (`mod.rs`, `lib.rs`) names all its modules and is named by them; it counts for calls, not for
//! paths. Tests do not count. The source is read as text: no macro is expanded, and what is not found is not there.

use crate::{Error, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Modules of one folder that all depend on each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Circle {
    /// Below the root that was given.
    pub folder: PathBuf,
    pub modules: Vec<String>,
}

/// Circles of at least `size_min` modules in the source tree `root` (a folder `src` with `lib.rs` or `main.rs` in it).
pub fn find(root: &Path, size_min: usize) -> Result<Vec<Circle>> {
    let sources = read_tree(root)?;
    let mut arrows: BTreeMap<PathBuf, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in paths(&sources).into_iter().chain(calls(&sources)) {
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        let (Some([a]), Some([b])) = (from.get(shared..), to.get(shared..)) else { continue };
        let folder: PathBuf = from.iter().take(shared).collect();
        arrows.entry(folder).or_default().entry(a.clone()).or_default().insert(b.clone());
    }
    let circles = arrows.into_iter().flat_map(|(folder, arrows)| {
        let found = components(&arrows).into_iter().filter(|c| c.len() >= size_min);
        found.map(move |modules| Circle { folder: folder.clone(), modules }).collect::<Vec<_>>()
    });
    Ok(circles.collect())
}

/// One file: where it stands among the modules, and its text without comments, strings and tests.
pub(crate) struct Source {
    /// `["peer", "calls"]`; a front has the name `mod` behind its folder's, so that it is a node of its own.
    pub module: Vec<String>,
    pub is_front: bool,
    pub text: String,
}

pub(crate) fn read_tree(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        let what = || folder.display().to_string();
        for entry in std::fs::read_dir(&folder).map_err(Error::io(what()))? {
            let path = entry.map_err(Error::io(what()))?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if stem == "tests" {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
                let below = path.strip_prefix(root).unwrap_or(&path).with_extension("");
                let mut module: Vec<String> =
                    below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                let is_front = ["mod", "lib", "main"].contains(&stem.as_str());
                if is_front && let Some(last) = module.last_mut() {
                    *last = "mod".to_owned();
                }
                found.push(Source { module, is_front, text: plain(&text) });
            }
        }
    }
    found.sort_by(|a, b| a.module.cmp(&b.module));
    Ok(found)
}

/// The text up to its tests, with comments and the insides of literals blanked.
fn plain(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                chars.by_ref().find(|c| *c == '\n');
                out.push('\n');
            }
            '"' => {
                while let Some(inside) = chars.next() {
                    match inside {
                        '\\' => drop(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                out.push_str("\"\"");
            }
            // A character, not a lifetime: 'x', '\n', '{'.
            '\'' => {
                let mut ahead = chars.clone();
                let first = ahead.next();
                let is_literal = first == Some('\\') || ahead.next() == Some('\'');
                if is_literal {
                    if first == Some('\\') {
                        chars.by_ref().take(2).for_each(drop);
                    }
                    chars.by_ref().find(|c| *c == '\'');
                } else {
                    out.push('\'');
                }
            }
            c => out.push(c),
        }
    }
    out
}

type Arrow = (Vec<String>, Vec<String>);

/// From each module to each that it names by a path with `crate`, `super` or `self` in front.
fn paths(sources: &[Source]) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for source in sources.iter().filter(|s| !s.is_front) {
        for path in named(&source.text) {
            let mut parts = path.iter().map(String::as_str).peekable();
            let mut at: Vec<String> = match parts.next() {
                Some("crate") => Vec::new(),
                Some("self") => source.module.clone(),
                Some("super") => source.module.iter().take(source.module.len() - 1).cloned().collect(),
                _ => continue,
            };
            while parts.next_if_eq(&"super").is_some() {
                at.pop();
            }
            at.extend(parts.map(str::to_owned));
            // What is no module is an item of one: of a file, or of a front, which does not count.
            let target = (1..=at.len()).rev().find_map(|n| {
                let module = at.get(..n)?;
                let is_there = |s: &Source| {
                    s.module == module
                        || (s.is_front && s.module.split_last().is_some_and(|(_, m)| m == module))
                };
                sources.iter().any(is_there).then(|| module.to_vec())
            });
            if let Some(target) = target.filter(|target| !source.module.starts_with(target)) {
                arrows.push((source.module.clone(), target));
            }
        }
    }
    arrows
}

/// All paths of a text that begin with `crate`, `super` or `self`, braces of `use` multiplied out.
fn named(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for first in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(first) {
            let inside =
                text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_:".contains(c));
            if !inside {
                tree(&text[at..], &[], &mut found);
            }
        }
    }
    found
}

/// Reads one tree of a path; returns what is left of the text.
fn tree<'a>(mut text: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = before.to_vec();
    loop {
        text = text.trim_start();
        if let Some(mut inside) = text.strip_prefix('{') {
            loop {
                let left = tree(inside, &path, found);
                // What is no tree (a block of code) has no end that could be found here.
                let left = left.trim_start();
                match left.strip_prefix(',') {
                    Some(more) if more.len() < inside.len() => inside = more,
                    _ => return left.strip_prefix('}').unwrap_or(left),
                }
            }
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        if end > 0 {
            path.push(text[..end].to_owned());
        }
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(more) if end > 0 => text = more,
            _ => {
                found.push(path);
                let renamed = text.trim_start().strip_prefix("as ");
                return renamed
                    .map_or(text, |r| r.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
            }
        }
    }
}

/// From each module to those that define a method which it calls on `self`, type by type.
fn calls(sources: &[Source]) -> Vec<Arrow> {
    let mut owners: BTreeMap<(&[String], String, String), &Source> = BTreeMap::new();
    let mut called = Vec::new();
    for source in sources {
        // Methods of one type are defined in one folder: that keeps types of one name apart.
        let folder = source.module.split_last().map_or(&[][..], |(_, folder)| folder);
        for (of, body) in impls(&source.text) {
            for name in names_behind(body, "fn ") {
                owners.entry((folder, of.to_owned(), name)).or_insert(source);
            }
            for name in names_behind(body, "self.") {
                called.push((source, (folder, of.to_owned(), name)));
            }
        }
    }
    let arrow = |(source, method): (&Source, _)| {
        let owner = owners.get(&method).filter(|owner| owner.module != source.module)?;
        Some((source.module.clone(), owner.module.clone()))
    };
    called.into_iter().filter_map(arrow).collect()
}

/// Inherent `impl` blocks at the left margin: the type's name, and the block.
fn impls(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("impl") {
        let Some((head, body)) = text[at + 4..].split_once('{') else { continue };
        let at_margin = text[..at].chars().next_back().is_none_or(|c| c == '\n');
        if !at_margin || head.contains(" for ") {
            continue;
        }
        // Behind the generics: `<'a, T> Name<'a, T> where ..`
        let head = head.trim_start();
        let head = if head.starts_with('<') { head.split_once("> ").map_or("", |(_, h)| h) } else { head };
        let name = head.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        let body = body.split("\n}").next().unwrap_or(body);
        found.push((name, body));
    }
    found
}

/// Names between `mark` and a `(`, or `<`, generics included.
fn names_behind(text: &str, mark: &str) -> BTreeSet<String> {
    let name = |(at, _): (usize, &str)| {
        let rest = &text[at + mark.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        let behind = rest[end..].chars().next()?;
        (end > 0 && (behind == '(' || (behind == '<' && mark == "fn "))).then(|| rest[..end].to_owned())
    };
    text.match_indices(mark).filter_map(name).collect()
}

/// Strongly connected components of two and more: whoever reaches each other.
fn components(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(at) = waiting.pop() {
            waiting.extend(arrows.get(at).into_iter().flatten().filter(|to| seen.insert((*to).clone())));
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|m| (m, reached(m))).collect();
    let mut found = BTreeSet::new();
    for (module, ahead) in &all {
        let both = ahead.iter().filter(|other| all.get(other).is_some_and(|back| back.contains(*module)));
        let circle: Vec<String> = both.cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}
