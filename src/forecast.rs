//! What will happen to a keyset if nothing comes between: [`lifecycle::next`] on a virtual clock over the real document.
//!
//! There is no second implementation of the schedule: this is the daemon's own decision, told that every place agrees at once.

use std::collections::BTreeMap;

use crate::document::Document;
use crate::jwk::{OkpCurve, PublicJwk, PublicNumbers};
use crate::key::{Key, KeyClass, KeySpec, Material, Origin};
use crate::lifecycle::{self, Decision, Pending, Reason, Step, StepKind};
use crate::name::Kid;
use crate::observed::{Observed, PlaceKind, VerifierPlace};
use crate::rules::Rules;
use crate::secret::SecretText;
use crate::time::Timestamp;

/// The most steps that are foretold, whatever the horizon.
pub const MOST_FORETOLD: usize = 10_000;

/// What is foretold.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The steps to come, in order.
    pub steps: Vec<Foretold>,
    /// The document at the end.
    pub end: Document,
    /// What holds the keyset up at the end for as long as nobody does anything; empty if only time does.
    pub stuck: Vec<Pending>,
}

/// A step to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foretold {
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: StepKind,
    /// On which key; a key that does not exist yet is called `next-1`, `next-2`, and so on.
    pub kid: Option<Kid>,
    /// Why.
    pub reason: Reason,
}

/// Foretells what happens to `document` from `observed.now` until `horizon`.
pub fn forecast(document: &Document, rules: &Rules, observed: &Observed, horizon: Timestamp) -> Forecast {
    let mut document = document.clone();
    let mut observed = observed.clone();
    if rules.probed.places > 0 && !observed.verifier_places.iter().any(|place| place.kind == PlaceKind::Probe) {
        let name = "the probes".to_owned();
        observed.verifier_places.push(VerifierPlace { name, kind: PlaceKind::Probe, carries: BTreeMap::new(), as_of: None });
    }
    let mut told = Vec::new();
    let mut made = 0;
    while told.len() < MOST_FORETOLD {
        agree_everywhere(&mut observed, &document, rules);
        match lifecycle::next(&document, rules, &observed) {
            Decision::Do(step, reason) => {
                let key = match &step {
                    Step::Generate { spec } => {
                        made += 1;
                        placeholder(&document, spec, made, observed.now)
                    }
                    _ => None,
                };
                let kid = key.as_ref().map(|k| k.kid.clone()).or_else(|| step.kid().cloned());
                let Ok(next) = lifecycle::apply(&document, None, (&step, &reason), rules, observed.now, key) else { break };
                told.push(Foretold { at: observed.now, step: step.kind(), kid, reason });
                document = next;
            }
            Decision::Wait(wait) => {
                let Some(until) = wait.until.filter(|until| *until <= horizon) else {
                    let stuck = wait.pending.into_iter().filter(|p| p.at.is_none()).collect();
                    return Forecast { steps: told, end: document, stuck };
                };
                observed.now = until;
            }
        }
    }
    Forecast { steps: told, end: document, stuck: Vec::new() }
}

/// Targets are written at once, every probe sees it with its next look, and signers keep the facts.
fn agree_everywhere(observed: &mut Observed, document: &Document, rules: &Rules) {
    let now = observed.now;
    observed.uptake.clear();
    for place in &mut observed.verifier_places {
        let from = if place.kind == PlaceKind::Probe { now + rules.probed.within } else { now };
        for live in document.live() {
            place.carries.entry(live.key.kid.clone()).or_insert(from);
        }
        place.carries.retain(|kid, _| document.live_key(kid).is_some());
        place.as_of = Some(now);
    }
    for retiring in &document.retiring {
        for place in &mut observed.signer_places {
            place.left.entry(retiring.key.kid.clone()).or_insert(now.min(retiring.since));
        }
    }
}

/// A key that stands for one that will be made: `next-<number>`, or the first after it whose name is free. `None` if none is.
pub fn placeholder(document: &Document, spec: &KeySpec, number: usize, now: Timestamp) -> Option<Key> {
    let kid = (number..).take(MOST_FORETOLD).find_map(|n| format!("next-{n}").parse().ok().filter(|kid| !document.knows(kid)))?;
    let words = || SecretText::new("(not made yet)".into());
    let material = match spec.class() {
        KeyClass::Asymmetric => {
            let numbers = PublicNumbers::Okp { crv: OkpCurve::Ed25519, x: "".into() };
            Material::Pair { public: PublicJwk::new(Kid::clone(&kid), spec.algorithm(), numbers), private: Some(words()) }
        }
        KeyClass::Hmac => Material::Hmac { secret: words() },
        KeyClass::ApiKey => Material::ApiKey { secret: Some(words()), digest: crate::digest::Digest::of(b"") },
    };
    let bits = spec.bits().unwrap_or(0);
    let origin = if matches!(spec, KeySpec::Vendor { .. }) { Origin::Imported } else { Origin::Generated };
    Some(Key { kid, algorithm: spec.algorithm(), bits, created_at: now, origin, expires_at: None, material })
}
