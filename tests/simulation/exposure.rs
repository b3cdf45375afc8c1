//! The checker that looks from outside: the strongest adversary that keeps the stated facts, in closed form.
//!
//! Instead of simulating some verifiers and signers, it keeps what *any* well-behaved one could hold. A verifier may use every key
//! set that a ready replica served, until `verifier_refresh` (and shared caches' `cache_max_age`) later, and beyond that for as
//! long as no replica was ready for one whole retry. A signer may use every key that a ready source handed out as active until
//! `signer_refresh` later, and its tokens live `token_ttl` (and a clock difference) longer. The promise is kept if at every moment
//! every usable key set holds every key that has a live token.

use std::collections::{BTreeMap, BTreeSet};

use keyrota::name::Kid;
use keyrota::time::{Span, Timestamp};

/// How signers and verifiers behave at the moment: the facts as they are in truth.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    pub token_ttl: Span,
    pub signer_refresh: Span,
    pub verifier_refresh: Span,
    pub verifier_retry: Span,
    pub cache_max_age: Span,
    pub clock_skew: Span,
}

/// Verifiers that read from the same kind of place.
#[derive(Default)]
pub struct Population {
    usable: BTreeMap<BTreeSet<Kid>, Timestamp>,
    /// When some place was ready, as closed intervals; the last one may still be growing.
    ready: Vec<(Timestamp, Timestamp)>,
    ready_now: bool,
}

#[derive(Default)]
pub struct Exposure {
    pub http: Population,
    pub file: Population,
    pub edge: Population,
    /// Until when tokens of a key may be alive.
    tokens: BTreeMap<Kid, Timestamp>,
    /// Until when a signer may go on minting with a key.
    minting: BTreeMap<Kid, Timestamp>,
    revoked: BTreeSet<Kid>,
    /// Keys that took over in an emergency: verifiers are excused for not having them until this moment.
    emergency: BTreeMap<Kid, Timestamp>,
    pub checks: u64,
    pub kids_seen_active: BTreeSet<Kid>,
}

impl Population {
    fn see(&mut self, served: &[BTreeSet<Kid>], truth: &Truth, now: Timestamp) {
        let until = now + truth.verifier_refresh + truth.cache_max_age;
        for set in served.iter().filter(|s| !s.is_empty()) {
            let known = self.usable.entry(set.clone()).or_insert(until);
            *known = (*known).max(until);
        }
        let ready = !served.is_empty();
        match (self.ready_now, ready, self.ready.last_mut()) {
            (true, _, Some(last)) => last.1 = now,
            (false, true, _) => self.ready.push((now, now)),
            _ => {}
        }
        self.ready_now = ready;
        let retry = truth.verifier_retry;
        let runs = std::mem::take(&mut self.ready);
        self.usable.retain(|_, until| now <= Self::dropped_at(&runs, *until, retry));
        self.ready = runs;
        if self.ready.len() > 64 {
            self.ready.drain(..32);
        }
    }

    /// When a verifier that should refresh at `until` has done so: at once if a place is ready then, else within a retry of the next
    /// ready stretch that is long enough for one.
    fn dropped_at(runs: &[(Timestamp, Timestamp)], until: Timestamp, retry: Span) -> Timestamp {
        if runs.iter().any(|(from, to)| *from <= until && until < *to) {
            return until;
        }
        let tries = runs.iter().map(|(from, to)| ((*from).max(until) + retry, *to));
        tries.filter(|(tried, to)| tried <= to).map(|(tried, _)| tried).min().unwrap_or(Timestamp::MAX)
    }
}

impl Exposure {
    /// Looks at the world: what ready places serve to verifiers, and which key ready sources hand to signers.
    pub fn look(
        &mut self,
        http: &[BTreeSet<Kid>],
        file: &[BTreeSet<Kid>],
        edge: &[BTreeSet<Kid>],
        handed: &BTreeSet<Kid>,
        truth: &Truth,
        now: Timestamp,
    ) -> Result<(), String> {
        self.http.see(http, truth, now);
        self.file.see(file, truth, now);
        self.edge.see(edge, truth, now);
        for kid in handed {
            self.kids_seen_active.insert(kid.clone());
            self.minting.insert(kid.clone(), now + truth.signer_refresh);
        }
        // Whoever may mint now may mint with the present token_ttl.
        self.minting.retain(|_, until| now <= *until);
        for (kid, until) in &self.minting {
            let dead = *until + truth.token_ttl + truth.clock_skew;
            let known = self.tokens.entry(kid.clone()).or_insert(dead);
            *known = (*known).max(dead);
        }
        self.tokens.retain(|_, until| now < *until);
        self.check(http, "an HTTP listener that is ready", now)?;
        self.check(file, "a file", now)?;
        self.check(edge, "the edge", now)?;
        let caches = |p: &Population| p.usable.keys().cloned().collect::<Vec<_>>();
        self.check(&caches(&self.http), "a verifier's cache of an HTTP listener", now)?;
        self.check(&caches(&self.file), "a verifier's cache of a file", now)?;
        self.check(&caches(&self.edge), "a verifier's cache of the edge", now)
    }

    fn check(&mut self, sets: &[BTreeSet<Kid>], place: &str, now: Timestamp) -> Result<(), String> {
        for set in sets {
            for (kid, until) in &self.tokens {
                self.checks += 1;
                let excused = self.revoked.contains(kid) || self.emergency.get(kid).is_some_and(|until| now <= *until);
                if !set.contains(kid) && !excused {
                    return Err(format!("at {now} tokens of {kid} may live until {until}, and {place} has only {set:?}"));
                }
            }
        }
        Ok(())
    }

    /// An operator said that the key is compromised: its tokens are rejected lawfully.
    pub fn revoke(&mut self, kid: &Kid) {
        self.revoked.insert(kid.clone());
    }

    /// Somebody signed with it, and that token lives until then.
    pub fn minted(&mut self, kid: &Kid, until: Timestamp) {
        let known = self.tokens.entry(kid.clone()).or_insert(until);
        *known = (*known).max(until);
    }

    /// Only these keys are known any more, and not to every verifier until then.
    pub fn begin_anew(&mut self, live: &BTreeSet<Kid>, until: Timestamp) {
        let lost: Vec<Kid> = self.kids_seen_active.iter().filter(|kid| !live.contains(*kid)).cloned().collect();
        self.revoked.extend(lost);
        for kid in live {
            self.revoked.remove(kid);
            self.excuse(kid, until);
        }
    }

    /// The key had to take over before verifiers could know it.
    pub fn excuse(&mut self, kid: &Kid, until: Timestamp) {
        let known = self.emergency.entry(kid.clone()).or_insert(until);
        *known = (*known).max(until);
    }
}
