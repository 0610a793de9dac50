//! `xennet-core/FACES.md`: what each face offers, compared with the faces themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::command::run;

/// The columns behind the first one.
const FACES: [&str; 4] = ["Rust", "C", "Python", "command"];

/// The root of the sources, or `None` where only the command is.
fn sources() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if root.join("xennet-core/FACES.md").exists() {
        return Some(root);
    }
    assert!(std::env::var_os("XENNET_BIN").is_some(), "no FACES.md in {}", root.display());
    eprintln!("skipped: the sources are not here");
    None
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files of a directory with this ending, one behind the other.
fn texts(directory: &Path, ending: &str) -> String {
    let mut all = String::new();
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            all += &texts(&path, ending);
        } else if path.to_string_lossy().ends_with(ending) {
            all += &text(&path);
        }
    }
    all
}

/// The names behind `before` in the lines of a block that begins with the line `block` and ends with the line `end`.
fn names_in(source: &str, block: &str, end: impl Fn(&str) -> bool, before: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_inside = false;
    for line in source.lines() {
        if line == block {
            is_inside = true;
        } else if is_inside && end(line) {
            is_inside = false;
        } else if is_inside {
            let behind = before.iter().find_map(|before| line.strip_prefix(before));
            names.extend(behind.map(word).filter(|name| !name.is_empty() && !name.starts_with('_')).map(String::from));
        }
    }
    names
}

/// The identifier that a text begins with.
fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// What stands between backticks in a cell, but for a reason.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split("no: ").take(1).flat_map(|names| names.split('`').skip(1).step_by(2))
}

/// The rows of all tables: what can be done, and the cell of each face.
fn rows(page: &str) -> Vec<(&str, [&str; 4])> {
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, rust, c, python, command] = cells[..] else { panic!("not five cells: {line}") };
        if what != "what" {
            rows.push((what, [rust, c, python, command]));
        }
    }
    rows
}

/// The names of a face in the table, each with its row.
fn told(rows: &[(&str, [&str; 4])], face: usize) -> BTreeSet<String> {
    rows.iter().flat_map(|(_, cells)| quoted(cells[face]).map(String::from)).collect()
}

/// The commands and their subcommands.
fn commands(above: &[&str]) -> Vec<String> {
    let help = run(above.iter().copied().chain(["--help"]));
    let listed =
        help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut all = Vec::new();
    for name in listed.filter_map(|line| line.strip_prefix("  ")).map(|line| line.split(' ').next().unwrap()) {
        if name.is_empty() || name == "help" {
            continue;
        }
        let path: Vec<&str> = above.iter().copied().chain([name]).collect();
        let below = commands(&path);
        all.extend(if below.is_empty() { vec![path.join(" ")] } else { below });
    }
    all
}

#[test]
fn each_face_is_in_the_table_and_what_a_face_lacks_has_a_reason() {
    let Some(root) = sources() else { return };
    let page = text(root.join("xennet-core/FACES.md"));
    let rows = rows(&page);
    assert!(rows.len() > 60);
    for (what, cells) in &rows {
        for (face, cell) in FACES.iter().zip(cells) {
            let reason = cell.split("no: ").nth(1);
            assert!(!cell.is_empty() && reason.is_none_or(|reason| reason.len() > 5), "{what}, {face}: no reason");
        }
    }

    let core = texts(&root.join("xennet-core/src"), ".rs");
    let own = texts(&root.join("xennet-core/src/host"), ".rs");
    let mut wanted: BTreeSet<String> =
        names_in(&own, "impl Host {", |line| line == "}", &["    pub fn ", "    pub const fn "])
            .into_iter()
            .map(|name| format!("Host::{name}"))
            .collect();
    let around = text(root.join("xennet-core/src/surroundings.rs"));
    wanted
        .extend(around.lines().filter_map(|l| l.strip_prefix("pub fn ")).map(|l| format!("surroundings::{}", word(l))));
    assert!(wanted.len() > 60, "{wanted:?}");
    compare("Rust", &wanted, &told(&rows, 0), |name| {
        if name.starts_with("Host::") || name.starts_with("surroundings::") {
            return wanted.contains(name);
        }
        let last = name.rsplit("::").next().unwrap_or_default();
        !name.contains("::")
            || ["fn", "struct", "enum", "trait"].iter().any(|kind| {
                core.match_indices(&format!("{kind} {last}"))
                    .any(|(at, found)| word(&core[at + found.len() - last.len()..]) == last)
            })
    });

    let header = text(root.join("xennet-ffi/include/xennet.h"));
    let functions: BTreeSet<String> = header
        .match_indices("xennet_")
        .map(|(at, _)| &header[at..])
        .filter(|rest| rest[word(rest).len()..].starts_with('('))
        .map(|rest| word(rest).to_owned())
        .collect();
    assert!(functions.len() > 100);
    compare("C", &functions, &told(&rows, 1), |name| functions.contains(name) || !name.starts_with("xennet_"));

    let python = root.join("xennet-py/python/xennet");
    let stub = text(python.join("_xennet.pyi"));
    let host = text(python.join("host.py"));
    let is_outside = |line: &str| !line.is_empty() && !line.starts_with([' ', ')', '#']);
    let mut methods = names_in(&stub, "class Host:", is_outside, &["    def "]);
    methods.extend(names_in(&host, "class Host(_xennet.Host):", is_outside, &["    def "]));
    assert!(methods.len() >= 50, "{methods:?}");
    let package = text(python.join("__init__.py"));
    let all: BTreeSet<String> = package
        .lines()
        .skip_while(|line| !line.starts_with("__all__"))
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.trim().trim_matches(['"', ',']).to_owned())
        .collect();
    // A class for each kind of error.
    let errors = text(python.join("errors.pyi"));
    let kinds: BTreeSet<String> = errors
        .lines()
        .filter_map(|line| line.strip_prefix("class "))
        .map(word)
        .map(String::from)
        .filter(|name| name != "XennetError")
        .collect();
    let mut wanted: BTreeSet<String> =
        all.iter().filter(|name| !kinds.contains(*name) && *name != "Host").cloned().collect();
    wanted.extend(methods.iter().map(|name| format!("Host.{name}")));
    let named: BTreeSet<String> = told(&rows, 2);
    compare("Python", &wanted, &named, |name| match name.strip_prefix("Host.") {
        Some(method) => methods.contains(method),
        None => all.contains(name) || ["lock_deadline", "budget", "str"].contains(&name),
    });

    let leaves: BTreeSet<String> = commands(&[]).into_iter().collect();
    assert!(leaves.len() > 30, "{leaves:?}");
    let told = told(&rows, 3);
    let covered: BTreeSet<String> = leaves
        .iter()
        .filter(|leaf| told.iter().any(|name| name == *leaf || name.starts_with(&format!("{leaf} --"))))
        .cloned()
        .collect();
    assert_eq!(leaves.difference(&covered).collect::<Vec<_>>(), [] as [&String; 0], "commands that the table misses");
    for name in &told {
        let words: Vec<&str> = name.split(' ').collect();
        let help = run(words.iter().copied().take_while(|word| !word.starts_with("--")).chain(["--help"]));
        assert!(help.code == 0, "xennet {name}: {}", help.stderr);
        for option in words.iter().filter(|word| word.starts_with("--") && **word != "--version") {
            assert!(help.stdout.contains(option), "xennet {name}");
        }
    }
}

/// `wanted` all occur, and what occurs is there.
fn compare(face: &str, wanted: &BTreeSet<String>, told: &BTreeSet<String>, is_there: impl Fn(&str) -> bool) {
    let missing: Vec<_> = wanted.difference(told).collect();
    assert!(missing.is_empty(), "{face}: FACES.md misses {missing:?}");
    let gone: Vec<_> = told.iter().filter(|name| !is_there(name)).collect();
    assert!(gone.is_empty(), "{face}: FACES.md names what is not there: {gone:?}");
}
