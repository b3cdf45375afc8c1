//! The service of one connection on `--listen`: key sets by their own short way, everything else through the router.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{Either, Map};
use http::{Request, Response};
use http_body_util::{Either as OneOf, Full};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::verifiers::{Verifiers, is_key_set};

/// What is served on `--listen`.
#[derive(Clone)]
pub struct Front {
    verifiers: Verifiers,
    others: TowerToHyperService<Router>,
}

type Answer = Result<Response<OneOf<Full<Bytes>, Body>>, Infallible>;
type KeySets = Map<<Verifiers as Service<Request<Incoming>>>::Future, fn(Result<Response<Full<Bytes>>, Infallible>) -> Answer>;
type Others = Map<<TowerToHyperService<Router> as Service<Request<Incoming>>>::Future, fn(Result<Response<Body>, Infallible>) -> Answer>;

impl Front {
    /// Key sets, and the routes of this router; what is neither is answered as a path without a key set.
    pub fn new(verifiers: Verifiers, routes: Router) -> Self {
        let neither = verifiers.clone();
        let fallback = move |request: axum::extract::Request| async move {
            neither.answer(request.method(), request.uri().path(), request.headers()).map(Body::new)
        };
        Self { verifiers, others: TowerToHyperService::new(routes.fallback(fallback)) }
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<OneOf<Full<Bytes>, Body>>;
    type Error = Infallible;
    type Future = Either<KeySets, Others>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if is_key_set(request.uri().path()) {
            let left: fn(Result<_, Infallible>) -> Answer = |answer| answer.map(|response: Response<_>| response.map(OneOf::Left));
            return Either::Left(self.verifiers.call(request).map(left));
        }
        let right: fn(Result<_, Infallible>) -> Answer = |answer| answer.map(|response: Response<_>| response.map(OneOf::Right));
        Either::Right(self.others.call(request).map(right))
    }
}
