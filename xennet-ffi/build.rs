//! Gives the shared library its soname. The number changes when a program that was built with an older header could no
//! longer run.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libxennet.so.0");
}
