//! The laws of timing and size: which figures, each lawful by itself, break the promise together.
//!
//! Pure arithmetic over one keyset's figures. Every broken law is a sentence with the numbers in it. Nothing here knows YAML.

use super::profile::{LEAST_AWS_SIGNER_REFRESH, LEAST_VERIFIER_REFRESH};
use crate::document::{Facts, MOST_LIVE_KEYS, revoked_grants};
use crate::key::{Algorithm, KeyClass, KeySpec};
use crate::time::Span;

/// A common verifier caches this many kids; beyond it a keyset is warned about.
pub const COMFORTABLE_LIVE_KEYS: u64 = 5;

/// Bytes of a document that stay free, so that a revocation always fits.
pub const RESERVED_FOR_REVOCATION: usize = 4 * 1024;

/// AWS removes no version within a day and keeps about a hundred: one change in this time, sustained.
const AWS_CHANGE_EVERY: Span = Span::minutes(15);

/// Changes of a document in one rotation: generated, confirmed, activated, erased, retired, forgotten.
const CHANGES_PER_ROTATION: u64 = 6;

/// The figures of one keyset.
pub(super) struct Figures<'k> {
    pub spec: &'k KeySpec,
    pub facts: Facts,
    pub rotate_every: Span,
    pub max_window_wait: Span,
    /// The longest until every probe has looked once more.
    pub look_within: Span,
    /// As stated; `None`: the default, which is lawful.
    pub max_age: Option<Span>,
    /// As stated; `None`: the default, which is lawful.
    pub rollback_window: Option<Span>,
    pub jitter: Span,
    /// `None`: signers' reports hold nothing up.
    pub uptake_bound: Option<Span>,
    /// Whether the store is AWS Secrets Manager.
    pub on_aws: bool,
    pub value_limit: usize,
}

impl Figures<'_> {
    /// How long before a change-over its key must be made.
    pub(super) fn lead(&self) -> Span {
        self.facts.propagation() + self.max_window_wait + self.look_within
    }
}

/// A law that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The field that is to be changed.
    pub field: &'static str,
    /// What does not hold, with the numbers.
    pub what: String,
    /// What would.
    pub hint: String,
    /// How much it matters.
    pub weight: Weight,
}

/// How much a broken law matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The policy is refused.
    Refused,
    /// The policy is refused unless `unsafe:` gives a reason.
    Excusable,
    /// The author is told.
    Warned,
}

/// Every law that these figures break.
pub(super) fn broken(figures: &Figures<'_>) -> Vec<Broken> {
    let mut found = Vec::new();
    believable(figures, &mut found);
    waits(figures, &mut found);
    live_keys(figures, &mut found);
    found
}

/// Facts that no real peer keeps, and rotations faster than the store can bear.
fn believable(figures: &Figures<'_>, found: &mut Vec<Broken>) {
    let Facts { verifier_refresh, signer_refresh, .. } = figures.facts;
    let mut excusable = |field, what, hint| found.push(Broken { field, what, hint, weight: Weight::Excusable });
    if figures.spec.class() == KeyClass::Asymmetric && verifier_refresh < LEAST_VERIFIER_REFRESH {
        excusable(
            "verifier_refresh",
            format!(
                "{verifier_refresh} is less than the {LEAST_VERIFIER_REFRESH} that common verifiers cache a key set, whatever its headers say"
            ),
            format!("at least {LEAST_VERIFIER_REFRESH}, or say `unsafe: {{reason: …}}`"),
        );
    }
    if figures.on_aws && signer_refresh < LEAST_AWS_SIGNER_REFRESH {
        excusable(
            "signer_refresh",
            format!("{signer_refresh} is less than the {LEAST_AWS_SIGNER_REFRESH} that AWS's caching clients go on using a secret"),
            format!("at least {LEAST_AWS_SIGNER_REFRESH}, or say `unsafe: {{reason: …}}`"),
        );
    }
    if figures.on_aws && figures.uptake_bound.is_some() {
        excusable(
            "uptake",
            "cannot be required of signers of several replicas: a report is known only to the replica that got it, and another one \
             that has none retires the key after its retention alone"
                .to_owned(),
            "`uptake: reported`; or, if only one replica runs, say `unsafe: {reason: …}`".to_owned(),
        );
    }
    let least = AWS_CHANGE_EVERY * CHANGES_PER_ROTATION;
    if figures.on_aws && figures.rotate_every < least {
        excusable(
            "rotate_every",
            format!(
                "{} is less than {least}: a rotation makes {CHANGES_PER_ROTATION} versions of the secret, and AWS bears one in {AWS_CHANGE_EVERY}",
                figures.rotate_every
            ),
            format!("at least {least}, or say `unsafe: {{reason: …}}`"),
        );
    }
}

/// The waits must fit into a key's life.
fn waits(figures: &Figures<'_>, found: &mut Vec<Broken>) {
    let mut refused = |field, what, hint| found.push(Broken { field, what, hint, weight: Weight::Refused });
    let (propagation, retention) = (figures.facts.propagation(), figures.facts.retention());
    let (every, wait) = (figures.rotate_every, figures.max_window_wait);
    let lead = figures.lead();
    let up_to = |what: &str, span: Span| if span == Span::ZERO { String::new() } else { format!(" and {what} up to {span}") };
    let of = up_to("waiting for its window", wait) + &up_to("being seen by its probes", figures.look_within);
    if every < lead {
        refused(
            "rotate_every",
            format!("{every} is less than {lead}: announcing a key takes {propagation}{of}"),
            format!(
                "at least {lead}, or lower `verifier_refresh`{}",
                if wait == Span::ZERO { "" } else { ", or let the window open more often" }
            ),
        );
    } else if figures.jitter > every.saturating_sub(lead) {
        let room = every.saturating_sub(lead);
        refused(
            "jitter",
            format!("{} is more than the {room} that {every} leaves: announcing a key takes {propagation}{of}", figures.jitter),
            format!("at most {room}"),
        );
    }
    if let Some(max_age) = figures.max_age.filter(|age| *age < every + lead) {
        refused(
            "max_age",
            format!("{max_age} is less than {}: a key signs for {every}, announcing it takes {propagation}{of}", every + lead),
            format!("at least {}, or remove the field, which means exactly that", every + lead),
        );
    }
    if let Some(rollback) = figures.rollback_window.filter(|rollback| *rollback > retention) {
        refused(
            "rollback_window",
            format!("{rollback} is more than {retention}, after which the old key is gone"),
            format!("at most {retention}, or remove the field"),
        );
    }
}

/// The most keys that are alive at once; `None` where there is no bound.
pub fn most_live_keys(facts: &Facts, rotate_every: Span, max_window_wait: Span, uptake_bound: Option<Span>) -> Option<u64> {
    let overlap = facts.propagation() + facts.retention() + uptake_bound.unwrap_or_default();
    overlap.div_ceil(rotate_every.saturating_sub(max_window_wait)).map(|keys| keys.saturating_add(2))
}

/// Keys alive at once, and the document that holds them all.
fn live_keys(figures: &Figures<'_>, found: &mut Vec<Broken>) {
    let (every, wait) = (figures.rotate_every, figures.max_window_wait);
    let (propagation, retention) = (figures.facts.propagation(), figures.facts.retention() + figures.uptake_bound.unwrap_or_default());
    if every < figures.lead() {
        // Announcing alone does not fit, which has been said already: how many keys pile up is no news.
        return;
    }
    let Some(keys) = most_live_keys(&figures.facts, every, wait, figures.uptake_bound) else {
        let what = format!("{every} is no more than the {wait} between two openings of the window, so keys would pile up without bound");
        let hint = format!("more than {wait}, or let the window open more often");
        found.push(Broken { field: "rotate_every", what, hint, weight: Weight::Refused });
        return;
    };
    let most = MOST_LIVE_KEYS as u64;
    if keys > COMFORTABLE_LIVE_KEYS {
        let each = every.saturating_sub(wait);
        let weight = if keys > most { Weight::Refused } else { Weight::Warned };
        let limit = if keys > most {
            format!("more than {most}")
        } else {
            format!("more than the {COMFORTABLE_LIVE_KEYS} that common verifiers cache")
        };
        let what = format!(
            "up to {keys} keys would be alive at once, {limit}: announcing takes {propagation}, retiring {retention}, a new key comes every {each}"
        );
        found.push(Broken { field: "rotate_every", what, hint: "rotate less often, or let tokens live shorter".to_owned(), weight });
    }
    let size = document_size(figures.spec, keys.min(most));
    let room = figures.value_limit.saturating_sub(RESERVED_FOR_REVOCATION);
    if keys <= most && size > room {
        let what = format!(
            "a document with {keys} keys has about {size} bytes, the store takes {room} ({RESERVED_FOR_REVOCATION} are kept free for a revocation)"
        );
        found.push(Broken { field: "algorithm", what, hint: "rotate less often, or use smaller keys".to_owned(), weight: Weight::Refused });
    }
}

/// The size of a document with that many live keys, in bytes: an upper estimate.
pub(super) fn document_size(spec: &KeySpec, keys: u64) -> usize {
    /// Names, times and punctuation around one key; kid and thumbprints of up to 128 bytes in four places.
    const AROUND_A_KEY: usize = 1200;
    /// History, tombstones, facts with what drains, intents, lineage and the flat fields' names.
    const AROUND_ALL: usize = 24 * 1024;
    /// As many revocations of refresh tokens as there may be, which only secrets seal.
    const REVOKED_GRANTS: usize = revoked_grants::MOST * revoked_grants::LONGEST;
    // PKCS#8 PEM of the private half, and the public half as a JWK.
    let (private, public) = match spec {
        KeySpec::Pair { rsa_bits, algorithm, certificate, .. } => {
            let (private, public) = match algorithm {
                Algorithm::EdDsa | Algorithm::ES256 => (250, 160),
                Algorithm::ES384 => (320, 200),
                Algorithm::ES512 => (390, 250),
                // Two primes and four numbers of their size beside the modulus and the exponent: nine halves of the modulus, in base64.
                _ => (usize::from(*rsa_bits) / 8 * 9 / 2 * 4 / 3 * 66 / 64 + 200, usize::from(*rsa_bits) / 8 * 4 / 3 + 60),
            };
            // A certificate holds the public key, a signature of the same size, and names, in base64 twice over.
            (private, public + certificate.as_ref().map_or(0, |_| 4 * public + 900))
        }
        KeySpec::Hmac { bytes, prefix, .. } => (usize::from(*bytes) * 2 + prefix.len(), 0),
        KeySpec::ApiKey { prefix, .. } => (64 + prefix.len(), 0),
        KeySpec::Vendor { .. } => (256, 0),
    };
    // The JWK stands in `jwks` and beside its key; the active key's halves stand at the top once more.
    let each = AROUND_A_KEY + private + 2 * public;
    let revoked = if spec.class() == KeyClass::Hmac { REVOKED_GRANTS } else { 0 };
    AROUND_ALL + revoked + private + 2 * public + usize::try_from(keys).unwrap_or(usize::MAX).saturating_mul(each)
}

#[cfg(test)]
mod tests;
