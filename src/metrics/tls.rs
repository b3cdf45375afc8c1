//! TLS on the verifiers' listener: how handshakes end, and whether the certificate is that of the files.

use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};

use super::registered;
use crate::time::Timestamp;

/// What is told of TLS. Without TLS all of it stays 0.
pub struct Tls {
    handshakes: IntCounterVec,
    taken_at: Gauge,
    expires_at: Gauge,
    refused: IntGauge,
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// In a connection.
    Done,
    /// The peer went away, or does not speak what is spoken here.
    Failed,
    /// The peer took too long.
    TimedOut,
    /// The peer spoke HTTP in the clear.
    InTheClear,
}

impl Handshake {
    const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::TimedOut, Self::InTheClear];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
            Self::InTheClear => "plain",
        }
    }
}

impl Tls {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let handshakes = Opts::new("keyrota_tls_handshakes_total", "TLS handshakes on the verifiers' listener, by how they ended.");
        let handshakes = registered(registry, IntCounterVec::new(handshakes, &["result"]))?;
        for handshake in Handshake::ALL {
            handshakes.with_label_values(&[handshake.as_str()]).reset();
        }
        let (name, help) = (
            "keyrota_tls_certificate_taken_timestamp_seconds",
            "When the certificate in force was taken from its file; 0 without --tls-cert.",
        );
        let taken_at = registered(registry, Gauge::new(name, help))?;
        let (name, help) =
            ("keyrota_tls_certificate_expires_timestamp_seconds", "Until when the certificate in force is valid; 0 without --tls-cert.");
        let expires_at = registered(registry, Gauge::new(name, help))?;
        let (name, help) = (
            "keyrota_tls_certificate_refused",
            "1 while certificate and key as they stand in their files cannot be used, so that earlier ones are served on; else 0.",
        );
        let refused = registered(registry, IntGauge::new(name, help))?;
        Ok(Self { handshakes, taken_at, expires_at, refused })
    }

    /// A handshake ended.
    pub fn shook(&self, handshake: Handshake) {
        self.handshakes.with_label_values(&[handshake.as_str()]).inc();
    }

    /// How the certificate stands.
    pub fn stands(&self, taken_at: Timestamp, expires_at: Timestamp, refused: bool) {
        self.expires_at.set(expires_at.as_seconds_f64());
        self.taken_at.set(taken_at.as_seconds_f64());
        self.refused.set(refused.into());
    }
}
