//! For tests: a test that runs again in a process of its own.

use std::process::Command;

/// Runs the rest of a test in a process that ignores `SIGCHLD`, as one that was started by a program that does: the kernel tells it of
/// no child how it ended. `test` is the test's own name, with its modules.
pub(crate) fn ignoring_children(test: &str, inside: impl FnOnce()) {
    const INSIDE: &str = "XENNET_TEST_IGNORES_CHILDREN";
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut env = Command::new("env");
    env.arg("--ignore-signal=CHLD").arg(std::env::current_exe().unwrap());
    let done = env.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&done.stderr));
}
