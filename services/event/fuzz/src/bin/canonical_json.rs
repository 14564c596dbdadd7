//! See [`hanse_event_fuzz::json`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    hanse_event_fuzz::json::check(input);
});
