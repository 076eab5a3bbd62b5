//! Adds the entrypoint to an image in a registry, without a container daemon.
//!
//! [`add`] reads a base's manifest and config from its registry, makes one layer of the entrypoint's file, and pushes
//! the base's layers, that layer, a changed config and a manifest to another repository. Layers of the base go as
//! they are, gzip, zstd or else, and are never unpacked; those the target has, or its registry can take over from
//! the base's repository, are not sent. No blob of the base is held: it flows from one connection into the other,
//! and is verified on the way, before the registry hears its digest.
//!
//! # What the image is then
//!
//! The base with `ENTRYPOINT` [`ENTRYPOINT`], no `CMD`, `WORKDIR /workspace` and no stop signal; environment, user,
//! labels and all else stay. A base whose user is not root gets a `/workspace` that this user can write to. What of
//! the base no longer holds is told as [`Warning`]s.
//!
//! # Where credentials go
//!
//! Google's tokens go to Google's registries, by https, or to a registry of this machine if the caller says so; never
//! to another host, be it named by a challenge's realm or a redirect. Others are spoken to anonymously, with whatever
//! token their token server gives to everybody. Docker's `config.json` is not read. Only this machine is spoken to in
//! plain http.
//!
//! # Why a client of its own
//!
//! oci-client 0.18, the maintained one, sends a name and password to whatever realm a challenge names and follows
//! redirects by itself; it reads manifests and answers without a bound, does not try again, asks for no right to read
//! the repository it mounts from, takes its TLS roots from the machine, and brings some forty crates. The calls needed
//! here are six, and `wire` has the HTTP client. oci-spec's types would drop what they do not know from a config, so
//! the documents stay JSON.

#![forbid(unsafe_code)]

mod add;
mod auth;
mod blob;
mod challenge;
mod client;
mod config;
mod connection;
mod digest;
mod elf;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod layer;
mod manifest;
mod pipe;
mod progress;
mod reference;
mod refusal;
mod retry;
mod upload;

pub use add::{Added, Options, add, is_there, resolve};
pub use digest::Digest;
pub use error::RegistryError;
pub use layer::ENTRYPOINT;
pub use progress::{Progress, Warning};
pub use reference::Reference;
pub use upload::Arrival;
