//! Key sets for verifiers: `GET /<environment>/<keyset>/.well-known/jwks.json`.
//!
//! The one path that must be fast: bytes and headers were rendered when the document changed, the path is taken apart by hand, and
//! no request waits for a writer. A process that is not fresh goes on serving the last set (nothing can have changed if the store is
//! away from everybody, and refusing would fail every verifier), says so in a header and forbids caches to keep it, unless the policy
//! says `stale: refuse`.
//!
//! The type is `application/json` and not `application/jwk-set+json` (RFC 7517 §8.5.2): several clients were reported to refuse the
//! latter (openidconnect for Rust, oidc-client for JavaScript, canvas) or to ask for the former alone (auth0's jwks-rsa for Java),
//! and none was to refuse the former.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::{Desk, JSON, Refusal, entity_tag};
use crate::board::EnvironmentBoard;
use crate::policy::Stale;
use crate::time::Span;

/// `Keyrota-Stale: true` on a key set that is served by a process which is not fresh.
pub const STALE: HeaderName = HeaderName::from_static("keyrota-stale");

/// Requests for an environment that is still being loaded wait for it until this long after the start; later they are refused at
/// once. So whoever asks during a restart is answered late and not refused, and a store that is away holds nobody up for longer.
pub const FIRST_LOOK: Span = Span::seconds(4);

const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// The service behind `--listen`.
#[derive(Clone)]
pub struct Verifiers {
    desk: Desk,
    /// On the boot clock: until when requests wait for what is being loaded.
    patient_until: Span,
}

impl Verifiers {
    /// Serves the key sets of the desk's board, from now on.
    pub fn new(desk: Desk) -> Self {
        let patient_until = (desk.clock)().boot + FIRST_LOOK;
        Self { desk, patient_until }
    }

    /// The environment that a request is to wait for, and how long; `None` if it can be answered now.
    fn awaited(&self, path: &str) -> Option<(Arc<EnvironmentBoard>, Span)> {
        let now = (self.desk.clock)().boot;
        if now >= self.patient_until {
            return None;
        }
        let (environment, keyset) = names(path)?;
        let environment = self.desk.board.environment(environment).filter(|environment| !environment.loaded.initialized())?;
        let served = environment.keyset(keyset).is_some_and(|cell| cell.served().is_some());
        (!served).then(|| (environment, self.patient_until.saturating_sub(now)))
    }

    /// The answer to one request.
    pub fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let timer = self.desk.metrics.http.jwks.start();
        let answer = self.key_set(method, path, headers).unwrap_or_else(|refusal| refused(&refusal));
        self.desk.metrics.http.jwks.done(timer, answer.status());
        answer
    }

    fn key_set(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Response<Full<Bytes>>, Refusal> {
        let (environment, keyset) = names(path).ok_or_else(unknown)?;
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::method("GET, HEAD"));
        }
        let environment = self.desk.board.environment(environment).ok_or_else(unknown)?;
        let absent = || if environment.loaded.initialized() { unknown() } else { Refusal::not_loaded(environment.name.as_str()) };
        let cell = environment.keyset(keyset).ok_or_else(absent)?;
        let served = cell.served().ok_or_else(absent)?;
        let rendered = served.jwks.as_ref().ok_or_else(unknown)?;
        let manner = cell.manner();
        let fresh = environment.freshness.is_fresh((self.desk.clock)());
        if !fresh && manner.manner.stale == Stale::Refuse {
            return Err(Refusal::not_fresh(environment.name.as_str()));
        }
        let held = entity_tag::matches(headers, rendered.etag.as_bytes());
        let mut response = Response::new(Full::new(if held { Bytes::new() } else { rendered.body.clone() }));
        let headers = response.headers_mut();
        if fresh {
            headers.insert(CACHE_CONTROL, manner.cache_control.clone());
        } else {
            headers.insert(CACHE_CONTROL, NO_CACHE);
            headers.insert(STALE, HeaderValue::from_static("true"));
        }
        headers.insert(ETAG, rendered.etag.clone());
        headers.insert(CONTENT_TYPE, JSON);
        if held {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        Ok(response)
    }
}

/// Environment and keyset of `/<environment>/<keyset>/.well-known/jwks.json`. No name needs percent-encoding, so none is undone.
fn names(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.strip_suffix("/.well-known/jwks.json")?.split_once('/').filter(|(_, keyset)| !keyset.contains('/'))
}

/// Whether a path is that of a key set.
pub(super) fn is_key_set(path: &str) -> bool {
    names(path).is_some()
}

/// One answer for all that has no key set, so that nobody learns here which HMAC secrets and API keys there are.
fn unknown() -> Refusal {
    let hint = "key sets are at /<environment>/<keyset>/.well-known/jwks.json, for keysets of key pairs that have a key; \
                `keyrota status` lists them";
    Refusal::new(StatusCode::NOT_FOUND, "there is no key set at this path", hint)
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(refusal.body().into()));
    *response.status_mut() = refusal.status;
    refusal.extra_headers(response.headers_mut());
    response
}

impl<B> hyper::service::Service<Request<B>> for Verifiers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Self::Response, Infallible>>, BoxFuture<'static, Result<Self::Response, Infallible>>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let Some((environment, longest)) = self.awaited(request.uri().path()) else {
            return Either::Left(ready(Ok(self.answer(request.method(), request.uri().path(), request.headers()))));
        };
        let (this, (asked, _)) = (self.clone(), request.into_parts());
        Either::Right(Box::pin(async move {
            let _ = tokio::time::timeout(longest.to_std(), environment.loaded.wait()).await;
            Ok(this.answer(&asked.method, asked.uri.path(), &asked.headers))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(names("/demo/user-sessions/.well-known/jwks.json"), Some(("demo", "user-sessions")));
        for none in ["", "/", "/.well-known/jwks.json", "/demo/.well-known/jwks.json", "/a/b/c/.well-known/jwks.json", "*", "/a/b"] {
            assert_eq!(names(none), None, "{none}");
        }
        assert_eq!(names("//x/.well-known/jwks.json"), Some(("", "x")), "an empty name is no name of the board");
    }
}
