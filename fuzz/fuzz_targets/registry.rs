//! Any bytes as what a registry says, and as an image's name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::{Reference, RegistryError, fuzzing};
use serde_json::Value;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fuzz_target!(|bytes: &[u8]| {
    // The first line is a name or a type, what follows what is said of it.
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let (line, body) = bytes.split_at(end.unwrap_or(bytes.len()));
    let Ok(text) = std::str::from_utf8(line) else {
        return challenge(bytes);
    };
    name(text);
    challenge(bytes);
    for kind in [text, OCI] {
        manifest(kind, body);
    }
    config(body);
});

/// A name that is understood names the same once more, and this machine alone is spoken to in the clear.
fn name(text: &str) {
    let image: Reference = match text.parse() {
        Ok(image) => image,
        Err(error) => return told(&error),
    };
    let shown = image.to_string();
    assert_eq!(shown.parse::<Reference>().expect("its own name"), image);
    let root = fuzzing::root(&image);
    let near = ["http://localhost", "http://127.", "http://[::1]"];
    assert!(
        root.starts_with("https://") || near.iter().any(|near| root.starts_with(near)),
        "{root}"
    );
    assert!(
        !root.contains('@') && root.matches('/').count() == 3,
        "{root}"
    );
}

/// What is read of a challenge, written as it should be, is read as the same.
fn challenge(body: &[u8]) {
    let lines: Vec<&[u8]> = body.split(|&byte| byte == b'\n').collect();
    let Some((realm, service)) = fuzzing::bearer(&lines) else {
        return;
    };
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut line = format!("Bearer realm=\"{}\"", quoted(&realm));
    if let Some(service) = &service {
        line = format!("{line},service=\"{}\"", quoted(service));
    }
    assert_eq!(fuzzing::bearer(&[line.as_bytes()]), Some((realm, service)));
}

/// An image with a layer more has one more, and can have another.
fn manifest(kind: &str, body: &[u8]) {
    match fuzzing::manifest(kind, body) {
        Err(error) => told(&error),
        Ok(None) => {}
        Ok(Some((layers, extended))) => {
            let again = fuzzing::manifest("", &extended).expect("what was written");
            let (more, _) = again.expect("an image");
            assert_eq!(more, layers + 1);
        }
    }
}

fn config(body: &[u8]) {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let layers = json["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
    match fuzzing::config(body, layers) {
        Err(error) => told(&error),
        Ok(extended) => {
            let written: Value = serde_json::from_slice(&extended).expect("JSON");
            assert!(
                written["config"]["Entrypoint"].is_array() && written["config"]["Cmd"].is_null()
            );
            fuzzing::config(&extended, layers + 1).expect("what was written");
        }
    }
}

/// A registry's words reach a terminal.
fn told(error: &RegistryError) {
    let said = error.to_string();
    assert!(
        !said.is_empty() && !said.contains(char::is_control),
        "{said:?}"
    );
    let hint = error.hint().unwrap_or_default();
    assert!(!hint.contains(char::is_control), "{hint:?}");
}
