//! Tokens: their strict form, and what is judged and made of it. It knows keys, and no keyset's life.

pub mod compact;
pub mod dpop;
pub mod malformed;
mod strict_json;
