//! What the documents say, held against the source.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod collector;
mod exceptions;
mod places;
mod troubleshooting;
