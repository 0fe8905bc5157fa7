//! From the specifications to the code and the tests that obey them: every clause of `docs/spec/` has an id (such as `ABC-7`), and
//! is cited by it where it is obeyed and where somebody tries to break it.
//!
//! The sources are read as text. Tests are the folders `tests` and `golden`, and what stands in a file behind `#[cfg(test)] mod tests {`;
//! all the rest is code.

use crate::{Error, Result};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Where a clause is cited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub id: String,
    pub in_code: bool,
    pub in_tests: bool,
}

/// The clauses of `specs`, in their order, looked for in all Rust sources below `roots`.
pub fn read(specs: &Path, roots: &[PathBuf]) -> Result<Vec<Clause>> {
    let mut files = files(specs, "md")?;
    files.sort();
    let mut ids = Vec::new();
    for file in files {
        ids.extend(text(&file)?.lines().filter_map(clause_of).map(str::to_owned));
    }
    let (mut code, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for root in roots {
        for file in self::files(root, "rs")? {
            let text = text(&file)?;
            let is_test = file.strip_prefix(root).unwrap_or(&file).iter().any(|part| {
                let part = part.to_string_lossy();
                ["tests", "tests.rs", "golden", "golden.rs"].contains(&&*part)
            });
            let (before, behind) = match is_test {
                true => ("", text.as_str()),
                false => text.split_at(tests_begin(&text)),
            };
            code.extend(cited(before).map(str::to_owned));
            tests.extend(cited(behind).map(str::to_owned));
        }
    }
    let clause = |id: String| Clause { in_code: code.contains(&id), in_tests: tests.contains(&id), id };
    Ok(ids.into_iter().map(clause).collect())
}

/// Where the tests of a file begin that stand in it: one that is named only is a file of its own.
fn tests_begin(text: &str) -> usize {
    const INLINE: &str = "#[cfg(test)]\nmod ";
    let is_inline = |(at, _): &(usize, &str)| {
        let named = &text[at + INLINE.len()..];
        named.lines().next().is_some_and(|line| line.ends_with('{'))
    };
    text.match_indices(INLINE).find(is_inline).map_or(text.len(), |(at, _)| at)
}

/// `- **ABC-7** Two …` and `- ABC-8 …` begin a clause.
fn clause_of(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("- ")?.trim_start_matches('*');
    let id = cited(line).next()?;
    line.starts_with(id).then_some(id)
}

/// Ids in a text: capitals, a hyphen, digits, and a letter where a clause was divided.
fn cited(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('-').filter_map(move |(at, _)| {
        let start = at - text[..at].bytes().rev().take_while(u8::is_ascii_uppercase).count();
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let end = at + 1 + digits;
        let letter = text[end..].bytes().take_while(u8::is_ascii_lowercase).count();
        let is_id = at - start >= 2 && digits > 0 && digits <= 3 && letter <= 1;
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let alone = !text[..start].chars().next_back().is_some_and(is_word)
            && !text[end + letter..].chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
        (is_id && alone).then(|| &text[start..end + letter])
    })
}

fn files(root: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = waiting.pop() {
        let what = || folder.display().to_string();
        for entry in std::fs::read_dir(&folder).map_err(Error::io(what()))? {
            let path = entry.map_err(Error::io(what()))?.path();
            if path.is_dir() && !path.ends_with("target") {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(Error::io(file.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_where_it_stands_alone() {
        let text = "ABC-7, (ABC-14a); SHA-256 is one too, UTF-8X, X-1, aABC-3, ABC-1-2, DEF-5: ABC-0001";
        let found: Vec<&str> = cited(text).collect();
        assert_eq!(found, ["ABC-7", "ABC-14a", "SHA-256", "ABC-1", "DEF-5"]);
    }

    #[test]
    fn a_clause_begins_its_line() {
        for (line, id) in [
            ("- **ABC-7** Two entries", Some("ABC-7")),
            ("  - ABC-1a `[version", Some("ABC-1a")),
            ("- see ABC-7", None),
            ("ABC-7 is", None),
        ] {
            assert_eq!(clause_of(line), id, "{line}");
        }
    }
}
