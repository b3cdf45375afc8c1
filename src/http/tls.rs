//! TLS on the verifiers' listener: a certificate and its key from files, taken anew when the files change, without a restart.
//!
//! The files are looked at when a handshake comes, at most once a second, and now and then besides; what counts is their
//! content. A pair that cannot be used never takes the place of one that can: the old one is served on, and `status`, the log and
//! `keyrota_tls_certificate_refused` say so. Whoever replaces both files one after the other is not told of the moment in between.
//!
//! Invariant: no handshake fails because of a change of the files; a connection keeps the certificate that it began with.

mod validity;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::server::TlsStream;

use super::Desk;
use super::serve::{Entrance, Stop};
use crate::board::TlsStanding;
use crate::digest::Digest;
use crate::metrics::Handshake;
use crate::secret::SecretBytes;
use crate::time::{Span, Timestamp};

/// How long a handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the files are looked at when nobody connects.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The least time between two looks because of handshakes.
const LOOK_AGAIN: Span = Span::seconds(1);

/// The most that is read of a file: more than any chain of certificates has.
const LARGEST_FILE: u64 = 256 * 1024;

/// The first byte of every TLS connection (RFC 8446 §5.1: a record of type handshake).
const HANDSHAKE_RECORD: u8 = 0x16;

/// What whoever speaks HTTP in the clear is answered, so that it shows in a browser or a client's log.
const PLAIN: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 91\r\n\r\n",
    r#"{"error":"this port speaks TLS and the request came in the clear","hint":"use https://..."}"#
);

/// Why certificate and key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {why}; hint: is it there, and may keyrota's user read it?", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// A file is not what it should be.
    #[error("{}: {what}; hint: {hint}", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub struct PairFiles {
    /// The certificate, then what vouches for it, as PEM.
    pub certificate: PathBuf,
    /// The private key, as PEM: PKCS#8, PKCS#1 or SEC 1.
    pub key: PathBuf,
}

/// The TLS side of a listener.
pub struct Tls {
    files: PairFiles,
    provider: Arc<CryptoProvider>,
    in_force: ArcSwap<ServerConfig>,
    looked: Mutex<Looked>,
    /// On the boot clock, in milliseconds.
    looked_at: AtomicU64,
    desk: Desk,
    patience: Duration,
}

/// What the files held at the last look.
struct Looked {
    in_force: Digest,
    /// What was refused at the last look.
    refused: Option<Digest>,
}

/// A pair that can be used.
struct Taken {
    config: Arc<ServerConfig>,
    certificate: Own,
}

/// The server's own certificate.
#[derive(Clone, Copy)]
struct Own {
    digest: Digest,
    expires_at: Timestamp,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or used.
    pub fn open(files: PairFiles, desk: Desk, patience: Duration) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (digest, read) = files.read();
        let taken = read.and_then(|(chain, key)| files.pair(&chain, &key, &provider))?;
        let now = (desk.clock)();
        let tls = Self {
            files,
            provider,
            in_force: ArcSwap::new(Arc::clone(&taken.config)),
            looked: Mutex::new(Looked { in_force: digest, refused: None }),
            looked_at: AtomicU64::new(now.boot.as_millis()),
            desk,
            patience,
        };
        tls.stand(taken.certificate, None);
        Ok(Arc::new(tls))
    }

    /// Looks at the files every now and then, until the daemon stops.
    pub async fn keep_true(self: Arc<Self>, mut stop: Stop) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            Arc::clone(&self).look_on_a_thread().await;
        }
    }

    /// Looks at the files, and takes what is new in them if it can be used.
    pub fn look(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let (digest, read) = self.files.read();
        if digest == looked.in_force {
            looked.refused = None;
            if let Some(standing) = self.standing().filter(|standing| standing.refused.is_some()) {
                self.stand(Own::of(&standing), None);
                tracing::info!("the certificate and key in force are in their files again");
            }
            return;
        }
        match read.and_then(|(chain, key)| self.files.pair(&chain, &key, &self.provider)) {
            Ok(taken) => {
                self.in_force.store(taken.config);
                *looked = Looked { in_force: digest, refused: None };
                self.stand(taken.certificate, None);
                tracing::info!(certificate = %taken.certificate.digest, "took another certificate and key from {}", self.files.certificate.display());
            }
            // The other file may be about to be replaced too: told of when it is still so at the next look.
            Err(_) if looked.refused.replace(digest) != Some(digest) => {}
            Err(error) => self.tell_of(&error),
        }
    }

    async fn look_on_a_thread(self: Arc<Self>) {
        let _ = tokio::task::spawn_blocking(move || self.look()).await;
    }

    /// Looks if nobody has lately.
    async fn look_if_due(self: &Arc<Self>) {
        let now = (self.desk.clock)().boot.as_millis();
        let last = self.looked_at.load(Ordering::Relaxed);
        let due = now >= last.saturating_add(LOOK_AGAIN.as_millis());
        if due && self.looked_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            Arc::clone(self).look_on_a_thread().await;
        }
    }

    fn standing(&self) -> Option<Arc<TlsStanding>> {
        self.desk.board.tls.load_full()
    }

    /// Says that the files cannot be used, once.
    fn tell_of(&self, error: &TlsError) {
        let (says, standing) = (error.to_string(), self.standing());
        if let Some(standing) = standing.filter(|standing| standing.refused.as_ref() != Some(&says)) {
            tracing::warn!("the certificate and key in force are served on, because those in the files cannot be used: {says}");
            self.stand(Own::of(&standing), Some(says));
        }
    }

    /// Tells how it stands.
    fn stand(&self, Own { digest, expires_at }: Own, refused: Option<String>) {
        let now = (self.desk.clock)().wall;
        let before = self.standing().filter(|standing| standing.certificate == digest);
        let taken_at = before.map_or(now, |standing| standing.taken_at);
        self.desk.metrics.tls.stands(taken_at, expires_at, refused.is_some());
        self.desk.board.tls.store(Some(Arc::new(TlsStanding { certificate: digest, taken_at, expires_at, refused })));
    }

    async fn shake_hands(self: &Arc<Self>, stream: TcpStream) -> io::Result<Greeted> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE_RECORD] {
            return answer_in_the_clear(stream).await.map(|()| Greeted::InTheClear);
        }
        self.look_if_due().await;
        TlsAcceptor::from(self.in_force.load_full()).accept(stream).await.map(|stream| Greeted::Tls(Box::new(stream)))
    }
}

impl Own {
    fn of(standing: &TlsStanding) -> Self {
        Self { digest: standing.certificate, expires_at: standing.expires_at }
    }
}

enum Greeted {
    Tls(Box<TlsStream<TcpStream>>),
    InTheClear,
}

/// Reads what is there first: a socket that is closed over unread bytes takes its last answer along.
async fn answer_in_the_clear(mut stream: TcpStream) -> io::Result<()> {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked).await?;
    stream.write_all(PLAIN.as_bytes()).await?;
    stream.shutdown().await
}

impl Entrance<TcpStream> for Arc<Tls> {
    type Stream = Box<TlsStream<TcpStream>>;

    async fn enter(self, stream: TcpStream) -> Option<Self::Stream> {
        let greeted = tokio::time::timeout(self.patience, self.shake_hands(stream)).await;
        let (handshake, stream) = match greeted {
            Ok(Ok(Greeted::Tls(stream))) => (Handshake::Done, Some(stream)),
            Ok(Ok(Greeted::InTheClear)) => (Handshake::InTheClear, None),
            Ok(Err(_)) => (Handshake::Failed, None),
            Err(_) => (Handshake::TimedOut, None),
        };
        self.desk.metrics.tls.shook(handshake);
        stream
    }
}

type Contents = (Vec<u8>, SecretBytes);

impl PairFiles {
    /// What both files hold, and what tells it from what they held before: if one cannot be read, the reason.
    fn read(&self) -> (Digest, Result<Contents, TlsError>) {
        let read = read(&self.certificate, None).and_then(|chain| Ok((chain, SecretBytes::new(read(&self.key, Some(0o007))?))));
        let digest = match &read {
            Ok((chain, key)) => Digest::of([*Digest::of(chain).as_bytes(), *Digest::of(key.expose()).as_bytes()].as_flattened()),
            Err(error) => Digest::of(error.to_string().as_bytes()),
        };
        (digest, read)
    }

    fn pair(&self, chain: &[u8], key: &SecretBytes, provider: &Arc<CryptoProvider>) -> Result<Taken, TlsError> {
        let unfit = |path: &Path, what: String, hint| TlsError::Unfit { path: path.to_owned(), what, hint };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|e| unfit(&self.certificate, format!("no PEM: {e}"), "blocks `CERTIFICATE`, the server's own first"))?;
        let Some(own) = chain.first() else {
            return Err(unfit(&self.certificate, "there is no certificate in it".into(), "blocks `CERTIFICATE`, the server's own first"));
        };
        let expires_at = validity::expires_at(own)
            .ok_or_else(|| unfit(&self.certificate, "does not say until when it is valid".into(), "is it an X.509 certificate?"))?;
        let certificate = Own { digest: Digest::of(own), expires_at };
        let key = PrivateKeyDer::from_pem_slice(key.expose())
            .map_err(|e| unfit(&self.key, format!("no private key: {e}"), "one block `PRIVATE KEY`, not encrypted"))?;
        let pair = CertifiedKey::from_der(chain, key, provider)
            .map_err(|e| unfit(&self.key, format!("does not go with {}: {e}", self.certificate.display()), "both of one issue"))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| unfit(&self.certificate, e.to_string(), "please report this"))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Taken { config: Arc::new(config), certificate })
    }
}

/// The file behind `path`; symbolic links are followed, because those who renew certificates put them there by links. `forbidden`:
/// the mode bits that it may not have.
fn read(path: &Path, forbidden: Option<u32>) -> Result<Vec<u8>, TlsError> {
    let unreadable = |e: io::Error| TlsError::Unreadable { path: path.to_owned(), why: e.to_string() };
    let unfit = |what: String, hint| TlsError::Unfit { path: path.to_owned(), what, hint };
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(unfit("is no regular file".into(), "PEM"));
    }
    if found.mode() & forbidden.unwrap_or(0) != 0 {
        return Err(unfit(format!("mode {:o}: everybody on this host may read the key", found.mode() & 0o7777), "chmod o= on it"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len().min(LARGEST_FILE)).unwrap_or(0) + 1);
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length > LARGEST_FILE { Err(unfit(format!("has more than {LARGEST_FILE} bytes"), "is it the right file?")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_in_the_clear_is_one() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())) || head.ends_with(&format!("Content-Length: {}", body.len()))
        );
        assert!(serde_json::from_str::<crate::status_report::ErrorReport>(body).is_ok());
    }
}
