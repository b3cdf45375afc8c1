//! keyrota

pub mod digest;
pub mod document;
pub mod jwk;
pub mod key;
pub mod name;
pub mod policy;
pub mod secret;
pub mod time;
