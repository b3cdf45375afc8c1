//! Rules broken on purpose. Each of these must be caught by some world: otherwise the simulation has no teeth there.

use keyrota::document::change::{Cause, Draft, Promise};
use keyrota::document::facts::HeldFact;
use keyrota::document::{Document, FactName, Intent, Stage, Trigger};
use keyrota::key::Key;
use keyrota::lifecycle::{Decision, Wait, next};
use keyrota::observed::{Fault, Observed, PlaceKind};
use keyrota::operator::{Refusal, Verb, apply};
use keyrota::policy::Mode;
use keyrota::rules::Rules;
use keyrota::time::{Span, Timestamp};
use keyrota::waits::Waits;

use crate::edge;
use crate::named;
use crate::orders;
use crate::seeds;
use crate::shared_place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The propagation wait counts from the key's generation.
    WaitFromGeneration,
    /// The place where verifiers read a file is not asked.
    NoTargetAgreement,
    /// What probes see is not asked.
    NoProbeAgreement,
    /// A probe that once showed a key is thought to have shown it all along.
    ProbesForgiven,
    /// An answer out of a cache is thought to be fresh.
    CachedAnswersBelieved,
    /// The place where signers read a file is not asked.
    NoSignerPlaces,
    /// Signers are thought to switch at once.
    NoSignerLag,
    /// Replicas are thought never to lag.
    NoStoreLag,
    /// Verifiers are thought to refresh at once.
    NoVerifierLag,
    /// Shared caches are thought not to exist.
    NoSharedCaches,
    /// Tokens are thought to die at once.
    NoTokenLife,
    /// Clocks are thought to agree.
    NoSkew,
    /// A lowered fact counts at once.
    LoweredAtOnce,
    /// A raised fact does not count for what is under way.
    RaisedNever,
    /// The store writes whatever it is given.
    NoCompareAndSwap,
    /// A restart does not cost a retry.
    NoServingWait,
    /// In a shared store the first key signs at once.
    FirstKeyAtOnce,
    /// A clock that was set is believed.
    ClockBelieved,
    /// A document that went back is believed.
    WitnessIgnored,
    /// A swap that took hours counts from when it was decided.
    LateCommitsIgnored,
    /// A process that was cut off goes on as if it were fresh.
    StaleReplicaReady,
    /// Private halves are never erased.
    NeverErased,
    /// Keys never leave.
    NeverRetired,
    /// A freeze is not heeded.
    FreezeIgnored,
    /// A rotation that an operator asks for goes without its waits.
    RotationRushed,
    /// An emergency rotation waits like any other.
    EmergencyWaits,
    /// What a rollback holds goes on by itself.
    HoldIgnored,
    /// `mode: approve` is not heeded.
    ApprovalIgnored,
    /// A revoked key retires in peace.
    RevokedRetires,
    /// A compromise leaves keys that have not signed yet.
    CompromiseSparesIncoming,
    /// Signers that say that they lag are not waited for.
    UptakeIgnored,
    /// The last tokens of a signer that lagged are forgotten once it has moved on.
    LateTokensForgotten,
    /// A rollback takes the bad key out of the key set at once.
    RollbackDropsTheBad,
    /// A revocation lets a first key sign that waits until every replica has seen it.
    RevocationHurriesFirst,
    /// A replica that lags writes its key set over a later one in a place that replicas share.
    LaggingOverwrites,
}

impl Mutant {
    pub const ALL: [Self; 35] = [
        Self::WaitFromGeneration,
        Self::NoTargetAgreement,
        Self::NoProbeAgreement,
        Self::ProbesForgiven,
        Self::CachedAnswersBelieved,
        Self::NoSignerPlaces,
        Self::NoSignerLag,
        Self::NoStoreLag,
        Self::NoVerifierLag,
        Self::NoSharedCaches,
        Self::NoTokenLife,
        Self::NoSkew,
        Self::LoweredAtOnce,
        Self::RaisedNever,
        Self::NoCompareAndSwap,
        Self::NoServingWait,
        Self::FirstKeyAtOnce,
        Self::ClockBelieved,
        Self::WitnessIgnored,
        Self::LateCommitsIgnored,
        Self::StaleReplicaReady,
        Self::NeverErased,
        Self::NeverRetired,
        Self::FreezeIgnored,
        Self::RotationRushed,
        Self::EmergencyWaits,
        Self::HoldIgnored,
        Self::ApprovalIgnored,
        Self::RevokedRetires,
        Self::CompromiseSparesIncoming,
        Self::RollbackDropsTheBad,
        Self::RevocationHurriesFirst,
        Self::LaggingOverwrites,
        Self::UptakeIgnored,
        Self::LateTokensForgotten,
    ];

    /// The operator's verb, granted as something else.
    pub fn grant(
        mutant: Option<Self>,
        document: &Document,
        verb: &Verb,
        rules: &Rules,
        intent: Intent,
        key: Option<Key>,
    ) -> Result<Document, Refusal> {
        let active = document.active.as_ref().map(|a| a.key.kid.clone());
        match (mutant, verb, active) {
            (Some(Self::RevokedRetires), Verb::Revoke { kid }, Some(active)) if *kid == active => {
                apply(document, &Verb::RotateNow, rules, intent, key)
            }
            (Some(Self::CompromiseSparesIncoming), Verb::Compromise, Some(kid)) => {
                let key = key.filter(|_| document.incoming.is_empty());
                apply(document, &Verb::Revoke { kid }, rules, intent, key)
            }
            (Some(Self::RollbackDropsTheBad), Verb::RollBack, Some(bad)) => {
                let mut after = apply(document, verb, rules, intent, key)?;
                after.retiring.retain(|retiring| retiring.key.kid != bad);
                Ok(after)
            }
            (Some(Self::RevocationHurriesFirst), Verb::Revoke { kid }, None) => {
                let waits = Waits::at(document, rules, intent.at);
                let cause = Cause { now: intent.at, trigger: Trigger::Emergency, reason: intent.reason.clone(), by: Some(intent.by) };
                let promise = Promise { propagation: waits.propagation, retention: waits.retention };
                let mut draft = Draft::of(document, Some(document.digest()), cause, promise);
                draft.revoke(kid, &intent.reason)?;
                let published = draft.document().incoming.iter().find(|i| i.stage.published_at().is_some());
                if let Some(first) = published.map(|i| i.key.kid.clone()) {
                    draft.activate(&first)?;
                }
                Ok(draft.finish())
            }
            _ => apply(document, verb, rules, intent, key),
        }
    }

    /// The decision, blinded in one eye.
    pub fn decide(mutant: Option<Self>, document: &Document, rules: &Rules, observed: &Observed) -> Decision {
        let Some(mutant) = mutant else { return next(document, rules, observed) };
        let (mut document, mut rules, mut observed) = (document.clone(), rules.clone(), observed.clone());
        mutant.blind(&mut document, &mut rules, &mut observed);
        let decision = next(&document, &rules, &observed);
        match (mutant, &decision) {
            (Self::NeverErased, Decision::Do(step, _)) if step.kind().as_str() == "erase" => Decision::Wait(Wait::default()),
            (Self::NeverRetired, Decision::Do(step, _)) if step.kind().as_str() == "retire" => Decision::Wait(Wait::default()),
            _ => decision,
        }
    }

    fn blind(self, document: &mut Document, rules: &mut Rules, observed: &mut Observed) {
        match self {
            Self::WaitFromGeneration => {
                for incoming in &mut document.incoming {
                    if let Stage::Published { since, .. } = &mut incoming.stage {
                        *since = incoming.key.created_at;
                    }
                }
                for place in &mut observed.verifier_places {
                    for since in place.carries.values_mut() {
                        *since = Timestamp::EPOCH;
                    }
                }
            }
            Self::NoTargetAgreement => observed.verifier_places.clear(),
            Self::NoProbeAgreement => observed.verifier_places.retain(|place| place.kind != PlaceKind::Probe),
            Self::ProbesForgiven => {
                let probes = observed.verifier_places.iter_mut().filter(|place| place.kind == PlaceKind::Probe);
                probes.flat_map(|place| place.carries.values_mut()).for_each(|since| *since = Timestamp::EPOCH);
            }
            Self::CachedAnswersBelieved => {
                let readable = observed.verifier_places.iter_mut().filter(|place| place.as_of.is_some());
                readable.for_each(|place| place.as_of = Some(observed.now));
            }
            Self::NoSignerPlaces => observed.signer_places.clear(),
            Self::NoSignerLag => forget_fact(document, rules, FactName::SignerRefresh),
            Self::NoStoreLag => forget_fact(document, rules, FactName::StoreRefresh),
            Self::NoVerifierLag => forget_fact(document, rules, FactName::VerifierRefresh),
            Self::NoSharedCaches => forget_fact(document, rules, FactName::CacheMaxAge),
            Self::NoTokenLife => forget_fact(document, rules, FactName::TokenTtl),
            Self::NoSkew => forget_fact(document, rules, FactName::ClockSkew),
            Self::LoweredAtOnce => each_fact(document, |_, held| held.draining.clear()),
            Self::RaisedNever => each_fact(document, |name, held| held.value = held.value.min(rules.facts.get(name))),
            Self::NoServingWait => observed.serving_since = Timestamp::EPOCH,
            Self::FirstKeyAtOnce => rules.shared_store = false,
            Self::ClockBelieved => {
                if matches!(observed.fault, Some(Fault::ClocksParted { .. })) {
                    observed.fault = None;
                }
            }
            Self::WitnessIgnored => {
                if matches!(observed.fault, Some(Fault::Witness { .. })) {
                    observed.fault = None;
                }
            }
            Self::LateCommitsIgnored => observed.late_commits.clear(),
            Self::FreezeIgnored => document.intents.freeze = None,
            Self::RotationRushed => {
                let rushed = document.intents.rotate.take();
                document.intents.rotate_now = rushed.or(document.intents.rotate_now.take());
            }
            Self::EmergencyWaits => {
                let waits = document.intents.rotate_now.take();
                document.intents.rotate = waits.or(document.intents.rotate.take());
            }
            Self::UptakeIgnored => rules.uptake_bound = None,
            Self::LateTokensForgotten => {
                for report in &mut observed.uptake {
                    report.moves = report.moves.split_off(report.moves.len() - 1);
                }
            }
            Self::HoldIgnored => document.intents.hold = None,
            Self::ApprovalIgnored => rules.mode = Mode::Auto,
            Self::NoCompareAndSwap
            | Self::StaleReplicaReady
            | Self::NeverErased
            | Self::NeverRetired
            | Self::RevokedRetires
            | Self::CompromiseSparesIncoming
            | Self::RollbackDropsTheBad
            | Self::RevocationHurriesFirst
            | Self::LaggingOverwrites => {}
        }
    }
}

fn forget_fact(document: &mut Document, rules: &mut Rules, forgotten: FactName) {
    *rules.facts.of_mut(forgotten) = Span::ZERO;
    each_fact(document, |name, held| {
        if name == forgotten {
            *held = HeldFact::default();
        }
    });
}

fn each_fact(document: &mut Document, change: impl Fn(FactName, &mut HeldFact)) {
    for name in FactName::ALL {
        change(name, document.facts.of_mut(name));
    }
}

/// Lives named and random worlds under the mutant until one of them fails.
fn caught(mutant: Mutant) -> Option<String> {
    named::all()
        .into_iter()
        .chain(orders::named())
        .chain(edge::named())
        .chain(shared_place::named())
        .find_map(|(name, world)| world(Some(mutant)).err().map(|why| format!("{name}: {why}")))
        .or_else(|| (0..400).find_map(|seed| seeds::live(seed, Some(mutant)).err().map(|why| format!("seed {seed}: {why}"))))
}

#[test]
fn every_mutant_is_caught() {
    let mut escaped = Vec::new();
    for mutant in Mutant::ALL {
        match caught(mutant) {
            Some(how) => println!("{mutant:?} caught: {}", how.lines().next().unwrap_or_default()),
            None => escaped.push(mutant),
        }
    }
    assert!(escaped.is_empty(), "these broken rules were not noticed: {escaped:?}");
}
