//! Signers that report which generation they use, and what that holds up: with `uptake: required` a key that signs no more stays in
//! the key set for as long as somebody is known to sign with it, and until the last of those tokens is dead; but never longer than
//! the policy's bound, and somebody is told meanwhile.
//!
//! A signer that keeps the stated facts has moved on long before its key's retention wait is over. This is for those that do not.

use super::{Because, Case};
use crate::document::{Document, Retiring, StateName};
use crate::name::{Generation, Kid};
use crate::observed::{Observed, Reached, SignerReport};
use crate::rules::Rules;
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

impl Case<'_> {
    /// What keeps a key in the key set although its retention wait was over at `due`, and until when at the latest.
    pub(super) fn held_by_signers(&self, retiring: &Retiring, due: Timestamp) -> Option<(Timestamp, Because)> {
        let limit = due + self.rules.uptake_bound?;
        let now = self.observed.now;
        if now >= limit || retiring.activated_at.is_none() {
            return None;
        }
        let needed = self.document.entered(&retiring.key.kid, StateName::Retiring);
        let refresh = self.waits.facts.signer_refresh;
        if let Some(behind) = lagging(self.observed, needed, refresh).next() {
            let because = Because::Uptake { signer: behind.name.clone(), generation: behind.generation(), needed };
            return Some((limit, because));
        }
        // Whoever lagged may have signed until it moved on, or until it was heard of no more.
        let used_until = self.observed.uptake.iter().filter_map(|report| match report.reached(needed) {
            Reached::Always => None,
            Reached::At(at) => Some(at),
            Reached::NotYet => Some(report.heard_at + refresh),
        });
        let dead = used_until.max().map(|until| until + self.token_life()).filter(|dead| now < *dead);
        let heard = self.observed.serving_since + refresh + self.skew() * 2;
        let unheard = (now < heard).then_some((heard, Because::Unheard));
        let held = dead.map(|dead| (dead, Because::Retention)).or(unheard);
        held.map(|(at, because)| (at.min(limit), because))
    }

    /// Why a key leaves whose wait is over.
    pub(super) fn why_retired(&self, retiring: &Retiring) -> String {
        let behind = laggards(self.document, self.rules, self.observed, &retiring.key.kid);
        match (behind.first(), self.rules.uptake_bound) {
            (Some(behind), Some(bound)) => {
                format!("signer {} still reports generation {}, and uptake_bound {bound} is over", behind.name, behind.generation())
            }
            _ => "the last token it signed has expired".to_owned(),
        }
    }

    /// The longest that a token may be accepted after it was signed.
    fn token_life(&self) -> Span {
        let facts = &self.waits.facts;
        facts.token_ttl + facts.clock_skew * 2 + facts.margin
    }
}

/// The signers that are heard of and still use a key that signs no more, where the policy lets them hold it up.
pub fn laggards<'a>(document: &Document, rules: &Rules, observed: &'a Observed, kid: &Kid) -> Vec<&'a SignerReport> {
    let signed = document.retiring.iter().any(|retiring| retiring.key.kid == *kid && retiring.activated_at.is_some());
    if !signed || rules.uptake_bound.is_none() {
        return Vec::new();
    }
    let needed = document.entered(kid, StateName::Retiring);
    lagging(observed, needed, Waits::at(document, rules, observed.now).facts.signer_refresh).collect()
}

fn lagging(observed: &Observed, needed: Generation, signer_refresh: Span) -> impl Iterator<Item = &SignerReport> {
    let behind = move |report: &&SignerReport| report.is_live(observed.now, signer_refresh) && report.reached(needed) == Reached::NotYet;
    observed.uptake.iter().filter(behind)
}
