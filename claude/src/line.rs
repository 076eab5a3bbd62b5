//! Lines of a stream that may be torn anywhere, and of any length.

use std::io::{self, BufRead, Read};

use serde_json::{Map, Value};

/// A longer line is passed over: whoever wrote it must not fill our memory.
const LONGEST: u64 = 64 << 20;

/// One line.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// A JSON object.
    Object(Map<String, Value>),
    /// Anything else: the half of one, or what somebody else printed.
    Torn,
    /// Too long to be looked at.
    Giant,
}

/// Calls `each` for every line that is not blank.
pub(crate) fn each(
    reader: impl BufRead,
    mut each: impl FnMut(Line) -> io::Result<()>,
) -> io::Result<()> {
    each_line(reader, |line| each(line.map_or(Line::Giant, parse)))
}

/// Every line that is not blank; `None` for one that is too long.
fn each_line(
    mut reader: impl BufRead,
    mut each: impl FnMut(Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let whole = line.last() == Some(&b'\n');
        if !whole && line.len() as u64 == LONGEST {
            reader.skip_until(b'\n')?;
            each(None)?;
        } else if !line.trim_ascii().is_empty() {
            each(Some(&line))?;
        }
    }
}

/// Likewise for the elements of a JSON array that stands one element a line.
pub(crate) fn each_of_array(
    reader: impl BufRead,
    mut call: impl FnMut(Line) -> io::Result<()>,
) -> io::Result<()> {
    each_line(reader, |line| match line.map(<[u8]>::trim_ascii) {
        Some(b"[" | b"]" | b"[]") => Ok(()),
        Some(line) => call(parse(line.strip_suffix(b",").unwrap_or(line))),
        None => call(Line::Giant),
    })
}

fn parse(line: &[u8]) -> Line {
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => Line::Object(object),
        _ => Line::Torn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<bool> {
        let mut seen = Vec::new();
        each(bytes, |line| {
            seen.push(matches!(line, Line::Object(_)));
            Ok(())
        })
        .unwrap();
        seen
    }

    #[test]
    fn a_torn_line_takes_no_other_with_it() {
        assert_eq!(
            lines(b"{\"a\":1}\n\n{\"a\":\xff\n[1]\n{}\r\n{\"a\":"),
            [true, false, false, true, false]
        );
        assert_eq!(lines(b"{}"), [true]);
        assert_eq!(lines(b""), [false; 0]);
    }

    #[test]
    fn a_giant_line_is_passed_over() {
        let giant = io::repeat(b'x').take(LONGEST + 10);
        let after = &b"\n{}\n"[..];
        let reader = io::BufReader::new(giant.chain(after));
        let mut seen = Vec::new();
        each(reader, |line| {
            seen.push(line);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [Line::Giant, Line::Object(Map::new())]);
    }
}
