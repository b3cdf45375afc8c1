//! Daemons as processes: folders of their own, free ports, an end by their process id, whatever becomes of the test.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer};

/// How long anything may take that takes a moment on a machine that is not overloaded.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How long a daemon may take to end when it is told to: "within seconds", and the machine may be busy.
const LONGEST_END: Duration = Duration::from_secs(15);

/// A short environment name for policies that tests write.
pub const ENVIRONMENT: &str = "fast";

/// The folders of a daemon.
pub struct Home(TempDir);

impl Home {
    /// With this policy.
    pub fn with(policy: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::set_permissions(home.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["policies", "state", "runtime"] {
            fs::create_dir(home.folder(folder)).unwrap();
        }
        home.write(policy);
        home
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn policy_file(&self) -> PathBuf {
        self.folder("policies").join(format!("{ENVIRONMENT}.yaml"))
    }

    /// Replaces the policy.
    pub fn write(&self, policy: &str) {
        fs::write(self.policy_file(), policy).unwrap();
        fs::set_permissions(self.policy_file(), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// What another daemon of the same state directory needs besides.
    pub fn second_runtime(&self) -> PathBuf {
        let folder = self.folder("second");
        fs::create_dir(&folder).unwrap();
        folder
    }
}

/// A running daemon; killed when it is dropped.
pub struct Daemon {
    child: Child,
    pub verifiers: SocketAddr,
    operators: SocketAddr,
    pub runtime: PathBuf,
    log: PathBuf,
    spawn: Spawn,
}

#[derive(Clone)]
struct Spawn {
    policies: PathBuf,
    state: PathBuf,
    environment: Vec<(String, OsString)>,
    arguments: Vec<OsString>,
    /// Every environment of the folder, not only that of most tests.
    every: bool,
    socket: Socket,
}

/// The verifiers' listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Socket {
    /// On loopback.
    Own,
    /// On every address of the host.
    Open,
    /// On loopback, and handed over as systemd does (`sd_listen_fds(3)`).
    Handed,
}

impl Spawn {
    fn of(home: &Home) -> Self {
        let (policies, state) = (home.folder("policies"), home.folder("state"));
        Self { policies, state, environment: Vec::new(), arguments: Vec::new(), every: false, socket: Socket::Own }
    }
}

impl Daemon {
    /// Starts one and does not wait for it.
    pub fn spawn(home: &Home) -> Self {
        Self::spawn_in(home, home.folder("runtime"))
    }

    /// The same with sockets in another folder.
    pub fn spawn_in(home: &Home, runtime: PathBuf) -> Self {
        Self::launch(Spawn::of(home), runtime)
    }

    /// The same with environment variables, of which there are none otherwise.
    pub fn spawn_with(home: &Home, environment: &[(&str, &OsStr)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::launch(Spawn { environment, ..Spawn::of(home) }, home.folder("runtime"))
    }

    /// The same for every environment that has a policy there.
    pub fn spawn_every(home: &Home) -> Self {
        Self::launch(Spawn { every: true, ..Spawn::of(home) }, home.folder("runtime"))
    }

    /// The same with further arguments.
    pub fn spawn_saying(home: &Home, arguments: &[&OsStr]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::launch(Spawn { arguments, ..Spawn::of(home) }, home.folder("runtime"))
    }

    /// The same, listening on every address of the host.
    pub fn spawn_open(home: &Home) -> Self {
        Self::launch(Spawn { socket: Socket::Open, ..Spawn::of(home) }, home.folder("runtime"))
    }

    /// The same with further arguments and a socket that was opened before it started.
    pub fn spawn_handed(home: &Home, arguments: &[&OsStr]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::launch(Spawn { socket: Socket::Handed, arguments, ..Spawn::of(home) }, home.folder("runtime"))
    }

    fn launch(spawn: Spawn, runtime: PathBuf) -> Self {
        let (verifiers, operators) = (free_address(), free_address());
        let log = runtime.with_extension("log");
        let out = fs::File::create(&log).unwrap();
        let open = spawn.socket == Socket::Open;
        let listen = if open { SocketAddr::from((Ipv4Addr::UNSPECIFIED, verifiers.port())) } else { verifiers };
        let (mut command, stdin) = spawn.socket.command(verifiers);
        let child = command
            .arg("run")
            .args(if spawn.every { &[][..] } else { &["--environment", ENVIRONMENT] })
            .args(["--listen", &listen.to_string(), "--metrics-listen", &operators.to_string()])
            .arg("--policies")
            .arg(&spawn.policies)
            .arg("--state-dir")
            .arg(&spawn.state)
            .arg("--runtime-dir")
            .arg(&runtime)
            .args(&spawn.arguments)
            .env_clear()
            .envs(spawn.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, verifiers, operators, runtime, log, spawn }
    }

    /// Starts one and waits until it is ready and each of these keysets has an active key.
    pub fn start(home: &Home, keysets: &[&str]) -> Self {
        let mut daemon = Self::spawn(home);
        daemon.wait_for(keysets);
        daemon
    }

    /// Waits until `/readyz` says so and each of these keysets has an active key.
    pub fn wait_for(&mut self, keysets: &[&str]) {
        let mut tries = 0;
        let end = deadline(PATIENCE);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Somebody else took the port between our look and its start.
                assert!(self.said().contains("cannot listen on") && tries < 5, "ended with {status}: {}", self.said());
                tries += 1;
                *self = Self::launch(self.spawn.clone(), self.runtime.clone());
            }
            let ready = self.operators("/readyz").is_ok_and(|answer| answer.status == 200);
            if ready && keysets.iter().all(|keyset| self.document(keyset).is_some_and(|d| d["kid"].is_string())) {
                return;
            }
            assert!(!passed(end), "not ready: {}", self.said());
            rest();
        }
    }

    /// What a signer reads; `None` if there is none or nobody answers.
    pub fn document(&self, keyset: &str) -> Option<Value> {
        let path = format!("/v1/keysets/{ENVIRONMENT}/{keyset}");
        let answer = http::unix(&self.runtime.join("signer.sock"), &path).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// What a verifier fetches.
    pub fn verifiers(&self, keyset: &str) -> std::io::Result<Answer> {
        http::tcp(self.verifiers, &format!("/{ENVIRONMENT}/{keyset}/.well-known/jwks.json"))
    }

    /// Where they fetch it.
    pub fn jwks_url(&self, keyset: &str) -> String {
        format!("http://{}/{ENVIRONMENT}/{keyset}/.well-known/jwks.json", self.verifiers)
    }

    /// The kids that verifiers are given.
    pub fn public_kids(&self, keyset: &str) -> Vec<String> {
        let keys = self.verifiers(keyset).unwrap().json();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// What the operators' listener answers.
    pub fn operators(&self, path: &str) -> std::io::Result<Answer> {
        http::tcp(self.operators, path)
    }

    /// The value of a metric, by name and labels as they are written.
    pub fn metric(&self, series: &str) -> Option<String> {
        let scrape = self.operators("/metrics").unwrap().text();
        scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    /// `keyrota status --output json`: one keyset.
    pub fn status(&self) -> Value {
        let output = keyrota(&["status", "--output", "json"], &self.runtime);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// SIGTERM, and how it ends within seconds.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// How it ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let end = deadline(LONGEST_END);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(!passed(end), "it does not end within {LONGEST_END:?}: {}", self.said());
            rest();
        }
    }

    /// Whether it has not ended.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Socket {
    /// What starts a daemon with such a socket, and its standard input.
    fn command(self, address: SocketAddr) -> (Command, Stdio) {
        let binary = env!("CARGO_BIN_EXE_keyrota");
        if self != Self::Handed {
            return (Command::new(binary), Stdio::null());
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=verifiers exec \"$0\" \"$@\"", binary]);
        (shell, OwnedFd::from(TcpListener::bind(address).unwrap()).into())
    }
}

/// A command for the daemon behind `runtime`.
pub fn keyrota(args: &[&str], runtime: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyrota"));
    command.args(args).arg("--runtime-dir").arg(runtime).env_clear().stdin(Stdio::null()).output().unwrap()
}

/// Waits until `what` holds.
pub fn until(daemon: &mut Daemon, what: &str, mut holds: impl FnMut(&Daemon) -> bool) {
    let end = deadline(PATIENCE);
    while !holds(daemon) {
        assert!(daemon.lives(), "it ended before {what}: {}", daemon.said());
        assert!(!passed(end), "waited {PATIENCE:?} in vain until {what}: {}", daemon.said());
        rest();
    }
}

/// The moment until which something may be waited for.
#[allow(clippy::disallowed_methods, reason = "a process is outside: it can only be waited for")]
pub fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}

/// Whether a deadline is over.
pub fn passed(deadline: Instant) -> bool {
    deadline < self::deadline(Duration::ZERO)
}

/// Between two looks at something outside.
pub fn rest() {
    std::thread::sleep(Duration::from_millis(20));
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|probe| probe.local_addr()).unwrap()
}
