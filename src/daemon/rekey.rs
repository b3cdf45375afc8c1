//! Changing the master key of the embedded store while everything goes on: begun by an operator, worked off by a task, told of as it goes.
//!
//! The order of the steps is the store's ([`crate::store::embedded`]); between the last value and the end the audit trail goes over to
//! the new key, while both are there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::House;
use crate::clock::Reading;
use crate::event::Event;
use crate::status_report::rekey::{RekeyPhase, RekeyReport, RekeyRequest};
use crate::status_report::verbs::Refused;
use crate::store::embedded::RekeyError;

/// The change that this process works on, or worked on last.
#[derive(Default)]
pub(super) struct Rekeying(Mutex<Option<RekeyReport>>);

impl Rekeying {
    fn report(&self) -> MutexGuard<'_, Option<RekeyReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut RekeyReport)) {
        if let Some(report) = &mut *self.report() {
            report.at = Reading::now().wall;
            change(report);
        }
    }

    fn is_working(&self) -> bool {
        self.report().as_ref().is_some_and(|report| !report.phase.is_over())
    }
}

fn refused(error: &RekeyError) -> Refused {
    let kind = if matches!(error, RekeyError::BySystemd(_)) { "invalid" } else { "store" };
    Refused::of(kind, &error.to_string())
}

/// How it stands: what this process works on, or what the store says.
pub(super) async fn standing(house: &House, by: String) -> Result<RekeyReport, Refused> {
    if let Some(report) = house.rekeying.report().as_ref() {
        return Ok(report.clone());
    }
    look(house, by).await
}

/// What the store says.
async fn look(house: &House, by: String) -> Result<RekeyReport, Refused> {
    let (master_key, values) = house.embedded.sealed().await.map_err(|e| refused(&e))?;
    let underway = house.embedded.rekey_underway().await.map_err(|e| refused(&e))?;
    Ok(RekeyReport {
        at: Reading::now().wall,
        by,
        phase: if underway.is_some() { RekeyPhase::Interrupted } else { RekeyPhase::Idle },
        master_key: master_key.to_string(),
        next_key: underway.map(|underway| underway.next.to_string()),
        key_file: house.embedded.master_key_path().display().to_string(),
        sealed: 0,
        values,
        refused: None,
        notes: Vec::new(),
    })
}

/// An operator asks for it, or only what it would do.
pub(super) async fn asked(house: &Arc<House>, request: RekeyRequest, by: String) -> Result<RekeyReport, Refused> {
    house.embedded.rekey_allowed().map_err(|e| refused(&e))?;
    if house.rekeying.is_working() {
        return standing(house, by).await;
    }
    let mut report = look(house, by).await?;
    if request.dry_run {
        return Ok(report);
    }
    report.phase = RekeyPhase::Resealing;
    {
        let mut current = house.rekeying.report();
        if let Some(working) = current.as_ref().filter(|report| !report.phase.is_over()) {
            return Ok(working.clone()); // somebody else asked at the same moment
        }
        *current = Some(report.clone());
    }
    let (house, by) = (Arc::clone(house), report.by.clone());
    tokio::spawn(async move {
        if let Err(stopped) = work(&house, &by, &request.reason).await {
            tracing::error!("the master key is not changed yet: {}; hint: {}", stopped.said.error, stopped.said.hint);
            house.rekeying.tell(|report| (report.phase, report.refused) = (RekeyPhase::Stopped, Some(stopped)));
        }
    });
    Ok(report)
}

async fn work(house: &House, by: &str, reason: &str) -> Result<(), Refused> {
    let store = &house.embedded;
    let reason = if reason.trim().is_empty() { "keyrota rekey" } else { reason };
    let underway = store.rekey_begin().await.map_err(|e| refused(&e))?;
    tracing::info!("{by} changes the master key from {} to {} ({reason})", underway.old, underway.next);
    house.rekeying.tell(|report| (report.next_key, report.values) = (Some(underway.next.to_string()), underway.values));
    loop {
        let mut after = None;
        loop {
            let part = store.rekey_reseal(after).await.map_err(|e| refused(&e))?;
            house.rekeying.tell(|report| report.sealed += part.values);
            if part.last.is_none() {
                break;
            }
            after = part.last;
        }
        house.rekeying.tell(|report| report.phase = RekeyPhase::Finishing);
        let trail = |why: String| Refused::of("store", &format!("the audit trail does not take the new key: {why}"));
        house.audit.change_key(Reading::now().wall, by, reason).await.map_err(trail)?;
        if store.rekey_finish().await.map_err(|e| refused(&e))? {
            break;
        }
        house.rekeying.tell(|report| (report.phase, report.sealed) = (RekeyPhase::Resealing, 0));
    }
    let event = Event::MasterKeyChanged { by: by.to_owned(), reason: reason.to_owned() };
    super::logs::tell(std::slice::from_ref(&event));
    house.audit.record(Reading::now().wall, vec![event]);
    // What was sealed under the old key is overwritten already; freed pages and the log are cut as well.
    let left = store.purge().await.err();
    house.rekeying.tell(|report| {
        report.phase = RekeyPhase::Done;
        report.master_key = underway.next.to_string();
        report.next_key = None;
        report.notes.extend(left.map(|why| format!("the file was not written anew ({why}): `keyrota purge ENVIRONMENT` does it")));
    });
    Ok(())
}
