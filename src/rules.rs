//! What a policy asks of one keyset, in the form in which decisions use it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::{Document, FactName, Facts};
use crate::key::KeySpec;
use crate::policy::{KeysetPolicy, Mode, Probed, Source, Start, StoreConfig, VerifierShape, Window};
use crate::time::Span;

/// The fields of a policy that decisions rest on, by their names there. Only ever appended to.
pub const FIELDS: [&str; 17] = [
    "algorithm",
    "source",
    "rotate_every",
    "max_age",
    "rollback_window",
    "jitter",
    "rotation_window",
    "mode",
    "verifier",
    "token_ttl",
    "verifier_refresh",
    "signer_refresh",
    "verifier_retry",
    "clock_skew",
    "cache_max_age",
    "store.sweep_every",
    "margin",
];

/// How many characters of a field's digest are kept: enough to see a difference, and few enough for a document.
const STATED_LENGTH: usize = 4;

/// The rules of one keyset. Written down in status reports, so that a plan can be made elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// What new keys are to be.
    pub spec: KeySpec,
    /// Who makes keys.
    pub source: Source,
    /// How the keyset begins.
    pub start: Start,
    /// The facts as the policy states them.
    pub facts: Facts,
    /// The longest a key signs before its successor takes over.
    pub rotate_every: Span,
    /// A signing key older than this is stale.
    pub max_age: Span,
    /// How long a retiring key can still be made active again.
    pub rollback_window: Span,
    /// How much earlier, at most, a rotation may come, so that keysets do not all rotate at once.
    pub jitter: Span,
    /// When scheduled change-overs may happen; at any time without one.
    pub window: Option<Window>,
    /// Who says when.
    pub mode: Mode,
    /// What verifiers can hold.
    pub verifier: VerifierShape,
    /// How much longer than its retention wait a retiring key is kept at most for signers that report an earlier generation; `None`:
    /// reports hold nothing up.
    #[serde(default)]
    pub uptake_bound: Option<Span>,
    /// Whether refresh tokens are sealed with its keys.
    #[serde(default)]
    pub seals: bool,
    /// Whether other hosts write to the same store.
    pub shared_store: bool,
    /// What is looked at from outside before a key signs.
    #[serde(default)]
    pub probed: Probed,
    /// Whether the policy that states all this can be followed.
    #[serde(default)]
    pub standing: Standing,
}

/// Whether the policy that states a keyset's rules can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is in force.
    #[default]
    InForce,
    /// Its file is broken now. What was promised is kept and a missing active key is replaced, but nothing scheduled begins.
    Broken,
    /// The keyset is in no policy any more: it is served and drained, and rotates no more.
    Orphaned,
}

impl Rules {
    /// The rules that a policy states.
    pub fn of(policy: &KeysetPolicy, store: &StoreConfig) -> Self {
        Self {
            spec: policy.spec.clone(),
            source: policy.source,
            start: policy.start,
            facts: policy.facts,
            rotate_every: policy.rotate_every,
            max_age: policy.max_age,
            rollback_window: policy.rollback_window,
            jitter: policy.jitter,
            window: policy.window.clone(),
            mode: policy.mode,
            verifier: policy.verifier,
            uptake_bound: policy.uptake_bound,
            seals: policy.seals,
            shared_store: store.is_shared(),
            probed: Probed::by(&policy.probes),
            standing: Standing::InForce,
        }
    }

    /// Some characters of a digest of each of [`FIELDS`], in their order.
    pub fn stated(&self) -> String {
        let short = |value: serde_json::Result<String>| {
            let digest = Digest::of(value.unwrap_or_default().as_bytes()).to_string();
            digest.chars().take(STATED_LENGTH).collect::<String>()
        };
        let own = [
            serde_json::to_string(&self.spec),
            serde_json::to_string(&self.source),
            serde_json::to_string(&self.rotate_every),
            serde_json::to_string(&self.max_age),
            serde_json::to_string(&self.rollback_window),
            serde_json::to_string(&self.jitter),
            serde_json::to_string(&self.window),
            serde_json::to_string(&self.mode),
            serde_json::to_string(&self.verifier),
        ];
        let facts = FactName::ALL.map(|fact| serde_json::to_string(&self.facts.get(fact)));
        own.into_iter().chain(facts).map(short).collect()
    }

    /// The fields in which a policy differs that was stated so; all of one that states other fields than this version knows.
    pub fn differing(&self, stated: &str) -> Vec<&'static str> {
        let own = self.stated();
        let part = |text: &str, n: usize| text.get(n * STATED_LENGTH..(n + 1) * STATED_LENGTH).map(str::to_owned);
        FIELDS.into_iter().enumerate().filter(|(n, _)| part(&own, *n) != part(stated, *n)).map(|(_, field)| field).collect()
    }

    /// Whether keys may be made, thrown away and changed over on the word of this policy.
    pub fn in_force(&self) -> bool {
        self.standing == Standing::InForce
    }

    /// Whether the keyset is in no policy any more.
    pub fn is_orphaned(&self) -> bool {
        self.standing == Standing::Orphaned
    }

    /// The rules of a keyset that vanished from its policy: nothing new happens, and what the document promised is kept.
    pub fn orphan(document: &Document) -> Self {
        let algorithm = document.live().next().map_or(crate::key::Algorithm::HS256, |live| live.key.algorithm);
        Self {
            spec: KeySpec::Pair { algorithm, rsa_bits: 0, kid: crate::key::KidFormat::Uuid, certificate: None },
            source: Source::External,
            start: Start::Import,
            facts: Facts::default(),
            rotate_every: Span::days(366 * 1000),
            max_age: Span::days(366 * 1000),
            rollback_window: Span::ZERO,
            jitter: Span::ZERO,
            window: None,
            mode: Mode::Manual,
            verifier: VerifierShape::Overlapping,
            uptake_bound: None,
            seals: false,
            shared_store: true,
            probed: Probed::default(),
            standing: Standing::Orphaned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_differ_are_named() {
        let id = "test/a".parse().unwrap();
        let rules = Rules::orphan(&Document::empty(id, crate::key::KeyClass::Hmac));
        assert_eq!(rules.stated().len(), FIELDS.len() * STATED_LENGTH);
        assert!(rules.differing(&rules.stated()).is_empty());
        let mut other = Rules { rotate_every: Span::days(7), mode: Mode::Auto, ..rules.clone() };
        other.facts.token_ttl = Span::hours(2);
        other.facts.margin = Span::minutes(1);
        assert_eq!(rules.differing(&other.stated()), ["rotate_every", "mode", "token_ttl", "margin"]);
        assert_eq!(rules.differing("").len(), FIELDS.len(), "of what was not stated nothing is known to be the same");
    }
}
