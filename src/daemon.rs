//! The daemon: wires store, witness, forge, targets, listeners and one reconciler per environment together, and keeps them going
//! until it is told to stop.
//!
//! It decides nothing. Each environment is a task of its own (`environment`), so that a slow store holds up nobody else; policies
//! come and go through a channel to it (`policies`), and what happens comes back as events that go to the log and the counters.

mod backup;
mod beyond_restart;
mod doctor;
mod environment;
mod journal;
mod keeping;
mod logs;
mod memory;
mod migrate;
mod orders;
mod policies;
mod ports;
mod probing;
mod progress;
mod rekey;
mod standing;
mod trail;
mod verbs;
mod wakes;
mod webhooks;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, SetOnce, watch};
use tokio::task::JoinSet;

use crate::audit::{self, Audit};
use crate::board::Board;
use crate::cli::args::RunArgs;
use crate::cli::exit::Exit;
use crate::clock::Reading;
use crate::event::Event;
use crate::http::control::Control as _;
use crate::http::peers::SystemUsers;
use crate::http::serve::{Limits, Stop, routed, serve, serve_through};
use crate::http::tls::{HANDSHAKE_TIMEOUT, Tls};
use crate::http::verifiers::Verifiers;
use crate::http::{Desk, control, operators, signers, sockets};
use crate::keygen::KeyForge;
use crate::metrics::Metrics;
use crate::store::aws::pace::{Pace, WRITES_A_SECOND};
use crate::store::embedded::EmbeddedStore;
use crate::store::master_key::MasterKeySource;
use crate::store::seal::RandomId;
use crate::systemd;
use crate::systemd::handed::Handed;
use crate::systemd::watchdog::Watchdog;
use crate::time::Span;
use crate::witness::book::WitnessBook;
use beyond_restart::{WrongSetting, is_beyond_restart};
use policies::Policies;
use rekey::Rekeying;
use wakes::Wakes;

pub(crate) use logs::{tell_head, tell_lines};

/// How long a reload is waited for, until whoever asked for it is told that it is over.
const LONGEST_RELOAD: Span = Span::minutes(1);

/// What every environment of this process shares.
pub(crate) struct House {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    /// Opened whatever the policies say: the audit trail is proven by its master key too.
    embedded: EmbeddedStore,
    /// How often this process writes to AWS.
    pace: Arc<Pace>,
    /// Names this process to stores that many share.
    instance: RandomId,
    witness: WitnessBook,
    audit: Audit,
    forge: Arc<KeyForge>,
    state_dir: std::path::PathBuf,
    rekeying: Rekeying,
    wakes: Wakes,
    /// Looks at key sets from outside.
    eyes: probing::Eyes,
    watchdog: Arc<Watchdog>,
    /// Set when every keyset has been looked at and has its key.
    started: SetOnce<()>,
    /// Notified after each pass.
    changed: Notify,
    stop: Stop,
}

impl House {
    /// Events go to the log, the counters and the trail.
    pub(crate) fn tell(&self, events: Vec<Event>, at: Reading) {
        self.metrics.record(&events, at);
        logs::tell(&events);
        self.audit.record(at.wall, events);
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start: no policy that can be used, a store that cannot be opened, an address that is taken.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    logs::start(args.log_format);
    memory::keep_off_disk();
    match start(args) {
        Err(error) if is_beyond_restart(&error) => {
            tracing::error!("{error:#}");
            Ok(Exit::Config)
        }
        ended => ended,
    }
}

fn start(args: &RunArgs) -> anyhow::Result<Exit> {
    let handed = Handed::take()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let exit = runtime.block_on(live(args, handed));
    // Whatever still waits for a peer has been told to stop and has had its time.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    exit
}

async fn live(args: &RunArgs, handed: Handed) -> anyhow::Result<Exit> {
    let started = Reading::now();
    let state_dir = std::path::absolute(args.state_dir()).context("the state directory has no absolute path")?;
    let folder = args.policies.folder();
    let (told, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let house = Arc::new(open_house(args, &state_dir, started, stop.clone()).await?);
    let policies = Policies::new(Arc::clone(&house), folder, args.policies.environments.clone());
    // Whoever connects from now on is answered as soon as the keysets are known.
    let doors = Doors::open(args, &house, handed).await?;
    let first = policies.load().await;
    for report in first.iter().filter(|report| !report.in_force) {
        for fault in &report.faults {
            tracing::error!(environment = %report.name, "{fault}");
        }
    }
    if policies.is_idle() {
        tracing::error!("there is no policy that can be used; hint: `keyrota check --policies DIR` says why, line by line");
        return Ok(Exit::Config);
    }

    let mut listeners = JoinSet::new();
    let (verifiers, operators) = (Doors::addresses(&doors.verifiers), Doors::addresses(&doors.operators));
    let bound = doors.serve(args, &house, &policies, &mut listeners, &stop);
    tracing::info!(
        verifiers, operators, runtime_dir = %args.daemon.runtime_dir().display(),
        "keyrota {} serves", env!("CARGO_PKG_VERSION")
    );
    let progress = tokio::spawn(progress::show(Arc::clone(&house), stop.clone()));
    let standing = tokio::spawn(standing::keep_true(Arc::clone(&house), stop.clone()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => tokio::select! {
                () = reload(&policies) => {
                    // While it still starts, that is said when it is true.
                    if house.started.initialized() {
                        systemd::reloaded();
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
    }
    tracing::info!("stopping: what is under way is finished first");
    let _ = told.send(true);
    systemd::stopping();
    policies.finished().await;
    house.audit.flush().await;
    progress.abort();
    standing.abort();
    while listeners.join_next().await.is_some() {}
    drop(bound);
    Ok(Exit::Done)
}

/// Takes edited policies, and answers when every keyset was looked at under them.
async fn reload(policies: &Policies) {
    systemd::reloading();
    policies.reload(Some(LONGEST_RELOAD)).await;
}

async fn open_house(args: &RunArgs, state_dir: &Path, started: Reading, stop: Stop) -> anyhow::Result<House> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    let source = MasterKeySource::choose(args.master_key_file.clone(), credentials.as_deref());
    let directory = state_dir.to_owned();
    // Opening reads and locks files: not on a thread that serves.
    let (embedded, witness) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let store = EmbeddedStore::open(&directory, &source)?;
        let witness = WitnessBook::open(&directory)?;
        Ok((store, witness))
    })
    .await??;
    if let Some(path) = embedded.created_master_key() {
        tracing::warn!(
            "made a master key at {}; hint: keep a copy of it apart from the store, without it the store cannot be read",
            path.display()
        );
    }
    if let Some(underway) = embedded.rekey_underway().await? {
        tracing::warn!(
            "a change of the master key was interrupted: from {} to {}; hint: `keyrota rekey` goes on, and both keys are needed until then",
            underway.old,
            underway.next
        );
    }
    let trail_keys = {
        let store = embedded.clone();
        Arc::new(move || trail::trail_keys(&store))
    };
    let audit = Audit::start(state_dir, trail_keys, witness.clone(), audit::Limits::default()).await;
    let audit = audit.map_err(|why| anyhow!("the audit trail cannot be opened: {why}"))?;
    let metrics = Arc::new(Metrics::new(started)?);
    let wakes = Wakes::start().await?;
    let forge = Arc::new(KeyForge::start().map_err(|e| anyhow!("cannot start the threads that make keys: {e}"))?);
    Ok(House {
        board: Arc::default(),
        metrics,
        embedded,
        pace: Arc::new(Pace::new(WRITES_A_SECOND)),
        instance: RandomId::new().map_err(|e| anyhow!(e))?,
        witness,
        audit,
        forge,
        state_dir: state_dir.to_owned(),
        rekeying: Rekeying::default(),
        wakes,
        eyes: probing::Eyes { client: Arc::default(), at_once: Arc::new(tokio::sync::Semaphore::new(probing::AT_ONCE)) },
        watchdog: Arc::new(Watchdog::asked_for()),
        started: SetOnce::new(),
        changed: Notify::new(),
        stop,
    })
}

/// The listeners, open and not served yet: so that a taken address is an error before anything is made.
struct Doors {
    verifiers: Vec<TcpListener>,
    /// What verifiers pass on their way in, if they are to speak TLS.
    tls: Option<Arc<Tls>>,
    operators: Vec<TcpListener>,
    signers: (UnixListener, sockets::Bound),
    control: (UnixListener, sockets::Bound),
}

impl Doors {
    /// Those that systemd has handed over, and the rest by their addresses.
    async fn open(args: &RunArgs, house: &House, handed: Handed) -> anyhow::Result<Self> {
        let runtime_dir = args.daemon.runtime_dir();
        let control_gid = args.control_group.as_deref().map(group_id).transpose()?;
        let desk = Desk::new(Arc::clone(&house.board), Arc::clone(&house.metrics));
        Ok(Self {
            tls: args.tls_files().map(|files| Tls::open(files, desk, HANDSHAKE_TIMEOUT)).transpose()?,
            verifiers: bind(handed.verifiers, args.listen).await?,
            operators: bind(handed.operators, args.metrics_listen).await?,
            signers: sockets::bind(&runtime_dir, sockets::SIGNER_SOCKET, 0o666, None)?,
            control: sockets::bind(&runtime_dir, sockets::CONTROL_SOCKET, 0o660, control_gid)?,
        })
    }

    fn serve(self, args: &RunArgs, house: &House, policies: &Arc<Policies>, tasks: &mut JoinSet<()>, stop: &Stop) -> [sockets::Bound; 2] {
        let desk = Desk::new(Arc::clone(&house.board), Arc::clone(&house.metrics));
        let own_uid = rustix::process::geteuid().as_raw();
        let users = Arc::new(SystemUsers);
        let signer_door = signers::Door { own_uid, users: users.clone(), stop: stop.clone() };
        let control_door = control::Door { own_uid, group: args.control_group.clone(), users };
        let verifiers = Verifiers::new(desk.clone());
        let operators = operators::operators(desk.clone());
        let signers = signers::signers(desk.clone(), signer_door);
        let control = control::control(desk, Arc::clone(policies) as Arc<dyn control::Control>, control_door);
        let limits = Limits::VERIFIERS.shared_by(self.verifiers.len());
        for listener in self.verifiers {
            let verifiers = verifiers.clone();
            let service = move |_| verifiers.clone();
            match self.tls.clone() {
                Some(tls) => tasks.spawn(serve_through(tls, listener, limits, stop.clone(), service)),
                None => tasks.spawn(serve(listener, limits, stop.clone(), service)),
            };
        }
        if let Some(tls) = self.tls {
            tasks.spawn(tls.keep_true(stop.clone()));
        }
        let limits = Limits::OPERATORS.shared_by(self.operators.len());
        for listener in self.operators {
            tasks.spawn(serve(listener, limits, stop.clone(), routed(operators.clone())));
        }
        tasks.spawn(serve(self.signers.0, Limits::SIGNERS, stop.clone(), routed(signers)));
        tasks.spawn(serve(self.control.0, Limits::CONTROL, stop.clone(), routed(control)));
        [self.signers.1, self.control.1]
    }

    /// Where listeners listen, for people.
    fn addresses(listeners: &[TcpListener]) -> String {
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.to_string());
        addresses.collect::<Vec<_>>().join(" ")
    }
}

async fn bind(handed: Vec<std::net::TcpListener>, address: SocketAddr) -> anyhow::Result<Vec<TcpListener>> {
    if !handed.is_empty() {
        return handed.into_iter().map(|socket| Ok(TcpListener::from_std(socket)?)).collect();
    }
    let bound = TcpListener::bind(address).await;
    Ok(vec![bound.with_context(|| format!("cannot listen on {address}; hint: is another keyrota running?"))?])
}

fn group_id(name: &str) -> anyhow::Result<u32> {
    let group = nix::unistd::Group::from_name(name).with_context(|| format!("cannot look up the group `{name}`"))?;
    let none = || WrongSetting(format!("there is no group `{name}`; hint: --control-group takes a system group"));
    Ok(group.map(|g| g.gid.as_raw()).ok_or_else(none)?)
}
