//! The examination of a running daemon: everything that could go wrong, looked at now, by the same ports that do the work.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::environment::{Command, Environment};
use super::keeping::Keeping;
use super::policies::Policies;
use crate::board::TlsStanding;
use crate::clock::Reading;
use crate::document::Document;
use crate::event::Part;
use crate::lifecycle::Because;
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::policy::Target;
use crate::publish::{ReadBack, Targets as _};
use crate::reconcile::Status;
use crate::status_report::TlsReport;
use crate::status_report::doctor::{DoctorReport, Finding, Verdict};
use crate::status_report::verbs::Refused;
use crate::store::{Mark, Revision, Store as _, StoreError, SwapError};
use crate::witness::{Verdict as Continuity, Witness as _};

/// Less free room than this in the state directory is worth a warning: a store, its log, and a copy of it.
const LITTLE_ROOM: u64 = 256 * 1024 * 1024;

impl Policies {
    /// Examines one environment, or all of them, and what they share.
    pub(super) async fn examine_all(&self, only: Option<EnvironmentName>) -> Result<DoctorReport, Refused> {
        let names = self.names().await;
        if let Some(name) = only.as_ref().filter(|name| !names.contains(name)) {
            return Err(Refused::of("unknown", &format!("there is no environment {name}; hint: `keyrota status` lists them")));
        }
        let mut findings = shared(&self.house.state_dir, Some(self.house.embedded.master_key_path()));
        if let Ok(Some(underway)) = self.house.embedded.rekey_underway().await {
            let says =
                format!("it is being changed from {} to {}, and both keys are needed until that is done", underway.old, underway.next);
            let whose = self.house.embedded.master_key_path().display();
            findings.push(Finding::not_ok(Verdict::Warning, "master key", whose, &says, "`keyrota rekey` goes on, if it was interrupted"));
        }
        findings.extend(self.house.board.tls.load().as_deref().map(certificate));
        for name in names.into_iter().filter(|name| only.as_ref().is_none_or(|only| only == name)) {
            let (answer, examined) = oneshot::channel();
            if self.send(&name, Command::Examine(answer)).await.is_ok() {
                findings.extend(examined.await.unwrap_or_default());
            }
        }
        Ok(DoctorReport { at: Reading::now().wall, findings })
    }
}

/// What all environments share: the state directory and what is in it.
fn shared(state_dir: &Path, master_key: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("daemon", "keyrota", format!("version {} answers", env!("CARGO_PKG_VERSION")))];
    findings.push(private(state_dir));
    if let Some(path) = master_key {
        findings.push(private(path));
        if path.parent() == Some(state_dir) {
            let says = "the master key lies beside the store it opens, so whoever copies the directory has both";
            let hint = "give it as systemd's credential keyrota.master-key, or with --master-key-file from elsewhere";
            findings.push(Finding::not_ok(Verdict::Warning, "permissions", path.display(), says, hint));
        }
    }
    findings.push(room(state_dir));
    findings
}

/// Until when clients accept what the verifiers' listener presents, and whether something newer is kept out.
fn certificate(standing: &TlsStanding) -> Finding {
    let (report, now, whose) = (TlsReport::of(standing), Reading::now().wall, "TLS of --listen");
    let broken = if standing.expires_at <= now { Verdict::Broken } else { Verdict::Warning };
    match (report.expiry(now), &standing.refused) {
        (Some(expiry), None) => Finding::not_ok(broken, "certificate", whose, &expiry, ""),
        (None, Some(refused)) => Finding::not_ok(Verdict::Broken, "certificate", whose, refused, "put a pair there that can be used"),
        (Some(expiry), Some(refused)) => {
            let says = expiry.split("; hint: ").next().unwrap_or_default();
            Finding::not_ok(Verdict::Broken, "certificate", whose, &format!("{says}; what is in its files cannot be used: {refused}"), "")
        }
        (None, None) => Finding::ok("certificate", whose, format!("valid until {}", report.valid_until().unwrap_or_default())),
    }
}

fn private(path: &Path) -> Finding {
    let whose = path.display();
    match std::fs::metadata(path) {
        Err(error) => Finding::not_ok(Verdict::Broken, "permissions", whose, &error.to_string(), "look at its folder and its owner"),
        Ok(found) if found.is_dir() && found.mode() & 0o022 != 0 => {
            let says = format!("others may write in it (mode {:o})", found.mode() & 0o7777);
            Finding::not_ok(Verdict::Broken, "permissions", whose, &says, "chmod go-w on it, and look at what is in it")
        }
        Ok(found) if found.is_file() && found.mode() & 0o077 != 0 => {
            let says = format!("others may use it (mode {:o})", found.mode() & 0o7777);
            Finding::not_ok(Verdict::Broken, "permissions", whose, &says, "chmod go= on it, and ask who has read it")
        }
        Ok(_) => Finding::ok("permissions", whose, "only keyrota's user may change it"),
    }
}

fn room(state_dir: &Path) -> Finding {
    let whose = state_dir.display();
    match rustix::fs::statvfs(state_dir) {
        Err(error) => Finding::not_ok(Verdict::Warning, "room", whose, &format!("its free room is not known: {error}"), "df -h"),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let says = format!("{} MiB are free", free / (1024 * 1024));
            match free {
                free if free < LITTLE_ROOM => Finding::not_ok(Verdict::Warning, "room", whose, &says, "make room before the disk is full"),
                _ => Finding::ok("room", whose, says),
            }
        }
    }
}

impl Environment {
    /// Everything of this environment.
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let mut findings = vec![self.policy(), self.clock_stands()];
        let names = match self.ports.store.changes(&Mark::default()).await {
            Ok(changes) => changes.written.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            Err(error) => {
                findings.push(self.away("store", &error));
                return findings;
            }
        };
        findings.push(self.writable().await);
        findings.extend(self.store.permissions().await.iter().map(Finding::of_permission));
        let (documents, unread) = self.documents(&names, &mut findings).await;
        self.continuity(&documents, &unread, &mut findings).await;
        self.targets(&documents, &mut findings).await;
        self.probes(&mut findings);
        self.rotation(&mut findings);
        findings
    }

    fn policy(&self) -> Finding {
        let standing = self.board.policy.load();
        match standing.faults.first() {
            None => Finding::ok("policy", &self.board.name, format!("in force since {}", standing.taken_at)),
            Some(fault) => {
                let more = standing.faults.len() - 1;
                let fault = fault.split_once("; hint: ").map_or(fault.as_str(), |(fault, _)| fault);
                let says = format!("{fault}{}", if more > 0 { format!(" (and {more} more)") } else { String::new() });
                Finding::not_ok(Verdict::Broken, "policy", &self.board.name, &says, "mend it, `keyrota check`, `keyrota reload --wait`")
            }
        }
    }

    fn clock_stands(&self) -> Finding {
        match self.reconciler.clock_parted() {
            None => Finding::ok("clock", &self.board.name, "wall clock and boot clock agree"),
            Some(by) => {
                let says = format!("the wall clock was set by {by} against the boot clock, so nothing is decided");
                let hint = format!("`timedatectl status`; if it is right now, `keyrota accept {} --clock`", self.board.name);
                Finding::not_ok(Verdict::Broken, "clock", &self.board.name, &says, &hint)
            }
        }
    }

    fn away(&self, what: &str, error: &StoreError) -> Finding {
        Finding::not_ok(Verdict::Broken, what, &self.board.name, &error.to_string(), "`journalctl -u keyrota` says since when")
    }

    /// A swap that expects what cannot be there takes the whole way of a write and changes nothing.
    async fn writable(&self) -> Finding {
        let nobody: Option<KeysetName> = "keyrota-doctor".parse().ok();
        let Some(keyset) = nobody else { return Finding::ok("store", &self.board.name, "it was read") };
        let id = KeysetId { environment: self.board.name.clone(), keyset };
        let mut document = Document::empty(id, crate::key::KeyClass::Hmac);
        document.generation = crate::name::Generation::FIRST;
        match self.ports.store.swap(Some(&Revision("no such revision".into())), &document).await {
            Err(SwapError::Conflict) if matches!(self.store, Keeping::Aws(_)) => Finding::ok("store", &self.board.name, "it answers"),
            Err(SwapError::Conflict) => Finding::ok("store", &self.board.name, "it can be read, and takes writes"),
            Ok(_) => {
                let says = "it made a change that it had to refuse";
                Finding::not_ok(Verdict::Broken, "store", &self.board.name, says, "this is a fault of the store: stop using it")
            }
            Err(error) => {
                let hint = "is the disk full, or mounted read-only? are the credentials still good?";
                Finding::not_ok(Verdict::Broken, "store", &self.board.name, &error.to_string(), hint)
            }
        }
    }

    /// The documents that can be read, and the names of those that cannot.
    async fn documents(
        &self,
        names: &[KeysetName],
        findings: &mut Vec<Finding>,
    ) -> (Vec<(KeysetName, Arc<Document>)>, BTreeSet<KeysetName>) {
        let loaded = match self.ports.store.load_many(names).await {
            Ok(loaded) => loaded,
            Err(error) => {
                findings.push(self.away("sealed", &error));
                return (Vec::new(), names.iter().cloned().collect());
            }
        };
        let (mut documents, mut unread) = (Vec::new(), BTreeSet::new());
        for (name, loaded) in loaded {
            match loaded {
                Ok(loaded) => documents.push((name, Arc::new(loaded.document))),
                Err(error) => {
                    let whose = self.board.id(&name);
                    let hint = "put it back from a back-up, then `keyrota restored`";
                    findings.push(Finding::not_ok(Verdict::Broken, "sealed", whose, &error.to_string(), hint));
                    unread.insert(name);
                }
            }
        }
        findings.push(Finding::ok("sealed", &self.board.name, format!("{} documents open and are sound", documents.len())));
        (documents, unread)
    }

    /// Whether every document continues what this host saw.
    async fn continuity(&self, documents: &[(KeysetName, Arc<Document>)], unread: &BTreeSet<KeysetName>, findings: &mut Vec<Finding>) {
        let environment = &self.board.name;
        let seen = match self.ports.witness.recall(environment).await {
            Ok(seen) => seen,
            Err(error) => {
                let hint = "the state directory must be readable and writable";
                findings.push(Finding::not_ok(Verdict::Broken, "witness", environment, &error.to_string(), hint));
                return;
            }
        };
        let before = findings.len();
        for (name, sighting) in seen.iter().filter(|(name, _)| !unread.contains(*name)) {
            let found = documents.iter().find(|(known, _)| known == name).map(|(_, document)| document);
            let verdict = Continuity::on(Some(sighting), found.map(|d| &**d), || found.map(|d| d.digest()));
            if let Continuity::Restored { made_at } = verdict {
                let says = format!("its document comes from a back-up of {made_at} and is held");
                let hint =
                    format!("`keyrota restored {environment} --reason …`; if nothing has changed since, `keyrota accept {environment}`");
                findings.push(Finding::not_ok(Verdict::Broken, "witness", self.board.id(name), &says, &hint));
            } else if verdict.is_fault() {
                let says = format!("what the store holds is not what this host saw at generation {}", sighting.generation);
                let id = self.board.id(name);
                let hint = format!("was a back-up put back? then `keyrota restored {environment}`; else `keyrota accept {id}`");
                findings.push(Finding::not_ok(Verdict::Broken, "witness", &id, &says, &hint));
            }
        }
        if findings.len() == before {
            findings.push(Finding::ok("witness", environment, format!("{} documents continue what this host saw", documents.len())));
        }
    }

    /// Whether every target holds what its document says.
    async fn targets(&self, documents: &[(KeysetName, Arc<Document>)], findings: &mut Vec<Finding>) {
        let (mut equal, before) = (0, findings.len());
        for (name, document) in documents {
            let id = self.board.id(name);
            for target in self.reconciler.targets(name) {
                let whose = format!("{id} {}", target.name());
                let found = self.ports.places.look(&id, &target, document).await;
                let broken = |says: &str, hint: &str| Finding::not_ok(Verdict::Broken, "targets", &whose, says, hint);
                match found {
                    Ok(ReadBack::Equal { .. }) if matches!(target, Target::File(_)) => equal += 1,
                    Ok(ReadBack::Equal { .. }) => findings.push(Finding::ok("targets", &whose, "it holds what it must")),
                    Ok(ReadBack::Known { what, good: true }) => findings.push(Finding::ok("targets", &whose, what)),
                    Ok(ReadBack::Known { what, good: false }) => findings.push(broken(&what, "`keyrota status` says since when")),
                    Ok(ReadBack::Missing) => findings.push(broken("it is not there", "it is written again by itself; does it stay?")),
                    Ok(ReadBack::Differs { .. }) => {
                        findings.push(broken("it does not hold what it must", "it is repaired by itself; who else writes it?"));
                    }
                    Ok(ReadBack::Foreign { .. }) => {
                        let hint = "`keyrota import` that key, or `replace: true` for this target";
                        findings.push(broken("it holds a key that the keyset does not know, and is left alone", hint));
                    }
                    Err(error) => findings.push(broken(&error.to_string(), "look at its folder")),
                }
            }
        }
        if equal > 0 || findings.len() == before {
            findings.push(Finding::ok("targets", &self.board.name, format!("{equal} files hold what they must")));
        }
    }

    /// What every probe has seen lately.
    fn probes(&self, findings: &mut Vec<Finding>) {
        for (name, cell) in self.board.keysets().iter() {
            let Some(status) = cell.status() else { continue };
            for probe in &status.probes {
                let whose = format!("{} {}", self.board.id(name), probe.url);
                findings.push(match (&probe.failure, probe.looked_at) {
                    (Some(failure), _) => Finding::not_ok(Verdict::Broken, "probes", &whose, failure, "open it as your verifiers do"),
                    (None, None) => {
                        let says = "it has not been looked at since the daemon began";
                        Finding::not_ok(Verdict::Warning, "probes", &whose, says, "ask again in a moment")
                    }
                    (None, Some(at)) => {
                        let shows = probe.generation.map_or("no generation yet".to_owned(), |g| format!("generation {g}"));
                        Finding::ok("probes", &whose, format!("it was looked at {at}, and has shown {shows}"))
                    }
                });
            }
        }
    }

    /// What is late, in trouble, or waits for somebody.
    fn rotation(&self, findings: &mut Vec<Finding>) {
        let before = findings.len();
        let keysets = self.board.keysets();
        for (name, cell) in keysets.iter() {
            if let Some(status) = cell.status() {
                of_status(&self.board.id(name), &status, findings);
            }
        }
        if findings.len() == before {
            findings.push(Finding::ok("rotation", &self.board.name, format!("{} keysets are in time", keysets.len())));
        }
    }
}

fn of_status(id: &KeysetId, status: &Status, findings: &mut Vec<Finding>) {
    let look = format!("`keyrota status {id}`");
    for trouble in &status.troubles {
        let verdict = if trouble.part == Part::Policy { Verdict::Warning } else { Verdict::Broken };
        findings.push(Finding::not_ok(verdict, "rotation", id, &trouble.what, &look));
    }
    if let Some(overdue) = &status.overdue {
        let says = format!("its change-over is overdue since {}: {}", overdue.since, overdue.because);
        let severity = if status.document.is_some() { Verdict::Broken } else { Verdict::Warning };
        findings.push(Finding::not_ok(severity, "rotation", id, &says, &look));
        return;
    }
    let told = |because: &Because| status.troubles.iter().any(|trouble| trouble.what == because.to_string());
    for pending in status.wait.pending.iter().filter(|pending| pending.at.is_none() && !told(&pending.because)) {
        let says = format!("{} waits: {}", pending.step, pending.because);
        findings.push(Finding::not_ok(Verdict::Warning, "rotation", id, &says, &look));
    }
    let now = Reading::now().wall;
    if let Some(until) = status.document.as_ref().and_then(|document| document.intents.frozen_until(now)) {
        let says = format!("it is frozen until {until}");
        findings.push(Finding::not_ok(Verdict::Warning, "rotation", id, &says, &format!("`keyrota unfreeze {id}` lets it go on")));
    }
}
