//! Operators' verbs, from the control socket to the environment they are for, keyset by keyset.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::environment::{Command, Environment};
use super::policies::Policies;
use crate::clock::Reading;
use crate::digest::Digest;
use crate::event::Event;
use crate::key::Algorithm;
use crate::keygen::import::{Handed, ImportError, import};
use crate::name::{Generation, KeysetId, KeysetName};
use crate::operator::preview::of_purge;
use crate::operator::{Preview, Verb};
use crate::reconcile::operate::{Obstacle, Operated, Request};
use crate::reconcile::removal::Removal;
use crate::status_report::verbs::{Refused, VerbAsked, VerbOutcome, VerbReport, VerbRequest};
use crate::store::{RECOVERY, StoreError};
use crate::time::Timestamp;

/// A verb on its way to its environment.
pub struct Asked {
    pub request: VerbRequest,
    pub by: String,
    pub answer: oneshot::Sender<Result<VerbReport, Refused>>,
    /// The keysets that are done, so that a verb which had to wait for a key goes on behind them; `None`: passed over.
    pub finished: BTreeMap<KeysetName, Option<VerbOutcome>>,
}

/// How a verb stands.
pub enum Standing {
    Answered(Result<VerbReport, Refused>),
    /// A key is being made for it: it is to be taken up again when that is there.
    Waiting,
}

impl Policies {
    /// Sends a verb to the environment that it is for, and waits for what comes of it.
    pub(super) async fn ask(&self, request: VerbRequest, by: String) -> Result<VerbReport, Refused> {
        if needs_reason(&request.verb) && request.reason.trim().is_empty() {
            return Err(Refused::of("invalid", "this verb needs a reason, for whoever reads the records later; hint: --reason \"…\""));
        }
        let name = request.environment.clone();
        let unknown = || Refused::of("unknown", &format!("there is no environment {name}; hint: `keyrota status` lists them"));
        let (answer, answered) = oneshot::channel();
        let asked = Command::Operate(Box::new(Asked { request, by, answer, finished: BTreeMap::new() }));
        self.send(&name, asked).await.map_err(|()| unknown())?;
        let stopped = |_| Refused::of("store", "the daemon is going down; hint: ask again when it is up; nothing was changed");
        answered.await.unwrap_or_else(|gone| Err(stopped(gone)))
    }
}

const fn needs_reason(verb: &VerbAsked) -> bool {
    matches!(
        verb,
        VerbAsked::Rotate { now: true }
            | VerbAsked::Revoke { .. }
            | VerbAsked::RevokeGrants { .. }
            | VerbAsked::Compromise
            | VerbAsked::Freeze { .. }
            | VerbAsked::Restored
            | VerbAsked::Remove { .. }
    )
}

impl Environment {
    /// Carries a verb out as far as it can be now.
    pub(super) async fn operate(&mut self, asked: &mut Asked, events: &mut Vec<Event>) -> Standing {
        let mut report = VerbReport { at: Reading::now().wall, by: asked.by.clone(), keysets: Vec::new(), notes: Vec::new() };
        if matches!(asked.request.verb, VerbAsked::Purge) {
            return Standing::Answered(self.purge(asked, report).await);
        }
        let names = match self.names(asked, &mut report, events) {
            Ok(names) => names,
            Err(refused) => return Standing::Answered(Err(refused)),
        };
        for keyset in names.into_iter().filter(|name| !asked.finished.contains_key(name)).collect::<Vec<_>>() {
            let seen = asked.request.seen.get(&keyset).copied();
            let outcome = match self.operate_one(&keyset, asked, seen, events).await {
                Err(Obstacle::Making) => return Standing::Waiting,
                // Asked of all, those that it does not concern are passed over.
                Err(Obstacle::Refused(refusal)) if asked.request.keyset.is_none() && !refusal.is_unsafe() => None,
                Err(obstacle) => Some(refused(keyset.clone(), &obstacle)),
                Ok(operated) => Some(done(keyset.clone(), operated)),
            };
            asked.finished.insert(keyset, outcome);
        }
        report.keysets = std::mem::take(&mut asked.finished).into_values().flatten().collect();
        if report.keysets.is_empty() && report.notes.is_empty() {
            let what = format!("there is no keyset in {} that this verb concerns now", asked.request.environment);
            return Standing::Answered(Err(Refused::of("pointless", &format!("{what}; hint: `keyrota status` shows how they stand"))));
        }
        Standing::Answered(Ok(report))
    }

    /// The keysets that a verb is for.
    fn names(&mut self, asked: &Asked, report: &mut VerbReport, events: &mut Vec<Event>) -> Result<Vec<KeysetName>, Refused> {
        let request = &asked.request;
        match (&request.keyset, &request.verb) {
            (Some(keyset), VerbAsked::Accept { clock: true }) => Err(whole_environment(request, keyset)),
            (Some(keyset), _) => Ok(vec![keyset.clone()]),
            (None, VerbAsked::Accept { clock: true }) => {
                self.clock(asked, report, events);
                Ok(self.reconciler.names())
            }
            (None, VerbAsked::Freeze { .. } | VerbAsked::Unfreeze | VerbAsked::Restored | VerbAsked::Accept { .. }) => {
                Ok(self.reconciler.names())
            }
            (None, _) => {
                let what = format!("this verb is for one keyset, and only {} was named", request.environment);
                Err(Refused::of("invalid", &format!("{what}; hint: name it: {}/KEYSET", request.environment)))
            }
        }
    }

    async fn operate_one(
        &mut self,
        keyset: &KeysetName,
        asked: &Asked,
        seen: Option<Digest>,
        events: &mut Vec<Event>,
    ) -> Result<Operated, Obstacle> {
        let VerbRequest { verb, reason, dry_run, .. } = &asked.request;
        let (by, reason, dry_run) = (asked.by.clone(), reason.clone(), *dry_run);
        let id = KeysetId { environment: self.board.name.clone(), keyset: keyset.clone() };
        let verb = match verb {
            VerbAsked::Remove { recovery } => {
                let recovery = recovery.unwrap_or(RECOVERY);
                let removal = Removal { keyset: keyset.clone(), by, reason, recovery, dry_run, seen };
                return self.reconciler.remove(&removal, events).await;
            }
            VerbAsked::Rotate { now: false } => Verb::Rotate,
            VerbAsked::Rotate { now: true } => Verb::RotateNow,
            VerbAsked::Revoke { kid } => Verb::Revoke { kid: kid.clone() },
            VerbAsked::Compromise => Verb::Compromise,
            VerbAsked::Rollback => Verb::RollBack,
            VerbAsked::Freeze { until } => Verb::Freeze { until: *until },
            VerbAsked::Unfreeze => Verb::Unfreeze,
            VerbAsked::Approve { kid } => Verb::Approve { kid: kid.clone() },
            VerbAsked::RevokeGrants { whom, before } => Verb::RevokeGrants { whom: whom.clone(), before: *before },
            VerbAsked::Accept { clock: true } => Verb::AcceptClock,
            VerbAsked::Accept { clock: false } => Verb::AcceptDocument { revoked: Vec::new(), seen: Generation(0) },
            VerbAsked::Restored => Verb::Restored { revoked: Vec::new(), seen: Generation(0) },
            VerbAsked::Init => Verb::Init,
            VerbAsked::Import { .. } => self.handed_in(&id, &asked.request.verb).await?,
            VerbAsked::Purge => return Ok(Operated { preview: Preview::nothing(), done: None }), // it is for whole environments
        };
        let reason = if reason.trim().is_empty() { format!("keyrota {}", verb.name()) } else { reason };
        self.reconciler.operate(&Request { keyset: keyset.clone(), verb, by, reason, dry_run, seen }, events).await
    }

    /// The key that was handed in, judged on a thread of its own: opening an encrypted one takes time on purpose.
    async fn handed_in(&self, id: &KeysetId, verb: &VerbAsked) -> Result<Verb, Obstacle> {
        let (verb, usual, now) = (verb.clone(), self.reconciler.algorithm(&id.keyset), Reading::now().wall);
        let judging = tokio::task::spawn_blocking(move || judged(&verb, usual, now)).await;
        let invalid = |what: String| Obstacle::Material(what);
        judging.map_err(|_| invalid("the key could not be judged; hint: ask again".to_owned()))?.map_err(|e| invalid(e.to_string()))
    }

    /// Every place is looked at and written anew where it holds what it should not; the store's file keeps nothing but what is in force.
    async fn purge(&mut self, asked: &Asked, mut report: VerbReport) -> Result<VerbReport, Refused> {
        let environment = &asked.request.environment;
        if asked.request.keyset.is_some() {
            let what = format!("a store is purged as a whole; hint: `keyrota purge {environment}`");
            return Err(Refused::of("invalid", &what));
        }
        if asked.request.dry_run {
            report.notes = of_purge(environment);
            return Ok(report);
        }
        for name in self.reconciler.names() {
            self.reconciler.look_at(&name);
        }
        self.pass().await;
        let away = |error: StoreError| Refused::of("store", &format!("{error}; hint: ask again; everything that is in force is unharmed"));
        self.house.embedded.purge().await.map_err(away)?;
        report.notes.push("targets are in line, and the store's file and log hold nothing but what is in force".to_owned());
        Ok(report)
    }

    /// The wall clock is taken as it is.
    fn clock(&mut self, asked: &Asked, report: &mut VerbReport, events: &mut Vec<Event>) {
        if let Some(by) = self.reconciler.clock_parted() {
            report.notes.push(format!("the wall clock was set by {by} against the boot clock, and is taken as right from now on"));
            if !asked.request.dry_run {
                self.reconciler.accept_clock(&asked.by, events);
            }
        }
    }
}

/// Judges the key that was handed in.
fn judged(verb: &VerbAsked, usual: Option<Algorithm>, now: Timestamp) -> Result<Verb, ImportError> {
    let VerbAsked::Import { kid, role, expires, created, algorithm, material, passphrase } = verb else { return Err(ImportError::NoKid) };
    let handed = Handed {
        material: &material.0,
        passphrase: passphrase.as_ref().map(|passphrase| &passphrase.0),
        kid: kid.clone(),
        algorithm: algorithm.or(usual).unwrap_or(Algorithm::HS256),
        created_at: created.unwrap_or(now).min(now),
        expires_at: *expires,
    };
    Ok(Verb::Import { key: Box::new(import(&handed)?), role: *role })
}

fn whole_environment(request: &VerbRequest, keyset: &KeysetName) -> Refused {
    let environment = &request.environment;
    let what = format!("a clock is right or wrong for all of {environment}, not for {keyset} alone");
    Refused::of("invalid", &format!("{what}; hint: `keyrota accept {environment} --clock`"))
}

fn done(keyset: KeysetName, operated: Operated) -> VerbOutcome {
    VerbOutcome { keyset, preview: Some(operated.preview), generation: operated.done, refused: None }
}

fn refused(keyset: KeysetName, obstacle: &Obstacle) -> VerbOutcome {
    let kind = match obstacle {
        Obstacle::Unknown(_) => "unknown",
        Obstacle::Refused(refusal) if refusal.is_unsafe() => "unsafe",
        Obstacle::Refused(_) => "pointless",
        Obstacle::Moved(_) => "moved",
        Obstacle::Fault(_) => "fault",
        Obstacle::Store(_) | Obstacle::Witness(_) => "store",
        Obstacle::Indeterminate(..) => "indeterminate",
        Obstacle::Keygen(_) | Obstacle::Making => "keygen",
        Obstacle::Material(_) => "invalid",
        Obstacle::Busy(_) => "busy",
    };
    let refused = Some(Refused::of(kind, &obstacle.to_string()));
    VerbOutcome { keyset, preview: None, generation: None, refused }
}
