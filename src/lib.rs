//! keyrota

pub mod digest;
pub mod document;
pub mod jwk;
pub mod key;
pub mod keygen;
pub mod name;
pub mod policy;
pub mod publish;
pub mod secret;
pub mod store;
pub mod time;
pub mod witness;
