//! A kernel that is too old: what it does not know is refused in its place, by `strace`, and the command says what that is.

use std::process::Command;

use xennet_core::ErrorKind;
use xennet_tests::in_netns;

use crate::command::{finish, program};

/// `setsockopt` of the socket to the kernel: extended acknowledgements, short ones, then strict checking.
const STRICT_CHECKING: usize = 3;

#[test]
fn a_kernel_without_filtered_listings_is_named_with_the_version_that_has_them() {
    in_netns("kernel::a_kernel_without_filtered_listings_is_named_with_the_version_that_has_them", || {
        if Command::new("strace").arg("-V").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "strace is missing, and CI is set");
            eprintln!("skipped: strace is missing (apt-get install strace)");
            return;
        }
        let inject = format!("inject=setsockopt:error=ENOPROTOOPT:when={STRICT_CHECKING}");
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=setsockopt", "-e", &inject])
            .arg(program())
            .arg("show");
        let got = finish(&mut traced);
        assert_eq!(got.code, i32::from(ErrorKind::Unsupported.number()), "{got:?}");
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert!(got.stderr.contains("strict dump checking") && got.stderr.contains("Linux 4.20"), "{got:?}");
        assert!(got.stderr.contains(release.trim()), "{got:?}");
        assert!(got.stderr.contains("hint: boot a newer kernel"), "{got:?}");
    });
}
