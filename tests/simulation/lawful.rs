//! What excuses a rejected token, and what does not: revocations, and keys that had to take over before verifiers could know them.

use keyrota::name::Kid;
use keyrota::time::{Span, Timestamp};

use crate::outside::{Version, lock};
use crate::world::World;

impl World {
    /// What was revoked is rejected lawfully, and is served and handed out by nobody who knows of it; and what an operator was told
    /// would go is gone.
    pub fn heed_revocations(&mut self) -> Result<(), String> {
        let outside = lock(&self.shared);
        let (revoked, buried) = (outside.revoked.clone(), outside.buried.clone());
        let spared = outside.current().0.and_then(|d| buried.iter().find(|kid| d.live_key(kid).is_some()).cloned());
        let now = outside.now;
        drop(outside);
        if let Some(kid) = spared.filter(|_| !self.put_back) {
            return Err(format!("at {now} {kid} lives, and an operator was told that it would go"));
        }
        for (kid, revision) in &revoked {
            self.exposure.revoke(kid);
            for daemon in self.daemons.iter().filter(|d| d.is_ready(&self.shared) && !self.put_back) {
                let knows = daemon.process.as_ref().is_some_and(|p| p.is_idle() && p.has_seen(*revision));
                if knows && (daemon.key_set().contains(kid) || daemon.active_kid().as_ref() == Some(kid)) {
                    return Err(format!("at {now} {kid} is revoked, and a daemon that knows it still gives it out"));
                }
            }
        }
        Ok(())
    }

    /// Signers that report read their document, unless they are stuck. What those that are sign now may be alive until the moment that
    /// is answered: however long they have been, as long as they say so.
    pub fn signers_read(&self, now: Timestamp) -> Vec<(Kid, Timestamp)> {
        let life = self.wish.token_ttl + self.wish.clock_skew;
        let mut outside = lock(&self.shared);
        let mut minting = Vec::new();
        for daemon in &self.daemons {
            let served = daemon.process.as_ref().and_then(|p| p.ports.served.lock().unwrap().clone());
            for signer in &mut outside.hosts[daemon.host].signers {
                if let Some(document) = served.as_ref().filter(|_| signer.moves.is_empty() || !signer.is_stuck(now)) {
                    if signer.moves.last().is_none_or(|(generation, _)| *generation != document.generation) {
                        signer.moves.push((document.generation, now));
                    }
                    signer.uses = document.active.as_ref().map(|a| a.key.kid.clone());
                }
                minting.extend(signer.uses.clone().filter(|_| signer.is_stuck(now)).map(|kid| (kid, now + life)));
            }
        }
        minting
    }

    /// The store is as it was this long ago.
    pub fn put_back(&mut self, from: Span) {
        let now = self.now();
        (self.put_back, self.unsettled) = (true, true);
        let mut outside = lock(&self.shared);
        let then = now.minus(from);
        let old = outside.versions.iter().rev().find(|v| v.at <= then).and_then(|v| v.document.clone());
        outside.revisions += 1;
        let version = Version { at: now, document: old, revision: outside.revisions };
        outside.versions.push(version);
        let before = outside.revisions - 1;
        drop(outside);
        self.spread_news(before, None);
    }

    /// The store was put back, and operators said to go on from there: keys that are lost are rejected lawfully, and those that live
    /// again are not known to verifiers at once. Once every daemon goes on from there, everything must hold as before.
    pub fn excuse_what_was_lost(&mut self) {
        let mut anew = std::mem::take(&mut lock(&self.shared).begun_anew);
        if !self.put_back {
            return;
        }
        if self.unsettled && self.daemons.iter().all(|daemon| daemon.goes_on_with(&self.shared)) {
            self.unsettled = false;
            anew.extend(self.document().map(|d| d.live().map(|live| live.key.kid.clone()).collect()));
        }
        for live in anew {
            self.exposure.begin_anew(&live, self.verifiers_know_by());
        }
    }

    /// Longer than any outage that keeps verifiers from fetching a key.
    fn verifiers_know_by(&self) -> Timestamp {
        self.now() + self.wish.verifier_refresh + self.wish.cache_max_age + self.wish.verifier_retry + Span::days(2)
    }

    pub fn excuse_emergencies(&mut self) {
        let outside = lock(&self.shared);
        let fresh: Vec<Kid> = outside.emergencies[self.excused..].to_vec();
        self.excused = outside.emergencies.len();
        drop(outside);
        let until = self.verifiers_know_by();
        for kid in fresh {
            self.exposure.excuse(&kid, until);
        }
    }

    /// Once faults have stopped, the schedule must have converged.
    pub fn must_have_converged(&self) -> Result<(), String> {
        let document = self.document().ok_or("there is no document")?;
        let rules = &self.daemons[0].wanted.rules;
        let now = self.now();
        let facts = document.facts.in_force(&rules.facts, now);
        let window = rules.window.as_ref().map_or(Span::ZERO, keyrota::policy::Window::max_wait);
        let slack = facts.propagation() + Span::minutes(30);
        let late = |what: &str| Err(self.story(&format!("at {now} {what}: {document:?}")));
        let Some(active) = &document.active else { return late("nothing is active") };
        if now > active.since + rules.rotate_every + slack + window {
            return late("the active key is too old");
        }
        for retiring in &document.retiring {
            if now > retiring.since + facts.retention() * 2 + slack {
                return late("a retiring key has not left");
            }
            if retiring.key.is_erasable() && now > retiring.since + rules.rollback_window + slack {
                return late("a private half was not erased");
            }
        }
        document.check().map_err(|why| self.story(&why))
    }
}
