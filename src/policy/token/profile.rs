//! The shapes of tokens that verifiers in the field expect: what each asks of algorithms, lengths of life and claims.
//!
//! How a token of each shape is written is [`crate::tokens`]' business.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::key::{Algorithm, KeyClass};
use crate::time::Span;

/// The shape of a keyset's tokens, with what only that shape has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A plain JWT (RFC 7519).
    Generic,
    /// An OAuth 2.0 access token (RFC 9068).
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// A secured user token of Algolia Agent Studio.
    Algolia,
    /// A user token of Inkeep's search and chat.
    Inkeep {
        /// The integration that it is for.
        integration_id: String,
    },
    /// A token of an app credential of Inkeep's agents.
    InkeepAgents,
    /// What an Amigo client gets for an API key.
    Amigo,
    /// A user token of Hyperspell.
    Hyperspell,
}

/// The shapes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "TokenProfile")]
pub enum ProfileName {
    /// A plain JWT (RFC 7519): sub, iat, exp, and iss and aud if they are stated.
    Generic,
    /// An OAuth 2.0 access token (RFC 9068): `typ: at+jwt`, iss, aud, sub, `client_id`, iat, exp, jti.
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// Algolia Agent Studio: HS256, exactly sub and exp.
    Algolia,
    /// Inkeep's search and chat: RS256, one public key, with integrationId, and filters and userAttributes on request.
    Inkeep,
    /// App credentials of Inkeep's agents: RS, ES or `EdDSA`, kid, sub, iat, exp, at most 24h.
    InkeepAgents,
    /// What Amigo clients get for their API key.
    Amigo,
    /// Hyperspell's user tokens: HS256 with the app's secret, at most 30d.
    Hyperspell,
}

impl Profile {
    /// Its name.
    pub const fn name(&self) -> ProfileName {
        match self {
            Self::Generic => ProfileName::Generic,
            Self::AtJwt => ProfileName::AtJwt,
            Self::Algolia => ProfileName::Algolia,
            Self::Inkeep { .. } => ProfileName::Inkeep,
            Self::InkeepAgents => ProfileName::InkeepAgents,
            Self::Amigo => ProfileName::Amigo,
            Self::Hyperspell => ProfileName::Hyperspell,
        }
    }
}

impl ProfileName {
    /// Every profile.
    pub const ALL: [Self; 7] = [Self::Generic, Self::AtJwt, Self::Algolia, Self::Inkeep, Self::InkeepAgents, Self::Amigo, Self::Hyperspell];

    /// The name as it stands in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::AtJwt => "at+jwt",
            Self::Algolia => "algolia",
            Self::Inkeep => "inkeep",
            Self::InkeepAgents => "inkeep-agents",
            Self::Amigo => "amigo",
            Self::Hyperspell => "hyperspell",
        }
    }

    /// The profile; `None` if it needs an integration and there is none.
    pub(super) fn with(self, integration_id: Option<&str>) -> Option<Profile> {
        Some(match self {
            Self::Generic => Profile::Generic,
            Self::AtJwt => Profile::AtJwt,
            Self::Algolia => Profile::Algolia,
            Self::Inkeep => Profile::Inkeep { integration_id: integration_id?.to_owned() },
            Self::InkeepAgents => Profile::InkeepAgents,
            Self::Amigo => Profile::Amigo,
            Self::Hyperspell => Profile::Hyperspell,
        })
    }

    /// Whether its verifiers take tokens that are signed so.
    pub const fn fits(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Generic | Self::AtJwt | Self::Amigo => !matches!(algorithm.class(), KeyClass::ApiKey),
            Self::Algolia | Self::Hyperspell => matches!(algorithm, Algorithm::HS256),
            Self::Inkeep => matches!(algorithm, Algorithm::RS256),
            Self::InkeepAgents => {
                matches!(algorithm.class(), KeyClass::Asymmetric)
                    && !matches!(algorithm, Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512)
            }
        }
    }

    /// What fits, in words.
    pub(super) const fn algorithms(self) -> &'static str {
        match self {
            Self::Generic | Self::AtJwt | Self::Amigo => "any JWS algorithm",
            Self::Algolia | Self::Hyperspell => "HS256",
            Self::Inkeep => "RS256",
            Self::InkeepAgents => "RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA",
        }
    }

    /// How long a token lives if neither the policy nor the request says.
    pub(super) const fn usual_ttl(self) -> Span {
        match self {
            Self::Generic | Self::AtJwt | Self::Amigo => Span::hours(1),
            Self::Algolia | Self::Inkeep | Self::InkeepAgents | Self::Hyperspell => Span::hours(24),
        }
    }

    /// The longest life that its verifiers accept; `None`: they do not say.
    pub const fn longest(self) -> Option<Span> {
        match self {
            Self::InkeepAgents => Some(Span::hours(24)),
            Self::Hyperspell => Some(Span::days(30)),
            _ => None,
        }
    }

    /// Whether its tokens are worth nothing without an issuer.
    pub(super) const fn needs_issuer(self) -> bool {
        matches!(self, Self::AtJwt | Self::Inkeep)
    }

    /// Whether its tokens are worth nothing without an audience.
    pub(super) const fn needs_audience(self) -> bool {
        matches!(self, Self::AtJwt)
    }

    /// The audience where the policy names none.
    pub(super) const fn usual_audience(self) -> Option<&'static str> {
        if matches!(self, Self::Inkeep) { Some("https://api.inkeep.com") } else { None }
    }

    /// Whether its tokens bear the profile's own claims and no other.
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Algolia)
    }

    /// The claims that the profile itself sets. Nobody else may: not a template, not a request. `cnf` binds a token to a key (RFC 7800)
    /// and is nobody's to claim.
    pub const fn owned(self) -> &'static [&'static str] {
        match self {
            Self::AtJwt => &["iss", "aud", "sub", "iat", "exp", "jti", "cnf"],
            Self::Inkeep => &["iss", "aud", "sub", "iat", "exp", "integrationId", "cnf"],
            Self::Algolia => &["sub", "exp"],
            Self::Generic | Self::InkeepAgents | Self::Amigo | Self::Hyperspell => &["iss", "aud", "sub", "iat", "exp", "cnf"],
        }
    }

    /// The header in which its verifiers expect a token, up to where the token begins.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Algolia => "X-Algolia-Secure-User-Token: ",
            Self::Inkeep => "User-Token: ",
            _ => "Authorization: Bearer ",
        }
    }

    /// Whether the profile itself sets that claim.
    pub fn owns(self, claim: &str) -> bool {
        self.owned().contains(&claim)
    }

    /// Whether a claim of that name may have this value.
    ///
    /// # Errors
    /// What it must be, with a hint.
    pub fn suits(self, claim: &str, value: &Value) -> Result<(), String> {
        let must = |lawful: bool, what: &str, hint: &str| {
            if lawful { Ok(()) } else { Err(format!("claim `{claim}` must be {what} in tokens of `{self}`; hint: {hint}")) }
        };
        match (self, claim) {
            (_, "nbf") => must(value.is_i64() || value.is_u64(), "a whole number of seconds since 1970", "RFC 7519 §4.1.5"),
            (_, "jti") => must(value.is_string(), "a text", "RFC 7519 §4.1.7"),
            (Self::AtJwt, "client_id") => must(value.as_str().is_some_and(|id| !id.is_empty()), "a text", "RFC 9068 §2.2"),
            (Self::AtJwt, "scope") => must(value.as_str().is_some_and(is_scope), "scopes with single spaces between them", "RFC 6749 §3.3"),
            (Self::Inkeep, "filters") => {
                let lawful = value.as_object().is_some_and(|object| object.keys().all(|key| key == "attributes"));
                must(lawful, "a mapping with `attributes` alone", "{\"attributes\":{\"$and\":[…]}}")
            }
            (Self::Inkeep, "userAttributes") => must(value.is_object(), "a mapping", "{\"plan\":\"pro\"}"),
            (Self::Hyperspell, "origin") => {
                let lawful = value.as_str().is_some_and(|url| url.starts_with("https://") || url.starts_with("http://"));
                must(lawful, "a web origin", "https://app.example.com")
            }
            _ => Ok(()),
        }
    }
}

/// `scope-token *( SP scope-token )` (RFC 6749 §3.3).
fn is_scope(text: &str) -> bool {
    let lawful = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    text.split(' ').all(|token| !token.is_empty() && token.bytes().all(lawful))
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policies_write_the_names_that_are_shown() {
        for name in ProfileName::ALL {
            assert_eq!(serde_json::from_value::<ProfileName>(json!(name.as_str())).unwrap(), name);
            assert_eq!(name.with(Some("id")).unwrap().name(), name);
            assert!(Algorithm::ALL.into_iter().any(|algorithm| name.fits(algorithm)) && !name.fits(Algorithm::ApiKey));
        }
        assert_eq!(ProfileName::Inkeep.with(None), None);
    }

    #[test]
    fn scopes_are_words_with_single_spaces() {
        for good in ["read", "read write:all", "!"] {
            assert!(is_scope(good), "{good}");
        }
        for bad in ["", " ", "a  b", "a ", "a\"b", "a\\b", "ä"] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
