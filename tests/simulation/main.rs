//! The simulation: years of several daemons in milliseconds, with the real reconciler and the real decision, interleaved at every
//! call to a port, under every fault of the design. What must hold is checked from outside, by what verifiers and signers could
//! have got hold of (`exposure.rs`). A failure prints its seed: `KEYROTA_SIM_SEED=<seed> cargo test --test simulation one_seed`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails says so by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests")]

mod aws;
#[path = "../aws_fake/mod.rs"]
mod aws_fake;
mod daemon;
mod edge;
mod exposure;
mod faults;
mod lawful;
mod mutants;
mod named;
mod orders;
mod outside;
mod seeds;
mod shared_place;
mod world;
