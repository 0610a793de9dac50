//! What the tests need of the machine: network namespaces, guests and state directories, all gone when the test is over.
//!
//! ```no_run
//! #[test]
//! fn a_new_namespace_is_empty() {
//!     xennet_tests::in_netns("a_new_namespace_is_empty", || {
//!         assert_eq!(std::fs::read_to_string("/proc/thread-self/net/route").unwrap().lines().count(), 1);
//!     });
//! }
//! ```

pub mod chance;
pub mod documents;
#[allow(missing_docs, reason = "the numbers have the names of their standards")]
pub mod frame;
pub mod lease;
mod netns;
mod state;
pub mod station;
pub mod steps;
pub mod talk;

pub use netns::in_netns;
pub use state::StateDir;
pub use xennet_cli::sandbox::namespace::NetNs;
pub use xennet_cli::sandbox::{Guest, GuestSpec, World};
pub use xennet_core::testing::SharedFake as Shared;

/// A setting of a test from the environment: a number, or another value as text; `usual` where it is not set.
pub fn setting<T: std::str::FromStr>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: this cannot be read")),
        Err(_) => usual,
    }
}

/// How many times slower this machine is said to be than most, as an emulated one is: a test's times grow by it, all of them alike.
pub fn slower() -> u32 {
    std::env::var("XENNET_TESTS_SLOWER").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}
