//! The helpers themselves: a namespace is empty, separate, and gone afterwards; so is a state directory.

use std::os::fd::AsFd;
use std::path::PathBuf;

use xennet_cli::sandbox::namespace::NetNs;
use xennet_tests::{StateDir, in_netns};

/// The links of the calling thread's network namespace.
fn links() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    text.lines().skip(2).filter_map(|l| l.split(':').next()).map(|n| n.trim().to_owned()).collect()
}

/// What tells namespaces apart.
fn identity() -> PathBuf {
    std::fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn a_test_has_a_namespace_of_its_own() {
    let outside = identity();
    in_netns("a_test_has_a_namespace_of_its_own", || {
        assert_ne!(identity(), outside);
        let own: Vec<String> = links().into_iter().filter(|n| n == "lo").collect();
        assert_eq!(own, ["lo"]);
    });
    assert_eq!(identity(), outside, "the caller stays where it is");
}

#[test]
fn namespaces_nest_and_run_gets_into_the_right_one() {
    in_netns("namespaces_nest_and_run_gets_into_the_right_one", || {
        let here = identity();
        let guest = NetNs::new().unwrap();
        let there = guest.run(identity).unwrap();
        assert_ne!(here, there);
        assert_eq!(guest.run(identity).unwrap(), there, "it is still the same one");
        assert_eq!(NetNs::current().unwrap().run(identity).unwrap(), here);
        assert!(rustix::io::fcntl_getfd(guest.as_fd()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    });
}

#[test]
#[should_panic(expected = "seen from outside")]
fn a_failure_inside_is_a_failure() {
    in_netns("a_failure_inside_is_a_failure", || panic!("seen from outside"));
    // Reached where the test ran in a process of its own, which has judged it, or was skipped.
    panic!("seen from outside: in the other process, or not at all");
}

#[test]
fn a_state_directory_goes_with_its_value() {
    let (one, two) = (StateDir::new(), StateDir::new());
    assert_ne!(one.path(), two.path());
    std::fs::write(one.path().join("file"), "x").unwrap();
    let path = one.path().to_owned();
    drop(one);
    assert!(!path.exists() && two.path().exists());
}
