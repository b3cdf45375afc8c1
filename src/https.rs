//! Asking other machines over HTTPS: one request, one answer, within a time and a size; for probes, webhooks and vendors.
//!
//! [`Fetch`] is the port, [`HttpsClient`] the real thing: rustls on aws-lc-rs with the roots that this machine trusts, or with one CA
//! file instead of them. Each request has a connection of its own, so it finds what a verifier that starts now would find. Redirects
//! are never followed: where a key set is read from is for the policy to say. It knows neither keys nor events.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::time::Span;
use crate::url::{Scheme, Trust, Url};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Whom.
    pub url: &'a Url,
    /// Whom to believe.
    pub trust: &'a Trust,
    /// What is asked of it.
    pub ask: Ask,
    /// Headers besides those that every request has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long all of it may take.
    pub within: Span,
    /// How many bytes the answer may have.
    pub at_most: usize,
}

/// What is asked of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What is there.
    Get,
    /// To take this JSON.
    Post(Bytes),
    /// To take away what is there.
    Delete,
}

impl Ask {
    /// The method's name.
    pub fn method(&self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post(_) => Method::POST,
            Self::Delete => Method::DELETE,
        }
    }
}

/// What was answered, whatever the status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer. Each is a sentence that goes on from "URL: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The name leads nowhere.
    #[error("its host {host} is not found: {why}; hint: `getent hosts {host}`")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// Nobody takes the connection.
    #[error("no connection: {0}; hint: is it up, and does a firewall let this host through?")]
    Connect(String),
    /// Its certificate is not believed, or it speaks no TLS.
    #[error("TLS: {0}; hint: is its certificate valid for that name? a CA of your own is named with `ca_file`")]
    Tls(String),
    /// The CA file cannot be used.
    #[error("the CA file {} cannot be used: {why}; hint: PEM certificates that keyrota's user may read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It took too long.
    #[error("no answer within {0}; hint: is it overloaded? `timeout` says how long it may take")]
    TimedOut(Span),
    /// It answered too much.
    #[error("its answer is longer than {0} bytes; hint: is that the right address?")]
    TooLong(usize),
    /// It sends one on.
    #[error("it sends on to {0}, which is not followed; hint: write that address if it is the right one")]
    Redirected(String),
    /// What it says is no HTTP.
    #[error("its answer was cut off or is not HTTP: {0}; hint: is that the right port?")]
    Http(String),
}

/// Asks another machine.
pub trait Fetch: Send + Sync + 'static {
    /// One request, one answer.
    ///
    /// # Errors
    /// If there is none, within the time and the size that the request allows, or if it is a redirect.
    fn fetch(&self, request: Request<'_>) -> impl Future<Output = Result<Answer, FetchError>> + Send;
}

/// Asks over the network.
#[derive(Default)]
pub struct HttpsClient {
    system: OnceCell<Arc<ClientConfig>>,
}

impl Fetch for HttpsClient {
    async fn fetch(&self, request: Request<'_>) -> Result<Answer, FetchError> {
        let within = request.within;
        let exchange = Box::pin(self.exchange(request));
        tokio::time::timeout(within.to_std(), exchange).await.unwrap_or(Err(FetchError::TimedOut(within)))
    }
}

impl HttpsClient {
    async fn exchange(&self, request: Request<'_>) -> Result<Answer, FetchError> {
        let url = request.url;
        let stream = connect(url).await?;
        match url.scheme() {
            Scheme::Http => converse(stream, request).await,
            Scheme::Https => {
                let config = self.config(request.trust).await?;
                let name = ServerName::try_from(url.host().to_owned()).map_err(|e| FetchError::Tls(e.to_string()))?;
                let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|e| FetchError::Tls(e.to_string()))?;
                converse(stream, request).await
            }
        }
    }

    async fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, FetchError> {
        match trust {
            Trust::System => self.system.get_or_try_init(|| reading(system_roots)).await.cloned(),
            Trust::File(path) => {
                let path = path.clone();
                reading(move || roots_of(&path)).await
            }
        }
    }
}

/// Reads roots, on a thread for blocking calls.
async fn reading(read: impl FnOnce() -> Result<RootCertStore, FetchError> + Send + 'static) -> Result<Arc<ClientConfig>, FetchError> {
    let roots = tokio::task::spawn_blocking(read).await.map_err(|e| FetchError::Tls(e.to_string()))??;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| FetchError::Tls(e.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn system_roots() -> Result<RootCertStore, FetchError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(FetchError::Tls(format!("this machine trusts no root certificate {why}; hint: apt install ca-certificates")));
    }
    Ok(roots)
}

fn roots_of(path: &Path) -> Result<RootCertStore, FetchError> {
    let wrong = |why: String| FetchError::CaFile { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(roots) }
}

/// A connection to the first of its addresses that takes one.
async fn connect(url: &Url) -> Result<TcpStream, FetchError> {
    let unresolved = |e: io::Error| FetchError::Resolve { host: url.host().to_owned(), why: e.to_string() };
    let mut last = FetchError::Resolve { host: url.host().to_owned(), why: "it has no address".to_owned() };
    for address in tokio::net::lookup_host((url.host(), url.port())).await.map_err(unresolved)? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = FetchError::Connect(format!("{address}: {error}")),
        }
    }
    Err(last)
}

async fn converse<S>(stream: S, request: Request<'_>) -> Result<Answer, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |e: hyper::Error| FetchError::Http(e.to_string());
    let at_most = request.at_most;
    let sent = written(request)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = Box::pin(async move {
        let answer = sender.send_request(sent).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, at_most).collect().await.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => FetchError::TooLong(at_most),
            None => FetchError::Http(error.to_string()),
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    });
    // Whoever closes the connection has said all that there is to say.
    let answer = match select(exchange, Box::pin(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }?;
    if matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("an address that it does not name");
        return Err(FetchError::Redirected(to.chars().take(300).collect()));
    }
    Ok(answer)
}

fn written(request: Request<'_>) -> Result<http::Request<Full<Bytes>>, FetchError> {
    let wrong = |e: http::Error| FetchError::Http(e.to_string());
    let uri = request.url.as_str().parse::<http::Uri>().map_err(|e| wrong(e.into()))?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut builder = http::Request::builder().method(request.ask.method()).uri(path).header(HOST, authority).header(CONNECTION, "close");
    builder = builder.header(USER_AGENT, concat!("keyrota/", env!("CARGO_PKG_VERSION"))).header(ACCEPT, "application/json, */*;q=0.1");
    let body = match request.ask {
        Ask::Get | Ask::Delete => Bytes::new(),
        Ask::Post(body) => {
            builder = builder.header(CONTENT_TYPE, "application/json");
            body
        }
    };
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body)).map_err(wrong)
}
