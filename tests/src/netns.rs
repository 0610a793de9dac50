//! A network namespace for a test, with or without root.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use xennet_cli::sandbox::namespace::{self, NetNs};
use xennet_core::{Error, ErrorKind};

/// Tells a test that it has been started again inside of namespaces made for it.
const INSIDE: &str = "XENNET_TESTS_INSIDE";
/// The tests that have passed in a process of their own.
static PASSED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Runs `test` in a network namespace of its own, which is gone afterwards: one loopback link, down, nothing else.
///
/// As root (strictly: with `CAP_SYS_ADMIN`) it runs on a thread of this process. Otherwise the test binary is started
/// again for exactly this test, in user, network and mount namespaces of its own, and its output and verdict are passed on.
/// Where the host allows neither, the test is skipped with a line that says what is missing; if the environment variable
/// `CI` is set it fails instead, so that a build machine never passes by skipping.
///
/// `name` is the test's own name as `cargo test` prints it, with its modules: `attach::twice`.
///
/// A test with `#[should_panic]` is judged by the process that ran it, so it has to panic by itself after this call.
///
/// # Panics
/// If `test` panics, if `name` is not the running test's name, or if namespaces are missing while `CI` is set.
pub fn in_netns(name: &str, test: impl FnOnce() + Send) {
    // libtest names the thread after the test, except when it runs tests on the main thread.
    if let Some(real) = std::thread::current().name().filter(|n| *n != "main") {
        assert_eq!(name, real, "in_netns must be given the test's own name");
    }
    let denied = match NetNs::new() {
        Ok(namespace) => return namespace.run(test).expect("a namespace made just now can be entered"),
        Err(e) if e.kind() == ErrorKind::Denied => e,
        Err(e) => panic!("{}", e.report()),
    };
    assert!(std::env::var_os(INSIDE).is_none(), "no network namespace inside of our own:\n{}", denied.report());
    // A test with several namespaces was run whole when it asked for the first one.
    if PASSED.lock().is_ok_and(|passed| passed.contains(name)) {
        return;
    }
    match again(name) {
        Ok(()) => drop(PASSED.lock().map(|mut passed| passed.insert(name.to_owned()))),
        Err(e) if e.kind() != ErrorKind::Denied => panic!("{name} cannot run:\n{}", e.report()),
        Err(e) if std::env::var_os("CI").is_some() => panic!("{name} cannot run, and CI is set:\n{}", e.report()),
        Err(e) => eprintln!("skipped: {name}: {}", e.report()),
    }
}

/// Runs the one test in a process of its own, inside of its own namespaces.
fn again(name: &str) -> Result<(), Error> {
    let program = std::env::current_exe().expect("the running test binary has a path");
    let mut command = Command::new(program);
    command.args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command.env(INSIDE, "1").stdin(Stdio::null());
    let output = namespace::isolate(&mut command).output().map_err(|e| namespace::explain(&e))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{stdout}");
    eprint!("{stderr}");
    assert!(output.status.success(), "{name} failed in its own namespaces ({}); its output is above", output.status);
    // A filter that matches nothing is a success for libtest.
    assert!(stdout.contains("1 passed"), "{name} is not the name of a test in this binary");
    Ok(())
}
