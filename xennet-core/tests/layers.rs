//! The layering rule of DESIGN.md: pure modules do no I/O, and a module imports only from above it.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Top-level modules from the bottom up. Each may use itself, those before it, and `error`.
const ORDER: &[&str] = &[
    "gather", "budget", "model", "config", "advise", "managers", "snapshot", "step", "tables", "plan", "private",
    "xenstore", "backend", "exec", "services", "host", "hotplug",
];
const PURE: &[&str] =
    &["error", "gather", "model", "config", "advise", "managers", "snapshot", "step", "tables", "plan"];
/// What a pure module must not touch: time, entropy and environment come in as arguments.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::env",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os",
    "std::thread",
    "std::io",
    "rustix::",
    "rtnetlink",
];
/// `Errno::from_io` and `From<rustix::io::Errno>` turn errors into values; they do no I/O.
const ALLOWED: &[(&str, &str)] = &[("error/mod.rs", "std::io"), ("error/mod.rs", "rustix::")];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The source without comments, and without the test module at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn module_of(path: &Path, src: &Path) -> String {
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Every `crate::name` in the text, nested imports (`use crate::{a, b::c}`) included.
fn crate_uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    c if depth == 0 && !c.is_whitespace() => name.push(c),
                    _ => {}
                }
            }
            found.push(name);
        } else {
            found.push(rest.to_owned());
        }
    }
    found
        .into_iter()
        .map(|n| n.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        .filter(|n| !n.is_empty())
        .collect()
}

#[test]
fn modules_import_only_from_below() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in sources(&src) {
        let module = module_of(&path, &src);
        let Some(rank) = ORDER.iter().position(|m| *m == module) else {
            assert!(["lib", "error"].contains(&module.as_str()), "{module} has no place in the order of layers");
            continue;
        };
        seen += 1;
        for used in crate_uses(&code(&path)) {
            if let Some(above) = ORDER.iter().position(|m| *m == used)
                && above > rank
            {
                wrong.push(format!("{} uses crate::{used}, which is above {module}", path.display()));
            }
        }
    }
    assert!(seen > 30, "the scan must have seen the sources, not {seen} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in sources(&src) {
        if !PURE.contains(&module_of(&path, &src).as_str()) {
            continue;
        }
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let code = code(&path).replace("std::{", "std::");
        for word in IMPURE {
            if code.contains(word) && !ALLOWED.contains(&(name, word)) {
                wrong.push(format!("{} touches {word}", path.display()));
            }
        }
        for (at, _) in code.match_indices("use std::") {
            let line = code[at..].split(';').next().unwrap_or_default();
            for word in ["fs", "process", "env", "thread", "io"] {
                let named = line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word);
                if named && !ALLOWED.contains(&(name, format!("std::{word}").as_str())) {
                    wrong.push(format!("{} imports std::{word}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn backends_do_not_know_each_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend");
    for (this, other) in [("netlink", "fake"), ("fake", "netlink")] {
        for path in sources(&src.join(this)) {
            assert!(
                !code(&path).contains(&format!("backend::{other}")),
                "{} knows the {other} backend",
                path.display()
            );
        }
    }
    let exec = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exec");
    for path in sources(&exec) {
        let code = code(&path);
        assert!(
            !code.contains("backend::netlink") && !code.contains("backend::fake"),
            "{} knows a backend",
            path.display()
        );
    }
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    assert_eq!(crate_uses("use crate::{model::{A, B}, exec, plan::x};"), ["model", "exec", "plan"]);
    assert_eq!(crate_uses("crate::exec::apply(x)"), ["exec"]);
}
