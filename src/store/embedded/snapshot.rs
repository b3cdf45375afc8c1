//! Everything that the store holds, of all environments, as of one moment.

use std::sync::Arc;

use super::{EmbeddedStore, rows};
use crate::document::Document;
use crate::name::KeysetId;
use crate::store::StoreError;

/// How many rows are read at once.
const READ_AT_ONCE: usize = 512;

impl EmbeddedStore {
    /// Every document, in the order of their names. One that cannot be read is an error: whoever asks wants all.
    ///
    /// # Errors
    /// If the store does not answer, or a document does not open.
    pub async fn snapshot(&self) -> Result<Vec<Document>, StoreError> {
        let inner = Arc::clone(&self.0);
        let read = move |connection: &rusqlite::Connection| {
            let fault = |e: rusqlite::Error| inner.database.fault(&e);
            // One picture of all rows, whatever is written meanwhile.
            let transaction = connection.unchecked_transaction().map_err(fault)?;
            let opener = inner.opener(&transaction)?;
            let (mut documents, mut after) = (Vec::new(), None);
            loop {
                let part = rows::rows_behind(&transaction, after.as_ref(), READ_AT_ONCE).map_err(fault)?;
                if part.is_empty() {
                    return Ok(documents);
                }
                for (environment, keyset, row) in part {
                    let strange = |e: crate::name::NameError| StoreError::Invalid(format!("a row of the store: {e}"));
                    let id = KeysetId { environment: environment.parse().map_err(strange)?, keyset: keyset.parse().map_err(strange)? };
                    documents.push(inner.open_row(&opener, &id, &row)?.document);
                    after = Some(id);
                }
            }
        };
        self.0.readers.read(read).await
    }
}
