//! Which refresh tokens are accepted no more although they have not expired.
//!
//! A refresh token is kept by nobody but its holder ([`crate::tokens`] seals it), so what an operator takes back stands in the document of
//! the keyset that seals: by whom it was given to, not one by one. Every replica reads it with the keys that open, in one snapshot.
//!
//! Invariant: an entry stays until everything that it is about has expired, and no longer; there are never more than [`MOST`].

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::KeysetName;
use crate::time::{Span, Timestamp};

/// The most entries of one document, because a store's value has a limit.
pub const MOST: usize = 64;

/// The longest that one entry is in a document, in bytes: that of a caller with the longest name.
pub const LONGEST: usize = 160;

/// Some of the refresh tokens that were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grants {
    /// Those about one subject, by the digest of its name: signers and logs need not learn who it was.
    Subject(Digest),
    /// Those that were given to the callers of one keyset of API keys.
    Caller(KeysetName),
    /// All.
    All,
}

/// That those are accepted no more which were given up to a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedGrants {
    /// Which.
    pub whom: Grants,
    /// Given up to when.
    pub before: Timestamp,
    /// When the last of them has expired anyhow.
    pub until: Timestamp,
}

impl Grants {
    /// Those about this subject.
    pub fn about(subject: &str) -> Self {
        Self::Subject(Digest::of(subject.as_bytes()))
    }

    /// Whether a refresh token that was given to `caller` about `subject` is among them.
    pub fn include(&self, caller: &KeysetName, subject: &str) -> bool {
        match self {
            Self::Subject(digest) => *digest == Digest::of(subject.as_bytes()),
            Self::Caller(name) => name == caller,
            Self::All => true,
        }
    }

    /// Whether everything that `other` includes is included here.
    fn cover(&self, other: &Self) -> bool {
        *self == Self::All || self == other
    }
}

impl std::fmt::Display for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Subject(digest) => write!(f, "about the subject with digest {digest}"),
            Self::Caller(keyset) => write!(f, "given to callers of {keyset}"),
            Self::All => f.write_str("given to anybody"),
        }
    }
}

impl RevokedGrants {
    /// Whether a refresh token is among them that was given at `given` by some clock: any two may differ by `skew`, and of one that may
    /// have been given before it counts that it was.
    pub fn include(&self, caller: &KeysetName, subject: &str, given: Timestamp, skew: Span) -> bool {
        given <= self.before + skew && self.whom.include(caller, subject)
    }
}

/// These entries and one more, without those that are over at `now` or that it makes needless; `None` if there is no room for it.
pub(super) fn with(entries: &[RevokedGrants], more: RevokedGrants, now: Timestamp) -> Option<Vec<RevokedGrants>> {
    let kept = entries.iter().filter(|entry| now < entry.until);
    if kept.clone().any(|entry| entry.whom.cover(&more.whom) && entry.before >= more.before && entry.until >= more.until) {
        return Some(kept.cloned().collect());
    }
    let needless = |entry: &&RevokedGrants| more.whom.cover(&entry.whom) && more.before >= entry.before && more.until >= entry.until;
    let mut next: Vec<_> = kept.filter(|entry| !needless(entry)).cloned().collect();
    next.push(more);
    (next.len() <= MOST).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Span::seconds(seconds)
    }

    fn entry(whom: Grants, before: u64) -> RevokedGrants {
        RevokedGrants { whom, before: at(before), until: at(before + 1000) }
    }

    #[test]
    fn what_may_have_been_given_before_is_revoked() {
        let (partner, skew) = ("partner".parse().unwrap(), Span::seconds(60));
        let ada = entry(Grants::about("ada"), 100);
        assert!(ada.include(&partner, "ada", at(100), skew) && ada.include(&partner, "ada", at(160), skew));
        assert!(!ada.include(&partner, "ada", at(161), skew) && !ada.include(&partner, "adam", at(1), skew));
        assert!(entry(Grants::Caller(partner.clone()), 1).include(&partner, "x", at(1), skew));
        assert!(!entry(Grants::Caller("other".parse().unwrap()), 1).include(&partner, "x", at(1), skew));
        assert!(entry(Grants::All, 1).include(&partner, "x", at(1), skew));
    }

    #[test]
    fn no_entry_is_longer_than_is_reckoned_with() {
        for whom in [Grants::Caller("c".repeat(63).parse().unwrap()), Grants::about("ada"), Grants::All] {
            let until = "2026-03-01T12:00:00.750Z".parse().unwrap();
            let entry = RevokedGrants { whom, before: until, until };
            let length = serde_json::to_vec(&entry).unwrap().len() + 1;
            assert!(length <= LONGEST, "{length}: {entry:?}");
        }
    }

    #[test]
    fn the_list_is_bounded_and_what_is_over_or_needless_goes() {
        let full = (0..MOST as u64).fold(Vec::new(), |list, n| with(&list, entry(Grants::about(&n.to_string()), 10), at(10)).unwrap());
        assert_eq!(full.len(), MOST);
        assert_eq!(with(&full, entry(Grants::about("one more"), 11), at(11)), None);
        assert_eq!(with(&full, entry(Grants::about("7"), 12), at(12)).unwrap().len(), MOST, "said anew of the same");
        assert_eq!(with(&full, entry(Grants::about("7"), 9), at(12)), Some(full.clone()), "it was said already");
        assert_eq!(with(&full, entry(Grants::All, 9), at(12)), None, "which leaves out what was given since");
        let all = with(&full, entry(Grants::All, 13), at(13)).unwrap();
        assert_eq!(all, [entry(Grants::All, 13)]);
        assert_eq!(with(&all, entry(Grants::about("ada"), 12), at(13)), Some(all.clone()));
        assert_eq!(with(&full, entry(Grants::about("ada"), 1010), at(1010)).unwrap().len(), 1, "the others are over");
        assert_eq!(with(&full, entry(Grants::about("ada"), 1009), at(1009)), None, "and a moment before they are not");
    }
}
