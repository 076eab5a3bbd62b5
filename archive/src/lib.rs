//! Deterministic tarballs, and the safe unpacking of strangers' ones.
//!
//! An input becomes a [`Tree`], a tree is cut into packs ([`Tree::packs`]), and a pack is written as a tar
//! ([`PackPlan::write_tar`], or piece by piece by a [`PackReader`]) whose MD5 is its address. An output directory
//! becomes one tar ([`pack_outputs`]). An [`Unpacker`] makes files of either.
//!
//! # The format
//!
//! - ustar headers, with GNU long-name entries (`././@LongLink`, kinds `K` then `L`) and base-256 numbers only where
//!   ustar does not fit. A name over 100 bytes is cut at the first slash that leaves at most 100. Names are bytes.
//! - Entries are files, directories (their names end in `/`; each has an entry) and symbolic links; hard links are
//!   stored as files. In packs they stand in the order of the bytes of their paths, without the final slash.
//! - Permission bits (0o777) are exact; user and group are 0 and have no names. In packs modification times are 0.
//! - The end is two blocks of zeros, with no filling up to a record.
//! - Packs are cut by the hash of the path of their last entry, between 4 and 16 MiB; a file over 16 MiB is a pack of
//!   its own.
//!
//! All this decides the addresses, and the tests fix the bytes. The gzip around a tar may be any; ours has members of
//! 1 MiB of the tar, which say how long they are ([`Press`]).

#![forbid(unsafe_code)]

mod blocks;
mod cut;
mod digest;
mod error;
mod gzip;
mod handles;
mod left_out;
mod listing;
mod member;
mod name;
mod outputs;
mod plan;
mod read;
mod record;
mod removal;
mod scan;
mod stamp;
mod tree;
mod unpack;
mod walk;
mod warning;

pub use digest::{Address, Checksum, Digest, Hash, Proof};
pub use error::Error;
pub use gzip::PackWriter;
pub use left_out::LeftOut;
pub use member::{BLOCK, FRAME, Press};
pub use name::{printable, steers};
pub use outputs::{PackedOutputs, pack_outputs};
pub use plan::PackPlan;
pub use read::PackReader;
pub use record::Kind;
pub use removal::remove_tree;
pub use stamp::Stamp;
pub use tree::{Entry, Tree};
pub use unpack::{Gunzip, Links, Policy, Refuse, Unpacked, Unpacker};
pub use warning::Warning;
