//! The layering rule of DESIGN.md: pure modules do no I/O, and a module imports only from above it. And what other crates see of this
//! one.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod public;
mod scan;
mod surface;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use scan::{Module, Names, Source};
use surface::Surface;

/// Top-level modules from the bottom up. Each may use itself and those before it.
const ORDER: &[&str] = &[
    "setters",
    "events",
    "schema",
    "version",
    "error",
    "read",
    "gather",
    "text",
    "budget",
    "model",
    "config",
    "advise",
    "managers",
    "snapshot",
    "guest",
    "step",
    "tables",
    "plan",
    "private",
    "xenstore",
    "backend",
    "exec",
    "recording",
    "picture",
    "trace",
    "services",
    "host",
    "hotplug",
    "surroundings",
    "doctor",
    "document",
    "testing",
];
/// Modules that touch nothing outside the process, and use only each other.
const PURE: &[&str] = &[
    "schema", "version", "error", "read", "gather", "text", "model", "config", "advise", "managers", "snapshot",
    "guest", "step", "tables", "plan",
];
/// The crates that a pure module may use.
const PURE_CRATES: &[&str] = &[
    "alloc",
    "core",
    "std",
    "ipnetwork",
    "macaddr",
    "md5",
    "schemars",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "toml",
];
/// The crates whose types and traits may stand in public signatures: another version of any other one is no change for a caller.
// schemars with the feature `schema` only.
const PUBLIC_CRATES: &[&str] = &["alloc", "core", "std", "ipnetwork", "macaddr", "schemars", "serde"];
/// What of the standard library a pure module must not touch: time, entropy and environment come in as arguments.
const IMPURE: &[&str] = &[
    "std::*",
    "std::fs",
    "std::process",
    "std::env",
    "std::os",
    "std::io",
    "std::thread",
    "std::time::*",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "std::net::*",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    // Their order is random.
    "std::collections::*",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::hash::RandomState",
    "std::print",
    "std::println",
    "std::eprint",
    "std::eprintln",
    "std::dbg",
];

/// Exceptions: the file, what it names, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("error/errno.rs", "std::io::Error", "an error becomes a value"),
    ("error/errno.rs", "rustix::io::Errno", "an error becomes a value"),
];
/// The same for public signatures.
const SHOWN: &[(&str, &str, &str)] =
    &[("events.rs", "tracing", "its macro makes statements, and no items that others could see")];

/// Public types that other crates may build field by field, or match without a wildcard. The documentation of each says why no part can
/// come to it: an ABI, a protocol or what the word means has fixed them.
const OPEN: &[&str] = &[
    "config::legacy::Generation",
    "config::legacy::LegacyBridge",
    "config::legacy::LegacyVerb",
    "config::legacy::NetworkScript",
    "config::rate::XlRate",
    "error::errno::Errno",
    "exec::Freshness",
    "exec::Recovery",
    "hotplug::call::Verb",
    "hotplug::script::Caller",
    "managers::Put",
    "model::id::TypeIf",
    "model::id::VifId",
    "model::net::MtuError",
    "model::network::forward::Protocol",
    "model::network::started::Guests",
    "model::vif::kinds::BackendDomain",
    "model::vif::kinds::VifType",
    "model::vlan::Tagging",
    "picture::model::Mark",
    "snapshot::nft::NftChainKind",
    "snapshot::nft::NftKey",
    "snapshot::nft::NftPolicy",
    "snapshot::nft::NftTableId",
    "snapshot::nft::rule::NftCmp",
    "snapshot::nft::rule::NftNat",
    "snapshot::object::Family",
    "snapshot::object::VethPeer",
    "snapshot::route::Expiry",
    "snapshot::store::StorePermission",
    "step::StoreOp",
    "step::StoreTransaction",
    "step::SysctlStep",
    "trace::Direction",
    "trace::Verdict",
    "xenstore::client::Event",
    "xenstore::tree::Caller",
    "xenstore::wire::Header",
];
/// The most public items: modules, types, traits, functions, methods and constants. `ForgetStep`, in place of a method of `Backend`, and what a
/// fake has learned (`Connection`) are some of them: a backend of one's own is held to both. `trace::Frames`, which says what becomes of a
/// frame, is four. Policies are sixteen: the type with its words, and of vifs, networks and guards a reader and a setter for each new key. The keys
/// of vif lines are two: manual pages and the book are made of them.
const ITEMS: usize = 1419;

static SRC: LazyLock<PathBuf> = LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| scan::sources(&SRC));

/// Every path that code names, besides what only tests have: the file, its module, and the path with what the crate exports at its root
/// under its real place.
fn named() -> Vec<(&'static str, &'static Module, Names)> {
    let root = SOURCES.iter().find(|s| s.file == Path::new("lib.rs")).and_then(|s| s.module.as_ref()).unwrap();
    let at_root = |mut path: Names| {
        if path.first().is_some_and(|first| first == "crate")
            && let Some(name) = path.get(1)
            && !ORDER.contains(&name.as_str())
            && name != "*"
        {
            match root.names.get(name) {
                Some(_) => path = root.resolved(&path[1..]),
                None => path.insert(1, "model".to_owned()),
            }
        }
        path
    };
    let of = |source: &'static Source| {
        let module = source.module.as_ref()?;
        let file = source.file.to_str().unwrap();
        Some(module.paths().into_iter().map(move |path| (file, module, at_root(path))))
    };
    SOURCES.iter().filter_map(of).flatten().collect()
}

fn is_allowed(file: &str, path: &str) -> bool {
    ALLOWED.iter().any(|(f, p, _)| (*f, *p) == (file, path))
}

#[test]
fn every_file_is_scanned() {
    fn all(dir: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.insert(path.strip_prefix(&*SRC).unwrap().to_owned());
            }
        }
    }
    let mut there = BTreeSet::new();
    all(&SRC, &mut there);
    assert_eq!(there, SOURCES.iter().map(|source| source.file.clone()).collect());
    assert!(there.len() > 200, "these are not all: {}", there.len());
    let root = SOURCES.iter().find(|s| s.file == Path::new("lib.rs")).and_then(|s| s.module.as_ref()).unwrap();
    let globs: Vec<Names> = root.paths().into_iter().filter(|path| path.last().is_some_and(|l| l == "*")).collect();
    assert_eq!(globs, [["crate", "model", "*"]], "names at the root are looked for in these");
}

#[test]
fn modules_import_only_from_below() {
    let mut wrong = BTreeSet::new();
    for (file, module, path) in named() {
        let Some(layer) = module.layer() else { continue };
        let rank = ORDER.iter().position(|m| *m == layer);
        let rank = rank.unwrap_or_else(|| panic!("{layer} has no place in the order of layers"));
        if path.first().is_none_or(|first| first != "crate") {
            continue;
        }
        let Some(used) = path.get(1) else { continue };
        let above = used == "*" || ORDER.iter().position(|m| m == used).is_some_and(|of| of > rank);
        if above && !is_allowed(file, &path.join("::")) {
            wrong.insert(format!("{file} uses {}, which is above {layer}", path.join("::")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    let externs = externs();
    let mut wrong = BTreeSet::new();
    for (file, module, path) in named() {
        if !module.layer().is_some_and(|layer| PURE.contains(&layer)) {
            continue;
        }
        let impure = match path[0].as_str() {
            "crate" => path.get(1).is_some_and(|used| !PURE.contains(&used.as_str())),
            "std" | "core" | "alloc" => {
                let in_std: Names = ["std".to_owned()].into_iter().chain(path[1..].iter().cloned()).collect();
                IMPURE
                    .iter()
                    .any(|impure| in_std.starts_with(&impure.split("::").map(str::to_owned).collect::<Vec<_>>()))
            }
            name => externs.contains(name) && !PURE_CRATES.contains(&name),
        };
        let path = path.join("::");
        if impure && !is_allowed(file, &path) {
            wrong.insert(format!("{file} touches {path}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

/// The items of a source file.
fn read(source: &Source) -> syn::File {
    let text = fs::read_to_string(SRC.join(&source.file)).unwrap();
    syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", source.file.display()))
}

#[test]
fn public_signatures_name_no_other_crates() {
    let there: Vec<_> = SOURCES.iter().filter_map(|s| Some((s, s.module.as_ref()?, read(s)))).collect();
    let modules: BTreeMap<&[String], &Module> = there.iter().map(|(_, module, _)| (&*module.at, *module)).collect();
    // Where a path leads at last, through modules that only hand a name on.
    let at_last = |mut path: Names| {
        for _ in 0..8 {
            let parts = (1..path.len()).rev();
            let handed_on = parts.filter_map(|n| Some((n, modules.get(&path[..n])?))).find_map(|(n, module)| {
                module.names.contains_key(&path[n]).then(|| module.resolved(&path[n..])).filter(|next| *next != path)
            });
            match handed_on {
                Some(next) => path = next,
                None => break,
            }
        }
        path
    };
    let mut hidden = public::Hidden::default();
    there.iter().for_each(|(_, _, file)| hidden.add(file));
    let externs = externs();
    let is_other = |path: &Names| externs.contains(&path[0]) && !PUBLIC_CRATES.contains(&path[0].as_str());
    let mut wrong = BTreeSet::new();
    let mut seen = 0;
    for (source, module, file) in &there {
        let shown = public::signatures(file, module, &hidden);
        seen += shown.len();
        let file = source.file.to_str().unwrap();
        let is_shown = |path: &Names| SHOWN.iter().any(|(f, p, _)| (*f, path.join("::").as_str()) == (file, *p));
        let is_wrong = |path: &Names| is_other(path) && !is_shown(path);
        for path in shown.into_iter().map(at_last).filter(is_wrong) {
            wrong.insert(format!("{} shows {}", source.file.display(), path.join("::")));
        }
        // What comes by a glob is not known by name.
        for path in module.paths().into_iter().filter(|path| is_other(path) && path.last().is_some_and(|l| l == "*")) {
            wrong.insert(format!("{} takes all of {}", source.file.display(), path.join("::")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(seen > 4000, "these are not all: {seen}");
}

/// Who adds to what other crates see decides so: each public item is a promise.
#[test]
fn the_public_surface_is_counted_and_open_types_say_why() {
    let mut surface = Surface::default();
    let there = SOURCES.iter().filter_map(|source| Some((source, source.module.as_ref()?)));
    there.for_each(|(source, module)| surface.add(&module.at[1..].join("::"), &read(source).items));
    let Surface { items, structs, enums, open } = surface;
    println!("{items} public items; {} of {} structs are open, {} of {} enums", structs.1, structs.0, enums.1, enums.0);
    assert!(items <= ITEMS, "{items} public items, where {ITEMS} were: has somebody outside a use for the new ones?");
    assert!(items > 1000, "these are not all: {items}");
    let names: Vec<&str> = open.keys().map(String::as_str).collect();
    assert_eq!(
        names, OPEN,
        "another field or variant breaks other crates: #[non_exhaustive], or the list and the reason"
    );
    let silent: Vec<&String> = open.iter().filter(|(_, why)| why.is_none()).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "a line \"There are no other …: why\" is missing in the documentation of {silent:?}");
}

/// The crates that the library depends on.
fn externs() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let list = manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]\n")).unwrap();
    let names = list.lines().filter_map(|line| line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty()));
    // The package is called after the algorithm, its library is not.
    names.map(|name| if name == "md-5" { "md5".to_owned() } else { name.replace('-', "_") }).collect()
}

#[test]
fn backends_do_not_know_each_other() {
    let mut wrong = BTreeSet::new();
    for (file, module, path) in named() {
        let knows = |name: &str| path.iter().take(3).map(String::as_str).eq(["crate", "backend", name]);
        let is_in =
            |layer: &str, part: &str| module.layer() == Some(layer) && module.at.get(2).is_some_and(|m| m == part);
        let fault = (is_in("backend", "netlink") && knows("fake"))
            || (is_in("backend", "fake") && knows("netlink"))
            || (module.layer() == Some("exec") && (knows("netlink") || knows("fake")));
        if fault {
            wrong.insert(format!("{file} knows {}", path.join("::")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn exceptions_are_needed() {
    let named: BTreeSet<(&str, String)> = named().into_iter().map(|(file, _, path)| (file, path.join("::"))).collect();
    for (file, path, why) in ALLOWED.iter().chain(SHOWN) {
        assert!(named.contains(&(*file, (*path).to_owned())), "{file} does not name {path} any more ({why})");
    }
}
