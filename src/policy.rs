//! Stub until the policy room lands.
use crate::document::Facts;
use crate::key::KeySpec;
use crate::time::{Span, Timestamp};
/// a
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// a
    Generated,
    /// b
    External,
}
/// a
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// a
    Generate,
    /// b
    Import,
}
/// a
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// a
    Auto,
    /// b
    Approve,
    /// c
    Manual,
}
/// a
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifierShape {
    /// a
    Overlapping,
    /// b
    SingleKey,
}
/// every `period` from epoch, open for `open`
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// p
    pub period: Span,
    /// o
    pub open: Span,
}
impl Window {
    /// a
    pub fn opened_at(&self, at: Timestamp) -> Option<Timestamp> {
        let p = self.period.as_millis() as i64;
        let o = at.as_millis() / p * p;
        (at.as_millis() - o < self.open.as_millis() as i64).then_some(Timestamp::from_millis(o))
    }
    /// a
    pub fn next_open(&self, after: Timestamp) -> Option<Timestamp> {
        let p = self.period.as_millis() as i64;
        Some(Timestamp::from_millis((after.as_millis() / p + 1) * p))
    }
    /// a
    pub fn max_wait(&self) -> Span {
        self.period
    }
}
/// a
#[derive(Debug, Clone, Copy)]
pub struct StoreConfig;
impl StoreConfig {
    /// a
    pub fn is_shared(&self) -> bool {
        false
    }
}
/// a
#[derive(Debug, Clone)]
pub struct KeysetPolicy {
    /// a
    pub spec: KeySpec,
    /// a
    pub source: Source,
    /// a
    pub start: Start,
    /// a
    pub facts: Facts,
    /// a
    pub rotate_every: Span,
    /// a
    pub max_age: Span,
    /// a
    pub rollback_window: Span,
    /// a
    pub jitter: Span,
    /// a
    pub window: Option<Window>,
    /// a
    pub mode: Mode,
    /// a
    pub verifier: VerifierShape,
}

/// a
#[derive(Debug, Clone, PartialEq)]
pub struct FileTarget {
    /// a
    pub path: std::path::PathBuf,
    /// a
    pub audience: Audience,
}
/// a
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// a
    Verifiers,
    /// a
    Signers,
}
/// a
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// a
    Serve,
    /// b
    Refuse,
}
/// a
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerAccess {
    /// a
    User(String),
    /// b
    Group(String),
}
