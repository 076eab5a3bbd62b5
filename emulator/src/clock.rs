//! Times in Google's spelling, and random names.

use jiff::Timestamp;

/// RFC 3339 with milliseconds, as storage writes it.
pub(crate) fn millis(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// RFC 3339 with microseconds, as Cloud Run writes it.
pub(crate) fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `count` random characters of `[a-z0-9]`.
pub(crate) fn random_suffix(count: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // Two of a UUID's random bytes a character, so that the remainder favours none noticeably.
    let mut suffix = String::with_capacity(count);
    while suffix.len() < count {
        let random = uuid::Uuid::new_v4();
        for pair in random.as_bytes()[10..].chunks_exact(2) {
            let value = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            suffix.push(char::from(ALPHABET[value % ALPHABET.len()]));
        }
    }
    suffix.truncate(count);
    suffix
}

/// An unguessable string: 244 random bits.
pub(crate) fn secret() -> String {
    let [a, b] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    format!("{}{}", a.simple(), b.simple())
}
