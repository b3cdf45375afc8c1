//! Tokens: their strict form, and what is judged and made of it. It knows keys and the shapes that verifiers expect, and no keyset's
//! life: documents come in, tokens and verdicts go out.
//!
//! Invariant: a key is parsed once, when a [`mint::Minter`] or a [`verify::Verifier`] is made; no token costs that again.

mod claim;
mod claims_set;
pub mod compact;
pub mod dpop;
mod flat_json;
pub mod key_set;
pub mod malformed;
pub mod mint;
mod payload;
mod plain_text;
pub mod refresh;
pub mod rejection;
pub mod second_opinion;
mod shape;
pub mod signing_key;
pub mod strict_json;
pub mod verify;
