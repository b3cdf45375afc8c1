//! The status report, made from the board: keyset by keyset, so that ten thousand keysets do not stand in memory as text at once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use serde_json::value::RawValue;

use crate::board::{Cell, EnvironmentBoard, TlsStanding};
use crate::clock::Reading;
use crate::document::StateName;
use crate::event::Part;
use crate::name::KeysetName;
use crate::observed::Reached;
use crate::probe::ProbeStanding;
use crate::reconcile::{Status, Trouble};
use crate::status_report::{
    EnvironmentReport, KeysetReport, OverdueReport, PendingReport, PolicyReport, ProbeReport, RulesReport, StatusReport, TlsReport,
    TroubleReport, UptakeReport,
};
use crate::time::Timestamp;
use crate::waits::Waits;

/// A body whose parts are made as they are sent.
pub(super) struct Pieces<I>(pub I);

impl<I: Iterator<Item = Bytes> + Unpin> http_body::Body for Pieces<I> {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}

/// The parts of one status report.
pub(super) struct Report {
    at: Timestamp,
    now: Reading,
    only: Option<String>,
    tls: Option<TlsReport>,
    environments: VecDeque<Arc<EnvironmentBoard>>,
    keysets: VecDeque<(KeysetName, Arc<Cell>)>,
    stage: Stage,
}

enum Stage {
    Begin,
    Environment { first: bool },
    Keyset { first: bool },
    End,
}

impl Report {
    /// The report of these environments, of each only the keyset called `only` where one is named.
    pub fn new(environments: impl Iterator<Item = Arc<EnvironmentBoard>>, only: Option<String>, now: Reading) -> Self {
        Self { at: now.wall, now, only, tls: None, environments: environments.collect(), keysets: VecDeque::new(), stage: Stage::Begin }
    }

    /// The same with how the certificate of the verifiers' listener stands.
    pub fn with_tls(self, standing: Option<&TlsStanding>) -> Self {
        Self { tls: standing.map(TlsReport::of), ..self }
    }

    /// The whole report at once.
    pub fn whole(environments: impl Iterator<Item = Arc<EnvironmentBoard>>, now: Reading) -> StatusReport {
        let environment = |board: Arc<EnvironmentBoard>| {
            let keysets = board.keysets();
            let keyset = |(name, cell): (&KeysetName, &Arc<Cell>)| of_keyset(name.clone(), cell, now.wall);
            EnvironmentReport { keysets: keysets.iter().map(keyset).collect(), ..of_environment(&board, now) }
        };
        let environments = environments.map(environment).collect();
        StatusReport { version: env!("CARGO_PKG_VERSION").into(), at: now.wall, tls: None, environments }
    }

    fn environment(&mut self, first: bool) -> Vec<u8> {
        let Some(environment) = self.environments.pop_front() else {
            self.stage = Stage::End;
            return b"]}".to_vec();
        };
        let wanted = |name: &KeysetName| self.only.as_deref().is_none_or(|only| only == name.as_str());
        self.keysets = environment.keysets().iter().filter(|(n, _)| wanted(n)).map(|(n, c)| (n.clone(), Arc::clone(c))).collect();
        self.stage = Stage::Keyset { first: true };
        let comma: &[u8] = if first { b"" } else { b"," };
        [comma, &opened(&of_environment(&environment, self.now))].concat()
    }

    fn keyset(&mut self, first: bool) -> Vec<u8> {
        let Some((name, cell)) = self.keysets.pop_front() else {
            self.stage = Stage::Environment { first: false };
            return b"]}".to_vec();
        };
        self.stage = Stage::Keyset { first: false };
        let comma: &[u8] = if first { b"" } else { b"," };
        let report = serde_json::to_vec(&of_keyset(name, &cell, self.at)).unwrap_or_default();
        [comma, &report].concat()
    }
}

impl Iterator for Report {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let piece = match self.stage {
            Stage::Begin => {
                self.stage = Stage::Environment { first: true };
                let (version, tls) = (env!("CARGO_PKG_VERSION").into(), self.tls.take());
                opened(&StatusReport { version, at: self.at, tls, environments: Vec::new() })
            }
            Stage::Environment { first } => self.environment(first),
            Stage::Keyset { first } => self.keyset(first),
            Stage::End => return None,
        };
        Some(piece.into())
    }
}

/// A report whose last field is a list that is empty, without the end of that list: what is in it follows.
fn opened<T: serde::Serialize>(report: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(report).unwrap_or_default();
    text.truncate(text.len().saturating_sub(2));
    text
}

fn of_environment(environment: &EnvironmentBoard, now: Reading) -> EnvironmentReport {
    let standing = environment.policy.load();
    EnvironmentReport {
        name: environment.name.clone(),
        policy: PolicyReport { digest: standing.digest, taken_at: standing.taken_at, faults: standing.faults.clone() },
        fresh: environment.freshness.is_fresh(now),
        loaded: environment.loaded.initialized(),
        serving_since: environment.freshness.serving_since(now),
        confirmed_at: environment.freshness.confirmed_at(),
        last_pass: environment.last_pass.load().as_deref().copied(),
        store_trouble: environment.store_trouble.load().as_deref().map(of_trouble),
        keysets: Vec::new(),
    }
}

fn of_keyset(name: KeysetName, cell: &Cell, now: Timestamp) -> KeysetReport {
    let Some(status) = cell.status() else {
        return KeysetReport {
            name,
            looked_at: None,
            rules: None,
            document: None,
            pending: Vec::new(),
            overdue: None,
            troubles: Vec::new(),
            probes: Vec::new(),
            signers: Vec::new(),
        };
    };
    let document = status.document.as_ref().and_then(|document| {
        let shown = document.without_secrets().to_stored();
        let text = std::str::from_utf8(shown.expose()).ok()?;
        RawValue::from_string(text.to_owned()).ok()
    });
    KeysetReport {
        name,
        looked_at: Some(status.at),
        rules: Some(of_rules(&status, now)),
        document,
        pending: status.wait.pending.iter().map(PendingReport::from).collect(),
        overdue: status.overdue.as_ref().map(|overdue| OverdueReport {
            since: overdue.since,
            label: overdue.because.label().to_owned(),
            because: overdue.because.to_string(),
        }),
        troubles: status.troubles.iter().map(of_trouble).collect(),
        signers: signers(cell, &status, now),
        probes: status.probes.iter().map(of_probe).collect(),
    }
}

fn of_trouble(trouble: &Trouble) -> TroubleReport {
    TroubleReport { part: part(&trouble.part).into(), what: trouble.what.clone(), since: Some(trouble.since) }
}

fn of_probe(probe: &ProbeStanding) -> ProbeReport {
    ProbeReport {
        url: probe.url.clone(),
        looked_at: probe.looked_at,
        seen_at: probe.seen_at,
        failure: probe.failure.clone(),
        generation: probe.generation,
    }
}

/// The signers that are heard of. One lags if the key that signs took over before it last had to read the document anew, and it has not
/// got that far.
fn signers(cell: &Cell, status: &Status, now: Timestamp) -> Vec<UptakeReport> {
    let facts = waits(status, now).facts;
    let active = status.document.as_ref().and_then(|document| document.active.as_ref().map(|active| (document, active)));
    let due = active.filter(|(_, active)| now > active.since + facts.store_refresh + facts.signer_refresh + facts.clock_skew * 2);
    let needed = due.map(|(document, active)| document.entered(&active.key.kid, StateName::Active));
    let live = cell.reports.list().into_iter().filter(|report| report.is_live(now, facts.signer_refresh));
    live.map(|report| UptakeReport {
        generation: report.generation(),
        since: report.since(),
        heard_at: report.heard_at,
        lags_behind: needed.filter(|needed| report.reached(*needed) == Reached::NotYet),
        name: report.name,
    })
    .collect()
}

fn of_rules(status: &Status, now: Timestamp) -> RulesReport {
    let rules = &status.rules;
    let waits = waits(status, now);
    RulesReport {
        algorithm: rules.spec.algorithm(),
        rotate_every: rules.rotate_every,
        max_age: rules.max_age,
        rollback_window: rules.rollback_window,
        propagation: waits.propagation,
        retention: waits.retention,
        orphaned: rules.is_orphaned(),
        stated: Some((**rules).clone()),
    }
}

/// The waits of a keyset, whether or not it has a document.
pub(crate) fn waits(status: &Status, now: Timestamp) -> Waits {
    if let Some(document) = &status.document {
        return Waits::at(document, &status.rules, now);
    }
    let facts = status.rules.facts;
    let window = status.rules.window.as_ref().map_or(crate::time::Span::ZERO, crate::policy::Window::max_wait);
    Waits { facts, propagation: facts.propagation(), retention: facts.retention(), window }
}

const fn part(part: &Part) -> &'static str {
    match part {
        Part::Store => "store",
        Part::Witness => "witness",
        Part::Policy => "policy",
        Part::Keygen => "keygen",
        Part::Target(_) => "target",
        Part::Probe(_) => "probe",
    }
}
