//! Stub until the publish room lands.
use crate::{digest::Digest, document::Document, name::Kid, policy::FileTarget, time::Timestamp};
use std::future::Future;
/// a
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brought {
    /// a
    Agreed {
        /// a
        content: Digest,
        /// a
        changed_at: Timestamp,
        /// a
        wrote: bool,
        /// a
        drift: bool,
    },
    /// a
    Foreign {
        /// a
        kids: Vec<Kid>,
    },
}
/// a
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PublishError(pub String);
/// a
pub trait Targets: Send + Sync + 'static {
    /// a
    fn bring(
        &self,
        keyset: &crate::name::KeysetId,
        target: &FileTarget,
        document: &Document,
        expected: Option<Digest>,
    ) -> impl Future<Output = Result<Brought, PublishError>> + Send;
}
