//! Numbers as people read them.

use std::fmt::Write;

/// `1.2 MB`; powers of ten, as `ls --si` has them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// Lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// `1 file`, `2 files`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `0.4 s`, `12 s`, `3 min 5 s`.
pub(crate) fn duration(ms: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let seconds = ms as f64 / 1000.0;
    match ms {
        0..10_000 => format!("{seconds:.1} s"),
        10_000..60_000 => format!("{seconds:.0} s"),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// How long ago, in one unit: `5 s`, `3 min`, `2 h`, `4 d`.
pub(crate) fn age(since: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now()
        .duration_since(since)
        .as_secs()
        .max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (5_368_709_120, "5.4 GB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_lose_digits_as_they_grow() {
        assert_eq!(duration(42), "0.0 s");
        assert_eq!(duration(1_250), "1.2 s");
        assert_eq!(duration(12_400), "12 s");
        assert_eq!(duration(185_000), "3 min 5 s");
    }
}
