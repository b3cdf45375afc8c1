//! Accepting connections and seeing them out: the same loop for TCP and for Unix sockets.
//!
//! What peers can hold is bounded: connections in all and per uid, the size of a request's head, the time it may take to arrive
//! (which is also how long a connection may idle), the time an answer may lie unread. On stop no new connection is taken, requests
//! under way are finished, those of connections that were taken a moment before are answered, and after [`GRACE`] what is left is
//! dropped.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, watch};

use super::peers::Peer;
use super::stall::Stall;

/// How long requests under way may take after a stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long after a stop the first request of a connection that was accepted before it is waited for: it may be on its way already.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// How long a request's head may take to arrive, and a connection may idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest head of a request, in bytes.
pub const LONGEST_HEAD: usize = 16 * 1024;

/// The most headers of a request.
pub const MOST_HEADERS: usize = 64;

/// How many connections a listener keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// Of one uid other than root, on a Unix socket.
    pub per_uid: usize,
}

impl Limits {
    /// What suits verifiers. All four together stay under the 1024 descriptors that a process has by default.
    pub const VERIFIERS: Self = Self { connections: 512, per_uid: 512 };
    /// What suits Prometheus and health checks.
    pub const OPERATORS: Self = Self { connections: 48, per_uid: 48 };
    /// What suits signers on this host.
    pub const SIGNERS: Self = Self { connections: 256, per_uid: 128 };
    /// What suits the command line.
    pub const CONTROL: Self = Self { connections: 32, per_uid: 16 };

    /// The part of each of several listeners that serve the same.
    #[must_use]
    pub fn shared_by(self, listeners: usize) -> Self {
        let part = |whole: usize| (whole / listeners.max(1)).max(1);
        Self { connections: part(self.connections), per_uid: part(self.per_uid) }
    }
}

/// Tells listeners to stop, and lets whoever asked see it.
pub type Stop = watch::Receiver<bool>;

/// Where connections come from.
pub trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next connection, and who is at its other end where the system knows.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<Peer>)>> + Send;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;
    async fn next(&self) -> io::Result<(Self::Stream, Option<Peer>)> {
        let (stream, _) = self.accept().await?;
        // An answer goes out in one piece; waiting for more to send with it only delays it.
        stream.set_nodelay(true)?;
        Ok((stream, None))
    }
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;
    async fn next(&self) -> io::Result<(Self::Stream, Option<Peer>)> {
        let (stream, _) = self.accept().await?;
        let credentials = stream.peer_cred()?;
        Ok((stream, Some(Peer { uid: credentials.uid(), gid: credentials.gid() })))
    }
}

/// What a connection passes before the first request is read from it.
pub trait Entrance<S>: Clone + Send + Sync + 'static {
    /// What requests come on.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Lets a connection in; `None` if it is to end here. It has its place meanwhile, so this must end by itself.
    fn enter(self, stream: S) -> impl Future<Output = Option<Self::Stream>> + Send;
}

/// Lets every connection in as it is: in the clear.
#[derive(Debug, Clone, Copy)]
pub struct InTheClear;

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Entrance<S> for InTheClear {
    type Stream = S;
    async fn enter(self, stream: S) -> Option<S> {
        Some(stream)
    }
}

/// Serves connections in the clear: [`serve_through`] without anything to pass.
pub async fn serve<L, M, S, B>(listener: L, limits: Limits, stop: Stop, service: M)
where
    L: Listener,
    M: Fn(Option<Peer>) -> S,
    S: hyper::service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    serve_through(InTheClear, listener, limits, stop, service).await;
}

/// Serves connections until `stop` says so, and returns when the last one is done or [`GRACE`] is over. `service` makes the service
/// of one connection, once it has passed the entrance.
pub async fn serve_through<E, L, M, S, B>(entrance: E, listener: L, limits: Limits, mut stop: Stop, service: M)
where
    E: Entrance<L::Stream>,
    L: Listener,
    M: Fn(Option<Peer>) -> S,
    S: hyper::service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    let seats = Arc::new(Seats { all: Arc::new(Semaphore::new(limits.connections)), per_uid: limits.per_uid, taken: Mutex::default() });
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = seats.next(&listener) => accepted,
        };
        match accepted {
            Ok((stream, peer, Some(seat))) => {
                let (entrance, mut stop, service) = (entrance.clone(), stop.clone(), service(peer));
                tokio::spawn(async move {
                    if let Some(stream) = let_in(entrance, stream, &mut stop).await {
                        connection(stream, service, stop).await;
                    }
                    drop(seat);
                });
            }
            // The peer holds enough already: it is hung up on.
            Ok((_, _, None)) => {}
            // Out of descriptors, or the peer is gone already: let others go on, and try again.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(GRACE, seats.all.acquire_many(all)).await;
}

/// After a stop, whoever is at the entrance has as long as a request that may be on its way.
async fn let_in<E: Entrance<S>, S>(entrance: E, stream: S, stop: &mut Stop) -> Option<E::Stream> {
    let mut entering = std::pin::pin!(entrance.enter(stream));
    tokio::select! {
        biased;
        stream = entering.as_mut() => return stream,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    tokio::time::timeout(FIRST_WORD, entering).await.ok().flatten()
}

async fn connection<I, S, B>(stream: I, service: S, mut stop: Stop)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: hyper::service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>> + Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LONGEST_HEAD).max_headers(MOST_HEADERS);
    let heard = Arc::new(SetOnce::new());
    let service = Heard { service, heard: Arc::clone(&heard) };
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Stall::new(stream)), service));
    let stopped = tokio::select! {
        biased;
        _ = connection.as_mut() => false,
        _ = stop.wait_for(|stop| *stop) => true,
    };
    if stopped {
        // hyper hangs up on whoever has not been heard yet, even if the request lies in the socket.
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            _ = tokio::time::timeout(FIRST_WORD, heard.wait()) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(GRACE, connection).await;
    }
}

/// The service of one connection, with a mark that is set at its first request.
struct Heard<S> {
    service: S,
    heard: Arc<SetOnce<()>>,
}

impl<S: hyper::service::Service<R>, R> hyper::service::Service<R> for Heard<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: R) -> Self::Future {
        let _ = self.heard.set(());
        self.service.call(request)
    }
}

/// A router as the service of one connection: each request bears the [`Peer`] as an [`axum::Extension`].
#[derive(Clone)]
pub struct Routed {
    router: TowerToHyperService<axum::Router>,
    peer: Option<Peer>,
}

/// Makes the services of a router's connections, for [`serve`].
pub fn routed(router: axum::Router) -> impl Fn(Option<Peer>) -> Routed {
    let router = TowerToHyperService::new(router);
    move |peer| Routed { router: router.clone(), peer }
}

impl hyper::service::Service<http::Request<hyper::body::Incoming>> for Routed {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<axum::Router> as hyper::service::Service<http::Request<hyper::body::Incoming>>>::Future;

    fn call(&self, mut request: http::Request<hyper::body::Incoming>) -> Self::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}

/// How many connections there are, in all and of whom.
struct Seats {
    all: Arc<Semaphore>,
    per_uid: usize,
    taken: Mutex<BTreeMap<u32, usize>>,
}

/// A connection's place; given back when dropped.
struct Seat {
    uid: Option<u32>,
    seats: Arc<Seats>,
    _all: OwnedSemaphorePermit,
}

type Accepted<S> = (S, Option<Peer>, Option<Seat>);

impl Seats {
    /// Waits for a place first and a connection second, so that what there is no place for stays in the system's queue.
    async fn next<L: Listener>(self: &Arc<Self>, listener: &L) -> io::Result<Accepted<L::Stream>> {
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = listener.next().await?;
        let seat = self.seat(peer.map(|p| p.uid), all);
        Ok((stream, peer, seat))
    }

    fn seat(self: &Arc<Self>, uid: Option<u32>, all: OwnedSemaphorePermit) -> Option<Seat> {
        if let Some(uid) = uid {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(uid).or_default();
            if *count >= self.per_uid && uid != 0 {
                return None;
            }
            *count += 1;
        }
        Some(Seat { uid, seats: Arc::clone(self), _all: all })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(uid) = self.uid else { return };
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uid_cannot_take_every_seat() {
        let seats = Arc::new(Seats { all: Arc::new(Semaphore::new(9)), per_uid: 2, taken: Mutex::default() });
        let permit = || Arc::clone(&seats.all).try_acquire_owned().unwrap();
        let first = seats.seat(Some(7), permit());
        let second = seats.seat(Some(7), permit());
        assert!(first.is_some() && second.is_some() && seats.seat(Some(7), permit()).is_none());
        assert!(seats.seat(Some(8), permit()).is_some());
        drop(first);
        assert!(seats.seat(Some(7), permit()).is_some());
        assert_eq!(seats.all.available_permits(), 8, "a seat that was refused gives its place back");
    }
}
