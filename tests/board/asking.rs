//! A listener on a real socket, and a client that asks it by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use keyrota::audit::Verified;
use keyrota::board::{Board, Cell, EnvironmentBoard, Manner};
use keyrota::http::control::{BackedUp, Control, Told};
use keyrota::http::endpoints::TokenService;
use keyrota::http::front::Front;
use keyrota::http::peers::{Peer, Users};
use keyrota::http::reach::Exposed;
use keyrota::http::serve::{Limits, routed, serve};
use keyrota::http::verifiers::Verifiers;
use keyrota::http::{Desk, control, operators, signers, sockets};
use keyrota::key::Algorithm;
use keyrota::metrics::Metrics;
use keyrota::name::EnvironmentName;
use keyrota::policy::{Caller, Profile, Rate, Serving, TokenPolicy};
use keyrota::status_report::backup::{BackupReport, BackupRequest};
use keyrota::status_report::doctor::DoctorReport;
use keyrota::status_report::migrate::{MigrateReport, MigrateRequest};
use keyrota::status_report::rekey::{RekeyPhase, RekeyReport, RekeyRequest};
use keyrota::status_report::verbs::{Refused, VerbReport, VerbRequest};
use keyrota::status_report::{ReloadReport, ReloadedReport};
use keyrota::time::{Span, Timestamp};
use keyrota::url::PublicOrigin;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::fixture;

/// Who seems to be at the other end.
#[derive(Clone, Copy)]
pub enum Outsider {
    Root,
    /// uid 1000, a member of `backend`.
    App,
    /// uid 1001, a member of nothing.
    Other,
}

struct FewUsers;

impl Users for FewUsers {
    fn uid_of(&self, user: &str) -> Option<u32> {
        (user == "app").then_some(1000)
    }
    fn gid_of(&self, group: &str) -> Option<u32> {
        (group == "backend").then_some(2000)
    }
    fn name_of(&self, uid: u32) -> Option<String> {
        (uid == 1000).then(|| "app".to_owned())
    }
    fn groups_of(&self, uid: u32) -> BTreeSet<u32> {
        if uid == 1000 { [1000, 2000].into() } else { [uid].into() }
    }
}

struct Obedient;

fn rekeying(phase: RekeyPhase, by: String) -> RekeyReport {
    let (master_key, key_file) = ("0011".to_owned(), "master.key".to_owned());
    let at = fixture::noon().wall;
    RekeyReport { at, by, phase, master_key, next_key: None, key_file, sealed: 0, values: 1, refused: None, notes: Vec::new() }
}

impl Control for Obedient {
    fn reload(&self, wait: Option<Span>) -> Told<'_, ReloadReport> {
        let environments = vec![ReloadedReport { name: "demo".parse().unwrap(), in_force: true, faults: Vec::new() }];
        Box::pin(async move { if wait.is_some() { ReloadReport { done: true, environments } } else { ReloadReport::default() } })
    }

    fn verify_trail(&self) -> Told<'_, Result<Verified, Refused>> {
        Box::pin(async { Ok(Verified { lines: 0, first: 0, last: 0, span: None, flaws: Vec::new() }) })
    }

    fn rekey(&self, request: RekeyRequest, by: String) -> Told<'_, Result<RekeyReport, Refused>> {
        let phase = if request.dry_run { RekeyPhase::Idle } else { RekeyPhase::Resealing };
        Box::pin(async move { Ok(rekeying(phase, by)) })
    }

    fn rekey_report(&self) -> Told<'_, Result<RekeyReport, Refused>> {
        Box::pin(async { Ok(rekeying(RekeyPhase::Done, String::new())) })
    }

    fn back_up(&self, request: BackupRequest, _: String) -> Told<'_, Result<BackedUp, Refused>> {
        let report = BackupReport { made_at: fixture::noon().wall, environments: Vec::new(), documents: 0, elsewhere: Vec::new() };
        Box::pin(async move { Ok((report, (!request.dry_run).then(|| b"sealed".to_vec()))) })
    }

    fn trail_since(&self, _: Timestamp) -> Told<'_, Result<Vec<String>, Refused>> {
        Box::pin(async { Ok(vec!["{}".to_owned()]) })
    }

    fn examine(&self, _: Option<EnvironmentName>) -> Told<'_, Result<DoctorReport, Refused>> {
        Box::pin(async { Ok(DoctorReport { at: fixture::noon().wall, findings: Vec::new() }) })
    }

    fn migrate(&self, request: MigrateRequest, by: String) -> Told<'_, Result<MigrateReport, Refused>> {
        let (source, target) = ("one store".to_owned(), "another".to_owned());
        let (keysets, notes) = (Vec::new(), vec![request.reason]);
        let report = MigrateReport { at: fixture::noon().wall, by, part: request.part, source, target, keysets, notes };
        Box::pin(async move { Ok(report) })
    }

    fn verb(&self, request: VerbRequest, by: String) -> Told<'_, Result<VerbReport, Refused>> {
        Box::pin(async move {
            if request.environment.as_str() != "demo" {
                return Err(Refused::of("unknown", "there is no such environment; hint: another"));
            }
            Ok(VerbReport { at: fixture::noon().wall, by, keysets: Vec::new(), notes: vec![request.reason] })
        })
    }
}

/// A listener, what it serves, and where it is.
pub struct Host {
    pub board: Arc<Board>,
    pub environment: Arc<EnvironmentBoard>,
    address: Address,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    _folder: Option<(tempfile::TempDir, sockets::Bound)>,
}

enum Address {
    Tcp(std::net::SocketAddr),
    Unix(PathBuf),
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A connection on which a request may have been sent.
pub struct Begun(Box<dyn Stream>);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

struct Parts {
    board: Arc<Board>,
    environment: Arc<EnvironmentBoard>,
    desk: Desk,
    stop: (watch::Sender<bool>, watch::Receiver<bool>),
}

fn parts() -> Parts {
    let (board, environment) = fixture::board();
    let metrics = Arc::new(Metrics::new(fixture::noon()).unwrap());
    let desk = Desk { board: Arc::clone(&board), metrics, clock: fixture::noon };
    Parts { board, environment, desk, stop: watch::channel(false) }
}

impl Host {
    pub async fn verifiers() -> Self {
        Self::verifiers_with(Limits::VERIFIERS).await
    }

    pub async fn verifiers_with(limits: Limits) -> Self {
        let Parts { board, environment, desk, stop } = parts();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let service = Verifiers::new(desk);
        let serving = tokio::spawn(serve(listener, limits, stop.1, move |_| service.clone()));
        Self { board, environment, address, stop: stop.0, serving, _folder: None }
    }

    /// With a keyset of API keys, `partner`, all of which are `x`, who may ask for tokens of `hooks` where clients come in so.
    pub async fn tokens(reach: Result<PublicOrigin, Exposed>) -> Self {
        let Parts { board, environment, desk, stop } = parts();
        let keys = fixture::document("demo/partner", Algorithm::ApiKey, 3);
        fixture::put(&environment, "partner", fixture::status(Some(keys), fixture::rules(Algorithm::ApiKey)), Manner::default());
        let callers = vec![Caller { keyset: "partner".parse().unwrap(), subjects: vec!["*".parse().unwrap()] }];
        let token = TokenPolicy {
            profile: Profile::Generic,
            issuer: None,
            audience: Vec::new(),
            default_ttl: Span::minutes(5),
            claims: BTreeMap::new(),
            serving: Some(Serving { callers, rate: Rate::default() }),
            refresh: None,
        };
        let manner = Manner { token: Some(Arc::new(token)), token_ttl: Span::hours(1), ..Manner::default() };
        environment.keyset("hooks").unwrap().set_manner(manner);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let front = Front::new(Verifiers::new(desk.clone()), TokenService::new(desk).unwrap().routes(reach));
        let serving = tokio::spawn(serve(listener, Limits::VERIFIERS, stop.1, move |_| front.clone()));
        Self { board, environment, address, stop: stop.0, serving, _folder: None }
    }

    pub async fn operators() -> Self {
        let Parts { board, environment, desk, stop } = parts();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let serving = tokio::spawn(serve(listener, Limits::OPERATORS, stop.1, routed(operators::operators(desk))));
        Self { board, environment, address, stop: stop.0, serving, _folder: None }
    }

    pub fn signers(who: Outsider) -> Self {
        Self::unix(who, |desk, stop| signers::signers(desk, signers::Door { own_uid: 500, users: Arc::new(FewUsers), stop }))
    }

    pub fn control(who: Outsider) -> Self {
        Self::unix(who, |desk, _| {
            let door = control::Door { own_uid: 500, group: Some("backend".into()), users: Arc::new(FewUsers) };
            control::control(desk, Arc::new(Obedient), door)
        })
    }

    fn unix(who: Outsider, router: impl FnOnce(Desk, watch::Receiver<bool>) -> axum::Router) -> Self {
        let Parts { board, environment, desk, stop } = parts();
        let folder = tempfile::tempdir().unwrap();
        let (listener, bound) = sockets::bind(folder.path(), "a.sock", 0o666, None).unwrap();
        let service = routed(router(desk, stop.1.clone()));
        // The kernel tells of this test's own user; the peer is played.
        let uid = match who {
            Outsider::Root => 0,
            Outsider::App => 1000,
            Outsider::Other => 1001,
        };
        let play = move |peer: Option<Peer>| {
            assert!(peer.is_some(), "the kernel knows who it is");
            service(Some(Peer { uid, gid: uid }))
        };
        let serving = tokio::spawn(serve(listener, Limits::SIGNERS, stop.1, play));
        let address = Address::Unix(folder.path().join("a.sock"));
        Self { board, environment, address, stop: stop.0, serving, _folder: Some((folder, bound)) }
    }

    /// Asks and reads the answer. `headers` are whole lines.
    pub async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.raw(format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").as_bytes()).await
    }

    /// Sends these bytes and reads the answer.
    pub async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // A listener that refuses in the middle of a request may have hung up before its end.
        let _ = stream.write_all(request).await;
        Begun(stream).answer().await
    }

    /// Connects, and asks if there is a method.
    pub async fn begin(&self, method: &str, path: &str) -> Begun {
        let mut stream = self.connect().await;
        if !method.is_empty() {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        Begun(stream)
    }

    /// Until a request waits for this keyset to change: it holds the cell meanwhile.
    pub async fn until_one_waits(&self, cell: &Arc<Cell>) {
        // One is ours, one the board's.
        while Arc::strong_count(cell) < 3 {
            tokio::task::yield_now().await;
        }
    }

    /// Until a request waits for the environment to be loaded: it holds it meanwhile.
    pub async fn until_one_waits_for_the_start(&self) {
        // One is ours, one the board's.
        while Arc::strong_count(&self.environment) < 3 {
            tokio::task::yield_now().await;
        }
    }

    /// Tells the listener to stop; the handle is done when it has.
    pub fn stop(self) -> JoinHandle<()> {
        self.stop.send(true).unwrap();
        self.serving
    }

    async fn connect(&self) -> Box<dyn Stream> {
        match &self.address {
            Address::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        }
    }
}

impl Begun {
    /// Asks on a connection on which nothing was asked yet.
    pub async fn ask(mut self, path: &str) -> Answer {
        // A listener that has hung up answers nothing, which shows below.
        let _ = self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes()).await;
        self.answer().await
    }

    pub async fn answer(mut self) -> Answer {
        let mut bytes = Vec::new();
        // A reset after the answer is no matter.
        let _ = self.0.read_to_end(&mut bytes).await;
        Answer::parse(&bytes)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {bytes:?}"));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[line + 2..line + 2 + length]);
        bytes = &bytes[line + 4 + length..];
    }
}
