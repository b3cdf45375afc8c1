//! How one document becomes the next: every lawful transition of a key, and nothing else.
//!
//! A [`Draft`] collects one or more transitions that are to happen in the same swap; [`Draft::finish`] makes the successor. A
//! transition that its key's state does not allow is an error, so that a decision that was wrong cannot be carried out.

mod imports;
mod intents;

use std::sync::Arc;

use super::{Active, Change, Document, End, Generation, HistoryEntry, Incoming, LINEAGE_LENGTH, MOST_LIVE_KEYS};
use super::{HeldFacts, Retiring, Stage, StateName, Stated, Tombstone, Trigger};
use crate::digest::Digest;
use crate::document::history::HISTORY_LENGTH;
use crate::document::revoked_grants::MOST;
use crate::key::Key;
use crate::name::Kid;
use crate::time::{Span, Timestamp};

/// A transition that the document does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalChange {
    /// There is no live key of that name.
    #[error("there is no live key {0} in this keyset; hint: `keyrota status` with the keyset's name lists its keys")]
    UnknownKey(Kid),
    /// The key is in a state that does not allow it.
    #[error(
        "key {kid} is {state}, and only a key that is {wanted} can do that; hint: `keyrota status` with the keyset's name lists its keys"
    )]
    WrongState {
        /// Which.
        kid: Kid,
        /// What it is.
        state: StateName,
        /// What it should be.
        wanted: &'static str,
    },
    /// The kid was used before in this keyset.
    #[error("kid {0} was used before in this keyset, and a kid is never used twice; hint: choose another kid")]
    KidUsed(Kid),
    /// The key is of another class than the keyset.
    #[error("key {0} is of another class than its keyset; hint: key pairs, HMAC secrets and API keys are keysets of their own")]
    WrongClass(Kid),
    /// There is no room.
    #[error("the keyset holds {MOST_LIVE_KEYS} live keys already; hint: wait until retiring keys have left")]
    Full,
    /// A new key was decided on, and none was handed in.
    #[error("a new key was to be staged, and none was made; hint: this is a fault of keyrota's: please report it")]
    NoKey,
    /// As many revocations of refresh tokens as a document has room for.
    #[error(
        "the keyset holds {MOST} revocations of refresh tokens already; hint: --all takes the place of the others; or wait until the first of them are over"
    )]
    GrantsFull,
    /// The private half is gone.
    #[error("the private half of key {0} has been erased; hint: go forward with `keyrota rotate`")]
    Erased(Kid),
}

/// What sets a change off, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// When it was decided.
    pub now: Timestamp,
    /// What set it off.
    pub trigger: Trigger,
    /// Why, as a sentence.
    pub reason: String,
    /// Who asked, if somebody did.
    pub by: Option<String>,
}

/// The waits that hold when the change is made; written beside the keys for those who read the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// From published to active.
    pub propagation: Span,
    /// From retiring to retired.
    pub retention: Span,
}

/// The successor of a document under construction.
#[derive(Debug)]
pub struct Draft {
    document: Document,
    parent: Option<(Generation, Digest)>,
    cause: Cause,
    promise: Promise,
    changes: Vec<Change>,
}

type Legal = Result<(), IllegalChange>;

impl Draft {
    /// Begins the successor of `document`, whose digest is `parent`: the successor's lineage names it. `None` for a successor that is
    /// only looked at and never stored, because a digest costs writing a whole document out.
    pub fn of(document: &Document, parent: Option<Digest>, cause: Cause, promise: Promise) -> Self {
        let parent = parent.filter(|_| document.is_stored()).map(|digest| (document.generation, digest));
        Self { document: document.clone(), parent, cause, promise, changes: Vec::new() }
    }

    /// When the change was decided.
    pub const fn now(&self) -> Timestamp {
        self.cause.now
    }

    /// The successor as it stands.
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Makes the successor: one generation further, with its predecessor's digest and its changes in the history.
    pub fn finish(self) -> Document {
        let Self { mut document, parent, cause, changes, .. } = self;
        if let Some(parent) = parent {
            document.lineage.insert(0, parent);
            document.lineage.truncate(LINEAGE_LENGTH);
        }
        document.generation = document.generation.next();
        document.updated_at = document.updated_at.max(cause.now);
        document.revoked_grants.retain(|entry| cause.now < entry.until);
        let said = document.history.iter().rev().find(|entry| *entry.reason == *cause.reason);
        let reason = said.map_or_else(|| cause.reason.into(), |entry| Arc::clone(&entry.reason));
        let (generation, at, trigger) = (document.generation, cause.now, cause.trigger);
        document.history.extend(changes.into_iter().map(|change| HistoryEntry {
            generation,
            at,
            trigger,
            reason: Arc::clone(&reason),
            by: cause.by.clone(),
            change,
        }));
        let excess = document.history.len().saturating_sub(HISTORY_LENGTH);
        document.history.drain(..excess);
        document.let_go_of_spare_room();
        document
    }

    /// A new key enters as staged.
    ///
    /// # Errors
    /// If its kid was used before, it is of another class, or the keyset is full.
    pub fn stage(&mut self, key: Key) -> Legal {
        self.admit(&key)?;
        self.moved(&key.kid, None, StateName::Staged);
        self.document.incoming.push(Incoming { key, stage: Stage::Staged { since: self.cause.now } });
        Ok(())
    }

    /// A staged key has been seen in every place that verifiers read.
    ///
    /// # Errors
    /// If it is not staged.
    pub fn confirm_published(&mut self, kid: &Kid) -> Legal {
        let now = self.cause.now;
        let not_before_active = now + self.promise.propagation;
        let key = self.incoming_mut(kid)?;
        if key.stage.published_at().is_some() {
            return Err(IllegalChange::WrongState { kid: kid.clone(), state: StateName::Published, wanted: "staged" });
        }
        key.stage = Stage::Published { since: now, not_before_active };
        self.moved(kid, Some(StateName::Staged), StateName::Published);
        Ok(())
    }

    /// A published key begins to sign; the one that signed until now becomes retiring in the same breath.
    ///
    /// # Errors
    /// If it is not published.
    pub fn activate(&mut self, kid: &Kid) -> Legal {
        let now = self.cause.now;
        let Some(published_at) = self.incoming_mut(kid)?.stage.published_at() else {
            return Err(IllegalChange::WrongState { kid: kid.clone(), state: StateName::Staged, wanted: "published" });
        };
        let key = self.take_incoming(kid)?.key;
        self.stand_down();
        if self.document.rotated_at.is_some() || !self.document.retiring.is_empty() || !self.document.tombstones.is_empty() {
            self.document.rotated_at = Some(now);
        }
        self.moved(kid, Some(StateName::Published), StateName::Active);
        self.document.active = Some(Active { key, since: now, published_at });
        self.document.intents.forget_kid(kid);
        self.document.intents.rotate = None;
        self.document.intents.rotate_now = None;
        self.document.intents.hold = None;
        Ok(())
    }

    /// What signs is erased from a retiring key.
    ///
    /// # Errors
    /// If it is not retiring.
    pub fn erase_private(&mut self, kid: &Kid) -> Legal {
        let at = self.retiring_position(kid)?;
        let retiring = self.document.retiring.remove(at);
        self.document.retiring.insert(at, Retiring { key: retiring.key.erased(), ..retiring });
        self.changes.push(Change::PrivateErased { kid: kid.clone() });
        Ok(())
    }

    /// A retiring key leaves the key set.
    ///
    /// # Errors
    /// If it is not retiring.
    pub fn retire(&mut self, kid: &Kid) -> Legal {
        let at = self.retiring_position(kid)?;
        let gone = self.document.retiring.remove(at);
        self.moved(kid, Some(StateName::Retiring), StateName::Retired);
        self.bury(&gone.key, Some(gone.published_at), gone.activated_at, Some(gone.since), End::Retired);
        Ok(())
    }

    /// A key that never signed is not wanted any more.
    ///
    /// # Errors
    /// If it is not staged or published.
    pub fn discard(&mut self, kid: &Kid, why: &str) -> Legal {
        let gone = self.take_incoming(kid)?;
        let from = if gone.stage.published_at().is_some() { StateName::Published } else { StateName::Staged };
        self.moved(kid, Some(from), StateName::Retired);
        self.document.intents.forget_kid(kid);
        self.bury(&gone.key, gone.stage.published_at(), None, None, End::Discarded { why: why.to_owned() });
        Ok(())
    }

    /// A key is compromised: it leaves the key set at once, whatever its state.
    ///
    /// # Errors
    /// If it is not alive.
    pub fn revoke(&mut self, kid: &Kid, reason: &str) -> Legal {
        let live = self.document.live_key(kid).ok_or_else(|| IllegalChange::UnknownKey(kid.clone()))?;
        let (from, published_at, activated_at) = (live.state, live.published_at, live.activated_at);
        let retiring_at = (from == StateName::Retiring).then_some(live.since);
        let key = live.key.clone();
        self.document.incoming.retain(|i| i.key.kid != *kid);
        self.document.retiring.retain(|r| r.key.kid != *kid);
        self.document.active.take_if(|a| a.key.kid == *kid);
        self.document.intents.forget_kid(kid);
        self.moved(kid, Some(from), StateName::Revoked);
        let end = End::Revoked { reason: reason.to_owned(), confirmed_at: None };
        self.bury(&key, published_at, activated_at, retiring_at, end);
        Ok(())
    }

    /// A revoked key has been seen gone from every place that verifiers read.
    ///
    /// # Errors
    /// If it is not revoked.
    pub fn confirm_revoked(&mut self, kid: &Kid) -> Legal {
        let now = self.cause.now;
        let tombstone = self.document.tombstones.iter_mut().find(|t| t.kid == *kid);
        match tombstone.map(|t| &mut t.end) {
            Some(End::Revoked { confirmed_at, .. }) => *confirmed_at = Some(now),
            _ => return Err(IllegalChange::UnknownKey(kid.clone())),
        }
        self.changes.push(Change::RevocationConfirmed { kid: kid.clone() });
        Ok(())
    }

    /// The key that signed before becomes active again, and the one that signs now becomes retiring.
    ///
    /// # Errors
    /// If the key is not retiring, or its private half is gone.
    pub fn roll_back(&mut self, kid: &Kid) -> Legal {
        let at = self.retiring_position(kid)?;
        if self.document.retiring.get(at).is_some_and(|r| !r.key.can_sign()) {
            return Err(IllegalChange::Erased(kid.clone()));
        }
        let restored = self.document.retiring.remove(at);
        self.stand_down();
        self.moved(kid, Some(StateName::Retiring), StateName::Active);
        self.document.rotated_at = Some(self.cause.now);
        self.document.active = Some(Active { key: restored.key, since: self.cause.now, published_at: restored.published_at });
        Ok(())
    }

    /// Tombstones beyond the latest `keep` are forgotten, the kids of revoked keys excepted, which stay as digests.
    pub fn forget(&mut self, keep: usize) {
        let forgotten = self.document.tombstones.split_off(keep.min(self.document.tombstones.len()));
        self.changes.push(Change::Forgotten { count: forgotten.len() });
        for tombstone in forgotten.iter().filter(|t| t.end.state() == StateName::Revoked) {
            self.document.spent_kids.insert(Digest::of(tombstone.kid.as_str().as_bytes()));
        }
    }

    /// The policy's facts are adopted.
    pub fn adopt_facts(&mut self, facts: HeldFacts) {
        self.document.facts = facts;
        self.changes.push(Change::FactsAdopted);
    }

    /// Notes what the policy states under which this was decided.
    pub fn note_stated(&mut self, fields: String) {
        self.document.stated = Some(Stated { at: self.cause.now, fields });
    }

    /// Notes that this specification of keys has brought a rotation forward.
    pub fn note_spec(&mut self, spec: Digest) {
        if !self.document.started_specs.contains(&spec) {
            self.document.started_specs.push(spec);
            let excess = self.document.started_specs.len().saturating_sub(16);
            self.document.started_specs.drain(..excess);
        }
    }

    fn admit(&self, key: &Key) -> Legal {
        if self.document.knows(&key.kid) {
            return Err(IllegalChange::KidUsed(key.kid.clone()));
        }
        if key.class() != self.document.class {
            return Err(IllegalChange::WrongClass(key.kid.clone()));
        }
        if self.document.live().count() >= MOST_LIVE_KEYS { Err(IllegalChange::Full) } else { Ok(()) }
    }

    /// The active key, if there is one, becomes retiring.
    fn stand_down(&mut self) {
        let now = self.cause.now;
        if let Some(old) = self.document.active.take() {
            self.moved(&old.key.kid, Some(StateName::Active), StateName::Retiring);
            let (published_at, activated_at) = (old.published_at, Some(old.since));
            let verify_until = now + self.promise.retention;
            self.document.retiring.insert(0, Retiring { key: old.key, since: now, published_at, activated_at, verify_until });
        }
    }

    fn incoming_mut(&mut self, kid: &Kid) -> Result<&mut Incoming, IllegalChange> {
        let wrong = self.wrong_state(kid, "staged or published");
        self.document.incoming.iter_mut().find(|i| i.key.kid == *kid).ok_or(wrong)
    }

    fn take_incoming(&mut self, kid: &Kid) -> Result<Incoming, IllegalChange> {
        let at = self.document.incoming.iter().position(|i| i.key.kid == *kid);
        at.map(|at| self.document.incoming.remove(at)).ok_or_else(|| self.wrong_state(kid, "staged or published"))
    }

    fn retiring_position(&self, kid: &Kid) -> Result<usize, IllegalChange> {
        let at = self.document.retiring.iter().position(|r| r.key.kid == *kid);
        at.ok_or_else(|| self.wrong_state(kid, "retiring"))
    }

    fn wrong_state(&self, kid: &Kid, wanted: &'static str) -> IllegalChange {
        match self.document.live_key(kid) {
            Some(live) => IllegalChange::WrongState { kid: kid.clone(), state: live.state, wanted },
            None => IllegalChange::UnknownKey(kid.clone()),
        }
    }

    fn bury(
        &mut self,
        key: &Key,
        published_at: Option<Timestamp>,
        activated_at: Option<Timestamp>,
        retiring_at: Option<Timestamp>,
        end: End,
    ) {
        let tombstone = Tombstone {
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            created_at: key.created_at,
            published_at,
            activated_at,
            retiring_at,
            ended_at: self.cause.now,
            end,
        };
        self.document.tombstones.insert(0, tombstone);
    }

    fn moved(&mut self, kid: &Kid, from: Option<StateName>, to: StateName) {
        self.changes.push(Change::KeyMoved { kid: kid.clone(), from, to });
    }
}
