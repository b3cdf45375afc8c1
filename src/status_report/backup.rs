//! What `POST /v1/backup` on the control socket takes; it answers with the file itself, or with what would be in it.

use serde::{Deserialize, Serialize};

use crate::backup::Recipient;
use crate::name::EnvironmentName;
use crate::time::Timestamp;

/// An operator asks for a back-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// Who can open it. At least one.
    pub recipients: Vec<Recipient>,
    /// Only say what would be in it.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is in a back-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// As of when.
    pub made_at: Timestamp,
    /// The environments whose documents are in it.
    pub environments: Vec<EnvironmentName>,
    /// How many documents.
    pub documents: usize,
    /// The environments whose documents live elsewhere and are not in it.
    pub elsewhere: Vec<EnvironmentName>,
}
