//! Registries that lie, break, point elsewhere and refuse.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bytes;
mod case;
mod credentials;
mod refusals;
mod server;
