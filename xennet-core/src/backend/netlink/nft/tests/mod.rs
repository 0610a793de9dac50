//! The kernel's nftables against what this library makes of them.

mod fixtures;
mod kernel;
mod load;
mod walk;
mod wire;

use std::io::Write;
use std::process::{Command, Stdio};

/// Tells a test that it runs in namespaces made for it.
const INSIDE: &str = "XENNET_NFT_INSIDE";

/// Runs the test of this name again in a network namespace of its own: made directly by root, in a user namespace by
/// others. Returns whether the caller is that inner run and has to do the work.
fn in_netns(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let inner = |flags: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(flags).arg("--").arg(&program).args([name, "--exact", "--nocapture"]);
        command.env(INSIDE, "1").stdin(Stdio::null()).output().expect("unshare (of util-linux) can be run")
    };
    let possible =
        |flags: &[&str]| Command::new("unshare").args(flags).arg("true").output().is_ok_and(|o| o.status.success());
    let Some(flags) = [&["-n"][..], &["-Urn"][..]].into_iter().find(|flags| possible(flags)) else {
        assert!(std::env::var_os("CI").is_none(), "{name} needs a network namespace, and CI is set");
        eprintln!("skipped: {name}: neither `unshare -n` nor `unshare -Urn` is allowed here");
        return false;
    };
    let output = inner(flags);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{stdout}");
    eprint!("{stderr}");
    assert!(output.status.success(), "{name} failed in its own namespace; its output is above");
    assert!(stdout.contains("1 passed"), "{name} is not the name of a test");
    false
}

/// Runs the `nft` tool with this input and returns what it printed; `None`, with a line that says so, where it is not
/// installed.
fn nft(args: &[&str], input: &str) -> Option<String> {
    let piped =
        Command::new("nft").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    match piped {
        Ok(mut child) => {
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "nft {args:?}: {}\n{input}", String::from_utf8_lossy(&out.stderr));
            Some(String::from_utf8(out.stdout).unwrap())
        }
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "the nft tool is needed (package nftables), and CI is set: {e}");
            eprintln!("not compared with nft, which cannot be run ({e}): install the package nftables");
            None
        }
    }
}
