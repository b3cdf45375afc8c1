//! What a policy asks of one keyset, in the form in which decisions use it.

use serde::{Deserialize, Serialize};

use crate::document::{Document, Facts};
use crate::key::KeySpec;
use crate::policy::{KeysetPolicy, Mode, Probed, Source, Start, StoreConfig, VerifierShape, Window};
use crate::time::Span;

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
            shared_store: store.is_shared(),
            probed: Probed::by(&policy.probes),
            standing: Standing::InForce,
        }
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
            shared_store: true,
            probed: Probed::default(),
            standing: Standing::Orphaned,
        }
    }
}
