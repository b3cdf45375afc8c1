//! keyrota keeps the roster of a system's signing keys: which kid is on duty, which one is being announced, which one is seeing out
//! its last tokens, and when they change over.
//!
//! The promise: **no token that a well-behaved signer minted is ever rejected by a well-behaved verifier because of a rotation.**
//!
//! # The house, from the ground up
//!
//! | layer | rooms | what happens there |
//! | --- | --- | --- |
//! | words | [`time`] [`name`] [`url`] [`digest`] [`secret`] [`key`] [`jwk`] [`document`] [`policy`] [`rules`] [`observed`] [`clock`] [`event`] | values that are valid by construction; pure |
//! | decision | [`waits`] [`lifecycle`] [`operator`] [`forecast`] | what is the next step, and what is waited for; pure |
//! | ports | [`store`] [`sqlite`] [`witness`] [`publish`] [`keygen`] [`https`] [`probe`] [`webhook`] [`tokens`] | effects, each behind a trait |
//! | work | [`reconcile`] [`migrate`] [`freshness`] [`board`] [`invariant`] | load, project, observe, decide, swap |
//! | shell | [`daemon`] [`http`] [`metrics`] [`audit`] [`backup`] [`systemd`] [`status_report`] [`picture`] [`cli`] | processes, listeners, output |
//!
//! Imports go downward only (`tests/tidy.rs` holds that). Events go up as values, effects go down through ports. To know the daemon,
//! read this page, [`document`] and [`lifecycle`]; the rest follows.
//!
//! # What always holds
//!
//! - Invariant: one function, [`lifecycle::next`], decides. The daemon, `keyrota plan`, the simulation and the tests call it.
//! - Invariant: the compare-and-swap of a document is the commit point of every change. What stands outside it (key sets, files,
//!   what signers are handed) is a projection that is written again until it reads back equal.
//! - Invariant: a key is published before it signs, for as long as any verifier may go on without fetching; a key that signed is
//!   accepted until its last token is dead. The waits are computed from facts, never typed in.
//! - Invariant: facts live in the document. Raising one counts at once, lowering one only when all that was minted or cached under it
//!   is gone. So no edit of a policy shortens a promise.
//! - Invariant: a fact about the outside (published, read back) is recorded only after it was seen.
//! - Invariant: a process that has not confirmed with its store lately does not speak for it.
//! - Invariant: no secret has a way into a key set, a log line, an error, a metric or the command line; the types have no such field.

pub mod audit;
pub mod backup;
pub mod board;
pub mod cli;
pub mod clock;
pub mod credential;
pub mod daemon;
pub mod digest;
pub mod document;
pub mod event;
pub mod forecast;
pub mod freshness;
pub mod http;
pub mod https;
pub mod invariant;
pub mod jwk;
pub mod key;
pub mod keygen;
pub mod lifecycle;
pub mod metrics;
pub mod migrate;
pub mod name;
pub mod observed;
pub mod operator;
pub mod picture;
pub mod policy;
pub mod probe;
pub mod publish;
pub mod reconcile;
pub mod rules;
pub mod secret;
pub mod sqlite;
pub mod status_report;
pub mod store;
pub mod systemd;
pub mod time;
pub mod tokens;
pub mod url;
pub mod waits;
pub mod webhook;
pub mod witness;
