//! The lives of a keyset's keys: which key is in which state from when to when, as the document tells and the forecast foretells.

use crate::document::{Document, LiveKey, StateName, Tombstone};
use crate::forecast::Foretold;
use crate::lifecycle::StepKind;
use crate::name::Kid;
use crate::time::Timestamp;

/// One key's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Whose.
    pub kid: Kid,
    /// Its states in order, each beginning where the one before ends. Never empty.
    pub phases: Vec<Phase>,
    /// When it leaves the key set; `None`: not within the forecast.
    pub end: Option<Timestamp>,
}

/// A key being in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// The state.
    pub state: StateName,
    /// Since when.
    pub from: Timestamp,
}

impl Life {
    /// The state at `at`; `None` before the key exists and after it is gone.
    pub fn state_at(&self, at: Timestamp) -> Option<StateName> {
        if self.end.is_some_and(|end| at >= end) {
            return None;
        }
        self.phases.iter().rev().find(|phase| phase.from <= at).map(|phase| phase.state)
    }

    /// When it began.
    pub fn begins(&self) -> Timestamp {
        self.phases.first().map_or(Timestamp::MAX, |phase| phase.from)
    }

    /// Whether something of it lies between the two.
    pub fn is_within(&self, start: Timestamp, end: Timestamp) -> bool {
        self.begins() < end && self.end.is_none_or(|gone| gone > start)
    }

    /// When it begins to sign, if it does.
    pub fn activated_at(&self) -> Option<Timestamp> {
        self.phases.iter().find(|phase| phase.state == StateName::Active).map(|phase| phase.from)
    }

    fn enter(&mut self, state: StateName, from: Timestamp) {
        // A state that is left in the moment it was entered was never seen.
        self.phases.retain(|phase| phase.from < from);
        self.phases.push(Phase { state, from });
    }

    fn of(key: &LiveKey<'_>) -> Self {
        let mut life = Self { kid: key.key.kid.clone(), phases: Vec::new(), end: None };
        let past = [
            (StateName::Staged, Some(key.key.created_at)),
            (StateName::Published, key.published_at),
            (StateName::Active, key.activated_at),
        ];
        for (state, from) in past {
            if let Some(from) = from.filter(|from| *from < key.since) {
                life.enter(state, from);
            }
        }
        life.enter(key.state, key.since);
        life
    }
}

/// Every key that lives now or will live within the forecast, the oldest first.
pub fn lives(document: &Document, steps: &[Foretold]) -> Vec<Life> {
    let mut lives: Vec<Life> = document.live().map(|live| Life::of(&live)).collect();
    let mut active = document.active.as_ref().map(|a| a.key.kid.clone());
    for step in steps {
        let Some(kid) = &step.kid else { continue };
        match step.step {
            StepKind::Generate => {
                lives.push(Life { kid: kid.clone(), phases: vec![Phase { state: StateName::Staged, from: step.at }], end: None });
            }
            StepKind::ConfirmPublished => enter(&mut lives, kid, StateName::Published, step.at),
            StepKind::Activate => {
                if let Some(old) = active.replace(kid.clone()) {
                    enter(&mut lives, &old, StateName::Retiring, step.at);
                }
                enter(&mut lives, kid, StateName::Active, step.at);
            }
            StepKind::Retire | StepKind::Discard => {
                if let Some(life) = lives.iter_mut().find(|life| life.kid == *kid) {
                    life.end = Some(step.at);
                }
            }
            StepKind::ErasePrivate | StepKind::ConfirmRevoked | StepKind::Forget | StepKind::AdoptFacts | StepKind::Any => {}
        }
    }
    lives.sort_by_key(Life::begins);
    lives
}

/// Every key that is gone and that the document remembers, the oldest first.
pub fn gone(document: &Document) -> Vec<Life> {
    let life = |tombstone: &Tombstone| {
        let mut life = Life { kid: tombstone.kid.clone(), phases: Vec::new(), end: Some(tombstone.ended_at) };
        let states = [
            (StateName::Staged, Some(tombstone.created_at)),
            (StateName::Published, tombstone.published_at),
            (StateName::Active, tombstone.activated_at),
            (StateName::Retiring, tombstone.retiring_at),
        ];
        for (state, from) in states {
            if let Some(from) = from {
                life.enter(state, from);
            }
        }
        life
    };
    let mut lives: Vec<Life> = document.tombstones.iter().map(life).collect();
    lives.sort_by_key(Life::begins);
    lives
}

fn enter(lives: &mut [Life], kid: &Kid, state: StateName, at: Timestamp) {
    if let Some(life) = lives.iter_mut().find(|life| life.kid == *kid) {
        life.enter(state, at);
    }
}
