//! The real binary, from outside: started, edited, asked, killed. Nothing here knows the inside of the daemon; what it sees is what
//! signers, verifiers and operators see.
//!
//! Rooms: `process` starts and ends daemons, `edge` is a server of somebody else's, `inkeep` and `algolia` vendors, `http` asks them,
//! `token` signs and verifies with what they hand out; the others are tests. `KEYROTA_CRASH_ROUNDS=<count>` and `KEYROTA_CRASH_SEED=<seed>` steer the crashes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail by panicking")]

/// A policy of the environment `fast` for a test that has little time: its defaults besides the waits, and its keysets. Who uses keys is
/// half a second behind, unless it is said how far.
macro_rules! in_seconds {
    ($defaults:literal, $keysets:literal) => {
        in_seconds!(behind: "500ms", $defaults, $keysets)
    };
    (behind: $signer_refresh:literal, $defaults:literal, $keysets:literal) => {
        concat!(
            "version: 1\nenvironment: fast\nreconcile: \"* * * * * *\"\nstore: { kind: embedded }\ndefaults:\n",
            "  { verifier_refresh: 500ms, verifier_retry: 100ms, cache_max_age: 100ms, margin: 0s, signer_refresh: ",
            $signer_refresh,
            ",\n    unsafe: { reason: \"A test that has little time.\" },\n    ",
            $defaults,
            " }\nkeysets:\n",
            $keysets
        )
    };
}

mod algolia;
mod backup;
#[path = "../chance/mod.rs"]
mod chance;
mod crash;
mod cut_over;
mod damaged;
mod doors;
mod drill;
mod edge;
mod endpoints;
mod http;
mod inkeep;
mod keys;
mod lives;
mod locked;
mod probes;
mod process;
mod programs;
mod refresh;
mod refusals;
mod rekey;
mod reload;
mod replicas;
mod sources;
mod tls;
mod token;
mod tokens;
mod trail;
mod uptake;
mod vendors;
mod verbs;
mod webhooks;
