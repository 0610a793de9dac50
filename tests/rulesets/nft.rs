//! The program `nft`.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Whether there is an `nft`; where `CI` is set there has to be one.
pub(crate) fn is_there() -> bool {
    let there = command(&["--version"]).output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "nft is missing, and CI is set");
    if !there {
        eprintln!("skipped: nft is missing (apt-get install nftables)");
    }
    there
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new("nft");
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    command.args(args).env("PATH", path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn printed(args: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(args).output().unwrap();
    assert!(status.success(), "nft {args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Gives it a ruleset; what it says against it, and the ruleset, if it does not take it.
fn told(args: &[&str], text: &str) -> Result<(), String> {
    let mut child = command(args).args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    if status.success() { Ok(()) } else { Err(format!("{}\n{text}", String::from_utf8_lossy(&stderr))) }
}

pub(crate) fn list() -> String {
    printed(&["list", "ruleset"])
}

pub(crate) fn list_json() -> String {
    printed(&["-j", "list", "ruleset"])
}

pub(crate) fn check(text: &str) -> Result<(), String> {
    told(&["-c"], text)
}

pub(crate) fn check_json(text: &str) -> Result<(), String> {
    told(&["-j", "-c"], text)
}

pub(crate) fn load(text: &str) -> Result<(), String> {
    told(&[], text)
}

pub(crate) fn load_json(text: &str) -> Result<(), String> {
    told(&["-j"], text)
}

/// The same behind a flush of everything.
pub(crate) fn behind_a_flush(json: &str) -> String {
    let mut all: serde_json::Value = serde_json::from_str(json).unwrap();
    let list = all["nftables"].as_array_mut().unwrap();
    list.insert(1, serde_json::json!({ "flush": { "ruleset": null } }));
    all.to_string()
}
