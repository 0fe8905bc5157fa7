//! Whatever can grow is a table of the ground room with a row on the page of limits, or stands in `listed.txt` with its bound and
//! its reason.
//!
//! A line of that list is `file Type.field | bound | why`. The bound is one of: the name of a constant that stands in the code;
//! `with file Type.field`, another field that it has no more entries than; `message`, parts of one message; `turn`, it is empty
//! when an input has been handled; `config`, as much as the operator wrote, or a number that nobody else has a part in.

use dots_testnet::fields::{Field, Kind, constants, find};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const LISTED: &str = include_str!("fields/listed.txt");
/// Source trees of what ships, from the workspace's root.
const TREES: [&str; 6] =
    ["sip/src", "overlay/src", "overlay/trust/src", "overlay/wire/src", "ledger/src", "src"];

/// `tree/module Type.field`, and what it is.
type Fields = BTreeMap<String, Kind>;

fn read(workspace: &Path, trees: &[&str]) -> Fields {
    let mut fields = Fields::new();
    for tree in trees {
        let found = find(&workspace.join(tree)).unwrap();
        fields.extend(
            found.into_iter().map(|Field { module, name, kind }| (format!("{tree}/{module} {name}"), kind)),
        );
    }
    fields
}

/// Fields that have a row on the page of limits.
fn on_the_page() -> BTreeSet<String> {
    let tree = |name: &str| if name.starts_with("src") { name.to_owned() } else { format!("{name}/src") };
    let rows = dots::tables::all().into_iter().flat_map(|(name, limits)| {
        limits.into_iter().map(move |limit| format!("{}/{}", tree(name), limit.field))
    });
    rows.collect()
}

/// What is wrong with these fields, given the rows of the page and the list.
fn faults(
    fields: &Fields,
    page: &BTreeSet<String>,
    listed: &str,
    constants: &BTreeSet<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known = page.clone();
    for line in listed.lines() {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [field, bound, why] = parts[..] else {
            faults.push(format!("not `field | bound | why`: {line}"));
            continue;
        };
        let is_bound = match bound.strip_prefix("with ") {
            Some(other) => fields.contains_key(other),
            None => ["message", "turn", "config"].contains(&bound) || constants.contains(bound),
        };
        if !is_bound || why.is_empty() {
            faults.push(format!("no bound that is there: {line}"));
        }
        if !known.insert(field.to_owned()) {
            faults.push(format!("twice: {field}"));
        }
    }
    faults.extend(known.iter().filter(|k| !fields.contains_key(*k)).map(|k| format!("no such field: {k}")));
    for (field, kind) in fields.iter().filter(|(_, kind)| **kind != Kind::Fixed) {
        match kind {
            _ if known.contains(field) => {}
            Kind::Table => faults.push(format!("a table without a row in its crate's tables.rs: {field}")),
            _ => faults.push(format!("it can grow, and nothing says how far: {field}")),
        }
    }
    faults
}

#[test]
fn everything_that_can_grow_has_a_bound_that_somebody_wrote_down() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let fields = read(workspace, &TREES);
    let constants = TREES.iter().flat_map(|tree| constants(&workspace.join(tree)).unwrap()).collect();
    let grow = fields.values().filter(|kind| **kind != Kind::Fixed).count();
    assert!(grow > 250, "the fields were not found: {grow}");
    let faults = faults(&fields, &on_the_page(), LISTED, &constants);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    eprintln!("{} fields, {grow} of them can grow, {} stand on the page", fields.len(), on_the_page().len());
}

/// A tree with one file, and what is wrong with it, with this list.
fn planted(text: &str, listed: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("x/src")).unwrap();
    fs::write(dir.path().join("x/src/room.rs"), text).unwrap();
    let constants = constants(&dir.path().join("x/src")).unwrap();
    faults(&read(dir.path(), &["x/src"]), &BTreeSet::new(), listed, &constants)
}

#[test]
fn a_field_that_nobody_wrote_down_is_found() {
    for (ty, grows) in [
        ("BTreeMap<u8, u8>", true),
        ("Option<Box<HashSet<String>>>", true),
        ("std::sync::Arc<Mutex<HashMap<u8, u8>>>", true),
        ("mpsc::Sender<u8>", true),
        ("oneshot::Receiver<u8>", true),
        ("[Rows; 3]", true),
        ("Vec<u8>", true),
        ("Cache<u8, u8>", true),
        ("&'a BTreeMap<u8, u8>", false),
        ("[u8; 4]", false),
        ("Option<String>", false),
    ] {
        let text = format!(
            "type Rows = VecDeque<u8>;\npub struct Room<'a> {{\n    /// What it is.\n    pub(super) held: {ty},\n}}\n\
             fn f(r: &mut Room<'_>) {{ r.held\n    .push(1); }}\n"
        );
        assert_eq!(planted(&text, "").len(), usize::from(grows), "{ty}");
    }
    // What is never made longer, and what stands in tests, in a comment or in a text.
    for text in [
        "struct Room { held: Vec<u8> }\n",
        "#[cfg(test)]\nmod tests {\n    struct Room { held: BTreeMap<u8, u8> }\n}\n",
        "// struct Room { held: BTreeMap<u8, u8> }\nconst A: &str = \"struct Room { held: BTreeMap<u8, u8> }\";\n",
    ] {
        assert_eq!(planted(text, ""), [""; 0], "{text}");
    }
    for text in
        ["struct Room(BTreeMap<u8, u8>);\n", "enum Room { Full(u8), Open { a: BTreeMap<u8, u8>, b: u8 } }\n"]
    {
        assert_eq!(planted(text, "").len(), 1, "{text}");
    }
}

#[test]
fn a_line_of_the_list_is_true() {
    let text =
        "pub const ROWS_MAX: usize = 7;\nstruct Room { held: BTreeMap<u8, u8>, index: BTreeSet<u8> }\n";
    let held = "x/src/room Room.held | ROWS_MAX | why\n";
    let index = "x/src/room Room.index | with x/src/room Room.held | an index\n";
    assert_eq!(planted(text, &format!("{held}{index}")), [""; 0]);
    for (listed, fault) in [
        (format!("{held}{index}{index}"), "twice"),
        (format!("{held}{index}x/src/room Room.gone | turn | why\n"), "no such field"),
        (format!("{held}x/src/room Room.index | with x/src/room Room.gone | why\n"), "no bound"),
        (format!("{index}x/src/room Room.held | OTHER_MAX | why\n"), "no bound"),
        (format!("{index}x/src/room Room.held | ROWS_MAX | \n"), "no"),
        (held.to_owned(), "it can grow"),
    ] {
        let faults = planted(text, &listed);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{listed}: {faults:?}");
    }
}

#[test]
fn the_page_of_limits_says_what_the_code_does() {
    let kept = include_str!("../../docs/limits.md");
    assert!(
        dots::tables::page() == kept,
        "docs/limits.md is of another day: dots-testnet limits > docs/limits.md"
    );
}
