//! A back-up of everything that this daemon keeps, encrypted before it leaves the process.

use super::policies::{Policies, known};
use crate::backup::{BackupError, Contents, Seen, seal};
use crate::clock::Reading;
use crate::event::Event;
use crate::http::control::BackedUp;
use crate::status_report::backup::{BackupReport, BackupRequest};
use crate::status_report::verbs::Refused;
use crate::witness::Witness as _;

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is used")]
fn away(error: impl ToString) -> Refused {
    let sentence = error.to_string();
    if sentence.contains("; hint: ") {
        Refused::of("store", &sentence)
    } else {
        Refused::of("store", &format!("{sentence}; hint: `keyrota doctor` says more"))
    }
}

impl Policies {
    /// Takes a back-up, or says what would be in it.
    pub(super) async fn backed_up(&self, request: BackupRequest, by: String) -> Result<BackedUp, Refused> {
        if request.recipients.is_empty() {
            return Err(Refused::of("invalid", &BackupError::NoRecipient.to_string()));
        }
        let contents = self.contents(by).await?;
        let report = BackupReport {
            made_at: contents.made_at,
            environments: contents.environments(),
            documents: contents.documents.len(),
            elsewhere: contents.elsewhere.clone(),
        };
        if request.dry_run {
            return Ok((report, None));
        }
        let event = Event::BackedUp {
            by: contents.made_by.clone(),
            documents: contents.documents.len(),
            recipients: request.recipients.iter().map(ToString::to_string).collect(),
        };
        let sealing = tokio::task::spawn_blocking(move || seal(&contents, &request.recipients)).await;
        let sealed = sealing.map_err(|e| away(&e))?.map_err(|e| away(&e))?;
        super::logs::tell(std::slice::from_ref(&event));
        self.house.audit.record(Reading::now().wall, vec![event]);
        Ok((report, Some(sealed)))
    }

    async fn contents(&self, made_by: String) -> Result<Contents, Refused> {
        // What was seen first: a document that changes meanwhile is then further, never behind.
        let trail = self.house.witness.trail_head().await.map_err(away)?;
        let kept = self.kept();
        let texts = tokio::task::spawn_blocking(move || {
            let text = |name: &crate::name::EnvironmentName| std::fs::read_to_string(kept.join(format!("{name}.yaml"))).ok();
            known(&kept, &[]).into_iter().filter_map(|name| Some((name.clone(), text(&name)?))).collect()
        });
        let policies: std::collections::BTreeMap<_, _> = texts.await.map_err(away)?;
        let mut environments: std::collections::BTreeSet<_> = self.names().await.into_iter().chain(policies.keys().cloned()).collect();
        let documents = self.house.embedded.snapshot().await.map_err(away)?;
        environments.extend(documents.iter().map(|document| document.id.environment.clone()));
        let mut seen = Vec::new();
        for environment in environments {
            let sightings = self.house.witness.recall(&environment).await.map_err(away)?;
            seen.extend(sightings.into_iter().map(|(keyset, sighting)| Seen { environment: environment.clone(), keyset, sighting }));
        }
        let elsewhere = self.elsewhere().await;
        Ok(Contents { made_at: Reading::now().wall, made_by, documents, seen, policies, trail, elsewhere })
    }
}
