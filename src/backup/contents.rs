//! What is in a back-up, and its form: one JSON object with `format`, documents as the store holds them.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::BackupError;
use crate::document::Document;
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::secret::SecretBytes;
use crate::time::Timestamp;
use crate::witness::Sighting;
use crate::witness::book::TrailHead;

/// The form that this program writes and reads.
pub const FORMAT: &str = "keyrota.backup.v1";

/// What this host had seen of a keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The environment.
    pub environment: EnvironmentName,
    /// The keyset.
    pub keyset: KeysetName,
    /// What.
    pub sighting: Sighting,
}

/// Everything that is in a back-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// As of when.
    pub made_at: Timestamp,
    /// Who asked for it.
    pub made_by: String,
    /// Every document of the embedded store, in the order of their names.
    pub documents: Vec<Document>,
    /// What the host had seen of every keyset, those of other stores too.
    pub seen: Vec<Seen>,
    /// The last good text of every policy.
    pub policies: BTreeMap<EnvironmentName, String>,
    /// How far the audit trail was written.
    pub trail: Option<TrailHead>,
    /// Environments whose documents live elsewhere.
    pub elsewhere: Vec<EnvironmentName>,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    format: String,
    keyrota: String,
    made_at: Timestamp,
    made_by: String,
    #[serde(borrow)]
    documents: Vec<&'a RawValue>,
    seen: Vec<Seen>,
    policies: BTreeMap<EnvironmentName, String>,
    trail: Option<TrailHead>,
    elsewhere: Vec<EnvironmentName>,
}

impl Contents {
    /// The environments whose documents are in it.
    pub fn environments(&self) -> Vec<EnvironmentName> {
        let mut names: Vec<_> = self.documents.iter().map(|document| document.id.environment.clone()).collect();
        names.dedup();
        names
    }

    /// Writes it out. No copy in the clear is left behind in memory but in `out`.
    ///
    /// # Errors
    /// What `out` answers.
    pub fn write(&self, out: impl io::Write) -> io::Result<()> {
        let stored: Vec<SecretBytes> = self.documents.iter().map(Document::to_stored).collect();
        let documents = stored.iter().map(|bytes| serde_json::from_slice(bytes.expose())).collect::<Result<_, _>>()?;
        let written = Written {
            format: FORMAT.to_owned(),
            keyrota: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: self.made_at,
            made_by: self.made_by.clone(),
            documents,
            seen: self.seen.clone(),
            policies: self.policies.clone(),
            trail: self.trail.clone(),
            elsewhere: self.elsewhere.clone(),
        };
        Ok(serde_json::to_writer(out, &written)?)
    }

    /// Reads it back; every document is judged as if it came from a store.
    ///
    /// # Errors
    /// If it is of another format, or anything in it is unsound. Errors never quote what is in it.
    pub fn read(bytes: &[u8]) -> Result<Self, BackupError> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: String,
        }
        let unsound = |e: &serde_json::Error| BackupError::Unsound(format!("line {}, column {}", e.line(), e.column()));
        let form: FormatOnly = serde_json::from_slice(bytes).map_err(|e| unsound(&e))?;
        if form.format != FORMAT {
            return Err(BackupError::OtherFormat { found: form.format.chars().take(60).collect() });
        }
        let written: Written<'_> = serde_json::from_slice(bytes).map_err(|e| unsound(&e))?;
        let mut documents: Vec<Document> = Vec::with_capacity(written.documents.len());
        for (n, raw) in written.documents.iter().enumerate() {
            let refused = |what: String| BackupError::Unsound(format!("document {}: {what}", n + 1));
            let document = Document::from_stored(raw.get().as_bytes()).map_err(|e| refused(e.to_string()))?;
            if !document.is_stored() || documents.iter().any(|known| known.id == document.id) {
                return Err(refused(format!("{} stands twice or was never stored", document.id)));
            }
            documents.push(document);
        }
        let Written { made_at, made_by, seen, policies, trail, elsewhere, .. } = written;
        Ok(Self { made_at, made_by, documents, seen, policies, trail, elsewhere })
    }

    /// What this host had seen of a keyset.
    pub fn seen_of(&self, id: &KeysetId) -> Option<&Sighting> {
        self.seen.iter().find(|seen| seen.environment == id.environment && seen.keyset == id.keyset).map(|seen| &seen.sighting)
    }
}
