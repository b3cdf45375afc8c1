//! Why a request for a token is refused: a status, the OAuth error that clients act upon (RFC 6749 §5.2), a code of ours that programs
//! may rely on, and a sentence.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::super::reach::Exposed;
use super::super::{JSON, NO_STORE};
use crate::policy::{ProfileName, Refresh};
use crate::time::Span;
use crate::tokens::dpop::refusal::{OauthError, Refusal as ProofRefusal};
use crate::tokens::mint::MintError;
use crate::tokens::refresh::{Refusal as RefreshRefusal, SealError};

/// A nonce for the client's next proof (RFC 9449 §8.1).
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub status: StatusCode,
    /// What OAuth clients are told by name.
    pub error: &'static str,
    /// What programs may rely on.
    pub code: &'static str,
    pub says: Box<str>,
    pub hint: Box<str>,
    /// In how many seconds to ask again, where that may help.
    pub retry_after: Option<u32>,
    /// `WWW-Authenticate`.
    pub challenge: Option<Box<str>>,
    pub nonce: Option<Box<str>>,
}

impl Refused {
    fn new(status: StatusCode, error: &'static str, code: &'static str, says: impl Into<Box<str>>, hint: impl Into<Box<str>>) -> Self {
        let (says, hint) = (says.into(), hint.into());
        Self { status, error, code, says, hint, retry_after: None, challenge: None, nonce: None }
    }

    /// 401: the same for every reason, so that nobody learns which keysets, users and keys there are.
    pub fn credential() -> Self {
        let says = "the request has no credential that is accepted here";
        let hint = "an API key of a keyset that `token.callers` names: `Authorization: Bearer KEY`, or `x-api-key: KEY`";
        let challenge = Some("Bearer realm=\"keyrota\"".into());
        Self { challenge, ..Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "credential", says, hint) }
    }

    /// 401: a token that is presented is not accepted (RFC 6750 §3.1, RFC 9449 §7.1).
    pub fn token(code: &'static str, says: &str) -> Self {
        let (says, hint) = split(says);
        let challenge = Some("Bearer realm=\"keyrota\", error=\"invalid_token\", DPoP realm=\"keyrota\"".into());
        Self { challenge, ..Self::new(StatusCode::UNAUTHORIZED, "invalid_token", code, says, hint) }
    }

    /// 403: whom it may not ask for.
    pub fn subject() -> Self {
        let says = "this API key may not ask for tokens for that subject";
        Self::new(StatusCode::FORBIDDEN, "access_denied", "subject_not_allowed", says, "`subjects` at `token.callers` says for whom it may")
    }

    /// 404: another vendor's shape.
    pub fn not_here(asked: ProfileName, is: ProfileName) -> Self {
        let says = format!("this path is for keysets of profile `{asked}`, and this one mints `{is}`");
        Self::new(StatusCode::NOT_FOUND, "invalid_request", "profile_mismatch", says, "`/openapi.json` lists the paths")
    }

    /// 403: nothing is served here.
    pub fn exposed(exposed: &Exposed) -> Self {
        let said = exposed.to_string();
        let (says, hint) = split(&said);
        Self::new(StatusCode::FORBIDDEN, "access_denied", "exposed", says, hint)
    }

    /// 400.
    pub fn malformed(says: impl Into<Box<str>>, hint: impl Into<Box<str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", "request_malformed", says, hint)
    }

    /// 413.
    pub fn too_long(most: usize) -> Self {
        let says = format!("the request has more than {most} bytes, or was cut short");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "request_too_long", says, "ask for fewer or shorter claims")
    }

    /// 408.
    pub fn too_slow() -> Self {
        let says = "the request did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", "request_too_slow", says, "send it in one piece")
    }

    /// 429.
    pub fn too_many(wait: Span) -> Self {
        let says = format!("this API key has asked as often as `token.rate` allows; the next request is taken in {wait}");
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", "too_many_requests", says, "keep tokens until they expire");
        Self { retry_after: Some(seconds(wait)), ..refused }
    }

    /// 503: this process may not speak for the store, or not yet.
    pub fn away(refusal: super::super::Refusal, code: &'static str) -> Self {
        let retry_after = refusal.retry_after;
        let (says, hint) = (refusal.report.error, refusal.report.hint);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", code, says, hint) }
    }

    /// 500.
    pub fn broken() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "broken", "the request was not finished", "see the log")
    }

    /// Why nothing was minted.
    pub fn minting(error: &MintError) -> Self {
        let (status, name) = match error {
            MintError::NoKey(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            error if error.is_the_callers() => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"),
            MintError::Key(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
            _ => (StatusCode::CONFLICT, "server_error"),
        };
        let said = error.to_string();
        let (says, hint) = split(&said);
        Self { retry_after: when_there_is_a_key(status), ..Self::new(status, name, error.code(), says, hint) }
    }

    /// 503: there is no key yet that seals refresh tokens.
    pub fn nothing_seals(policy: &Refresh) -> Self {
        let says = format!("keyset {} has no key yet, and refresh tokens are sealed with it", policy.sealed_by);
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let refused = Self::new(status, "temporarily_unavailable", "no_key", says, "ask again in a moment");
        Self { retry_after: when_there_is_a_key(status), ..refused }
    }

    /// Why no refresh token was given.
    pub fn sealing(error: &SealError) -> Self {
        let (status, name, code) = match error {
            SealError::NoKey(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "no_key"),
            SealError::TooLong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", "token_too_long"),
            SealError::Key(_) | SealError::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", "broken"),
        };
        let said = error.to_string();
        let (says, hint) = split(&said);
        Self { retry_after: when_there_is_a_key(status), ..Self::new(status, name, code, says, hint) }
    }

    /// 400: a refresh token that is not accepted (RFC 6749 §5.2).
    pub fn refresh(refusal: &RefreshRefusal) -> Self {
        let said = refusal.to_string();
        let (says, hint) = split(&said);
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", refusal.code(), says, hint)
    }

    /// 400: more than was granted (RFC 6749 §6).
    pub fn wider_scope() -> Self {
        let says = "the scope asks for more than the refresh token was given for";
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", "scope_too_wide", says, "leave `scope` away, or ask for a token anew")
    }

    /// Why a proof is not accepted, by an endpoint that gives tokens (400) or takes them (401).
    pub fn proof(refusal: &ProofRefusal, gives_tokens: bool, nonce: String) -> Self {
        let oauth = refusal.oauth();
        let status = match oauth {
            OauthError::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ if gives_tokens => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        };
        let said = refusal.to_string();
        let (says, hint) = split(&said);
        let challenge =
            (status == StatusCode::UNAUTHORIZED).then(|| format!("DPoP error=\"{}\", algs=\"{}\"", oauth.as_str(), algorithms()).into());
        let refused = Self::new(status, oauth.as_str(), refusal.code(), says, hint);
        Self { retry_after: refusal.retry_after().map(seconds), nonce: Some(nonce.into()), challenge, ..refused }
    }
}

/// What proofs may be signed with, as `algs` and discovery list it.
pub(super) fn algorithms() -> String {
    crate::tokens::dpop::proof::ALGORITHMS.map(crate::key::Algorithm::as_str).join(" ")
}

/// In how many seconds to ask again where a key is missing: it may be on its way.
fn when_there_is_a_key(status: StatusCode) -> Option<u32> {
    (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1)
}

fn seconds(span: Span) -> u32 {
    u32::try_from(span.as_millis().div_ceil(1000).max(1)).unwrap_or(u32::MAX)
}

fn split(said: &str) -> (&str, &str) {
    said.split_once("; hint: ").unwrap_or((said, ""))
}

/// The characters that a description may have (RFC 6749 §5.2).
fn plain(text: &str) -> String {
    let lawful = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    text.replace('§', "section ").chars().map(|c| if c == '"' { '\'' } else { c }).map(|c| if lawful(c) { c } else { '?' }).collect()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "code": self.code, "error_description": plain(&self.says), "hint": self.hint });
        let mut response = (self.status, [(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], body.to_string()).into_response();
        self.headers(response.headers_mut());
        response
    }
}

impl Refused {
    /// The headers besides type and caching.
    pub fn headers(&self, headers: &mut http::HeaderMap) {
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        let texts = [(WWW_AUTHENTICATE, &self.challenge), (DPOP_NONCE, &self.nonce)];
        for (name, text) in texts {
            if let Some(value) = text.as_deref().and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_have_the_characters_that_clients_may_expect() {
        assert_eq!(plain("a \"b\" (RFC 9068 §2.2) ü \\"), "a 'b' (RFC 9068 section 2.2) ? ?");
    }

    #[test]
    fn a_wait_is_never_told_shorter_than_it_is() {
        assert_eq!([seconds(Span::ZERO), seconds(Span::millis(1001)), seconds(Span::seconds(3))], [1, 2, 3]);
    }
}
