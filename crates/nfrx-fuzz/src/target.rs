//! The program that libFuzzer runs: its arguments are libFuzzer's, the target's name comes
//! from `NFRX_FUZZ_TARGET`, so that one program is linked for all of them.

#![no_main]

use std::sync::OnceLock;

use nfrx_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

fn choose() -> Target {
    let name = std::env::var("NFRX_FUZZ_TARGET").unwrap_or_default();
    nfrx_fuzz::target(&name).unwrap_or_else(|| panic!("NFRX_FUZZ_TARGET names no target: `{name}`"))
}

libfuzzer_sys::fuzz_target!(init: { TARGET.get_or_init(choose); }, |data: &[u8]| {
    (TARGET.get_or_init(choose).run)(data);
});
