//! Every clause of `docs/spec/` is cited in code and in a test.

use dots_testnet::trace::{Clause, read};
use std::{collections::BTreeSet, fs, path::Path};

/// Folders with sources, from the workspace's root.
const ROOTS: [&str; 6] = ["src", "sip", "overlay", "ledger", "clients", "testnet"];

fn owed(clause: &Clause) -> String {
    let code = if clause.in_code { "" } else { " code" };
    let test = if clause.in_tests { "" } else { " test" };
    format!("{}{code}{test}", clause.id)
}

#[test]
fn every_clause_is_cited_where_it_is_obeyed_and_where_it_is_tried() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let roots: Vec<_> = ROOTS.iter().map(|root| workspace.join(root)).collect();
    let clauses = read(&workspace.join("docs/spec"), &roots).unwrap();
    let mut seen = BTreeSet::new();
    let double: Vec<_> = clauses.iter().filter(|c| !seen.insert(&c.id)).collect();
    assert!(double.is_empty(), "two clauses have one id: {double:?}");
    assert!(clauses.len() > 90, "the specifications were not found: {}", clauses.len());

    let owed: Vec<String> = clauses.iter().filter(|c| !(c.in_code && c.in_tests)).map(owed).collect();
    assert!(owed.is_empty(), "cite these by their id where they are obeyed and tried:\n{}", owed.join("\n"));
}

#[test]
fn a_clause_that_nobody_cites_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["spec", "code/src", "code/tests"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("spec/1.md", "# Of ABC\n- **ABC-1** One.\n- **ABC-2** Two.\n- **ABC-3** Three.\n- ABC-3a Four.\n");
    write("code/src/lib.rs", "//! ABC-1, ABC-3a\n\n#[cfg(test)]\nmod tests {\n    // ABC-2\n}\n");
    write("code/tests/it.rs", "// ABC-1 and ABC-33\n");
    let found = read(&dir.path().join("spec"), &[dir.path().join("code")]).unwrap();
    let owed: Vec<String> = found.iter().map(owed).collect();
    assert_eq!(owed, ["ABC-1", "ABC-2 code", "ABC-3 code test", "ABC-3a test"]);
}
