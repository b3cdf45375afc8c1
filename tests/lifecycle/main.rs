//! The decision and the document: what happens at which moment and not a millisecond before, whatever the document; and how it is
//! written down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod arbitrary;
mod emergencies;
mod fixture;
mod forecasts;
mod golden;
mod instants;
mod properties;
mod releases;
mod table;
mod uptake;
mod verbs;
