#![no_main]

#[path = "../xenstore.rs"]
#[allow(dead_code)]
mod xenstore;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    xenstore::answers(bytes);
});
