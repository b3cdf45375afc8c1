//! Why a proof of possession is refused: each reason with a stable code, a sentence, and the OAuth error that clients act upon.

use crate::jwk::NumbersError;
use crate::time::Span;
use crate::tokens::malformed::Malformed;

/// What a client is told by name (RFC 9449 §5, §7.1, §8; RFC 6749 §4.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OauthError {
    /// Another proof may do.
    InvalidProof,
    /// The same again with the nonce that comes with the answer.
    UseNonce,
    /// The token is not for whoever presents it so.
    InvalidToken,
    /// Later.
    TemporarilyUnavailable,
}

impl OauthError {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidProof => "invalid_dpop_proof",
            Self::UseNonce => "use_dpop_nonce",
            Self::InvalidToken => "invalid_token",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// Why a proof, or a token that is bound to a key, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no `DPoP` header.
    #[error("the request has no `DPoP` header; hint: send a proof of possession with it (RFC 9449 §4.1)")]
    Missing,
    /// There are several.
    #[error("the request has more than one proof; hint: one `DPoP` header with one proof (RFC 9449 §4.3)")]
    Repeated,
    /// It is no well-formed token.
    #[error("the proof is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// It is a token of another kind.
    #[error("the proof's `typ` is not `dpop+jwt`; hint: RFC 9449 §4.2; any other token could be passed off as a proof")]
    Typ,
    /// It is signed in a way that proves nothing here.
    #[error("the proof's `alg` is not allowed; hint: ES256, ES384, ES512 or EdDSA")]
    Algorithm,
    /// It brings no key.
    #[error("the proof's header has no `jwk`; hint: the public key that it is signed with (RFC 9449 §4.2)")]
    KeyMissing,
    /// It brings a private key.
    #[error("the proof's `jwk` has the private member `{0}`; hint: that key has been given away: make a new one, and send its public half")]
    PrivateKey(&'static str),
    /// It brings what is no key for its algorithm.
    #[error("the proof's `jwk` is no public key for its algorithm; hint: P-256 for ES256, P-384 for ES384, P-521 for ES512, Ed25519")]
    KeyKind,
    /// The numbers of its key are no key.
    #[error("the proof's `jwk`: {0}")]
    KeyNumbers(NumbersError),
    /// Its signature is of another key, or of another text.
    #[error("the proof's signature does not verify with the key that it brings; hint: was it altered on the way?")]
    Signature,
    /// A claim that every proof has is missing.
    #[error("the proof has no `{0}`; hint: jti, htm, htu and iat are required (RFC 9449 §4.2)")]
    ClaimMissing(&'static str),
    /// A claim is of another kind than it should be.
    #[error("the proof's `{0}` is not what it should be; hint: texts, but for times, which are seconds since 1970")]
    ClaimKind(&'static str),
    /// The proof's own name is empty or too long.
    #[error("the proof's `jti` has {0} bytes; hint: 1 to {LONGEST_JTI}, random, another one in each proof")]
    Jti(usize),
    /// It is for another method.
    #[error("the proof's `htm` is not the method of this request; hint: in capitals, as in the request line (RFC 9449 §4.2)")]
    Method,
    /// What it is for is no address.
    #[error("the proof's `htu` is no web address; hint: https://HOST/PATH, without user name")]
    AddressForm,
    /// It is for another address.
    #[error("the proof's `htu` is not the address of this request; hint: the public origin of this service and the path, no other host")]
    Address,
    /// It is too old.
    #[error("the proof's `iat` is {0} ago; hint: make a proof for each request; is the clock right?")]
    TooOld(Span),
    /// It is from the future.
    #[error("the proof's `iat` is {0} ahead; hint: is the clock of this client right?")]
    Ahead(Span),
    /// It says itself that it is not valid now.
    #[error("the proof's `{0}` says that it is not valid now; hint: a proof needs neither exp nor nbf")]
    NotNow(&'static str),
    /// It has no nonce.
    #[error("the proof has no `nonce`; hint: put the one of this answer's `DPoP-Nonce` header into it (RFC 9449 §8)")]
    NonceMissing,
    /// Its nonce was not given by this process.
    #[error("the proof's `nonce` was not given by this replica since it started; hint: use the one of this answer's `DPoP-Nonce` header")]
    NonceForeign,
    /// Its nonce is forged or damaged.
    #[error("the proof's `nonce` is none of this service; hint: use the one of this answer's `DPoP-Nonce` header, as it stands")]
    NonceForged,
    /// Its nonce was given too long ago.
    #[error("the proof's `nonce` is too old; hint: use the one of this answer's `DPoP-Nonce` header")]
    NonceExpired,
    /// It does not say which token it is for.
    #[error("the proof has no `ath`; hint: with a token, the base64url SHA-256 of that token (RFC 9449 §4.2)")]
    TokenHashMissing,
    /// It is for another token.
    #[error("the proof's `ath` is of another token; hint: make a proof for the token that is sent with it")]
    TokenHash,
    /// The token is bound to another key.
    #[error("the token is bound to another key than the proof's; hint: sign proofs with the key with which the token was asked for")]
    OtherKey,
    /// It was accepted once already.
    #[error("this proof was used before; hint: make a proof with a new `jti` for each request")]
    Replayed,
    /// No more proofs can be remembered now.
    #[error("more proofs than can be remembered are alive; hint: ask again in {0}")]
    Full(Span),
    /// A bound token without its key.
    #[error("the token is bound to a key and was presented as Bearer; hint: `Authorization: DPoP TOKEN`, with a proof (RFC 9449 §7.1)")]
    BoundAsBearer,
    /// A token that is not bound, with a proof.
    #[error("the token is not bound to a key and was presented as DPoP; hint: `Authorization: Bearer TOKEN`, or ask for a bound one")]
    NotBound,
    /// A token that is bound in another way, or bound to nothing that can be read.
    #[error("the token's `cnf` is not one `jkt` alone; hint: only DPoP binds tokens here (RFC 9449 §6.1)")]
    Confirmation,
}

/// The longest name of a proof, in bytes.
pub const LONGEST_JTI: usize = 256;

impl Refusal {
    /// Every code of a refusal that is not of the form ([`Malformed::CODES`]).
    pub const CODES: [&'static str; 30] = [
        "proof_missing",
        "proof_repeated",
        "proof_typ",
        "proof_alg",
        "jwk_missing",
        "jwk_private",
        "jwk_kind",
        "jwk_numbers",
        "proof_signature",
        "claim_missing",
        "claim_kind",
        "jti_length",
        "htm_mismatch",
        "htu_malformed",
        "htu_mismatch",
        "iat_too_old",
        "iat_ahead",
        "not_valid_now",
        "nonce_missing",
        "nonce_foreign",
        "nonce_forged",
        "nonce_expired",
        "ath_missing",
        "ath_mismatch",
        "key_mismatch",
        "replayed",
        "replay_memory_full",
        "bound_as_bearer",
        "not_bound",
        "cnf_malformed",
    ];

    /// The stable code of it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "proof_missing",
            Self::Repeated => "proof_repeated",
            Self::Malformed(malformed) => malformed.code(),
            Self::Typ => "proof_typ",
            Self::Algorithm => "proof_alg",
            Self::KeyMissing => "jwk_missing",
            Self::PrivateKey(_) => "jwk_private",
            Self::KeyKind => "jwk_kind",
            Self::KeyNumbers(_) => "jwk_numbers",
            Self::Signature => "proof_signature",
            Self::ClaimMissing(_) => "claim_missing",
            Self::ClaimKind(_) => "claim_kind",
            Self::Jti(_) => "jti_length",
            Self::Method => "htm_mismatch",
            Self::AddressForm => "htu_malformed",
            Self::Address => "htu_mismatch",
            Self::TooOld(_) => "iat_too_old",
            Self::Ahead(_) => "iat_ahead",
            Self::NotNow(_) => "not_valid_now",
            Self::NonceMissing => "nonce_missing",
            Self::NonceForeign => "nonce_foreign",
            Self::NonceForged => "nonce_forged",
            Self::NonceExpired => "nonce_expired",
            Self::TokenHashMissing => "ath_missing",
            Self::TokenHash => "ath_mismatch",
            Self::OtherKey => "key_mismatch",
            Self::Replayed => "replayed",
            Self::Full(_) => "replay_memory_full",
            Self::BoundAsBearer => "bound_as_bearer",
            Self::NotBound => "not_bound",
            Self::Confirmation => "cnf_malformed",
        }
    }

    /// What clients are told by name.
    pub const fn oauth(&self) -> OauthError {
        match self {
            Self::NonceMissing | Self::NonceForeign | Self::NonceForged | Self::NonceExpired => OauthError::UseNonce,
            Self::BoundAsBearer | Self::NotBound | Self::Confirmation => OauthError::InvalidToken,
            Self::Full(_) => OauthError::TemporarilyUnavailable,
            _ => OauthError::InvalidProof,
        }
    }

    /// In how long to ask again, where that may help.
    pub const fn retry_after(&self) -> Option<Span> {
        match self {
            Self::Full(span) => Some(*span),
            _ => None,
        }
    }
}
