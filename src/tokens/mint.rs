//! Minting: a token in the shape that a keyset's policy asks for, signed by the key that is active.
//!
//! A [`Minter`] is made once for each generation of a document and each policy: what all its tokens have in common is rendered and the
//! key is parsed then, and never again. It reads no clock.
//!
//! Invariant: no token lives longer than the lesser of what the policy and the document say, because retention is computed from them.

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::compact::LONGEST_TOKEN;
use super::payload::Payload;
use super::plain_text::is_plain;
use super::shape::{self, Constant, Shape, Told};
use super::signing_key::SigningKey;
use crate::digest::Digest;
use crate::document::{Document, FactName, HeldFacts};
use crate::key::Algorithm;
use crate::keygen::KeygenError;
use crate::name::{KeysetId, Kid};
use crate::policy::{ProfileName, TokenPolicy};
use crate::secret::LoneSecret;
use crate::time::{Span, Timestamp};

/// The longest subject, in bytes: that of `OpenID` Connect Core §2 is 255 characters, and they may have four bytes.
pub const LONGEST_SUBJECT: usize = 1020;

/// What somebody asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MintRequest {
    /// Whom it is about; only inkeep tokens may be about nobody.
    pub subject: Option<String>,
    /// How long it is to live; `None`: as the policy says.
    pub ttl: Option<Span>,
    /// What it says besides.
    pub claims: Map<String, Value>,
    /// The thumbprint of the key that it is bound to (RFC 9449 §6.1).
    pub bound_to: Option<Digest>,
}

/// A token. Whoever holds it can present it, so it is a secret.
pub struct Minted {
    /// The token itself.
    pub token: LoneSecret,
    /// The key that signed it.
    pub kid: Kid,
    /// When it ceases to be accepted.
    pub expires_at: Timestamp,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The policy has no `token:`.
    #[error(
        "no tokens are minted with keyset {0}; hint: say `token: {{profile: generic}}` or another profile at this keyset in its policy"
    )]
    NotMinted(KeysetId),
    /// Nothing signs.
    #[error("keyset {0} has no active key; hint: `keyrota status {0}` says what it waits for")]
    NoKey(KeysetId),
    /// The active key is of another algorithm than the profile takes: the policy changed, and the next rotation brings the new one.
    #[error(
        "the active key {kid} signs with {algorithm}, which verifiers of `{profile}` refuse; hint: `keyrota rotate` brings the key of the policy"
    )]
    Algorithm {
        /// The key.
        kid: Kid,
        /// What it signs with.
        algorithm: Algorithm,
        /// The profile.
        profile: ProfileName,
    },
    /// It would outlive its key.
    #[error(
        "a token of {asked} was asked for, and {longest} is the longest: token_ttl is {policy} in the policy and {document} in the document, and keys are kept for no longer; hint: ask for at most {longest}, or raise token_ttl and wait until `keyrota status` says that it counts"
    )]
    TooLongLived {
        /// What was asked for.
        asked: Span,
        /// The lesser of the two.
        longest: Span,
        /// What the policy says.
        policy: Span,
        /// What the document holds.
        document: Span,
    },
    /// Its verifiers would refuse it.
    #[error("a token of {asked} was asked for, and verifiers of `{profile}` accept at most {longest}; hint: ask for at most {longest}")]
    ProfileLongest {
        /// What was asked for.
        asked: Span,
        /// What the profile allows.
        longest: Span,
        /// The profile.
        profile: ProfileName,
    },
    /// Tokens count in seconds.
    #[error("a token of {0} was asked for, and tokens count in whole seconds; hint: at least 1s")]
    TooShortLived(Span),
    /// It is about nobody.
    #[error("tokens of `{0}` are about somebody; hint: name the subject (--sub, or `sub` in a request)")]
    NoSubject(ProfileName),
    /// The subject is blank, too long or has control characters.
    #[error("the subject is blank, longer than {LONGEST_SUBJECT} bytes or has control characters; hint: use the user's stable identifier")]
    Subject,
    /// RFC 9068 wants the client to be named.
    #[error(
        "an at+jwt token names the client that it was given to, and there is no client_id (RFC 9068 §2.2); hint: --claim client_id=…, or `claims: {{client_id: …}}` at `token:` in the policy"
    )]
    NoClientId,
    /// The profile sets that claim, or has room for none.
    #[error("claim `{claim}` cannot be asked for: tokens of `{profile}` set it themselves or have no room for it; hint: leave it out")]
    Owned {
        /// Which.
        claim: String,
        /// The profile.
        profile: ProfileName,
    },
    /// The policy's template sets that claim.
    #[error("claim `{0}` is set by the policy and cannot be asked for; hint: leave it out, or remove it from `token.claims`")]
    Template(String),
    /// A claim does not have the form that its verifiers expect.
    #[error("{0}")]
    Claim(String),
    /// Nobody could present it.
    #[error(
        "the token would have {0} bytes, more than {LONGEST_TOKEN}: a header line carries no more; hint: ask for fewer or shorter claims"
    )]
    TooLong(usize),
    /// The key is damaged, or the machine is.
    #[error(transparent)]
    Key(#[from] KeygenError),
}

impl MintError {
    /// Every code.
    pub const CODES: [&'static str; 13] = [
        "not_minted",
        "no_key",
        "key_unfit",
        "ttl_too_long",
        "ttl_too_short",
        "subject_missing",
        "subject_malformed",
        "client_id_missing",
        "claim_owned",
        "claim_of_policy",
        "claim_malformed",
        "token_too_long",
        "key_damaged",
    ];

    /// What programs may rely on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotMinted(_) => "not_minted",
            Self::NoKey(_) => "no_key",
            Self::Algorithm { .. } => "key_unfit",
            Self::TooLongLived { .. } | Self::ProfileLongest { .. } => "ttl_too_long",
            Self::TooShortLived(_) => "ttl_too_short",
            Self::NoSubject(_) => "subject_missing",
            Self::Subject => "subject_malformed",
            Self::NoClientId => "client_id_missing",
            Self::Owned { .. } => "claim_owned",
            Self::Template(_) => "claim_of_policy",
            Self::Claim(_) => "claim_malformed",
            Self::TooLong(_) => "token_too_long",
            Self::Key(_) => "key_damaged",
        }
    }

    /// Whether another request could succeed; otherwise something is wrong on this side.
    pub const fn is_the_callers(&self) -> bool {
        !matches!(self, Self::NotMinted(_) | Self::NoKey(_) | Self::Algorithm { .. } | Self::Key(_))
    }
}

/// Mints the tokens of one keyset under one generation and one policy.
pub struct Minter {
    key: SigningKey,
    policy: TokenPolicy,
    constant: Constant,
    shape: Shape,
    /// What the policy says of the longest life.
    stated_ttl: Span,
    /// What the document holds.
    held: HeldFacts,
    /// The header, encoded, with its dot.
    header: String,
}

impl Minter {
    /// Makes ready to mint with the active key of `document` as `policy` says, for at most `token_ttl`, the policy's own figure.
    ///
    /// # Errors
    /// The policy mints no tokens, or the key cannot sign them.
    pub fn new(document: &Document, policy: Option<&TokenPolicy>, token_ttl: Span) -> Result<Self, MintError> {
        let policy = policy.ok_or_else(|| MintError::NotMinted(document.id.clone()))?.clone();
        let active = document.active.as_ref().ok_or_else(|| MintError::NoKey(document.id.clone()))?;
        let key = SigningKey::of(&active.key)?;
        let (profile, shape) = (policy.profile.name(), Shape::of(&policy.profile));
        if !profile.fits(key.algorithm()) {
            return Err(MintError::Algorithm { kid: key.kid().clone(), algorithm: key.algorithm(), profile });
        }
        let header = shape::header(key.algorithm(), shape.typ, key.kid());
        let key = key.expecting(&shape::usual_front(&header, policy.issuer.as_deref()));
        let constant = Constant::of(&policy);
        Ok(Self { key, policy, constant, shape, stated_ttl: token_ttl, held: document.facts.clone(), header })
    }

    /// The key that signs.
    pub const fn kid(&self) -> &Kid {
        self.key.kid()
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// A token, issued at `now`.
    ///
    /// # Errors
    /// What was asked for is not allowed, or the back end failed.
    pub fn mint(&self, request: &MintRequest, now: Timestamp) -> Result<Minted, MintError> {
        let ttl = self.lawful_ttl(request.ttl, now)?;
        if let Some(subject) = &request.subject {
            lawful_subject(subject).then_some(()).ok_or(MintError::Subject)?;
        }
        self.lawful_claims(request)?;
        let issued_at = now.as_millis().div_euclid(1000);
        let expires_at = issued_at.saturating_add_unsigned(ttl.whole_seconds());
        let mut payload = Payload::new();
        (self.shape.write)(&mut payload, &Told { policy: &self.policy, constant: &self.constant, request, issued_at, expires_at })?;
        payload.members(&self.constant.claims);
        request.claims.iter().for_each(|(name, value)| payload.value(name, value));
        if let Some(thumbprint) = &request.bound_to {
            payload.value("cnf", &serde_json::json!({ "jkt": thumbprint.to_string() }));
        }
        let token = self.signed(&payload.finish())?;
        Ok(Minted { token, kid: self.key.kid().clone(), expires_at: Timestamp::from_millis(expires_at.saturating_mul(1000)) })
    }

    /// The longest that a token may live if it is minted at `now`.
    pub fn longest(&self, now: Timestamp) -> Span {
        self.longest_under(self.held.promise_of(FactName::TokenTtl, now))
    }

    /// The same, while the document holds that.
    fn longest_under(&self, document: Span) -> Span {
        let longest = self.stated_ttl.min(document);
        self.policy.profile.name().longest().map_or(longest, |most| longest.min(most))
    }

    fn lawful_ttl(&self, asked: Option<Span>, now: Timestamp) -> Result<Span, MintError> {
        let (policy, document) = (self.stated_ttl, self.held.promise_of(FactName::TokenTtl, now));
        // What the policy says by default may be more than the document holds yet: then it is that, if that is anything.
        let asked = asked.unwrap_or_else(|| match self.policy.default_ttl.min(self.longest_under(document)) {
            nothing if nothing < Span::seconds(1) => self.policy.default_ttl,
            usual => usual,
        });
        let (longest, profile) = (policy.min(document), self.policy.profile.name());
        match profile.longest() {
            _ if asked < Span::seconds(1) => Err(MintError::TooShortLived(asked)),
            _ if asked > longest => Err(MintError::TooLongLived { asked, longest, policy, document }),
            Some(most) if asked > most => Err(MintError::ProfileLongest { asked, longest: most, profile }),
            _ => Ok(asked),
        }
    }

    fn lawful_claims(&self, request: &MintRequest) -> Result<(), MintError> {
        let profile = self.policy.profile.name();
        if profile.is_closed() && request.bound_to.is_some() {
            return Err(MintError::Owned { claim: "cnf".to_owned(), profile });
        }
        for (claim, value) in &request.claims {
            if profile.is_closed() || profile.owns(claim) {
                return Err(MintError::Owned { claim: claim.clone(), profile });
            }
            if self.policy.claims.contains_key(claim) {
                return Err(MintError::Template(claim.clone()));
            }
            profile.suits(claim, value).map_err(MintError::Claim)?;
        }
        Ok(())
    }

    fn signed(&self, payload: &[u8]) -> Result<LoneSecret, MintError> {
        let encoded = |bytes: usize| (bytes * 4).div_ceil(3);
        let length = self.header.len() + encoded(payload.len()) + 1 + encoded(self.key.signature_length());
        if length > LONGEST_TOKEN {
            return Err(MintError::TooLong(length));
        }
        let mut token = String::with_capacity(length);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_append(payload, &mut token);
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_append(signature, &mut token);
        Ok(LoneSecret::new(token))
    }
}

fn lawful_subject(subject: &str) -> bool {
    // Most are plain, and begin with something.
    let lawful = || !subject.trim().is_empty() && !subject.chars().any(char::is_control);
    subject.len() <= LONGEST_SUBJECT && ((is_plain(subject.as_bytes()) && !subject.starts_with(' ') && !subject.is_empty()) || lawful())
}

#[cfg(test)]
mod tests;
