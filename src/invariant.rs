//! What must hold of a document and the key set rendered from it, looked at from outside: not through the types and functions that
//! made them, but as a stranger would who has the list of keys and the bytes.
//!
//! Nothing here mends or refuses anything. A violation is a fault of keyrota itself, and is shown as a metric that pages somebody.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::document::{Document, End, StateName};
use crate::key::KeyClass;
use crate::time::{Span, Timestamp};

/// The invariants by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// At most one key is active.
    OneActive,
    /// No key signs before it was published.
    PublishedBeforeUse,
    /// Every live key stands in the key set, and none left it before its tokens were dead.
    OverlapKept,
    /// No kid is used twice.
    KidUnique,
    /// The key set has no secret member.
    NoPrivateInJwks,
}

impl Invariant {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneActive => "one_active",
            Self::PublishedBeforeUse => "published_before_use",
            Self::OverlapKept => "overlap_kept",
            Self::KidUnique => "kid_unique",
            Self::NoPrivateInJwks => "no_private_in_jwks",
        }
    }
}

/// A key as a stranger sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    kid: String,
    state: StateName,
    published_at: Option<Timestamp>,
    activated_at: Option<Timestamp>,
}

/// Everything a stranger sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Sight {
    keys: Vec<Seen>,
    /// For how long each key that left by an orderly retirement was verified after it signed no more, where tokens had a known life.
    overlaps: Vec<Span>,
    token_ttl: Span,
    /// The kids of the key set; `None` where there is no key set by nature.
    served: Option<BTreeSet<String>>,
    secret_member: bool,
}

/// The secret members of RFC 7518 §6 and RFC 8037.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "k", "oth"];

/// What does not hold.
pub fn violated(document: &Document, jwks: Option<&[u8]>) -> Vec<Invariant> {
    Sight::of(document, jwks).violated()
}

impl Sight {
    fn of(document: &Document, jwks: Option<&[u8]>) -> Self {
        let live = document.live().map(|k| Seen {
            kid: k.key.kid.to_string(),
            state: k.state,
            published_at: k.published_at,
            activated_at: k.activated_at,
        });
        let gone = document.tombstones.iter().map(|t| Seen {
            kid: t.kid.to_string(),
            state: t.end.state(),
            published_at: t.published_at,
            activated_at: t.activated_at,
        });
        let ttl = &document.facts.token_ttl;
        let overlaps = document.tombstones.iter().filter(|t| t.end == End::Retired).filter_map(|t| {
            // What was promised when it went is not known any more if the promise was raised since.
            let since = t.retiring_at.filter(|since| ttl.raised_at.is_none_or(|raised| raised < *since))?;
            Some(t.ended_at.since(since))
        });
        let set: Option<Value> = jwks.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let jwk_list: Vec<&Value> = set.iter().filter_map(|s| s.get("keys")?.as_array()).flatten().collect();
        let kids = jwk_list.iter().filter_map(|jwk| jwk.get("kid")?.as_str().map(str::to_owned)).collect();
        Self {
            keys: live.chain(gone).collect(),
            overlaps: overlaps.collect(),
            token_ttl: ttl.value,
            served: (document.class == KeyClass::Asymmetric).then_some(kids),
            secret_member: jwk_list.iter().any(|jwk| SECRET_MEMBERS.iter().any(|member| jwk.get(member).is_some())),
        }
    }

    fn violated(&self) -> Vec<Invariant> {
        let live = |k: &&Seen| !matches!(k.state, StateName::Retired | StateName::Revoked);
        let signed = self.keys.iter().filter(|k| k.activated_at.is_some());
        let unpublished = signed.filter(|k| k.published_at.is_none_or(|at| k.activated_at.is_some_and(|used| used < at))).count();
        let kids: BTreeSet<&str> = self.keys.iter().map(|k| k.kid.as_str()).collect();
        let missing = self.served.as_ref().is_some_and(|served| self.keys.iter().filter(live).any(|k| !served.contains(&k.kid)));
        let holds = [
            (Invariant::OneActive, self.keys.iter().filter(|k| k.state == StateName::Active).count() <= 1),
            (Invariant::PublishedBeforeUse, unpublished == 0),
            (Invariant::OverlapKept, !missing && self.overlaps.iter().all(|overlap| *overlap >= self.token_ttl)),
            (Invariant::KidUnique, kids.len() == self.keys.len()),
            (Invariant::NoPrivateInJwks, !self.secret_member),
        ];
        holds.into_iter().filter(|(_, holds)| !holds).map(|(invariant, _)| invariant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp::EPOCH;

    fn seen(kid: &str, state: StateName) -> Seen {
        Seen { kid: kid.into(), state, published_at: Some(T), activated_at: Some(T + Span::seconds(1)) }
    }

    fn sound() -> Sight {
        Sight {
            keys: vec![seen("a", StateName::Active), seen("b", StateName::Retiring), seen("c", StateName::Retired)],
            overlaps: vec![Span::hours(1)],
            token_ttl: Span::hours(1),
            served: Some(["a".to_owned(), "b".to_owned()].into()),
            secret_member: false,
        }
    }

    #[test]
    fn each_violation_is_seen_and_nothing_else() {
        assert_eq!(sound().violated(), []);
        let broken: [(fn(&mut Sight), Invariant); 7] = [
            (|s| s.keys[1].state = StateName::Active, Invariant::OneActive),
            (|s| s.keys[0].published_at = None, Invariant::PublishedBeforeUse),
            (|s| s.keys[0].published_at = Some(T + Span::hours(1)), Invariant::PublishedBeforeUse),
            (|s| s.served = Some(["a".to_owned()].into()), Invariant::OverlapKept),
            (|s| s.overlaps.push(Span::minutes(59)), Invariant::OverlapKept),
            (|s| s.keys[2].kid = "a".into(), Invariant::KidUnique),
            (|s| s.secret_member = true, Invariant::NoPrivateInJwks),
        ];
        for (breaks, invariant) in broken {
            let mut sight = sound();
            breaks(&mut sight);
            assert_eq!(sight.violated(), [invariant]);
        }
    }

    #[test]
    fn a_secret_member_in_the_bytes_is_seen() {
        let document = Document::empty("a/b".parse().unwrap(), KeyClass::Asymmetric);
        let jwks = br#"{"keys":[{"kid":"x","kty":"OKP","d":"AA"}]}"#;
        assert_eq!(violated(&document, Some(jwks)), [Invariant::NoPrivateInJwks]);
        assert_eq!(violated(&document, None), []);
    }
}
