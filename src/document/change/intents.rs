//! The transitions that only an operator sets off: wishes that are noted in the document, and times that are set right.

use super::{Change, Draft, IllegalChange, Legal};
use crate::document::{Freeze, Grants, Intent, Moved, RevokedGrants, Stage, revoked_grants};
use crate::name::{Generation, Kid};
use crate::time::Timestamp;

impl Draft {
    /// An operator asks for the next rotation now, or takes that back.
    pub fn request_rotation(&mut self, intent: Option<Intent>) {
        self.document.intents.rotate = intent;
        self.noted("rotate");
    }

    /// An operator asks for the next rotation at once, without its waits.
    pub fn request_rotation_now(&mut self, intent: Intent) {
        self.document.intents.rotate_now = Some(intent);
        self.noted("rotate-now");
    }

    /// An operator goes on from the document as it is, although this host had seen generation `seen` of another: no generation up to
    /// that is used again, so that whoever saw it takes what follows for news.
    pub fn accept(&mut self, seen: Generation) {
        self.noted("accept");
        self.document.generation = self.document.generation.max(seen);
    }

    /// An operator freezes scheduled steps, or lets them go on.
    pub fn freeze(&mut self, freeze: Option<Freeze>) {
        self.document.intents.freeze = freeze;
        self.noted("freeze");
    }

    /// The keyset moves to or from another store, or has arrived.
    pub fn move_between_stores(&mut self, moved: Option<Moved>) {
        self.noted(match &moved {
            Some(Moved::MovedTo(_)) => "moved-to",
            Some(Moved::MovedFrom(_)) => "moved-from",
            None => "arrived",
        });
        self.document.intents.moved = moved;
    }

    /// Incoming keys are held until they are approved.
    pub fn hold_incoming(&mut self, intent: Intent) {
        self.document.intents.hold = Some(intent);
        self.noted("hold");
    }

    /// An operator approves the activation of an incoming key.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn approve(&mut self, kid: &Kid, intent: Intent) -> Legal {
        self.incoming_mut(kid)?;
        // Said twice is noted once, the later word: a document stays small.
        self.document.intents.approved.retain(|(approved, _)| approved != kid);
        self.document.intents.approved.push((kid.clone(), intent));
        self.noted("approve");
        Ok(())
    }

    /// An operator says that an incoming key must not become active.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn taint(&mut self, kid: &Kid, intent: Intent) -> Legal {
        self.incoming_mut(kid)?;
        self.document.intents.tainted.retain(|(tainted, _)| tainted != kid);
        self.document.intents.tainted.push((kid.clone(), intent));
        self.noted("taint");
        Ok(())
    }

    /// Refresh tokens that were given up to `before` are accepted no more. Noted until the last of them has expired, as far as the
    /// document has ever promised that they live.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn revoke_grants(&mut self, whom: Grants, before: Timestamp) -> Legal {
        let now = self.cause.now;
        let facts = self.document.facts.promised(now);
        let until = before + facts.token_ttl + facts.clock_skew * 2;
        self.noted(&format!("revoke refresh tokens {whom}, up to {before}"));
        let more = RevokedGrants { whom, before, until };
        self.document.revoked_grants = revoked_grants::with(&self.document.revoked_grants, more, now).ok_or(IllegalChange::GrantsFull)?;
        Ok(())
    }

    /// Every time that lies after `now` is set to now, and so every wait counted from it starts again.
    pub fn reset_future_times(&mut self) {
        let now = self.cause.now;
        let document = &mut self.document;
        document.updated_at = document.updated_at.min(now);
        document.rotated_at = document.rotated_at.map(|at| at.min(now));
        for incoming in &mut document.incoming {
            incoming.key.created_at = incoming.key.created_at.min(now);
            incoming.stage = match incoming.stage {
                Stage::Staged { since } => Stage::Staged { since: since.min(now) },
                Stage::Published { since, .. } => {
                    Stage::Published { since: since.min(now), not_before_active: since.min(now) + self.promise.propagation }
                }
            };
        }
        if let Some(active) = &mut document.active {
            active.key.created_at = active.key.created_at.min(now);
            active.since = active.since.min(now);
            active.published_at = active.published_at.min(now);
        }
        for retiring in &mut document.retiring {
            retiring.key.created_at = retiring.key.created_at.min(now);
            retiring.published_at = retiring.published_at.min(now);
            retiring.activated_at = retiring.activated_at.map(|at| at.min(now));
            retiring.since = retiring.since.min(now);
            retiring.verify_until = retiring.since + self.promise.retention;
        }
        self.changes.push(Change::TimesReset);
    }

    pub(super) fn noted(&mut self, intent: &str) {
        self.changes.push(Change::IntentNoted { intent: intent.to_owned() });
    }
}
