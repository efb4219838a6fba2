#![no_main]

#[path = "../drivers/mod.rs"]
mod drivers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(drivers::node(bytes)));
