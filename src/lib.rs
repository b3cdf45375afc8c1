//! keyrota

pub mod digest;
pub mod document;
pub mod jwk;
pub mod key;
pub mod name;
pub mod secret;
pub mod sqlite;
pub mod store;
pub mod time;
pub mod witness;
