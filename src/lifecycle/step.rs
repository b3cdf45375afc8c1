//! The steps that a keyset can take, and how a step becomes the next document.

use std::fmt;

use crate::digest::Digest;
use crate::document::change::{Cause, Draft, IllegalChange, Promise};
use crate::document::{Document, HeldFacts, Trigger};
use crate::key::{Key, KeySpec};
use crate::name::Kid;
use crate::rules::Rules;
use crate::time::Timestamp;
use crate::waits::Waits;

/// One step: one swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a new key; it enters as staged.
    Generate {
        /// What it is to be.
        spec: Box<KeySpec>,
    },
    /// A staged key has been read back everywhere.
    ConfirmPublished {
        /// Which.
        kid: Kid,
    },
    /// A published key begins to sign; the active one becomes retiring in the same swap.
    Activate {
        /// Which.
        kid: Kid,
    },
    /// What signs is erased from a retiring key.
    ErasePrivate {
        /// Whose.
        kid: Kid,
    },
    /// A retiring key leaves the key set.
    Retire {
        /// Which.
        kid: Kid,
    },
    /// A revoked key is gone from everywhere.
    ConfirmRevoked {
        /// Which.
        kid: Kid,
    },
    /// An incoming key is not wanted any more.
    Discard {
        /// Which.
        kid: Kid,
        /// Why not.
        why: String,
    },
    /// Old tombstones go.
    Forget {
        /// How many stay.
        keep: usize,
    },
    /// The policy's facts are recorded.
    AdoptFacts {
        /// As they are to be held.
        facts: Box<HeldFacts>,
    },
}

/// The kinds of steps, for forecasts and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // each is explained at its Step
pub enum StepKind {
    Generate,
    ConfirmPublished,
    Activate,
    ErasePrivate,
    Retire,
    ConfirmRevoked,
    Discard,
    Forget,
    AdoptFacts,
    /// Any step at all: when nothing may be decided.
    Any,
}

/// Why a step is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What set it off.
    pub trigger: Trigger,
    /// As a sentence.
    pub text: String,
}

impl StepKind {
    /// The kind's name in output and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::ConfirmPublished => "confirm-published",
            Self::Activate => "activate",
            Self::ErasePrivate => "erase",
            Self::Retire => "retire",
            Self::ConfirmRevoked => "confirm-revoked",
            Self::Discard => "discard",
            Self::Forget => "forget",
            Self::AdoptFacts => "adopt-facts",
            Self::Any => "any",
        }
    }
}

/// As people read it.
impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Self::Any { "everything" } else { self.as_str() })
    }
}

impl Step {
    /// The existing key that it is about, if there is one.
    pub const fn kid(&self) -> Option<&Kid> {
        match self {
            Self::ConfirmPublished { kid }
            | Self::Activate { kid }
            | Self::ErasePrivate { kid }
            | Self::Retire { kid }
            | Self::ConfirmRevoked { kid }
            | Self::Discard { kid, .. } => Some(kid),
            Self::Generate { .. } | Self::Forget { .. } | Self::AdoptFacts { .. } => None,
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> StepKind {
        match self {
            Self::Generate { .. } => StepKind::Generate,
            Self::ConfirmPublished { .. } => StepKind::ConfirmPublished,
            Self::Activate { .. } => StepKind::Activate,
            Self::ErasePrivate { .. } => StepKind::ErasePrivate,
            Self::Retire { .. } => StepKind::Retire,
            Self::ConfirmRevoked { .. } => StepKind::ConfirmRevoked,
            Self::Discard { .. } => StepKind::Discard,
            Self::Forget { .. } => StepKind::Forget,
            Self::AdoptFacts { .. } => StepKind::AdoptFacts,
        }
    }
}

/// The document after `step`, decided at `now`. A `Generate` takes the key that was made for it. `parent` is the digest of `document`
/// (see [`Draft::of`]).
///
/// # Errors
/// If the document does not allow the step, or a `Generate` comes without its key.
pub fn apply(
    document: &Document,
    parent: Option<Digest>,
    (step, reason): (&Step, &Reason),
    rules: &Rules,
    now: Timestamp,
    new_key: Option<Key>,
) -> Result<Document, IllegalChange> {
    let waits = Waits::at(document, rules, now);
    let cause = Cause { now, trigger: reason.trigger, reason: reason.text.clone(), by: None };
    let mut draft = Draft::of(document, parent, cause, Promise { propagation: waits.propagation, retention: waits.retention });
    if rules.in_force() {
        draft.note_stated(rules.stated());
    }
    match step {
        Step::Generate { spec } => {
            let key = new_key.ok_or(IllegalChange::NoKey)?;
            draft.stage(key)?;
            draft.note_spec(spec.digest());
            // The first document holds the facts from its first moment.
            if let Some(facts) = draft.document().facts.adopting(&rules.facts, draft.now()) {
                draft.adopt_facts(facts);
            }
        }
        Step::ConfirmPublished { kid } => draft.confirm_published(kid)?,
        Step::Activate { kid } => draft.activate(kid)?,
        Step::ErasePrivate { kid } => draft.erase_private(kid)?,
        Step::Retire { kid } => draft.retire(kid)?,
        Step::ConfirmRevoked { kid } => draft.confirm_revoked(kid)?,
        Step::Discard { kid, why } => draft.discard(kid, why)?,
        Step::Forget { keep } => draft.forget(*keep),
        Step::AdoptFacts { facts } => draft.adopt_facts((**facts).clone()),
    }
    Ok(draft.finish())
}
