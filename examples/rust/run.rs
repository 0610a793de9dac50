//! Every example is run, and does what it says.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::Command;

use xennet_core::ErrorKind;

#[test]
fn a_toolstack_attaches_and_detaches() {
    let output = Command::new(env!("CARGO_BIN_EXE_toolstack")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("~ vif5.0: ") && lines.ends_with(&["attached, 2 steps", "detached"]), "{text}");
}

#[test]
fn a_toolstack_hears_what_is_missing() {
    xennet_tests::in_netns("a_toolstack_hears_what_is_missing", || {
        let output = Command::new(env!("CARGO_BIN_EXE_toolstack")).arg("netlink").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(ErrorKind::LinkNotFound.number().into()), "{text}");
        assert!(text.starts_with("error: vif5.0: there is no such link\n") && text.contains("\nhint: "), "{text}");
    });
}
