//! Policies coming and going: at the start, on SIGHUP, on `keyrota reload`. All or nothing for each environment.
//!
//! The last good text of every policy is kept in the state directory, so that a daemon which starts with a broken file still serves
//! what it knows; it rotates nothing of it until the file is mended.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::House;
use super::environment::{self, Command, Running};
use super::keeping::Keeping;
use crate::audit::Verified;
use crate::clock::Reading;
use crate::http::control::{BackedUp, Control, Told};
use crate::name::EnvironmentName;
use crate::policy::{Policy, StoreConfig, load_folder, parse};
use crate::publish::replace_file;
use crate::secret::SecretBytes;
use crate::status_report::backup::BackupRequest;
use crate::status_report::doctor::DoctorReport;
use crate::status_report::migrate::{MigrateReport, MigrateRequest};
use crate::status_report::rekey::{RekeyReport, RekeyRequest};
use crate::status_report::verbs::{Refused, VerbReport, VerbRequest};
use crate::status_report::{ReloadReport, ReloadedReport};
use crate::time::{Span, Timestamp};

/// The policies of a running daemon.
pub struct Policies {
    pub(super) house: Arc<House>,
    folder: PathBuf,
    only: Vec<EnvironmentName>,
    running: Mutex<BTreeMap<EnvironmentName, Running>>,
}

type Done = Vec<tokio::sync::oneshot::Receiver<()>>;

impl Policies {
    /// Nothing is loaded yet.
    pub fn new(house: Arc<House>, folder: PathBuf, only: Vec<EnvironmentName>) -> Arc<Self> {
        Arc::new(Self { house, folder, only, running: Mutex::default() })
    }

    /// Whether no environment runs.
    pub fn is_idle(&self) -> bool {
        self.running.try_lock().is_ok_and(|running| running.is_empty())
    }

    /// Reads the folder and tells every environment.
    pub async fn load(&self) -> Vec<ReloadedReport> {
        self.load_all().await.0
    }

    /// Waits until every environment has ended its last pass.
    pub async fn finished(&self) {
        for (_, running) in std::mem::take(&mut *self.running.lock().await) {
            let _ = running.task.await;
        }
    }

    /// The environments whose documents are kept elsewhere than in the embedded store.
    pub(super) async fn elsewhere(&self) -> Vec<EnvironmentName> {
        let running = self.running.lock().await;
        running.iter().filter(|(_, known)| known.store != StoreConfig::Embedded).map(|(name, _)| name.clone()).collect()
    }

    /// The environments that run.
    pub(super) async fn names(&self) -> Vec<EnvironmentName> {
        self.running.lock().await.keys().cloned().collect()
    }

    /// Where an environment's documents are kept now.
    pub(super) async fn store_of(&self, environment: &EnvironmentName) -> Option<StoreConfig> {
        self.running.lock().await.get(environment).map(|running| running.store.clone())
    }

    /// Tells an environment something.
    pub(super) async fn send(&self, environment: &EnvironmentName, command: Command) -> Result<(), ()> {
        let running = self.running.lock().await;
        running.get(environment).and_then(|known| known.commands.send(command).ok()).ok_or(())
    }

    async fn load_all(&self) -> (Vec<ReloadedReport>, Done) {
        let mut running = self.running.lock().await;
        let (folder, only, kept) = (self.folder.clone(), self.only.clone(), self.kept());
        let read = tokio::task::spawn_blocking(move || (load_folder(&folder, &only), known(&kept, &only))).await;
        let Ok((folder, kept)) = read else { return (Vec::new(), Vec::new()) };
        for warning in &folder.warnings {
            tracing::warn!("{warning}");
        }
        let folder_faults: Vec<String> = folder.faults.iter().map(ToString::to_string).collect();
        let (mut reports, mut done) = (Vec::new(), Vec::new());
        let mut found = folder.environments;
        for name in running.keys().chain(&kept) {
            // An environment that is known and has no file any more, or whose folder cannot be read.
            found.entry(name.clone()).or_insert_with(|| Err(Vec::new()));
        }
        for (name, loaded) in found {
            let verdict = match loaded {
                Ok((policy, warnings)) => {
                    for warning in warnings {
                        tracing::warn!("{warning}");
                    }
                    self.usable(&running, policy).await
                }
                Err(faults) if faults.is_empty() && folder_faults.is_empty() && self.is_over(&name) => {
                    self.end(&mut running, &name).await;
                    continue;
                }
                Err(faults) if faults.is_empty() && folder_faults.is_empty() => {
                    Err(vec![format!("{name}: the policy file is gone; hint: put it back, or remove its keysets")])
                }
                Err(faults) if faults.is_empty() => Err(folder_faults.clone()),
                Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
            };
            let faults = match verdict {
                Ok((policy, store)) => {
                    done.push(self.take(&mut running, policy, store));
                    Vec::new()
                }
                Err(faults) => {
                    done.extend(self.hold(&mut running, &name, &faults));
                    faults
                }
            };
            reports.push(ReloadedReport { name, in_force: faults.is_empty(), faults });
        }
        if reports.is_empty() {
            // Nobody else says what is wrong with the folder as long as no environment is known.
            for fault in &folder_faults {
                tracing::error!("{fault}");
            }
        }
        (reports, done)
    }

    /// A policy together with its store, if this process can carry it out.
    async fn usable(&self, running: &BTreeMap<EnvironmentName, Running>, policy: Policy) -> Result<(Policy, Option<Keeping>), Vec<String>> {
        match running.get(&policy.environment) {
            Some(known) if known.store == policy.store => Ok((policy, None)),
            Some(known) => match self.has_moved(known, &policy).await {
                Ok(store) => Ok((policy, Some(store))),
                Err(fault) => Err(vec![fault]),
            },
            None => {
                let store = Keeping::of(&self.house, &policy.environment, &policy.store);
                Ok((policy, Some(store)))
            }
        }
    }

    fn take(
        &self,
        running: &mut BTreeMap<EnvironmentName, Running>,
        policy: Policy,
        store: Option<Keeping>,
    ) -> tokio::sync::oneshot::Receiver<()> {
        self.keep(&policy);
        let name = policy.environment.clone();
        let Some(store) = store else {
            let (done, receiver) = tokio::sync::oneshot::channel();
            if let Some(known) = running.get(&name) {
                let _ = known.commands.send(Command::Take { policy: Box::new(policy), done });
            }
            return receiver;
        };
        let (started, first) = match running.remove(&name) {
            Some(before) => environment::succeed(&self.house, Box::new(policy), store, before),
            None => environment::start(&self.house, Box::new(policy), store, None),
        };
        running.insert(name, started);
        first
    }

    /// The file is broken: the environment goes on under what it had, or starts under what was last good. The receiver is told when one
    /// that runs goes on so.
    fn hold(
        &self,
        running: &mut BTreeMap<EnvironmentName, Running>,
        name: &EnvironmentName,
        faults: &[String],
    ) -> Option<tokio::sync::oneshot::Receiver<()>> {
        if let Some(known) = running.get(name) {
            let gone = !self.folder.join(format!("{name}.yaml")).exists();
            let (done, receiver) = tokio::sync::oneshot::channel();
            let _ = known.commands.send(Command::Hold { faults: faults.to_vec(), gone, done });
            return Some(receiver);
        }
        let kept = self.kept().join(format!("{name}.yaml"));
        let last_good = std::fs::read_to_string(&kept).ok().and_then(|text| parse(&kept, &text).ok());
        let (policy, _) = last_good?;
        let store = Keeping::of(&self.house, name, &policy.store);
        let (started, _) = environment::start(&self.house, Box::new(policy), store, Some(faults.to_vec()));
        running.insert(name.clone(), started);
        None
    }

    /// Whether nothing is left of an environment whose policy file is gone: its store has just been looked at, and holds no keyset.
    fn is_over(&self, name: &EnvironmentName) -> bool {
        let board = self.house.board.environment(name.as_str());
        board.is_some_and(|board| board.keysets().is_empty() && board.freshness.is_fresh(Reading::now()))
    }

    /// Nothing is left of it: what was kept for a restart goes too.
    async fn end(&self, running: &mut BTreeMap<EnvironmentName, Running>, name: &EnvironmentName) {
        if let Some(known) = running.remove(name) {
            let _ = known.commands.send(Command::Leave);
            let _ = known.task.await;
        }
        self.house.board.take_off(name);
        let kept = self.kept().join(format!("{name}.yaml"));
        match std::fs::remove_file(&kept) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(environment = %name, "{} could not be removed: {error}", kept.display());
            }
            _ => tracing::info!(environment = %name, "{name}: it has neither a policy nor a keyset any more, and is over"),
        }
    }

    /// Keeps the text of a policy that was good.
    fn keep(&self, policy: &Policy) {
        let path = self.kept().join(format!("{}.yaml", policy.environment));
        let text = std::fs::read_to_string(&policy.source);
        let same = |text: &String| parse(&policy.source, text).is_ok_and(|(again, _)| again.digest == policy.digest);
        let Ok(text) = text else { return };
        if !same(&text) || std::fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return;
        }
        if let Err(error) = replace_file(&path, &SecretBytes::new(text.into_bytes()), 0o600) {
            tracing::warn!(environment = %policy.environment, "the policy could not be kept for a restart with a broken file: {error}");
        }
    }

    pub(super) fn kept(&self) -> PathBuf {
        self.house.state_dir.join("policies")
    }
}

impl Control for Policies {
    fn reload(&self, wait: Option<Span>) -> Told<'_, ReloadReport> {
        Box::pin(async move {
            let (environments, done) = self.load_all().await;
            tell(&environments);
            let Some(wait) = wait else { return ReloadReport { done: false, environments: Vec::new() } };
            let all = async {
                for each in done {
                    let _ = each.await;
                }
            };
            let in_time = tokio::time::timeout(wait.to_std(), all).await.is_ok();
            ReloadReport { done: in_time, environments }
        })
    }

    fn verb(&self, request: VerbRequest, by: String) -> Told<'_, Result<VerbReport, Refused>> {
        Box::pin(self.ask(request, by))
    }

    fn migrate(&self, request: MigrateRequest, by: String) -> Told<'_, Result<MigrateReport, Refused>> {
        Box::pin(self.migrate(request, by))
    }

    fn verify_trail(&self) -> Told<'_, Result<Verified, Refused>> {
        Box::pin(super::trail::verified(&self.house))
    }

    fn rekey(&self, request: RekeyRequest, by: String) -> Told<'_, Result<RekeyReport, Refused>> {
        Box::pin(super::rekey::asked(&self.house, request, by))
    }

    fn rekey_report(&self) -> Told<'_, Result<RekeyReport, Refused>> {
        Box::pin(super::rekey::standing(&self.house, String::new()))
    }

    fn back_up(&self, request: BackupRequest, by: String) -> Told<'_, Result<BackedUp, Refused>> {
        Box::pin(self.backed_up(request, by))
    }

    fn trail_since(&self, since: Timestamp) -> Told<'_, Result<Vec<String>, Refused>> {
        Box::pin(super::trail::since(&self.house, since))
    }

    fn examine(&self, environment: Option<EnvironmentName>) -> Told<'_, Result<DoctorReport, Refused>> {
        Box::pin(self.examine_all(environment))
    }
}

/// Logs what became of a reload.
pub fn tell(reports: &[ReloadedReport]) {
    for report in reports {
        if report.in_force {
            tracing::info!(environment = %report.name, "{}: the policy is in force", report.name);
        }
        for fault in &report.faults {
            tracing::error!(environment = %report.name, "the policy is not taken: {fault}");
        }
    }
}

/// Environments whose policy was good once.
pub(super) fn known(kept: &Path, only: &[EnvironmentName]) -> Vec<EnvironmentName> {
    let entries = std::fs::read_dir(kept).into_iter().flatten().flatten();
    let names = entries.filter_map(|e| e.path().file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok()));
    names.filter(|name| only.is_empty() || only.contains(name)).collect()
}
