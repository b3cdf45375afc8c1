//! The audit trail, asked for over the control socket: the daemon holds the key that proves it.

use super::House;
use crate::audit::{self, TrailKey, Verified};
use crate::status_report::verbs::Refused;
use crate::store::embedded::EmbeddedStore;
use crate::time::Timestamp;

/// The most lines that are handed over at once.
const MOST_LINES: usize = 200_000;

fn failed(what: &str) -> Refused {
    Refused::of("store", what)
}

/// The keys that may prove the trail now. Blocks on the disk.
pub(super) fn trail_keys(store: &EmbeddedStore) -> Vec<TrailKey> {
    store.derived_keys(audit::PURPOSE).into_iter().map(TrailKey::new).collect()
}

/// Whether the trail is as it was written.
pub(super) async fn verified(house: &House) -> Result<Verified, Refused> {
    let first = examined(house).await?;
    // A file may have been put aside while they were read.
    if first.flaws.is_empty() { Ok(first) } else { examined(house).await }
}

async fn examined(house: &House) -> Result<Verified, Refused> {
    house.audit.flush().await;
    let head = house.witness.trail_head().await.map_err(|e| failed(&e.to_string()))?;
    let (directory, store) = (house.state_dir.clone(), house.embedded.clone());
    let examining = tokio::task::spawn_blocking(move || audit::verify(&directory, &trail_keys(&store), head.as_ref())).await;
    examining.map_err(|e| failed(&e.to_string()))?.map_err(|e| failed(&e))
}

/// The lines since a moment.
pub(super) async fn since(house: &House, since: Timestamp) -> Result<Vec<String>, Refused> {
    house.audit.flush().await;
    let directory = house.state_dir.clone();
    let reading = tokio::task::spawn_blocking(move || audit::tail(&directory, since, MOST_LINES)).await;
    reading.map_err(|e| failed(&e.to_string()))?.map_err(|e| failed(&e))
}
