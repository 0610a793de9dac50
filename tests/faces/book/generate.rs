//! The pages of the book that are made of tables in the code.

use std::fmt::Write as _;

use serde_json::Value;
use xennet_cli::words::{kind, toml};
use xennet_core::ErrorKind;
use xennet_core::config::VIF_KEYS;
use xennet_core::document::{ALL, schema};

use super::languages;
use crate::command::run;

/// Each page by its name below `book/src`.
pub(crate) fn pages() -> Vec<(String, String)> {
    let pages = [
        ("reference/networks.md", networks()),
        ("reference/hotplug.md", hotplug()),
        ("reference/vif.md", vif()),
        ("reference/commands.md", commands()),
        ("reference/exit-codes.md", exit_codes()),
        ("reference/documents.md", documents()),
        ("reference/faces.md", faces()),
        ("reference/c.md", languages::c()),
        ("reference/python.md", languages::python()),
        ("findings.md", findings()),
    ];
    pages.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A value in the letters of a program.
fn code(text: &str) -> String {
    format!("`{text}`")
}

fn of_schema(name: &str) -> Value {
    serde_json::from_str(&schema(name).unwrap()).unwrap()
}

/// Keys as a table; with whether a started network takes over a change, where that is known.
fn keys(table: &Value) -> String {
    let members = table["properties"].as_object().unwrap();
    let is_needed = |name: &str| table["required"].as_array().is_some_and(|all| all.iter().any(|n| n == name));
    let changes = members.values().any(|key| key["x-while-started"].is_boolean());
    let mut text = String::from("| key | type | default | example | what it does |");
    text.push_str(if changes { " while started |\n|---|---|---|---|---|---|\n" } else { "\n|---|---|---|---|---|\n" });
    for (name, key) in members {
        let default = match (&key["default"], key["x-default"].as_str()) {
            (Value::Null, Some(words)) => words.to_owned(),
            (Value::Null, None) if is_needed(name) => "has to be there".to_owned(),
            (value, _) => code(&toml(value)),
        };
        let what = key["description"].as_str().unwrap();
        let example = code(&format!("{name} = {}", toml(&key["examples"][0])));
        let cells = [code(name), kind(key), default, example, what.to_owned()].map(|c| cell(&c));
        let _ = write!(text, "| {} |", cells.join(" | "));
        if changes {
            let takes = if key["x-while-started"] == true { "can change" } else { "stop first" };
            let _ = write!(text, " {takes} |");
        }
        text.push('\n');
    }
    text
}

fn networks() -> String {
    let schema = of_schema("networks-file");
    let mut text = String::from(
        "# networks.toml\n\nThe file `/etc/xennet/networks.toml` describes the networks of a host. Each network is a table `[network.NAME]`. \
         The key `mode` decides which other keys it has.\n\nThis page is made of the table that the reader of the file uses. The same table is \
         `networks.toml(5)`, and a JSON schema for editors:\n\n```console\n$ xennet parse networks --schema > networks.schema.json\n$ xennet man networks.toml > networks.toml.5\n```\n\nThe last column says what happens when the key changes while the network is started. *can change*: \
         `xennet network start` takes the change over. *stop first*: the change is refused until the network is stopped. Subnets can be added, \
         not removed.\n",
    );
    for (mode, what) in [
        ("bridge", "Guests are stations of the LAN."),
        ("nat", "Guests are hidden behind dom0's address."),
        ("routed", "Guests have addresses of their own, and dom0 is their router."),
    ] {
        let _ = write!(text, "\n## Mode {mode}\n\n{what}\n\n{}", keys(&schema["$defs"][mode]));
    }
    let _ = write!(
        text,
        "\n## Port forwards\n\nThe keys of an item of `forward`.\n\n{}",
        keys(&schema["$defs"]["forward"])
    );
    text
}

fn hotplug() -> String {
    format!(
        "# hotplug.toml\n\nThe file `/etc/xennet/hotplug.toml` has the settings of the calls that libxl makes for each vif. Every key may be \
         missing. Without the file the defaults hold.\n\nThis page is made of the table that the reader of the file uses. `xennet parse \
         hotplug` checks a file and shows every setting.\n\n```console\n$ xennet parse hotplug --schema > hotplug.schema.json\n$ xennet man hotplug.toml > hotplug.toml.5\n```\n\n{}",
        keys(&of_schema("hotplug-file"))
    )
}

fn vif() -> String {
    let mut text = String::from(
        "# Keys of a vif line\n\nA string of `vif = [ ... ]` describes one network interface of a guest. Items are separated by commas. An item \
         is `KEY=VALUE`, or a flag.\n\nThe mode follows from `bridge` and `script`. `bridge=NAME` with the name of a started network means that \
         network, in its mode. Otherwise `script=vif-nat` means NAT mode, `script=vif-route` routed mode, and anything else bridge mode.\n\nxl \
         does not know the keys of xennet. With xl, write a node of that name beside the node `ip` of the vif in xenstore. xennet also carries \
         the keys `colo_*`. This page is `xennet-vif(5)` as well.\n",
    );
    for key in VIF_KEYS {
        let _ = write!(text, "\n## {}\n\n", key.name);
        let _ =
            write!(text, "Example: `{}`. If it is left out: {}. Known to: {}.\n\n", key.example, key.absent, key.by);
        match () {
            () if key.bridge == key.nat && key.nat == key.routed => {
                let _ = writeln!(text, "In every mode: {}", key.bridge);
            }
            () => {
                text.push_str("| mode | what it does |\n|---|---|\n");
                for (mode, what) in [("bridge", key.bridge), ("nat", key.nat), ("routed", key.routed)] {
                    let _ = writeln!(text, "| {mode} | {} |", cell(what));
                }
            }
        }
    }
    text
}

/// The commands, from the help of the program.
fn commands() -> String {
    let mut text = String::from(
        "# Commands\n\nEvery command has a manual page: `xennet man network start | man -l -`. `xennet man --dir /usr/local/share/man` installs \
         all of them.\n\n| command | what it does |\n|---|---|\n",
    );
    let listed = |words: &[&str]| -> Vec<(String, String)> {
        let help = run(words.iter().copied().chain(["--help"])).stdout;
        let lines = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
        let rows = lines.filter_map(|l| l.trim().split_once("  "));
        rows.map(|(name, what)| (name.to_owned(), what.trim().to_owned())).filter(|(name, _)| name != "help").collect()
    };
    for (name, what) in listed(&[]) {
        let below = listed(&[&name]);
        if below.is_empty() {
            let _ = writeln!(text, "| `xennet {name}` | {} |", cell(&what));
        }
        for (sub, what) in below {
            let _ = writeln!(text, "| `xennet {name} {sub}` | {} |", cell(&what));
        }
    }
    text.push_str("\nEvery page, and the completions of a shell, written to where you want them:\n\n```console\n$ xennet man --dir man > pages.txt\n$ xennet completions bash > xennet.bash\n```\n");
    text
}

fn exit_codes() -> String {
    let mut text = String::from(
        "# Exit codes\n\nThe exit code of the command is the kind of the error. The C codes (`XENNET_ERROR_*`) and the Python classes are the same \
         table. A hotplug call ends with 0 or 1, because libxl expects no other code; its kind is in the message.\n\n| code | name | \
         meaning |\n|---|---|---|\n| 0 | | done |\n",
    );
    for kind in ErrorKind::ALL {
        let _ = writeln!(text, "| {} | `{kind}` | {} |", kind.number(), cell(kind.meaning()));
    }
    text.push_str("\nWrong usage ends with 2 as well. With `--json` it is a document like other errors.\n\n## Commands with codes of their own\n\n");
    text.push_str(
        "| command | code | meaning |\n|---|---|---|\n| `xennet doctor` | 0 | nothing above a note was found |\n| | 1 | warnings, and no errors \
         |\n| | 2 | errors |\n| `xennet trace` | 0 | the packet arrives |\n| | 1 | the packet is dropped |\n| | 2 | it is not known |\n| `xennet \
         snippets --check` | 0 | every manager that runs leaves guests' links alone |\n| | 18 | one would take them, or that is not known |\n",
    );
    text
}

fn documents() -> String {
    let mut text = String::from(
        "# JSON documents\n\nEach document has a name, a version and a schema (JSON Schema, draft 2020-12). `xennet schema NAME` prints the \
         schema; so do `xennet_schema` in C and `xennet.schema` in Python. The schemas are also in `xennet-core/schemas`. The member `version` \
         says the version of a document.\n\n| document | version | what it is | printed by |\n|---|---|---|---|\n",
    );
    for document in ALL {
        let by: Vec<String> = document.commands.iter().map(|command| format!("`{command}`")).collect();
        let _ = writeln!(
            text,
            "| [{0}](#{0}) | {1} | {2} | {3} |",
            document.name,
            document.version,
            document.what,
            by.join(", ")
        );
    }
    text.push_str("\nThe members of each. A member with `?` may be missing.\n");
    for document in ALL {
        let _ = write!(text, "\n## {}\n\n", document.name);
        let schema: Value = serde_json::from_str(document.schema).unwrap();
        let cases = schema["oneOf"].as_array().map_or_else(|| vec![&schema], |all| all.iter().collect());
        let mut rows: Vec<String> = Vec::new();
        for case in cases {
            let needed = |name: &str| case["required"].as_array().is_some_and(|all| all.iter().any(|n| n == name));
            for (name, member) in case["properties"].as_object().into_iter().flatten() {
                let optional = if needed(name) { "" } else { "?" };
                let row = format!("`{name}{optional}`");
                if member["const"].is_null() && !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
        let _ = writeln!(text, "{}", if rows.is_empty() { "See its schema.".to_owned() } else { rows.join(", ") });
    }
    text
}

/// The table of faces, which a test compares with the faces themselves.
fn faces() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../xennet-core/FACES.md");
    let text = std::fs::read_to_string(root).unwrap();
    let (_, tables) = text.split_once("\n## ").unwrap();
    format!(
        "# Rust, C, Python\n\nEach row is one thing that can be done, and its name in each face. A cell that begins with \"no:\" says why a face \
         does not have it. The C functions are described in `xennet.h`, the Python ones in `help(xennet.Host)`, the Rust ones in the documentation \
         of the crate `xennet-core`.\n\n## {tables}"
    )
}

fn findings() -> String {
    let codes = run(["--json", "doctor", "--codes"]).json();
    let mut text = String::from(
        "# Findings\n\n`xennet doctor` reports problems as findings. A finding has a code, which is never given to another problem. This page \
         lists every code. The order is that of the codes: 01 operations and bridges, 02 uplinks, 03 settings, 04 addresses, 05 what xennet has \
         made, 06 domains and their scripts, 07 MTUs, 08 other programs, 09 services and this host.\n",
    );
    for row in codes["codes"].as_array().unwrap() {
        let word = |name: &str| row[name].as_str().unwrap();
        let _ =
            write!(text, "\n## {}\n\n**{}** ({}). {}\n", word("code"), word("title"), word("level"), word("meaning"));
    }
    text
}
