//! Any bytes as any document of the contract: what is read is written and read again as the same.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wire::contract::{Claim, Document, Report, RunPlan, RunRecord, Spec, Start};

fuzz_target!(|json: &[u8]| {
    again::<RunRecord>(json);
    again::<RunPlan>(json);
    again::<Start>(json);
    again::<Claim>(json);
    again::<Report>(json);
    if let Some(spec) = again::<Spec>(json)
        && let Err(error) = spec.check()
    {
        assert!(!error.to_string().is_empty());
    }
});

fn again<T: Document + serde::Serialize + PartialEq + Debug>(json: &[u8]) -> Option<T> {
    let read = match T::from_json(json) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let second = T::from_json(&written).expect("what was written can be read");
    assert_eq!(read, second);
    let value: Value = serde_json::from_slice(&written).expect("JSON");
    assert!(value.is_object());
    Some(read)
}
