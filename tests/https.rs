//! The HTTPS client against servers of our own: whom it believes, how long it waits, how much it reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use keyrota::https::{Answer, Ask, Fetch as _, FetchError, HttpsClient, Request};
use keyrota::time::Span;
use keyrota::url::{Trust, Url};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate for that name that vouches for itself, and the file it stands in.
fn certificate(name: &str, folder: &TempDir) -> (TlsAcceptor, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let path = folder.path().join(format!("{name}.pem"));
    fs::write(&path, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), path)
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &'static str) -> String {
    let mut asked = vec![0; 4096];
    let read = stream.read(&mut asked).await.unwrap_or(0);
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.shutdown().await;
    String::from_utf8_lossy(&asked[..read]).into_owned()
}

/// Answers one connection with these bytes, over TLS if there is a certificate; an empty answer never comes.
async fn serving(tls: Option<TlsAcceptor>, bytes: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        if bytes.is_empty() {
            std::future::pending::<()>().await;
        }
        match tls {
            None => answer(stream, bytes).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => answer(stream, bytes).await,
                Err(_) => String::new(),
            },
        }
    });
    (address, task)
}

async fn fetch(url: &str, trust: Trust, within: Span) -> Result<Answer, FetchError> {
    let url: Url = url.parse().unwrap();
    let request = Request { url: &url, trust: &trust, ask: Ask::Get, headers: Vec::new(), within, at_most: 64 };
    HttpsClient::default().fetch(request).await
}

const PATIENCE: Span = Span::minutes(1);
const HELLO: &str = "HTTP/1.1 200 OK\r\nage: 3\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_server_is_believed_by_its_ca_file_and_its_name_and_by_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, own) = certificate("localhost", &folder);
    let (other_tls, other) = certificate("elsewhere.example.com", &folder);

    let (address, asked) = serving(Some(tls.clone()), HELLO).await;
    let url = format!("https://localhost:{}/keys?a=b", address.port());
    let said = fetch(&url, Trust::File(own.clone()), PATIENCE).await.unwrap();
    assert_eq!((said.status, &*said.body, said.headers["age"].to_str().unwrap()), (200, &b"hello"[..], "3"));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: localhost:{}\r\n", address.port())), "{asked}");

    for trust in [Trust::System, Trust::File(other.clone())] {
        let (address, _) = serving(Some(tls.clone()), HELLO).await;
        let refused = fetch(&format!("https://localhost:{}/", address.port()), trust, PATIENCE).await;
        assert!(matches!(refused, Err(FetchError::Tls(_))), "{refused:?}");
    }
    let (address, _) = serving(Some(other_tls), HELLO).await;
    let refused = fetch(&format!("https://localhost:{}/", address.port()), Trust::File(other), PATIENCE).await;
    assert!(matches!(refused, Err(FetchError::Tls(_))), "a certificate of another name: {refused:?}");
    let nothing = folder.path().join("nothing.pem");
    fs::write(&nothing, "no certificate").unwrap();
    for path in [nothing, folder.path().join("missing.pem")] {
        let (address, _) = serving(Some(tls.clone()), HELLO).await;
        let refused = fetch(&format!("https://localhost:{}/", address.port()), Trust::File(path), PATIENCE).await;
        assert!(matches!(refused, Err(FetchError::CaFile { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn redirects_lengths_and_silence_end_in_a_sentence() {
    let ask = |bytes: &'static str, within| async move {
        let (address, _) = serving(None, bytes).await;
        fetch(&format!("http://{address}/"), Trust::System, within).await.map(|answer| answer.status)
    };
    assert_eq!(ask(HELLO, PATIENCE).await, Ok(200));
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(ask(redirect, PATIENCE).await, Err(FetchError::Redirected("http://169.254.169.254/".into())));
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    assert_eq!(ask(long, PATIENCE).await, Err(FetchError::TooLong(64)));
    assert!(matches!(ask("what?\r\n\r\n", PATIENCE).await, Err(FetchError::Http(_))));
    assert!(matches!(ask("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\ncut", PATIENCE).await, Err(FetchError::Http(_))));
    let silent = ask("", Span::millis(200)).await;
    assert_eq!(silent, Err(FetchError::TimedOut(Span::millis(200))));
    assert!(silent.unwrap_err().to_string().contains("hint: "));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(matches!(fetch(&format!("http://{nobody}/"), Trust::System, PATIENCE).await, Err(FetchError::Connect(_))));
    let nowhere = fetch("http://no-such-host.invalid/", Trust::System, PATIENCE).await;
    assert!(matches!(nowhere, Err(FetchError::Resolve { .. })), "{nowhere:?}");
}
