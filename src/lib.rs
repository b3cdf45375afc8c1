//! keyrota

pub mod board;
pub mod cli;
pub mod clock;
pub mod digest;
pub mod document;
pub mod event;
pub mod forecast;
pub mod freshness;
pub mod jwk;
pub mod key;
pub mod lifecycle;
pub mod name;
pub mod observed;
pub mod operator;
pub mod policy;
pub mod publish;
pub mod reconcile;
pub mod rules;
pub mod secret;
pub mod status_report;
pub mod store;
pub mod time;
pub mod waits;
pub mod witness;
