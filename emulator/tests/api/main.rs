//! The emulator as its clients see it: real HTTP, real files, real processes.

mod buckets;
mod doors;
mod harness;
mod objects;
mod processes;
mod runs;
mod uploads;
