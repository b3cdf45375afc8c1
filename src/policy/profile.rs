//! Named figures for what common clients do, observed by running them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

/// The least `verifier_refresh` of a key set that is believed without an `unsafe:` reason: what common verifiers cache, whatever
/// headers say.
pub const LEAST_VERIFIER_REFRESH: Span = Span::minutes(10);

/// The least `signer_refresh` on AWS that is believed without an `unsafe:` reason: what AWS's caching clients do.
pub const LEAST_AWS_SIGNER_REFRESH: Span = Span::hours(1);

/// What verifiers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifierProfile {
    /// npm `jose`, `createRemoteJWKSet`: 10m.
    Jose,
    /// `PyJWT`, `PyJWKClient`: 10m (it caches for 5m; nothing shorter than 10m is believed of a key set).
    Pyjwt,
    /// npm `jwks-rsa`: 10m per kid.
    JwksRsa,
    /// Envoy's JWT filter: up to 1h.
    Envoy,
    /// Istio's request authentication: up to 1h.
    Istio,
}

/// How signers read their document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignerProfile {
    /// From the daemon's signer socket, as often as its answer says: 5m.
    Socket,
    /// Through AWS's caching clients or agent: 1h.
    AwsCachingClient,
}

impl VerifierProfile {
    /// The longest that such a verifier goes on using what it fetched.
    pub fn refresh(self) -> Span {
        let figure = match self {
            Self::Jose | Self::JwksRsa => Span::minutes(10),
            Self::Pyjwt => Span::minutes(5),
            Self::Envoy | Self::Istio => Span::hours(1),
        };
        figure.max(LEAST_VERIFIER_REFRESH)
    }
}

impl SignerProfile {
    /// The longest that such a signer goes on using what it read.
    pub const fn refresh(self) -> Span {
        match self {
            Self::Socket => Span::minutes(5),
            Self::AwsCachingClient => Span::hours(1),
        }
    }
}
