//! A config is read or refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(reasons) = kt::config::parse("fuzz.yaml", text) {
        assert!(!reasons.is_empty());
        assert!(reasons.iter().all(|reason| !reason.render(false).is_empty()));
    }
});
