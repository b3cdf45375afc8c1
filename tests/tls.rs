//! TLS on a listener, by real handshakes with a client that believes one certificate: what is spoken, what is refused, and what
//! happens when the files change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "board/fixture.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod fixture;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyrota::board::{Board, TlsStanding};
use keyrota::clock::Reading;
use keyrota::http::Desk;
use keyrota::http::operators;
use keyrota::http::serve::{Limits, routed, serve_through};
use keyrota::http::tls::{HANDSHAKE_TIMEOUT, PairFiles, Tls, TlsError};
use keyrota::metrics::Metrics;
use keyrota::time::Span;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, SupportedProtocolVersion};

/// Nothing here takes long; a machine that is overloaded may.
const PATIENCE: Duration = Duration::from_mins(1);

/// Seconds that tests let pass on the boot clock.
static PASSED: AtomicU64 = AtomicU64::new(0);

/// A clock that goes on by two seconds with each reading, so that a look at the files is always due.
fn clock() -> Reading {
    let noon = fixture::noon();
    let passed = Span::seconds(2 * PASSED.fetch_add(1, Ordering::Relaxed));
    Reading { wall: noon.wall + passed, boot: noon.boot + passed }
}

/// A certificate for localhost and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write(&self, folder: &TempDir) -> PairFiles {
        let files = PairFiles { certificate: folder.path().join("tls.pem"), key: folder.path().join("tls.key") };
        replace(&files.certificate, &self.certificate);
        replace(&files.key, &self.key);
        files
    }
}

/// As whoever renews certificates does it: a new file in the place of the old one.
fn replace(path: &std::path::Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(draft, path).unwrap();
}

/// A listener with TLS that answers `/healthz`.
struct Host {
    address: SocketAddr,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Host {
    async fn with(files: PairFiles, limits: Limits, patience: Duration) -> Self {
        let (board, _) = fixture::board();
        let metrics = Arc::new(Metrics::new(fixture::noon()).unwrap());
        let desk = Desk { board: Arc::clone(&board), metrics: Arc::clone(&metrics), clock };
        let tls = Tls::open(files, desk.clone(), patience).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_through(tls, listener, limits, stopped, routed(operators::operators(desk))));
        Self { address, board, metrics, stop, serving }
    }

    fn standing(&self) -> Arc<TlsStanding> {
        self.board.tls.load_full().unwrap()
    }

    fn metric(&self, series: &str) -> String {
        let scrape: String = self.metrics.scrape(&self.board, fixture::noon()).map(|p| String::from_utf8(p.to_vec()).unwrap()).collect();
        scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned)).unwrap()
    }

    async fn handshakes(&self, result: &str, at_least: u64) {
        let series = format!("keyrota_tls_handshakes_total{{result=\"{result}\"}}");
        let enough = async {
            while self.metric(&series).parse::<u64>().unwrap() < at_least {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.unwrap();
    }
}

async fn connect(
    address: SocketAddr,
    trusted: &[&Pair],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// One request on a connection that stays, and whether its answer is whole.
async fn ask(stream: &mut TlsStream<TcpStream>) -> std::io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&bytes[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Asks once on a connection of its own.
async fn healthy(address: SocketAddr, trusted: &[&Pair]) -> bool {
    let Ok(mut stream) = connect(address, trusted, &BOTH).await else { return false };
    ask(&mut stream).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

#[tokio::test]
async fn both_versions_are_spoken_and_http_1_is_chosen() {
    let (folder, pair) = (tempfile::tempdir().unwrap(), Pair::new());
    let host = Host::with(pair.write(&folder), Limits::VERIFIERS, HANDSHAKE_TIMEOUT).await;
    for version in BOTH {
        let mut stream = connect(host.address, &[&pair], &[version]).await.unwrap();
        let spoken = stream.get_ref().1;
        assert_eq!(spoken.protocol_version(), Some(version.version));
        assert_eq!(spoken.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(ask(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
        assert!(ask(&mut stream).await.is_ok(), "the connection stays");
    }
    assert!(connect(host.address, &[&Pair::new()], &BOTH).await.is_err(), "a client that believes another certificate");
    host.handshakes("ok", 2).await;
    host.handshakes("failed", 1).await;
    // A stop ends connections that are at rest, and the listener with them.
    host.stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, host.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn another_pair_is_taken_under_requests_and_none_fails() {
    let (folder, first, second) = (tempfile::tempdir().unwrap(), Pair::new(), Pair::new());
    let host = Host::with(first.write(&folder), Limits::VERIFIERS, HANDSHAKE_TIMEOUT).await;
    let before = host.standing();
    let mut kept = connect(host.address, &[&first], &BOTH).await.unwrap();
    assert!(!healthy(host.address, &[&second]).await);

    let done = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicU64::new(0));
    let (address, both) = (host.address, Arc::new([first, second]));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (done, failed, both) = (Arc::clone(&done), Arc::clone(&failed), Arc::clone(&both));
            tokio::spawn(async move {
                loop {
                    let counted = if healthy(address, &[&both[0], &both[1]]).await { &done } else { &failed };
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = |than: u64| {
        let done = Arc::clone(&done);
        tokio::time::timeout(PATIENCE, async move {
            while done.load(Ordering::Relaxed) < than {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    more(20).await.unwrap();
    // Certificate first, key later: what lies between is no pair.
    let files = PairFiles { certificate: folder.path().join("tls.pem"), key: folder.path().join("tls.key") };
    replace(&files.certificate, &both[1].certificate);
    more(done.load(Ordering::Relaxed) + 10).await.unwrap();
    replace(&files.key, &both[1].key);
    let taken = async {
        while !healthy(address, &[&both[1]]).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap();
    more(done.load(Ordering::Relaxed) + 20).await.unwrap();
    clients.iter().for_each(tokio::task::JoinHandle::abort);

    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert!(!healthy(address, &[&both[0]]).await, "new connections get the new certificate");
    assert!(ask(&mut kept).await.is_ok(), "a connection keeps the one that it began with");
    let after = host.standing();
    assert_ne!((before.certificate, before.taken_at), (after.certificate, after.taken_at));
    assert_eq!((after.refused.as_ref(), host.metric("keyrota_tls_certificate_refused")), (None, "0".to_owned()));
    // rcgen's certificates are valid until 4096.
    assert_eq!(after.expires_at, "4096-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(host.metric("keyrota_tls_certificate_expires_timestamp_seconds"), "67090118400");
}

#[tokio::test]
async fn a_bad_pair_is_kept_out_and_told_of_until_it_is_mended() {
    let (folder, pair, other) = (tempfile::tempdir().unwrap(), Pair::new(), Pair::new());
    let files = pair.write(&folder);
    let host = Host::with(files.clone(), Limits::VERIFIERS, HANDSHAKE_TIMEOUT).await;
    let standing = host.standing();
    let bad: [(&str, &dyn Fn()); 7] = [
        ("does not go with", &|| replace(&files.key, &other.key)),
        ("no private key", &|| replace(&files.key, "no key")),
        ("no private key", &|| replace(&files.key, &pair.certificate)),
        ("there is no certificate in it", &|| replace(&files.certificate, "")),
        ("there is no certificate in it", &|| replace(&files.certificate, &pair.key)),
        ("is it there", &|| fs::remove_file(&files.certificate).unwrap()),
        ("mode 644", &|| fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap()),
    ];
    for (says, spoil) in bad {
        spoil();
        assert!(healthy(host.address, &[&pair]).await, "{says}: the old pair is served on");
        assert_eq!(host.standing().refused, None, "{says}: the other file might be on its way");
        assert!(healthy(host.address, &[&pair]).await, "{says}");
        let refused = host.standing().refused.clone().unwrap_or_default();
        assert!(refused.contains(says) && refused.contains("; hint: "), "{says}: {refused}");
        assert_eq!((host.standing().certificate, host.standing().taken_at), (standing.certificate, standing.taken_at));
        assert_eq!(host.metric("keyrota_tls_certificate_refused"), "1");
        pair.write(&folder);
        assert!(healthy(host.address, &[&pair]).await);
        assert_eq!((host.standing(), host.metric("keyrota_tls_certificate_refused")), (Arc::clone(&standing), "0".to_owned()));
    }
    other.write(&folder);
    assert!(healthy(host.address, &[&other]).await, "and a good one is still taken");

    replace(&files.key, "no key");
    let (board, _) = fixture::board();
    let desk = Desk::new(board, Arc::new(Metrics::new(fixture::noon()).unwrap()));
    let refused = Tls::open(files, desk, HANDSHAKE_TIMEOUT).err().unwrap();
    assert!(matches!(&refused, TlsError::Unfit { path, .. } if path.ends_with("tls.key")), "{refused}");
}

#[tokio::test]
async fn whoever_speaks_in_the_clear_is_told_so_and_hung_up_on() {
    let (folder, pair) = (tempfile::tempdir().unwrap(), Pair::new());
    let host = Host::with(pair.write(&folder), Limits::VERIFIERS, HANDSHAKE_TIMEOUT).await;
    let mut plain = TcpStream::connect(host.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, plain.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS") && !answer.contains("200"), "{answer}");
    host.handshakes("plain", 1).await;

    // What begins like TLS and is none.
    let mut noise = TcpStream::connect(host.address).await.unwrap();
    noise.write_all(&[0x16; 600]).await.unwrap();
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, noise.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.first().is_none_or(|kind| *kind == 0x15), "an alert or nothing: {bytes:?}");
    host.handshakes("failed", 1).await;
    assert!(healthy(host.address, &[&pair]).await);
}

#[tokio::test]
async fn a_handshake_takes_a_place_and_must_end() {
    let (folder, pair) = (tempfile::tempdir().unwrap(), Pair::new());
    let one = Limits { connections: 1, per_uid: 1 };
    let host = Host::with(pair.write(&folder), one, Duration::from_millis(300)).await;
    // Two that say nothing, and one that stops in the middle: each holds the one place until its time is over, then it is hung up on.
    let mut silent = Vec::new();
    for begins in [&b""[..], b"", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        stream.write_all(begins).await.unwrap();
        silent.push(stream);
    }
    let waited = tokio::time::timeout(PATIENCE, healthy(host.address, &[&pair])).await.unwrap();
    assert!(waited, "behind them, and then its turn comes");
    for mut stream in silent {
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    }
    host.handshakes("timeout", 3).await;
}
