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
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::{Desk, JSON, Refusal, entity_tag};
use crate::policy::Stale;

/// `Keyrota-Stale: true` on a key set that is served by a process which is not fresh.
pub const STALE: HeaderName = HeaderName::from_static("keyrota-stale");

const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// The service behind `--listen`.
#[derive(Clone)]
pub struct Verifiers {
    desk: Desk,
}

impl Verifiers {
    /// Serves the key sets of the desk's board.
    pub const fn new(desk: Desk) -> Self {
        Self { desk }
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
        let absent = || if environment.loaded.load(Ordering::Acquire) { unknown() } else { Refusal::not_loaded(environment.name.as_str()) };
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
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.uri().path(), request.headers())))
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
