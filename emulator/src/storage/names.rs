//! What buckets and objects may be called.

use crate::refusal::{Outcome, Refusal};

/// Longest name of an object, in bytes of UTF-8.
const OBJECT_LIMIT: usize = 1024;

/// The rules of real buckets, those about `goog` excepted.
pub(crate) fn is_bucket(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = name.as_bytes();
    let longest = if name.contains('.') { 222 } else { 63 };
    (3..=longest).contains(&bytes.len())
        && bytes.iter().copied().all(allowed)
        && edge(bytes.first())
        && edge(bytes.last())
        && name.split('.').all(|part| (1..=63).contains(&part.len()))
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// The rules of real buckets.
pub(crate) fn is_public_bucket(name: &str) -> bool {
    let reserved = name.starts_with("goog") || name.contains("google") || name.contains("g00gle");
    is_bucket(name) && !reserved
}

pub(crate) fn check_object(name: &str) -> Outcome<()> {
    let refused = if name.is_empty() {
        return Err(Refusal::required("Required"));
    } else if name.len() > OBJECT_LIMIT {
        "The maximum object length is 1024 characters, but got a name with more."
    } else if name.contains(['\r', '\n']) {
        "Disallowed unicode characters present in object name."
    } else if name == "." || name == ".." || name.starts_with(".well-known/acme-challenge/") {
        "Invalid object name."
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        for name in ["abc", "a-b_c.d", "goog-sortie", "a.b", &"x".repeat(63)] {
            assert!(is_bucket(name), "{name}");
        }
        for name in [
            "ab",
            "Abc",
            "-ab",
            "ab-",
            "a..b",
            "1.2.3.4",
            "a/b",
            &"x".repeat(64),
        ] {
            assert!(!is_bucket(name), "{name}");
        }
        assert!(!is_public_bucket("goog-sortie"));
        assert!(is_public_bucket("my-bucket"));
    }

    #[test]
    fn objects() {
        assert!(check_object("a/b c?#é").is_ok());
        assert!(check_object(&"é".repeat(512)).is_ok());
        for name in ["", "..", "a\nb", &"é".repeat(513)] {
            assert!(check_object(name).is_err(), "{name}");
        }
    }
}
