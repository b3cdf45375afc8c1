//! TLS on the verifiers' listener of the real binary, as docs/operations.md says: the pair changes under requests, a bad one is told of, wrong settings end it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::http::{self, Answer};
use crate::process::{Daemon, ENVIRONMENT, Home, deadline, keyrota, passed, rest, until};
use crate::verbs::{CALM, said};

/// Puts a new pair for localhost into its files, the certificate first.
fn renew(home: &Home) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let [certificate, key] = files(home);
    put(&certificate, &made.cert.pem());
    put(&key, &made.signing_key.serialize_pem());
    made.cert.pem()
}

fn files(home: &Home) -> [PathBuf; 2] {
    ["tls.pem", "tls.key"].map(|name| home.folder(name))
}

fn put(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(draft, path).unwrap();
}

/// Starts it as docs/operations.md says, with these files.
fn spawn(home: &Home) -> Daemon {
    let said = arguments(home);
    Daemon::spawn_saying(home, &said.iter().map(OsStr::new).collect::<Vec<_>>())
}

fn arguments(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("keyrota run --tls-cert ")).expect("the command of the docs");
    let [certificate, key] = files(home).map(|path| path.to_str().unwrap().to_owned());
    let line = line.replace("/etc/keyrota/tls/fullchain.pem", &certificate).replace("/etc/keyrota/tls/key.pem", &key);
    let said: Vec<String> = ["--tls-cert"].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
    assert!(said.len() == 6 && line.contains(&certificate) && line.contains(&key), "{said:?}");
    said
}

/// Asks for the key set over TLS, believing these certificates.
fn fetch(daemon: &Daemon, trusted: &[&str]) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    for pem in trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).map_err(std::io::Error::other)?;
    let stream = std::net::TcpStream::connect(daemon.verifiers)?;
    http::exchange(StreamOwned::new(client, stream), &format!("/{ENVIRONMENT}/sessions/.well-known/jwks.json"))
}

#[test]
fn key_sets_are_served_over_tls_while_the_certificate_changes() {
    let home = Home::with(CALM);
    let first = renew(&home);
    let mut daemon = spawn(&home);
    daemon.wait_for(&["sessions"]);
    assert_eq!(fetch(&daemon, &[&first]).unwrap().status, 200);
    let plain = daemon.verifiers("sessions").unwrap();
    assert!(plain.status == 400 && plain.text().contains("speaks TLS"), "{}", plain.text());

    let second = renew(&home);
    let end = deadline(crate::process::PATIENCE);
    while fetch(&daemon, &[&second]).is_err() {
        let answer = fetch(&daemon, &[&first, &second]).expect("no request fails while the certificate changes");
        assert!(answer.status == 200 && !passed(end), "{}", daemon.said());
        rest();
    }
    assert!(daemon.said().contains("took another certificate"), "{}", daemon.said());

    put(&files(&home)[1], "no key");
    until(&mut daemon, "the bad key is told of", |d| {
        assert_eq!(fetch(d, &[&second]).unwrap().status, 200, "the old pair is served on");
        d.metric("keyrota_tls_certificate_refused").as_deref() == Some("1")
    });
    assert!(daemon.said().contains("cannot be used") && !daemon.said().contains("PRIVATE KEY-----"), "{}", daemon.said());
    let status = keyrota(&["status"], &daemon.runtime);
    assert_eq!(status.status.code(), Some(3), "{}", said(&status));
    assert!(said(&status).contains("TLS of --listen") && said(&status).contains("no private key"), "{}", said(&status));

    let third = renew(&home);
    until(&mut daemon, "a good pair is taken", |d| fetch(d, &[&third]).is_ok());
    assert!(daemon.status()["tls"]["refused"].is_null(), "{}", daemon.status()["tls"]);
    assert!(daemon.terminate().success());
}

/// A socket that was there before the daemon, as systemd's units have it.
#[test]
fn a_socket_that_was_handed_over_speaks_tls() {
    let home = Home::with(CALM);
    let certificate = renew(&home);
    let said = arguments(&home);
    let mut daemon = Daemon::spawn_handed(&home, &said.iter().map(OsStr::new).collect::<Vec<_>>());
    daemon.wait_for(&["sessions"]);
    assert_eq!(fetch(&daemon, &[&certificate]).unwrap().status, 200);
    assert_eq!(daemon.verifiers("sessions").unwrap().status, 400, "and nothing else");
    let second = renew(&home);
    until(&mut daemon, "the next certificate is taken there too", |d| fetch(d, &[&second]).is_ok());
    assert!(daemon.terminate().success());
    let mut plain = Daemon::spawn_handed(&home, &[]);
    plain.wait_for(&["sessions"]);
    assert_eq!(plain.verifiers("sessions").unwrap().status, 200);
}

#[test]
fn settings_that_make_no_sense_end_it_with_a_sentence() {
    let home = Home::with(CALM);
    renew(&home);
    let [certificate, key] = files(&home);
    let ends = |arguments: &[&OsStr], code: i32, says: &str| {
        let mut daemon = Daemon::spawn_saying(&home, arguments);
        let status = daemon.ended();
        assert!(status.code() == Some(code) && daemon.said().contains(says), "{arguments:?}: {status}: {}", daemon.said());
    };
    let [cert, own] = [certificate.as_os_str(), key.as_os_str()];
    let origin = OsStr::new("https://keys.example.com");
    ends(&["--tls-cert".as_ref(), cert], 2, "--tls-key");
    ends(&["--tls-key".as_ref(), own], 2, "--tls-cert");
    ends(&["--public-origin".as_ref(), origin], 2, "--tls-cert");
    ends(&["--behind-tls-proxy".as_ref(), origin, "--tls-cert".as_ref(), cert, "--tls-key".as_ref(), own], 2, "cannot be used with");
    for unlawful in ["http://keys.example.com", "http://127.0.0.1:8480", "https://keys.example.com/path", "keys.example.com"] {
        ends(&["--behind-tls-proxy".as_ref(), unlawful.as_ref()], 2, "hint: ");
    }
    // 78: a restart mends it not. What is not there yet may come.
    put(&key, "no key");
    ends(&["--tls-cert".as_ref(), cert, "--tls-key".as_ref(), own], 78, "no private key");
    fs::remove_file(&key).unwrap();
    ends(&["--tls-cert".as_ref(), cert, "--tls-key".as_ref(), own], 1, "is it there");
}
