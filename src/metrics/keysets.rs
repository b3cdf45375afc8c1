//! The families that have a series per keyset or per key, each as a function from one keyset's row to its samples.

use std::sync::Arc;

use super::counts::Counted;
use super::text::{Head, Kind, sample};
use crate::board::Served;
use crate::document::{Document, End, FactName, StateName, Tombstone, Trigger};
use crate::lifecycle::StepKind;
use crate::name::KeysetId;
use crate::observed::SignerReport;
use crate::reconcile::Status;
use crate::time::{Span, Timestamp};
use crate::waits::Waits;

/// One keyset at the moment of the scrape.
pub(super) struct Row {
    pub id: KeysetId,
    pub status: Option<Arc<Status>>,
    pub served: Option<Arc<Served>>,
    pub waits: Option<Waits>,
    pub counts: Option<Arc<Counted>>,
    /// Those that count.
    pub reports: Vec<SignerReport>,
}

/// Where a family's samples go.
pub(super) struct Samples<'a> {
    out: &'a mut String,
    name: &'static str,
    row: &'a Row,
    now: Timestamp,
}

/// One family.
pub(super) struct Family {
    pub head: Head,
    write: fn(&Row, &mut Samples<'_>),
}

impl Family {
    /// Writes the samples of one keyset.
    pub fn write(&self, row: &Row, now: Timestamp, out: &mut String) {
        (self.write)(row, &mut Samples { out, name: self.head.name, row, now });
    }
}

impl Samples<'_> {
    fn put(&mut self, labels: &[(&str, &str)], value: f64) {
        let of = [("environment", self.row.id.environment.as_str()), ("keyset", self.row.id.keyset.as_str())];
        sample(self.out, self.name, &[&of, labels], value);
    }

    fn at(&mut self, labels: &[(&str, &str)], at: Option<Timestamp>) {
        self.put(labels, at.map_or(0.0, Timestamp::as_seconds_f64));
    }

    fn span(&mut self, labels: &[(&str, &str)], span: Option<Span>) {
        self.put(labels, span.map_or(0.0, Span::as_seconds_f64));
    }
}

impl Row {
    fn document(&self) -> Option<&Document> {
        self.status.as_ref()?.document.as_deref()
    }

    /// Revoked keys that somebody may still accept.
    fn unconfirmed(&self) -> impl Iterator<Item = &Tombstone> {
        let tombstones = self.document().into_iter().flat_map(|d| &d.tombstones);
        tombstones.filter(|tombstone| matches!(tombstone.end, End::Revoked { confirmed_at: None, .. }))
    }
}

const fn gauge(name: &'static str, help: &'static str, write: fn(&Row, &mut Samples<'_>)) -> Family {
    Family { head: Head { name, help, kind: Kind::Gauge }, write }
}

const fn counter(name: &'static str, help: &'static str, write: fn(&Row, &mut Samples<'_>)) -> Family {
    Family { head: Head { name, help, kind: Kind::Counter }, write }
}

/// Every family with a label `keyset`.
pub(super) const FAMILIES: [Family; 31] = [
    gauge("keyrota_key_age_seconds", "Time since the key was generated.", |row, out| {
        for live in row.document().into_iter().flat_map(Document::live) {
            let age = out.now.since(live.key.created_at);
            out.span(&[("kid", live.key.kid.as_str()), ("state", live.state.as_str())], Some(age));
        }
    }),
    gauge("keyrota_key_created_timestamp_seconds", "When the key was generated.", |row, out| {
        for live in row.document().into_iter().flat_map(Document::live) {
            out.at(&[("kid", live.key.kid.as_str()), ("state", live.state.as_str())], Some(live.key.created_at));
        }
    }),
    gauge("keyrota_key_info", "A key that is held.", |row, out| {
        for live in row.document().into_iter().flat_map(Document::live) {
            let (kid, algorithm) = (live.key.kid.as_str(), live.key.algorithm.as_str());
            out.put(&[("kid", kid), ("algorithm", algorithm), ("state", live.state.as_str())], 1.0);
        }
    }),
    gauge("keyrota_key_verify_until_timestamp_seconds", "When a retiring key leaves the key set.", |row, out| {
        for retiring in row.document().into_iter().flat_map(|d| &d.retiring) {
            out.at(&[("kid", retiring.key.kid.as_str())], Some(retiring.verify_until));
        }
    }),
    gauge("keyrota_external_key_expires_timestamp_seconds", "When the key's vendor stops accepting it.", |row, out| {
        for live in row.document().into_iter().flat_map(Document::live).filter(|live| live.key.expires_at.is_some()) {
            out.at(&[("kid", live.key.kid.as_str())], live.key.expires_at);
        }
    }),
    gauge("keyrota_active_key_age_seconds", "Age of the key that signs now (0: none does).", |row, out| {
        let active = row.document().and_then(|d| d.active.as_ref());
        let age = active.map(|a| out.now.since(a.key.created_at));
        out.span(&[], age);
    }),
    gauge("keyrota_active_key_created_timestamp_seconds", "When the key that signs now was generated (0: none does).", |row, out| {
        out.at(&[], row.document().and_then(|d| d.active.as_ref()).map(|a| a.key.created_at));
    }),
    gauge("keyrota_active_key_activated_timestamp_seconds", "When the key that signs now began to (0: none does).", |row, out| {
        out.at(&[], row.document().and_then(|d| d.active.as_ref()).map(|a| a.since));
    }),
    gauge("keyrota_max_key_age_seconds", "Policy: a signing key older than this is stale.", |row, out| {
        out.span(&[], row.status.as_ref().map(|s| s.rules.max_age));
    }),
    gauge("keyrota_rotate_every_seconds", "Policy: how long a key signs.", |row, out| {
        out.span(&[], row.status.as_ref().map(|s| s.rules.rotate_every));
    }),
    gauge("keyrota_propagation_seconds", "The wait from published to active.", |row, out| {
        out.span(&[], row.waits.map(|w| w.propagation));
    }),
    gauge("keyrota_retention_seconds", "The wait from retiring to retired.", |row, out| {
        out.span(&[], row.waits.map(|w| w.retention));
    }),
    gauge("keyrota_fact_seconds", "Facts in force (a lowered one drains first).", |row, out| {
        for name in [FactName::TokenTtl, FactName::VerifierRefresh, FactName::SignerRefresh] {
            out.span(&[("fact", name.as_str())], row.waits.map(|w| w.facts.get(name)));
        }
    }),
    gauge("keyrota_keys", "Keys by state; of those that are gone, the ones still on record.", |row, out| {
        for state in StateName::ALL {
            let live = row.document().into_iter().flat_map(Document::live).filter(|live| live.state == state).count();
            let gone = row.document().into_iter().flat_map(|d| &d.tombstones).filter(|t| t.end.state() == state).count();
            out.put(&[("state", state.as_str())], number(live + gone));
        }
    }),
    gauge("keyrota_next_step_timestamp_seconds", "When the next step of this kind is planned (0: none is).", |row, out| {
        for step in [StepKind::Generate, StepKind::Activate, StepKind::ErasePrivate, StepKind::Retire] {
            let pending = row.status.iter().flat_map(|s| &s.wait.pending).filter(|p| p.step == step);
            out.at(&[("step", step.as_str())], pending.filter_map(|p| p.at).min());
        }
    }),
    gauge(
        "keyrota_rotation_overdue",
        "The change-over should have happened and has not, and why (reason none, 0: in time).",
        |row, out| match row.status.as_ref().and_then(|s| s.overdue.as_ref()) {
            Some(overdue) => out.put(&[("reason", overdue.because.label())], 1.0),
            None => out.put(&[("reason", "none")], 0.0),
        },
    ),
    gauge("keyrota_last_rotation_timestamp_seconds", "The last change-over (0: never).", |row, out| {
        out.at(&[], row.document().and_then(|d| d.rotated_at));
    }),
    gauge("keyrota_generation", "Generation of the document in force (0: none).", |row, out| {
        #[allow(clippy::cast_precision_loss)] // exact below 2^53
        out.put(&[], row.document().map_or(0.0, |d| d.generation.0 as f64));
    }),
    gauge("keyrota_signer_generation", "Generation of the document that a signer reports to use, to this process.", |row, out| {
        for report in &row.reports {
            #[allow(clippy::cast_precision_loss)] // exact below 2^53
            out.put(&[("signer", report.name.as_str())], report.generation().0 as f64);
        }
    }),
    gauge("keyrota_frozen_until_timestamp_seconds", "Until when an operator froze it (0: not frozen).", |row, out| {
        let until = row.document().and_then(|d| d.intents.frozen_until(out.now));
        out.at(&[], until);
    }),
    gauge("keyrota_invariant_violated", "What must hold and does not, seen from outside (invariant none, 0: all holds).", |row, out| {
        let violated = row.served.as_ref().map_or(&[][..], |served| &served.violated);
        for invariant in violated {
            out.put(&[("invariant", invariant.as_str())], 1.0);
        }
        if violated.is_empty() {
            out.put(&[("invariant", "none")], 0.0);
        }
    }),
    counter("keyrota_transitions_total", "Keys that went from one state to another.", |row, out| {
        let Some(counts) = &row.counts else { return };
        for ((from, to, trigger), count) in &counts.lock().transitions {
            out.put(&[("from", from.as_str()), ("to", to.as_str()), ("trigger", trigger_name(*trigger))], whole(*count));
        }
    }),
    counter("keyrota_publish_total", "Writes to publish targets, and messages to webhooks.", |row, out| {
        let Some(counts) = &row.counts else { return };
        for (name, target) in &counts.lock().targets {
            for (result, count) in [("written", target.written), ("repaired", target.repaired), ("failed", target.failed)] {
                out.put(&[("target", name), ("result", result)], whole(count));
            }
            if let Some(dropped) = target.dropped {
                out.put(&[("target", name), ("result", "dropped")], whole(dropped));
            }
        }
    }),
    gauge(
        "keyrota_publish_last_success_timestamp_seconds",
        "When the target was last written, or agreed again (0: not since the start).",
        |row, out| {
            let Some(counts) = &row.counts else { return };
            for (name, target) in &counts.lock().targets {
                out.at(&[("target", name)], target.last_success);
            }
        },
    ),
    gauge("keyrota_publish_last_attempt_timestamp_seconds", "When writing was last tried (0: not since the start).", |row, out| {
        let Some(counts) = &row.counts else { return };
        for (name, target) in &counts.lock().targets {
            out.at(&[("target", name)], target.last_attempt);
        }
    }),
    gauge("keyrota_publish_drift", "The target holds something else than the document says.", |row, out| {
        let Some(counts) = &row.counts else { return };
        for (name, target) in &counts.lock().targets {
            out.put(&[("target", name)], if target.drift { 1.0 } else { 0.0 });
        }
    }),
    gauge("keyrota_probe_success", "Whether the last look at a key set from outside succeeded.", |row, out| {
        for probe in row.status.iter().flat_map(|s| &s.probes) {
            let succeeded = probe.seen_at.is_some() && probe.failure.is_none();
            out.put(&[("url", &probe.url)], if succeeded { 1.0 } else { 0.0 });
        }
    }),
    gauge("keyrota_probe_last_success_timestamp_seconds", "When a look from outside last succeeded (0: never).", |row, out| {
        for probe in row.status.iter().flat_map(|s| &s.probes) {
            out.at(&[("url", &probe.url)], probe.seen_at);
        }
    }),
    gauge(
        "keyrota_probe_generation",
        "The newest generation whose live keys a look from outside found, and no key that is gone (0: none since the start).",
        |row, out| {
            for probe in row.status.iter().flat_map(|s| &s.probes) {
                #[allow(clippy::cast_precision_loss)] // exact below 2^53
                out.put(&[("url", &probe.url)], probe.generation.map_or(0.0, |generation| generation.0 as f64));
            }
        },
    ),
    gauge("keyrota_revocation_unconfirmed", "Revoked, and not yet seen gone everywhere.", |row, out| {
        for tombstone in row.unconfirmed() {
            out.put(&[("kid", tombstone.kid.as_str())], 1.0);
        }
    }),
    gauge(
        "keyrota_revocation_due_timestamp_seconds",
        "When a revoked key that is not yet seen gone must be out of every cache of verifiers that keep the facts.",
        |row, out| {
            for tombstone in row.unconfirmed() {
                out.at(&[("kid", tombstone.kid.as_str())], row.waits.map(|w| tombstone.ended_at + w.facts.forgetting()));
            }
        },
    ),
];

const fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Schedule => "schedule",
        Trigger::Operator => "operator",
        Trigger::Emergency => "emergency",
        Trigger::Import => "import",
    }
}

#[allow(clippy::cast_precision_loss)] // exact below 2^53
const fn whole(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss)] // exact below 2^53
const fn number(count: usize) -> f64 {
    count as f64
}
