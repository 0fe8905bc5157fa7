//! No four modules of one folder depend on each other in a circle, by what they import or by what they call on `self`.

use dots_testnet::circles::{Circle, find};
use std::{fs, path::Path};

/// A circle of so many modules is refused.
const CIRCLE_MIN: usize = 4;

/// Source trees of the workspace, from its root.
const TREES: [&str; 8] = [
    "src",
    "sip/src",
    "overlay/src",
    "overlay/trust/src",
    "overlay/wire/src",
    "ledger/src",
    "clients/src",
    "testnet/src",
];

#[test]
fn no_folder_has_a_circle_of_four_modules() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    for tree in TREES {
        let found = find(&workspace.join(tree), CIRCLE_MIN).unwrap();
        assert_eq!(found, [], "these files of {tree} depend on each other in a circle");
    }
}

/// A tree of four files in `room/`, and the text of each.
fn planted(files: [&str; 4]) -> Vec<Circle> {
    let dir = tempfile::tempdir().unwrap();
    let room = dir.path().join("room");
    fs::create_dir(&room).unwrap();
    fs::write(dir.path().join("lib.rs"), "mod room;\n").unwrap();
    fs::write(room.join("mod.rs"), "mod a;\nmod b;\nmod c;\nmod d;\npub struct Room;\n").unwrap();
    for (name, text) in ["a", "b", "c", "d"].iter().zip(files) {
        fs::write(room.join(name).with_extension("rs"), text).unwrap();
    }
    find(dir.path(), CIRCLE_MIN).unwrap()
}

fn all_four() -> Vec<Circle> {
    vec![Circle { folder: "room".into(), modules: ["a", "b", "c", "d"].map(str::to_owned).to_vec() }]
}

#[test]
fn a_circle_of_imports_is_found() {
    let found = planted([
        "use super::b::B;\npub struct A(B);\n",
        "use crate::room::{\n    c::C,\n    Room,\n};\npub struct B(C, Room);\n",
        "pub struct C(Option<super::d::D>);\n",
        "use super::{Room, a::{self, A}};\npub struct D(A, Room);\n",
    ]);
    assert_eq!(found, all_four());
}

#[test]
fn a_circle_of_calls_that_no_import_shows_is_found() {
    let call = |mine: &str, next: &str| {
        format!(
            "use super::Room;\n\nimpl Room {{\n    pub(super) fn {mine}(&mut self) {{ self.{next}(); }}\n}}\n"
        )
    };
    let files = [call("a", "b"), call("b", "c"), call("c", "d"), call("d", "a")];
    assert_eq!(planted(files.each_ref().map(String::as_str)), all_four());
}

#[test]
fn imports_and_calls_close_a_circle_together() {
    let found = planted([
        "use super::b::B;\npub struct A(B);\n",
        "impl Room {\n    fn b(&self) {\n        self.c();\n    }\n}\n",
        "use super::d;\n\nimpl<'a> Room {\n    fn c(&self) {\n        d::d();\n    }\n}\n",
        "pub fn d() { super::a::a() }\n",
    ]);
    // `impl Room` of b stands at the beginning of its file: nothing is before it.
    assert_eq!(found, all_four());
}

#[test]
fn what_is_no_circle_of_four_is_none() {
    for files in [
        // A line.
        ["use super::b;\n", "use super::c;\n", "use super::d;\n", "pub fn d() {}\n"],
        // Three.
        ["use super::b;\n", "use super::c;\n", "use super::a;\n", "use super::a;\n"],
        // In a comment, in a text, in tests.
        [
            "use super::b;\n",
            "use super::c;\n",
            "use super::d;\n",
            "// super::a\nconst A: &str = \"super::a\";\n\n#[cfg(test)]\nmod tests {\n    use super::super::a;\n}\n",
        ],
        // By way of their front alone.
        ["use super::Room;\n", "use super::Room;\n", "use super::{Room};\n", "use super::*;\n"],
    ] {
        assert_eq!(planted(files), [], "{files:?}");
    }
}
