//! Text as a page has it.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

/// What is shown of a character that must not have its effect: an escape sequence, a change of direction.
const NOTHING: char = '\u{fffd}';

/// For an element's content and a quoted attribute's value.
pub(super) fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

pub(super) struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(has_effect) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            let mut characters = special.chars();
            match characters.next() {
                Some('&') => f.write_str("&amp;")?,
                Some('<') => f.write_str("&lt;")?,
                Some('>') => f.write_str("&gt;")?,
                Some('"') => f.write_str("&quot;")?,
                Some('\'') => f.write_str("&#39;")?,
                Some('\r') | None => {}
                Some(_) => f.write_char(NOTHING)?,
            }
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

fn has_effect(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '&' | '<' | '>' | '"' | '\'' => true,
        _ => character.is_control() || turns(character),
    }
}

/// Whether it makes what follows read in another order.
fn turns(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The beginning of a text, of at the most so many bytes, and how many are left out.
pub(super) fn cut(text: &str, most: usize) -> (&str, usize) {
    let end = text.floor_char_boundary(most);
    (&text[..end], text.len() - end)
}

/// `1.5 kB`.
pub(super) fn size(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "kB", "MB", "GB", "TB"])
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut left = number as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if left < step as f64 {
            break;
        }
        left /= step as f64;
        unit = next;
    }
    if left < 10.0 && number >= step {
        format!("{left:.1} {unit}")
    } else {
        format!("{left:.0} {unit}")
    }
}

/// `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `$0.0123`.
pub(super) fn money(dollars: f64) -> String {
    if dollars >= 1.0 {
        format!("${dollars:.2}")
    } else {
        format!("${dollars:.4}")
    }
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// Counts what is written.
#[derive(Debug)]
pub(super) struct Counted<W> {
    out: W,
    written: u64,
}

impl<W: Write> Counted<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, written: 0 }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_effect_has_none() {
        let hostile = "<script>alert('x')</script>&amp;\"\u{1b}[31m\u{202e}\r\n\tok\0";
        assert_eq!(
            escape(hostile).to_string(),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;&quot;\u{fffd}[31m\u{fffd}\n\tok\u{fffd}"
        );
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [size(0), size(999), size(1500), size(123_456_789)],
            ["0 B", "999 B", "1.5 kB", "123 MB"]
        );
        let read = [850, 12_345, 245_000, 7_380_000].map(duration);
        assert_eq!(read, ["850 ms", "12.3 s", "4 min 05 s", "2 h 03 min"]);
        assert_eq!([money(0.003), money(12.345)], ["$0.0030", "$12.35"]);
        assert_eq!([count(1, "file"), count(2, "file")], ["1 file", "2 files"]);
    }

    #[test]
    fn a_cut_breaks_no_character() {
        assert_eq!(cut("añb", 2), ("a", 3));
        assert_eq!(cut("añb", 10), ("añb", 0));
    }
}
