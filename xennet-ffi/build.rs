//! Gives the shared library its soname, whose number changes when a program that was built with an older header could no longer
//! run; and keeps it in memory when it was loaded once: a thread of its own may be at work (closing what takes its time) when a
//! program calls dlclose. The library that `install` installs is linked by that, with versions of its symbols, too.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libxennet.so.0");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
