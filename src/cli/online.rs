//! `keyrota check --online`: what whoever runs this may do in AWS, tried without a daemon.

use std::sync::Arc;

use anyhow::Context as _;

use crate::clock::Reading;
use crate::policy::{Folder, StoreConfig};
use crate::status_report::doctor::{DoctorReport, Finding};
use crate::store::aws::AwsStore;
use crate::store::aws::pace::{MachineTime, Pace, WRITES_A_SECOND};
use crate::store::aws::sdk::SdkCalls;
use crate::store::seal::RandomId;

/// Tries the permissions of every store in AWS that a sound policy names.
///
/// # Errors
/// If the machine has no runtime or randomness to give; what AWS says is in the findings.
pub(super) fn findings(folder: &Folder) -> anyhow::Result<DoctorReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let mut findings = Vec::new();
    for (environment, loaded) in &folder.environments {
        let Ok((policy, _)) = loaded else { continue };
        let StoreConfig::AwsSecretsManager(aws) = &policy.store else {
            findings.push(Finding::ok("store", environment, "it is embedded: there is nothing to ask for"));
            continue;
        };
        let instance = RandomId::new().map_err(anyhow::Error::msg)?;
        let pace = Arc::new(Pace::new(WRITES_A_SECOND));
        let store = AwsStore::new(environment, aws, SdkCalls::new(aws), MachineTime, pace, instance);
        let tried = runtime.block_on(store.permissions());
        findings.extend(tried.iter().map(Finding::of_permission));
    }
    Ok(DoctorReport { at: Reading::now().wall, findings })
}
