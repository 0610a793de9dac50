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

/// What a program prints that ends well.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_network_is_started_and_stopped() {
    let text = printed(env!("CARGO_BIN_EXE_network"), &[]);
    assert!(text.contains("private: started, missing: 0\n") && text.ends_with("stopped\n"), "{text}");
}

#[test]
fn an_own_backend_keeps_its_account_and_is_certified() {
    let text = printed(env!("CARGO_BIN_EXE_backend"), &[]);
    assert!(text.lines().count() >= 2 && text.lines().all(|line| line.ends_with(": done")), "{text}");
    let text = printed(env!("CARGO_BIN_EXE_backend"), &["certify"]);
    let cases = xennet_core::testing::cases().len();
    assert_eq!(text, format!("certified: {cases} of {cases} cases pass\n"));
}
