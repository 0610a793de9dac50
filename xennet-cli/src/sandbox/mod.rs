//! A world to try things out in: real kernel, nothing real touched.

pub mod namespace;
