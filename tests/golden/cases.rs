//! The cases: directories with a wish, the world before, the plan, and the world after (or the refusal).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use xennet_core::Resolved;
use xennet_core::backend::Backend as _;
use xennet_core::backend::fake::Fake;
use xennet_core::snapshot::Scope;

/// What `case.json` says.
#[derive(serde::Deserialize)]
pub(crate) struct Case {
    /// A name from `worlds.rs`.
    pub(crate) world: String,
    pub(crate) intent: Resolved,
}

pub(crate) fn dir(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases").join(case)
}

pub(crate) fn read(case: &str) -> Case {
    let file = dir(case).join("case.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Every case, in the order of the names.
pub(crate) fn all() -> Vec<(String, Case)> {
    let listing = std::fs::read_dir(dir("")).unwrap();
    let names: BTreeSet<String> = listing.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() >= 25, "the cases have gone");
    names.into_iter().map(|n| (n.clone(), read(&n))).collect()
}

/// The whole network as text, and the settings that a new namespace does not have so.
pub(crate) fn text(fake: &Fake) -> String {
    let mut out = fake.clone().observe(&Scope::network()).unwrap().render();
    let usual = Fake::empty().world().sysctls.clone();
    for (key, value) in fake.world().sysctls.iter() {
        let known = match key.as_conf() {
            // A link's own settings start as those of `default`.
            Some((family, _, name)) => {
                let folder = family.sysctl_folder();
                usual.get(&format!("net/{folder}/conf/default/{name}").parse().unwrap())
            }
            None => usual.get(&key),
        };
        let special = key.as_str().contains("/conf/lo/") || key.as_str().contains("/conf/all/");
        // How IPv6 makes its own address is told in the line of the link.
        if known != Some(value) && !special && !key.as_str().ends_with("/addr_gen_mode") {
            out.push_str(&format!("sysctl {key}={value}\n"));
        }
    }
    out
}

/// Compares a text with its file, or writes the file if `XENNET_BLESS` is set. Differences are collected.
pub(crate) fn compare(case: &str, file: &str, text: Option<&str>, wrong: &mut Vec<String>) {
    let path = dir(case).join(file);
    let kept = std::fs::read_to_string(&path).ok();
    if std::env::var_os("XENNET_BLESS").is_some() {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => drop(std::fs::remove_file(&path)),
        }
    } else if kept.as_deref() != text {
        wrong.push(format!(
            "{case}/{file} is\n{}\nbut was to be\n{}",
            text.unwrap_or("(nothing)"),
            kept.as_deref().unwrap_or("(nothing)")
        ));
    }
}
