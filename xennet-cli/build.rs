//! Lets the linker place the functions of a hotplug call side by side (`hotplug.ld`), where `--cfg xennet_order` asks for it and the
//! linker can. It is for speed only: without it the program does the same, and a call touches some pages more.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// What is linked to try the script: `.text` has to exist, since the script names it.
const TRIAL: &str = ".text\n.globl _start\n_start:\n.byte 0\n";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_CFG_XENNET_ORDER").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=hotplug.ld");
    let variable = |name| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let out = variable("OUT_DIR");
    // A copy, where cargo knows to find it when the tree has moved and its `target` has stayed.
    let script = out.join("hotplug.ld");
    if let Err(e) = fs::copy(variable("CARGO_MANIFEST_DIR").join("hotplug.ld"), &script) {
        println!("cargo::error=hotplug.ld cannot be copied to {}: {e}", script.display());
        return;
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let linker = linker(&flags);
    let argument = format!("-Wl,-T,{}", script.display());
    if takes(&linker, &link_arguments(&flags), &argument, &out) {
        println!("cargo::rustc-link-arg-bins={argument}");
    } else {
        println!(
            "cargo::warning={linker} cannot link with xennet-cli/hotplug.ld: the program is built without it, and a hotplug call \
             touches some 16 pages more"
        );
    }
}

/// The values of rustc's options `-C NAME=VALUE`, in each of its spellings.
fn values<'a>(flags: &'a str, name: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    let mut words = flags.split('\u{1f}').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let option = match word {
            "-C" | "--codegen" => words.next(),
            _ => word.strip_prefix("--codegen=").or_else(|| word.strip_prefix("-C")),
        };
        let pair = option.and_then(|option| option.trim_start().split_once('='));
        values.extend(pair.filter(|(key, _)| *key == name).map(|(_, value)| value));
    }
    values
}

/// The program that rustc links with: a C compiler.
fn linker(flags: &str) -> String {
    let given = values(flags, "linker").last().map(|&linker| linker.to_owned());
    given.or_else(|| env::var("RUSTC_LINKER").ok()).unwrap_or_else(|| "cc".to_owned())
}

/// What rustc gives it besides: which linker it calls, for example.
fn link_arguments(flags: &str) -> Vec<&str> {
    let several = values(flags, "link-args").into_iter().flat_map(str::split_ascii_whitespace);
    values(flags, "link-arg").into_iter().chain(several).collect()
}

/// Whether the linker takes the script.
fn takes(linker: &str, arguments: &[&str], script: &str, out: &Path) -> bool {
    let (source, program) = (out.join("trial.s"), out.join("trial"));
    if fs::write(&source, TRIAL).is_err() {
        return false;
    }
    let mut command = Command::new(linker);
    command.args(arguments).args(["-nostdlib", "-nostartfiles", "-static", "-no-pie", script, "-o"]);
    command.arg(program).args(["-x", "assembler"]).arg(source);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
