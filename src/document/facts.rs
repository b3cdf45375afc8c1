//! Facts: what a policy states about signers, verifiers and clocks, and how the document holds on to them.
//!
//! A *raised* fact counts from the moment it stands in the document. A *lowered* one counts at its old value until everything that
//! was minted or cached under it is gone. So no edit of a policy, in whatever order on however many replicas, shortens a promise.

use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp};

/// The facts by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactName {
    /// The longest life of any token this keyset signs.
    TokenTtl,
    /// The longest a verifier may go on using a key set it fetched.
    VerifierRefresh,
    /// The longest a signer may go on using a document it read.
    SignerRefresh,
    /// A verifier whose refresh failed tries again within this.
    VerifierRetry,
    /// Any two clocks differ by at most this.
    ClockSkew,
    /// The max-age we send, for shared caches between us and verifiers.
    CacheMaxAge,
    /// How far a ready replica may lag behind the store.
    StoreRefresh,
    /// What the operator adds on top.
    Margin,
}

impl FactName {
    /// Every fact.
    pub const ALL: [Self; 8] = [
        Self::TokenTtl,
        Self::VerifierRefresh,
        Self::SignerRefresh,
        Self::VerifierRetry,
        Self::ClockSkew,
        Self::CacheMaxAge,
        Self::StoreRefresh,
        Self::Margin,
    ];

    /// The name of the field in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenTtl => "token_ttl",
            Self::VerifierRefresh => "verifier_refresh",
            Self::SignerRefresh => "signer_refresh",
            Self::VerifierRetry => "verifier_retry",
            Self::ClockSkew => "clock_skew",
            Self::CacheMaxAge => "cache_max_age",
            Self::StoreRefresh => "store_refresh",
            Self::Margin => "margin",
        }
    }
}

/// Something for every fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // each is explained at its FactName
pub struct PerFact<T: Default> {
    pub token_ttl: T,
    pub verifier_refresh: T,
    pub signer_refresh: T,
    pub verifier_retry: T,
    pub clock_skew: T,
    pub cache_max_age: T,
    pub store_refresh: T,
    pub margin: T,
}

/// A value for every fact.
pub type Facts = PerFact<Span>;

/// All facts as the document holds them.
pub type HeldFacts = PerFact<HeldFact>;

impl<T: Default> PerFact<T> {
    /// What there is for one fact.
    pub const fn of(&self, name: FactName) -> &T {
        match name {
            FactName::TokenTtl => &self.token_ttl,
            FactName::VerifierRefresh => &self.verifier_refresh,
            FactName::SignerRefresh => &self.signer_refresh,
            FactName::VerifierRetry => &self.verifier_retry,
            FactName::ClockSkew => &self.clock_skew,
            FactName::CacheMaxAge => &self.cache_max_age,
            FactName::StoreRefresh => &self.store_refresh,
            FactName::Margin => &self.margin,
        }
    }

    /// What there is for one fact, to be changed.
    pub const fn of_mut(&mut self, name: FactName) -> &mut T {
        match name {
            FactName::TokenTtl => &mut self.token_ttl,
            FactName::VerifierRefresh => &mut self.verifier_refresh,
            FactName::SignerRefresh => &mut self.signer_refresh,
            FactName::VerifierRetry => &mut self.verifier_retry,
            FactName::ClockSkew => &mut self.clock_skew,
            FactName::CacheMaxAge => &mut self.cache_max_age,
            FactName::StoreRefresh => &mut self.store_refresh,
            FactName::Margin => &mut self.margin,
        }
    }
}

impl Facts {
    /// The value of one fact.
    pub const fn get(&self, name: FactName) -> Span {
        *self.of(name)
    }

    /// How long a published key must wait before it may sign (RFC 7583 §3.2.1: the publication interval): by then every verifier
    /// that keeps the facts has fetched a key set with it. `store_refresh + cache_max_age + verifier_refresh + 2 clock_skew + margin`.
    ///
    /// ```
    /// use keyrota::{document::Facts, time::Span};
    /// let facts = Facts { verifier_refresh: Span::minutes(15), cache_max_age: Span::minutes(1), ..Facts::default() };
    /// assert_eq!(facts.propagation(), Span::minutes(16));
    /// ```
    pub fn propagation(&self) -> Span {
        self.store_refresh + self.cache_max_age + self.verifier_refresh + self.clock_skew * 2 + self.margin
    }

    /// How long a key that signs no more must still be accepted (RFC 7583 §3.2.1: the retire interval): by then every signer that
    /// keeps the facts has gone over to its successor, and every token it signed has expired.
    /// `store_refresh + signer_refresh + token_ttl + 2 clock_skew + margin`.
    pub fn retention(&self) -> Span {
        self.store_refresh + self.signer_refresh + self.token_ttl + self.clock_skew * 2 + self.margin
    }

    /// How long after a key left every key set a verifier that keeps the facts may still have it in a cache.
    /// `store_refresh + cache_max_age + verifier_refresh + verifier_retry + 2 clock_skew`.
    pub fn forgetting(&self) -> Span {
        self.store_refresh + self.cache_max_age + self.verifier_refresh + self.verifier_retry + self.clock_skew * 2
    }

    /// How long something minted or cached under these facts may outlive an edit that lowers one of them.
    pub fn drain(&self) -> Span {
        let minted = self.signer_refresh + self.token_ttl;
        let cached = self.cache_max_age + self.verifier_refresh + self.verifier_retry;
        self.store_refresh + minted.max(cached) + self.clock_skew * 2
    }
}

/// One fact as the document holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldFact {
    /// The value that was last adopted.
    pub value: Span,
    /// When it was last raised; `None` if never since the keyset began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_at: Option<Timestamp>,
    /// How often in a row a raise has overturned a lowering that was under way: two policies that disagree.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overturned: u32,
    /// Greater values that still count, each until its moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<Draining>,
}

/// A lowered fact that still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draining {
    /// The old value.
    pub value: Span,
    /// Until when it counts.
    pub until: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl HeldFact {
    fn in_force(&self, now: Timestamp) -> Span {
        self.draining.iter().filter(|d| now < d.until).map(|d| d.value).fold(self.value, Span::max)
    }

    /// From when on a lower value may be adopted. A fact that was raised a moment ago is not lowered at once, and one whose lowering
    /// was overturned waits twice as long each time: two replicas with different policies would otherwise raise and lower it in
    /// turns for ever.
    fn lowerable_from(&self, drain: Span) -> Timestamp {
        self.raised_at.map_or(Timestamp::EPOCH, |raised| raised + drain * (1 << self.overturned.min(16)))
    }

    fn raise(&mut self, value: Span, now: Timestamp) {
        // A fact that was zero has never been promised to anybody: stating it for the first time is no raise.
        if self.value > Span::ZERO {
            let overturns = self.draining.iter().any(|d| now < d.until && value <= d.value);
            self.overturned = if overturns { self.overturned + 1 } else { 0 };
            self.raised_at = Some(now);
        }
        self.value = value;
    }
}

impl HeldFacts {
    /// What the document alone promises of one fact at `now`.
    pub fn promise_of(&self, name: FactName, now: Timestamp) -> Span {
        self.of(name).in_force(now)
    }

    /// What the document alone promises at `now`.
    pub fn promised(&self, now: Timestamp) -> Facts {
        let mut facts = Facts::default();
        for name in FactName::ALL {
            *facts.of_mut(name) = self.promise_of(name, now);
        }
        facts
    }

    /// What rules decide on at `now`: of every fact the greater of what is promised and what the policy states.
    pub fn in_force(&self, stated: &Facts, now: Timestamp) -> Facts {
        let mut facts = self.promised(now);
        for name in FactName::ALL {
            *facts.of_mut(name) = facts.get(name).max(stated.get(name));
        }
        facts
    }

    /// These facts with everything adopted from `stated` that may be adopted at `now`; `None` when that changes nothing.
    #[must_use]
    pub fn adopting(&self, stated: &Facts, now: Timestamp) -> Option<Self> {
        let drain = self.in_force(stated, now).drain();
        let mut next = self.clone();
        let mut changed = false;
        for name in FactName::ALL {
            let held = next.of_mut(name);
            let value = stated.get(name);
            if value > held.value {
                held.raise(value, now);
                changed = true;
            } else if value < held.value && now >= held.lowerable_from(drain) {
                let old = std::mem::replace(&mut held.value, value);
                held.draining.push(Draining { value: old, until: now + drain });
                changed = true;
            }
        }
        if !changed {
            return None;
        }
        for name in FactName::ALL {
            let held = next.of_mut(name);
            let value = held.value;
            held.draining.retain(|d| now < d.until && d.value > value);
        }
        Some(next)
    }

    /// The next moment at which the promise changes by itself, or a lower value may be adopted.
    pub fn next_change(&self, stated: &Facts, now: Timestamp) -> Option<Timestamp> {
        let drain = self.in_force(stated, now).drain();
        let drained = FactName::ALL.into_iter().flat_map(|n| self.of(n).draining.iter().map(|d| d.until));
        let lowered = FactName::ALL.into_iter().filter(|n| stated.get(*n) < self.of(*n).value).map(|n| self.of(n).lowerable_from(drain));
        drained.chain(lowered).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(ttl: Span) -> Facts {
        Facts { token_ttl: ttl, signer_refresh: Span::minutes(5), ..Facts::default() }
    }
    const T0: Timestamp = Timestamp::EPOCH;

    #[test]
    fn a_raised_fact_counts_at_once_even_before_it_is_adopted() {
        let held = HeldFacts::default().adopting(&stated(Span::hours(1)), T0).unwrap_or_default();
        assert_eq!(held.in_force(&stated(Span::hours(24)), T0).token_ttl, Span::hours(24));
        let raised = held.adopting(&stated(Span::hours(24)), T0).unwrap_or_default();
        assert_eq!(raised.promised(T0).token_ttl, Span::hours(24));
    }

    #[test]
    fn a_lowered_fact_counts_until_all_under_it_is_gone() {
        let held = HeldFacts::default().adopting(&stated(Span::hours(24)), T0).unwrap_or_default();
        let edit = T0 + Span::days(3);
        let lowered = held.adopting(&stated(Span::hours(1)), edit).unwrap_or_default();
        let gone = edit + Span::minutes(5) + Span::hours(24);
        assert_eq!(lowered.promised(gone.minus(Span::millis(1))).token_ttl, Span::hours(24));
        assert_eq!(lowered.promised(gone).token_ttl, Span::hours(1));
        assert_eq!(lowered.next_change(&stated(Span::hours(1)), edit), Some(gone));
        assert!(lowered.adopting(&stated(Span::hours(1)), edit).is_none(), "a second look changes nothing");
    }

    #[test]
    fn two_policies_cannot_take_turns() {
        let (low, high) = (stated(Span::hours(1)), stated(Span::hours(24)));
        let mut held = HeldFacts::default().adopting(&low, T0).unwrap_or_default();
        let mut swaps = 0;
        for minute in 0..30 * 1440 {
            let now = T0 + Span::minutes(minute);
            for policy in [&low, &high] {
                if let Some(next) = held.adopting(policy, now) {
                    held = next;
                    swaps += 1;
                }
            }
        }
        assert!(swaps < 12, "in a month two policies change a fact {swaps} times");
        assert_eq!(held.promised(T0 + Span::days(30)).token_ttl, Span::hours(24));
    }
}
