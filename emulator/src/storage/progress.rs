//! What a request to an upload session says of itself in `Content-Range`.

use crate::refusal::{Outcome, Refusal};

/// Which bytes a request carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// None: it asks how far the upload has come. With a size it also says that this is all.
    Query { total: Option<u64> },
    /// From `start` up to but not including `end`.
    Chunk {
        start: u64,
        end: u64,
        total: Option<u64>,
    },
    /// All of them.
    Whole,
}

impl Progress {
    pub(crate) fn of(header: Option<&str>) -> Outcome<Self> {
        header
            .map_or(Some(Self::Whole), Self::parse)
            .ok_or_else(|| {
                Refusal::invalid(format!(
                    "Failed to parse Content-Range header: {}",
                    header.unwrap_or_default()
                ))
            })
    }

    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text
            .trim()
            .strip_prefix("bytes")?
            .trim_start()
            .split_once('/')?;
        let total = if total == "*" {
            None
        } else {
            Some(total.parse().ok()?)
        };
        if range == "*" {
            return Some(Self::Query { total });
        }
        let (start, last) = range.split_once('-')?;
        let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
        let end = last.checked_add(1)?;
        (start < end && total.is_none_or(|total| end <= total)).then_some(Self::Chunk {
            start,
            end,
            total,
        })
    }

    pub(crate) fn total(&self) -> Option<u64> {
        match self {
            Self::Query { total } | Self::Chunk { total, .. } => *total,
            Self::Whole => None,
        }
    }

    /// Whether it goes with what is stored, and with the size told before.
    pub(crate) fn check(&self, stored: u64, total: Option<u64>) -> Outcome<()> {
        if let (Some(told), Some(before)) = (self.total(), total)
            && told != before
        {
            return Err(Refusal::invalid(format!(
                "Invalid request. The size {told} differs from the size {before} given before."
            )));
        }
        match self {
            Self::Chunk { start, .. } if *start > stored => Err(Refusal::invalid(format!(
                "Invalid request. The chunk starts at byte {start}, but only {stored} bytes are stored."
            ))),
            Self::Chunk { end, .. } if total.is_some_and(|total| *end > total) => Err(
                Refusal::invalid("Invalid request. The chunk ends after the upload's size."),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let parse = Progress::parse;
        assert_eq!(parse("bytes */*"), Some(Progress::Query { total: None }));
        assert_eq!(parse("bytes */7"), Some(Progress::Query { total: Some(7) }));
        assert_eq!(
            parse("bytes 0-6/7"),
            Some(Progress::Chunk {
                start: 0,
                end: 7,
                total: Some(7)
            })
        );
        assert_eq!(
            parse("bytes 3-6/*"),
            Some(Progress::Chunk {
                start: 3,
                end: 7,
                total: None
            })
        );
        for wrong in [
            "",
            "bytes",
            "bytes 1-0/7",
            "bytes 0-7/7",
            "bytes a-b/c",
            "0-1/2x",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
