//! Tokens through the real binary, over loopback: processor time of the daemon for each token, beside that of a bare RSA signature.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keyrota::key::Algorithm;
use tempfile::TempDir;

use crate::{ROUNDS, Work, bare, each, median, row};

const POLICY: &str = r#"version: 1
environment: bench
store: { kind: embedded }
defaults: { token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m, rotate_every: 30d }
keysets:
  partner: { algorithm: api-key }
  users:
    algorithm: RS256
    rsa_bits: 2048
    token:
      profile: generic
      issuer: "https://auth.example.com"
      audience: api
      serve: true
      rate: 1000000/1s
      callers: [{ keyset: partner, subjects: ["user-*"] }]
"#;

/// As many clients at once, each on a connection of its own.
const CLIENTS: usize = 4;

/// Of each client in a round.
const REQUESTS: usize = 150;

/// How long the daemon may take to be ready.
const PATIENCE: Duration = Duration::from_mins(1);

/// The daemon. It ends with the bench.
struct Daemon {
    child: Child,
    address: SocketAddr,
    home: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [policies, state, run] = ["policies", "state", "run"].map(|name| home.path().join(name));
        for folder in [&policies, &state, &run] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(policies.join("bench.yaml"), POLICY).unwrap();
        let [address, operators] = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
        command.args(["run", "--listen", &address.to_string(), "--metrics-listen", &operators.to_string()]);
        command.arg("--policies").arg(&policies).arg("--state-dir").arg(&state).arg("--runtime-dir").arg(&run);
        let child = command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, address, home }
    }

    /// The API key with which tokens are asked for, once there is one and the other key.
    fn api_key(&self) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let [partner, users] = ["partner", "users"].map(|keyset| document(&self.home.path().join("run/signer.sock"), keyset));
            if let (Some(partner), Some(_)) = (partner, users) {
                return partner["secret"].as_str().unwrap().to_owned();
            }
            assert!(Instant::now() < end, "the daemon is not ready");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Processor time that it has had, in seconds.
    fn processor_time(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = |task: fs::DirEntry| {
            let spent = fs::read_to_string(task.path().join("schedstat")).ok()?;
            spent.split(' ').next()?.parse::<f64>().ok()
        };
        threads.flatten().filter_map(nanos).sum::<f64>() / 1e9
    }
}

fn document(socket: &Path, keyset: &str) -> Option<serde_json::Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    write!(stream, "GET /v1/keysets/bench/{keyset} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let document: serde_json::Value = serde_json::from_str(body).ok()?;
    (head.starts_with("HTTP/1.1 200") && document["kid"].is_string()).then_some(document)
}

/// A connection that stays.
struct Client {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Client {
    fn new(address: SocketAddr, key: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let body = r#"{"sub":"user-0123456789","ttl":"15m"}"#;
        let head = "POST /bench/users/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        let request = format!("{head}\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Self { stream: BufReader::new(stream), request }
    }

    fn ask(&mut self) {
        self.stream.get_mut().write_all(self.request.as_bytes()).unwrap();
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            status.get_or_insert_with(|| line.clone());
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        assert!(status.is_some_and(|line| line.contains(" 200 ")) && body.windows(14).any(|part| part == b"\"access_token\""));
    }
}

pub fn measure() {
    let work = Work::of(Algorithm::RS256);
    let token = work.mint();
    let message = token.expose().rsplit_once('.').unwrap().0.as_bytes().to_vec();
    let mut signer = bare::signer(work.key(), message);
    let daemon = Daemon::start();
    let key = daemon.api_key();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::new(daemon.address, &key)).collect();
    let (mut bares, mut own) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let bare = each(REQUESTS * 2, &mut signer);
        let before = daemon.processor_time();
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || (0..REQUESTS).for_each(|_| client.ask()));
            }
        });
        let spent = (daemon.processor_time() - before) / (CLIENTS * REQUESTS) as f64;
        // The first round warms up.
        if round > 0 {
            bares.push(bare);
            own.push(spent);
        }
    }
    println!("{:<24}{:>12}{:>12}{:>8}", "", "bare µs", "keyrota µs", "ratio");
    row("RS256", "POST …/token", (median(bares), median(own)));
}
