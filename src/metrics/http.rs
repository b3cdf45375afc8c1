//! Requests: how many, how they ended, how long they took.

use http::StatusCode;
use prometheus::{Histogram, HistogramOpts, HistogramTimer, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::registered;

/// Requests, by handler.
pub struct Http {
    /// Key sets.
    pub jwks: Handler,
    /// `/metrics`: the time until the first piece.
    pub metrics: Handler,
    /// The status page.
    pub page: Handler,
    /// `/healthz`.
    pub healthz: Handler,
    /// `/readyz`.
    pub readyz: Handler,
    /// Documents on the signer socket. Not timed, because they may wait.
    pub document: Handler,
    /// Signers' reports on the signer socket.
    pub uptake: Handler,
    /// Minting, on either socket.
    pub token: Handler,
    /// Verifying, on either socket.
    pub verify: Handler,
    /// `/v1/status` on the control socket.
    pub status: Handler,
    /// `/v1/reload` on the control socket. Not timed, because it may wait.
    pub reload: Handler,
}

/// What is counted of one handler. The usual codes have their counters at hand, so that a request looks nothing up.
pub struct Handler {
    name: &'static str,
    usual: [(StatusCode, IntCounter); 2],
    codes: IntCounterVec,
    duration: Histogram,
}

impl Http {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let codes = IntCounterVec::new(Opts::new("keyrota_http_requests_total", "Requests answered."), &["handler", "code"]);
        let codes = registered(registry, codes)?;
        let durations = HistogramOpts::new("keyrota_http_request_duration_seconds", "How long answers took to make.");
        let durations = HistogramVec::new(durations.buckets(vec![0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0]), &["handler"]);
        let durations = registered(registry, durations)?;
        let handler = |name: &'static str| Handler {
            name,
            usual: [StatusCode::OK, StatusCode::NOT_MODIFIED].map(|code| (code, codes.with_label_values(&[name, code.as_str()]))),
            codes: codes.clone(),
            duration: durations.with_label_values(&[name]),
        };
        Ok(Self {
            jwks: handler("jwks"),
            metrics: handler("metrics"),
            page: handler("page"),
            healthz: handler("healthz"),
            readyz: handler("readyz"),
            document: handler("document"),
            uptake: handler("uptake"),
            token: handler("token"),
            verify: handler("verify"),
            status: handler("status"),
            reload: handler("reload"),
        })
    }
}

impl Handler {
    /// A request has come.
    pub fn start(&self) -> HistogramTimer {
        self.duration.start_timer()
    }

    /// It is answered.
    pub fn done(&self, timer: HistogramTimer, status: StatusCode) {
        timer.observe_duration();
        self.count(status);
    }

    /// Counts a request that is not timed.
    pub fn count(&self, status: StatusCode) {
        match self.usual.iter().find(|(code, _)| *code == status) {
            Some((_, counter)) => counter.inc(),
            None => self.codes.with_label_values(&[self.name, status.as_str()]).inc(),
        }
    }
}
