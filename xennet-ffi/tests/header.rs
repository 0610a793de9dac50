//! `include/xennet.h` is what the sources say. To write it anew: `XENNET_BLESS=1 cargo test -p xennet-ffi --test header`.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config, DocumentationLength, DocumentationStyle, Language, Style};
use serde_json::Value;
use xennet_core::config::networks;
use xennet_core::doctor::Code;
use xennet_core::{DomId, ErrorKind, Host, Outcome};

const PREFACE: &str = "\
/**
 * \\file xennet.h
 * The networking of a Xen host: networks, bridges and vifs, planned as data, applied, verified and undone.
 *
 * Generated from the sources of xennet-ffi; changes by hand are lost.
 *
 * - **Errors.** A function that can fail returns `xennet_error *`: NULL for success, else an object that the caller frees.
 *   Its kind is one of `XENNET_KIND_*`; these numbers never change and are the exit codes of the command, too. Accessors
 *   and `*_free` functions take NULL and answer NULL or 0, so `xennet_error_kind(NULL)` is `XENNET_KIND_NONE`.
 * - **Arguments.** First the object, then what goes in, then what comes out. What comes out is written on success only. A
 *   NULL where none is allowed is an error of kind `XENNET_KIND_INVALID`.
 * - **Texts** that go in are a pointer and a length in bytes, UTF-8, at most `XENNET_TEXT_MAX` bytes (a recording: `XENNET_RECORDING_MAX`); a final zero is not
 *   needed and is not counted. NULL with length 0 is the empty text. They are not kept. Texts that come out are UTF-8 and
 *   end with a zero; values of xenstore are bytes as they are, with a zero behind the last one. Lists of texts (`argv`) are as `main` gets them.
 * - **Times** are numbers of the unit that the argument is called by: `milliseconds`, `seconds`. Truths are 0 and 1.
 * - **Documents** are JSON objects. Each says its version in its member \"version\", and has a schema: `xennet_schema`. Another member makes
 *   no new version. What goes in may leave its version out.
 * - **Owners.** What a function hands out is freed with the `*_free` function of its type, once. What an accessor returns
 *   (`const char *`) belongs to the object and lives as long.
 * - **Threads.** A function that takes a `const` pointer may be called on the same object by several threads at once; one
 *   that takes another pointer needs the object for itself. On one host the calls wait for each other, so threads that shall not
 *   wait have a host each. An object may be used and freed by another thread than the one that made it. Different objects never
 *   disturb each other; two hosts that change the same vif wait for each other.
 * - **Processes.** A host belongs to the process that opened it, as a connection to xenstore and the events of links do. After `fork` the child
 *   opens one of its own; it may free its parent's, and everything else refuses it. What the library locks during a call is not held by a child.
 *   The program may ignore `SIGCHLD` or wait for all children: the library needs no status of any. Signals interrupt no call; the library changes no
 *   handler of the program's.
 * - **Descriptors** that come out are for `poll` alone: they are the object's, and are neither read from nor closed. Those that go in stay the
 *   caller's, and are used during the call.
 * - **Callbacks** (`xennet_log`) are called by the thread that has called, before that call returns, and while the library holds no lock: they may
 *   call the library, on the same object, too. They must return: no `longjmp`, no `pthread_exit`, no exception (one that leaves a callback ends the
 *   program). What they are given lives until they return.
 * - **Panics** (defects of the library) never cross this interface: they become errors of kind `XENNET_KIND_INTERNAL`.
 */";

/// The files with what the header declares, in the order in which it declares it.
const SOURCES: [&str; 23] = [
    "cast", "kind", "error", "text", "vif", "parse", "plan", "settings", "log", "host", "sandbox", "tap", "network",
    "confirm", "lookup", "hotplug", "store", "links", "guest", "advice", "doctor", "trace", "schema",
];

#[test]
fn the_header_is_what_the_sources_say() {
    let made = generate();
    let file = here().join("include/xennet.h");
    if std::env::var_os("XENNET_BLESS").is_some() {
        std::fs::write(&file, &made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    for (number, (kept, made)) in kept.lines().zip(made.lines()).enumerate() {
        assert_eq!(kept, made, "line {} of {} (write it anew with XENNET_BLESS=1)", number + 1, file.display());
    }
    assert_eq!(kept.len(), made.len(), "the length of {} (write it anew with XENNET_BLESS=1)", file.display());
}

#[test]
fn every_kind_has_its_constant() {
    let header = std::fs::read_to_string(here().join("include/xennet.h")).unwrap();
    let listed: Vec<(&str, u8)> = header
        .lines()
        .filter_map(|line| line.trim().strip_prefix("XENNET_KIND_")?.trim_end_matches(',').split_once(" = "))
        .map(|(name, number)| (name, number.parse().unwrap()))
        .collect();
    let mut wanted = vec![("NONE".to_owned(), 0)];
    wanted.extend(ErrorKind::ALL.iter().map(|k| (constant(*k), k.number())));
    assert_eq!(listed.iter().map(|(n, k)| ((*n).to_owned(), *k)).collect::<Vec<_>>(), wanted);
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn constant(kind: ErrorKind) -> String {
    kind.slug().to_uppercase().replace('-', "_")
}

/// The kinds of findings as an enumeration, from the one table in the core.
fn findings() -> String {
    let row = |c: &Code| {
        format!("  /** `{c}`, {}: {}. */\n  XENNET_FINDING_{} = {}", c.level(), c.title(), c.constant(), c.number())
    };
    let rows: Vec<String> = Code::ALL.iter().map(row).collect();
    format!(
        "/**\n * What a finding of `xennet_doctor` is. The numbers are those of the codes, and never change.\n */\nenum xennet_finding {{\n{}\n}};\n",
        rows.join(",\n")
    )
}

/// The kinds as an enumeration, from the one list in the core.
fn kinds() -> String {
    let mut text = String::from(
        "/**\n * What kind of error it is. The numbers never change; a retired one is never given out again.\n */\nenum \
         xennet_kind {\n  /** No error: the call succeeded. */\n  XENNET_KIND_NONE = 0,\n",
    );
    for kind in ErrorKind::ALL {
        text.push_str(&format!(
            "  /** {}. */\n  XENNET_KIND_{} = {},\n",
            sentence(kind.meaning()),
            constant(*kind),
            kind.number()
        ));
    }
    // A comma behind the last member is no C++98.
    text.truncate(text.len() - 2);
    text.push_str("\n};\n");
    text
}

/// The outcomes as an enumeration, from the one list in the core.
fn outcomes() -> String {
    let mut text = String::from(
        "/**\n * What a failed call has made of the system. The numbers never change.\n */\nenum xennet_outcome {\n  /** Not known, or the \
         error is about no call that changes something. */\n  XENNET_OUTCOME_NONE = 0,\n",
    );
    for outcome in Outcome::ALL {
        let name = outcome.slug().to_uppercase();
        text.push_str(&format!(
            "  /** {}. */\n  XENNET_OUTCOME_{name} = {},\n",
            sentence(outcome.meaning()),
            outcome.number()
        ));
    }
    text.truncate(text.len() - 2);
    text.push_str("\n};\n");
    text
}

fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn versions() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let numbers: Vec<u32> = version.split('.').map(|n| n.parse().unwrap()).collect();
    let [major, minor, patch] = numbers[..] else { panic!("{version}") };
    format!(
        "/** The version of this header; `xennet_version` has that of the library. */\n#define XENNET_VERSION \"{version}\"\n#define \
         XENNET_VERSION_MAJOR {major}\n#define XENNET_VERSION_MINOR {minor}\n#define XENNET_VERSION_PATCH {patch}\n"
    )
}

fn generate() -> String {
    let mut config = Config {
        language: Language::C,
        style: Style::Type,
        cpp_compat: true,
        include_guard: Some("XENNET_H".to_owned()),
        header: Some(format!("/* SPDX-License-Identifier: MIT OR Apache-2.0 */\n\n{PREFACE}")),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        after_includes: Some(format!("{}\n{}\n{}", versions(), kinds(), outcomes() + "\n" + &findings())),
        documentation: true,
        documentation_style: DocumentationStyle::Doxy,
        documentation_length: DocumentationLength::Full,
        usize_is_size_t: true,
        line_length: 120,
        tab_width: 4,
        ..Config::default()
    };
    for (rust, c) in [
        ("Host", "xennet_host"),
        ("Plan", "xennet_plan"),
        ("Failure", "xennet_error"),
        ("Text", "xennet_text"),
        ("Settings", "xennet_settings"),
        ("Store", "xennet_store"),
        ("Links", "xennet_links"),
        ("Log", "xennet_log"),
        ("Strings", "char *const *"),
        ("Context", "void *"),
        ("Chars", "const char *"),
    ] {
        config.export.rename.insert(rust.to_owned(), c.to_owned());
    }
    let mut builder = Builder::new().with_config(config);
    for file in SOURCES {
        builder = builder.with_src(source(file));
    }
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);
    // cbindgen puts a blank between a renamed type and its name.
    let made = String::from_utf8(made).unwrap();
    ["const char *", "char *const *", "void *"].iter().fold(made, |made, end| made.replace(&format!("{end} "), end))
}

fn source(file: &str) -> PathBuf {
    here().join(format!("src/{file}.rs"))
}

/// What a program that was built with the header relies on, a line each: functions with their types, types, and constants with their values.
/// There is no structure that a program could see into.
fn interface(header: &str) -> BTreeSet<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with(['*', '/']);
    let code: Vec<&str> = header.lines().filter(is_code).collect();
    let defined = code.iter().filter_map(|line| line.strip_prefix("#define XENNET_"));
    let defined = defined.filter(|rest| rest.contains(' ') && !rest.starts_with("VERSION"));
    let mut all: BTreeSet<String> = defined.map(|rest| format!("#define XENNET_{rest}")).collect();
    let constants = code.iter().filter_map(|line| line.strip_prefix("  XENNET_"));
    all.extend(constants.map(|rest| format!("XENNET_{}", rest.trim_end_matches(','))));
    let is_declared = |line: &&str| {
        !line.starts_with(['#', '}', '\n']) && !line.starts_with("enum ") && !line.starts_with("  XENNET_")
    };
    let text: String = code.iter().copied().filter(is_declared).collect::<Vec<_>>().join(" ");
    let declarations = text.split(';').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    all.extend(
        declarations.map(|d| d.rsplit("extern \"C\" { ").next().unwrap().to_owned()).filter(|d| d.contains("xennet_")),
    );
    all
}

/// The names of the functions in it.
fn functions(interface: &BTreeSet<String>) -> BTreeSet<&str> {
    let before = interface.iter().filter(|line| !line.starts_with("typedef") && !line.starts_with('#'));
    before.filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next()).collect()
}

#[test]
fn the_interface_is_the_one_that_is_kept_and_nothing_goes_from_it() {
    let made = interface(&std::fs::read_to_string(here().join("include/xennet.h")).unwrap());
    assert!(functions(&made).len() > 100 && made.contains("XENNET_KIND_INVALID = 2"));
    assert!(
        made.contains("typedef struct xennet_host xennet_host") && made.contains("const char *xennet_version(void)")
    );
    let file = here().join("xennet.abi");
    let kept: BTreeSet<String> =
        std::fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect();
    let gone: Vec<&String> = kept.difference(&made).collect();
    assert!(
        gone.is_empty(),
        "programs that were built before would no longer run: the soname has to change (remove {} if it does): {gone:#?}",
        file.display()
    );
    if std::env::var_os("XENNET_BLESS").is_some() {
        let lines: Vec<&str> = made.iter().map(String::as_str).collect();
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        return;
    }
    let new: Vec<&String> = made.difference(&kept).collect();
    assert!(new.is_empty(), "not in {} (write it anew with XENNET_BLESS=1): {new:#?}", file.display());
}

#[test]
fn every_function_has_its_version() {
    let made = interface(&std::fs::read_to_string(here().join("include/xennet.h")).unwrap());
    let file = here().join("xennet.map");
    if std::env::var_os("XENNET_BLESS").is_some() {
        let names: String = functions(&made).iter().map(|name| format!("        {name};\n")).collect();
        std::fs::write(&file, format!("XENNET_0.1 {{\n    global:\n{names}    local:\n        *;\n}};\n")).unwrap();
        return;
    }
    let map = std::fs::read_to_string(&file).unwrap();
    let listed: Vec<&str> = map.lines().filter_map(|line| line.trim().strip_suffix(';')).collect();
    let listed: Vec<&str> = listed.into_iter().filter(|name| name.starts_with("xennet_")).collect();
    assert_eq!(
        listed,
        functions(&made).into_iter().collect::<Vec<_>>(),
        "{}: write it anew with XENNET_BLESS=1",
        file.display()
    );
    assert!(map.starts_with("XENNET_0.1 {\n    global:\n") && map.ends_with("    local:\n        *;\n};\n"));
}

/// The names that the documentation of a function puts between quotation marks in the document that it describes.
fn told(header: &str, function: &str) -> BTreeSet<String> {
    let end = header.find(&format!("{function}(")).unwrap_or_else(|| panic!("{function} is not in the header"));
    let doc = &header[header[..end].rfind("/**").unwrap()..end];
    let start = doc.find("Gets a JSON document: `").unwrap() + "Gets a JSON document: `".len();
    let document = &doc[start..start + doc[start..].find('`').unwrap()];
    document.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All names that a document has members of.
fn members(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members_of) => members_of.iter().for_each(|(name, value)| {
            names.insert(name.clone());
            members(value, names);
        }),
        Value::Array(items) => items.iter().for_each(|item| members(item, names)),
        _ => {}
    }
}

#[test]
fn what_documents_hold_is_what_the_header_says() {
    let header = std::fs::read_to_string(here().join("include/xennet.h")).unwrap();
    let mut host = Host::fake();
    host.attach(DomId::new(5).unwrap(), &"bridge=xenbr0".parse().unwrap()).unwrap();
    let networks = networks::parse("[network.lan]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n").unwrap();
    let status = host.network_status(networks.get("lan").unwrap()).unwrap();
    let documents = [
        ("xennet_host_show", serde_json::to_value(host.show().unwrap())),
        ("xennet_host_network_status", serde_json::to_value(status)),
    ];
    for (function, document) in documents {
        let mut names = BTreeSet::new();
        members(&document.unwrap(), &mut names);
        // Every document has it: it is told once, at the top.
        assert!(names.remove("version"), "{function}");
        assert_eq!(names, told(&header, function), "{function}");
    }
}
