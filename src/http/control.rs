//! Status and verbs for operators, on `control.sock`: for root, the daemon's own user, and the members of `--control-group`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{StatusCode, Uri};

use super::peers::{Peer, Users};
use super::{Desk, JSON, NO_STORE, Refusal, nothing_here, query, signers, status, tokens, verbs, whole_store};
use crate::audit::Verified;
use crate::name::EnvironmentName;
use crate::policy::SignerAccess;
use crate::status_report::ReloadReport;
use crate::status_report::backup::{BackupReport, BackupRequest};
use crate::status_report::doctor::DoctorReport;
use crate::status_report::migrate::{MigrateReport, MigrateRequest};
use crate::status_report::rekey::{RekeyReport, RekeyRequest};
use crate::status_report::verbs::{Refused, VerbReport, VerbRequest};
use crate::time::{Span, Timestamp};

const JSON_LINES: http::HeaderValue = http::HeaderValue::from_static("application/jsonl");

/// The longest that a reload is waited for.
pub const LONGEST_WAIT: Span = Span::minutes(5);

/// A future that a verb's result comes through.
pub type Told<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is in a back-up, and the file itself, unless it was only asked about.
pub type BackedUp = (BackupReport, Option<Vec<u8>>);

/// What operators can make the daemon do. The daemon implements it, usually by a channel to whoever owns the reconcilers.
pub trait Control: Send + Sync + 'static {
    /// Reads the policies anew. With a wait, the answer comes when every keyset was looked at under them, or the wait is over
    /// (`done: false`); without, as soon as the reload is under way.
    fn reload(&self, wait: Option<Span>) -> Told<'_, ReloadReport>;

    /// Carries out an operator's verb, asked for by `by`, or says what it would do. The error is a refusal of the whole; refusals of
    /// single keysets are in the report.
    fn verb(&self, request: VerbRequest, by: String) -> Told<'_, Result<VerbReport, Refused>>;

    /// Takes an environment's keysets a part of their way to another store, or says how they stand.
    fn migrate(&self, request: MigrateRequest, by: String) -> Told<'_, Result<MigrateReport, Refused>>;

    /// Whether the audit trail is as it was written.
    fn verify_trail(&self) -> Told<'_, Result<Verified, Refused>>;

    /// Begins to change the master key, or goes on with it, or says what that would do. The answer does not wait for the end.
    fn rekey(&self, request: RekeyRequest, by: String) -> Told<'_, Result<RekeyReport, Refused>>;

    /// How the change of the master key stands.
    fn rekey_report(&self) -> Told<'_, Result<RekeyReport, Refused>>;

    /// A back-up, encrypted for its recipients; without one if it was only asked what would be in it.
    fn back_up(&self, request: BackupRequest, by: String) -> Told<'_, Result<BackedUp, Refused>>;

    /// The lines of the audit trail since a moment.
    fn trail_since(&self, since: Timestamp) -> Told<'_, Result<Vec<String>, Refused>>;

    /// Looks at everything that could go wrong, in one environment or in all.
    fn examine(&self, environment: Option<EnvironmentName>) -> Told<'_, Result<DoctorReport, Refused>>;
}

/// Who may come in besides root.
#[derive(Clone)]
pub struct Door {
    /// The daemon's own uid.
    pub own_uid: u32,
    /// The group whose members may, if any.
    pub group: Option<String>,
    /// The user database.
    pub users: Arc<dyn Users>,
}

#[derive(Clone)]
pub(super) struct Room {
    desk: Desk,
    pub(super) control: Arc<dyn Control>,
    users: Arc<dyn Users>,
    own_uid: u32,
}

impl Room {
    /// Whether this is root or the daemon's own user, who can read every key anyway.
    pub(super) const fn may_read_keys(&self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid
    }

    /// Who is at the other end, for records.
    pub(super) async fn who(&self, peer: Peer) -> String {
        let users = Arc::clone(&self.users);
        let named = tokio::task::spawn_blocking(move || verbs::named(peer, &*users)).await;
        named.unwrap_or_else(|_| format!("uid {}", peer.uid))
    }
}

/// The routes `GET /v1/status`, `GET /v1/doctor`, `GET /v1/audit`, `POST /v1/reload`, `POST /v1/verbs`, `POST /v1/migrate`, `/v1/rekey`,
/// `POST /v1/backup`, and `…/token` and `…/verify` of a keyset. Each request must bear an [`axum::Extension`] of [`Peer`].
pub fn control(desk: Desk, control: Arc<dyn Control>, door: Door) -> Router {
    let (users, own_uid) = (Arc::clone(&door.users), door.own_uid);
    // Nothing waits here, so nothing is to be stopped.
    let readers = signers::Door { own_uid, users: Arc::clone(&users), stop: tokio::sync::watch::channel(false).1 };
    Router::new()
        .merge(tokens::routes(desk.clone(), readers, tokens::Verifying::Anybody))
        .route("/v1/verbs", post(verbs::verb).fallback(post_only))
        .route("/v1/migrate", post(verbs::migrate).fallback(post_only))
        .route("/v1/rekey", get(whole_store::rekey_report).post(whole_store::rekey).fallback(get_or_post))
        .route("/v1/backup", post(whole_store::back_up).fallback(post_only))
        .route("/v1/audit", get(trail).fallback(get_only))
        .route("/v1/audit/verify", get(verify).fallback(get_only))
        .route("/v1/doctor", get(doctor).fallback(get_only))
        .route("/v1/status", get(report).fallback(get_only))
        .route("/v1/reload", post(reload).fallback(post_only))
        .fallback(nothing_here)
        .layer(from_fn_with_state(Arc::new(door), guard))
        .with_state(Room { desk, control, users, own_uid })
}

async fn get_only() -> Refusal {
    Refusal::method("GET, HEAD")
}

async fn get_or_post() -> Refusal {
    Refusal::method("GET, HEAD, POST")
}

async fn post_only() -> Refusal {
    Refusal::method("POST")
}

/// Lets in who may come in, whatever they ask for.
async fn guard(State(door): State<Arc<Door>>, Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    let admitted = door.group.iter().map(|group| SignerAccess::Group(group.clone())).collect::<Vec<_>>();
    let asked = Arc::clone(&door);
    let answer = tokio::task::spawn_blocking(move || peer.admitted(asked.own_uid, &admitted, &*asked.users)).await;
    match answer {
        Ok(Ok(())) => next.run(request).await,
        Ok(Err(denied)) => {
            let error = format!("{} may not use the control socket", denied.who);
            let hint = match &door.group {
                Some(group) => format!("become a member of group {group} (and log in again), or use sudo"),
                None => "use sudo, or start keyrota with --control-group and become a member of that group".to_owned(),
            };
            Refusal::new(StatusCode::FORBIDDEN, error, hint).into_response()
        }
        Err(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the user database could not be asked", "ask again").into_response(),
    }
}

async fn report(State(room): State<Room>, uri: Uri) -> Result<Response, Refusal> {
    let timer = room.desk.metrics.http.status.start();
    let asked = query::read(&uri, &["environment", "keyset"])?;
    let environments = room.desk.board.environments();
    let wanted = environments.values().filter(|e| asked.get("environment").is_none_or(|name| name == e.name.as_str())).cloned();
    let tls = room.desk.board.tls.load_full();
    let report = status::Report::new(wanted, asked.get("keyset").cloned(), (room.desk.clock)()).with_tls(tls.as_deref());
    room.desk.metrics.http.status.done(timer, StatusCode::OK);
    Ok(([(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, JSON)], Body::new(status::Pieces(report))).into_response())
}

/// The lines as they stand in the files: JSON, one to a line.
async fn trail(State(room): State<Room>, uri: Uri) -> Result<Response, Refusal> {
    let asked = query::read(&uri, &["since"])?;
    let unlawful = |_| Refusal::new(StatusCode::BAD_REQUEST, "parameter `since` is no moment", "write 2026-01-02T08:00:00Z");
    let since = asked.get("since").map(|since| since.parse()).transpose().map_err(unlawful)?.unwrap_or(Timestamp::EPOCH);
    let lines = room.control.trail_since(since).await.map_err(|refused| verbs::of(&refused))?;
    let lines = lines.into_iter().map(|line| bytes::Bytes::from(line + "\n"));
    Ok(([(CACHE_CONTROL, NO_STORE), (CONTENT_TYPE, JSON_LINES)], Body::new(status::Pieces(lines))).into_response())
}

async fn verify(State(room): State<Room>) -> Result<Response, Refusal> {
    let verified = room.control.verify_trail().await.map_err(|refused| verbs::of(&refused))?;
    Ok(([(CACHE_CONTROL, NO_STORE)], axum::Json(verified)).into_response())
}

async fn doctor(State(room): State<Room>, uri: Uri) -> Result<Response, Refusal> {
    let asked = query::read(&uri, &["environment"])?;
    let unlawful = |error: crate::name::NameError| Refusal::new(StatusCode::BAD_REQUEST, error.to_string(), "`keyrota status` lists them");
    let environment = asked.get("environment").map(|name| name.parse()).transpose().map_err(unlawful)?;
    let report = room.control.examine(environment).await.map_err(|refused| verbs::of(&refused))?;
    Ok(([(CACHE_CONTROL, NO_STORE)], axum::Json(report)).into_response())
}

async fn reload(State(room): State<Room>, uri: Uri) -> Result<Response, Refusal> {
    let asked = query::read(&uri, &["wait"])?;
    let wait = query::span(&asked, "wait")?.map(|wait| wait.min(LONGEST_WAIT));
    let report = room.control.reload(wait).await;
    let status = if report.done { StatusCode::OK } else { StatusCode::ACCEPTED };
    room.desk.metrics.http.reload.count(status);
    Ok((status, [(CACHE_CONTROL, NO_STORE)], axum::Json(report)).into_response())
}
