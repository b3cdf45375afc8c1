//! Why a well-formed token is not accepted: one reason for each check, with a code that programs may rely on.

use crate::document::StateName;
use crate::key::Algorithm;
use crate::name::LONGEST_KID;
use crate::time::{Span, Timestamp};

use super::malformed::Malformed;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is not well-formed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It does not say which key signed it.
    #[error("the header names no key (`kid`, RFC 7515 §4.1.4); hint: whoever signs must write the kid that stands beside the key")]
    NoKid,
    /// Nobody knows the key.
    #[error("no key is called `{0}` here; hint: is it a token of another keyset, or of a key that was forgotten long ago?")]
    UnknownKid(String),
    /// The key is gone.
    #[error("key {kid} is {state}: nothing that it signed is accepted any more; hint: get a new token")]
    KeyGone {
        /// Which.
        kid: String,
        /// Since when it is gone does not matter; whether it was compromised does.
        state: StateName,
    },
    /// The key cannot be read.
    #[error("key {0} is damaged, so nothing can be verified with it; hint: `keyrota doctor` and the log say more")]
    KeyDamaged(String),
    /// The header claims another algorithm than the key's.
    #[error(
        "the header says {said}, and the key signs with {is} (RFC 8725 §3.1); hint: the token was tampered with, or its signer is misconfigured"
    )]
    Algorithm {
        /// What the token says.
        said: Algorithm,
        /// What the key is for.
        is: Algorithm,
    },
    /// The signature is not the key's.
    #[error("the signature does not verify; hint: the token was altered, or signed with another key of that name")]
    Signature,
    /// It is a token of another kind.
    #[error(
        "its type is {said}, and tokens here are `{must}` (RFC 8725 §3.11); hint: a token for one purpose is not to be taken for another"
    )]
    Type {
        /// What the token says.
        said: String,
        /// What it must say.
        must: &'static str,
    },
    /// A claim that must be there is not, or is not what it must be.
    #[error("claim `{claim}` is missing or is not {must}; hint: tokens of this profile always have it")]
    Claim {
        /// Which.
        claim: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// It was issued by somebody else.
    #[error("it was issued by {said}, not by `{must}`; hint: the two are compared letter by letter (RFC 7519 §4.1.1)")]
    Issuer {
        /// What the token says.
        said: String,
        /// What it must say.
        must: String,
    },
    /// It is for somebody else.
    #[error("it is for {said}, not for {must}; hint: a token is for those whom its `aud` names, and nobody else (RFC 7519 §4.1.3)")]
    Audience {
        /// What the token says.
        said: String,
        /// What it must say.
        must: String,
    },
    /// It has expired.
    #[error("it expired at {at}, with {skew} for clocks that differ; hint: get a new token")]
    Expired {
        /// When.
        at: Timestamp,
        /// The tolerance.
        skew: Span,
    },
    /// It is not valid yet.
    #[error("it is not valid before {at}, even with {skew} for clocks that differ; hint: compare the clocks of signer and verifier")]
    NotYet {
        /// When it will be.
        at: Timestamp,
        /// The tolerance.
        skew: Span,
    },
    /// It was issued in the future.
    #[error(
        "it was issued at {at}, which is to come even with {skew} for clocks that differ; hint: compare the clocks of signer and verifier"
    )]
    FromTheFuture {
        /// When it says it was issued.
        at: Timestamp,
        /// The tolerance.
        skew: Span,
    },
    /// It lives longer than its profile allows.
    #[error("it lives longer than {0}, which verifiers of this profile refuse; hint: mint shorter-lived ones")]
    TooLongLived(Span),
}

impl Rejection {
    /// The codes of reasons other than those of [`Malformed`].
    pub const CODES: [&'static str; 15] = [
        "kid_missing",
        "kid_unknown",
        "key_retired",
        "key_revoked",
        "key_damaged",
        "alg_mismatch",
        "signature",
        "typ",
        "claim",
        "iss",
        "aud",
        "expired",
        "not_yet_valid",
        "issued_in_future",
        "too_long_lived",
    ];

    /// What programs may rely on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::NoKid => "kid_missing",
            Self::UnknownKid(_) => "kid_unknown",
            Self::KeyGone { state: StateName::Revoked, .. } => "key_revoked",
            Self::KeyGone { .. } => "key_retired",
            Self::KeyDamaged(_) => "key_damaged",
            Self::Algorithm { .. } => "alg_mismatch",
            Self::Signature => "signature",
            Self::Type { .. } => "typ",
            Self::Claim { .. } => "claim",
            Self::Issuer { .. } => "iss",
            Self::Audience { .. } => "aud",
            Self::Expired { .. } => "expired",
            Self::NotYet { .. } => "not_yet_valid",
            Self::FromTheFuture { .. } => "issued_in_future",
            Self::TooLongLived(_) => "too_long_lived",
        }
    }
}

/// What a stranger wrote, cut short for a sentence.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(LONGEST_KID).filter(|c| !c.is_control()).collect();
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_documented() {
        let all: Vec<_> = Rejection::CODES.into_iter().chain(Malformed::CODES).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "no two reasons have one code");
        let page = include_str!("../../docs/tokens.md");
        for code in Rejection::CODES {
            assert!(page.contains(&format!("`{code}`")), "{code}");
        }
    }
}
