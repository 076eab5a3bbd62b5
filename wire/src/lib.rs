//! What host and entrypoint must agree on.
//!
//! - [`names`]: where everything lies in the bucket.
//! - [`contract`]: the documents they exchange: start, spec, claim, report.
//! - [`bucket`]: the one client of Cloud Storage both use.
//! - [`api`]: what every call to a Google API needs: a token, retries, errors by meaning.
//! - [`token`]: where a token comes from, and where it may be sent.
//!
//! It knows no command line and no Cloud Run.

#![forbid(unsafe_code)]

pub mod api;
pub mod bucket;
pub mod contract;
pub mod names;
pub mod token;
