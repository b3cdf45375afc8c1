//! Log lines: for people on a terminal, as JSON on request. Never a secret: what is logged are events and error sentences, and
//! neither has a way to one.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::audit::Line;
use crate::cli::args::LogFormat;
use crate::clock::Reading;
use crate::digest::Digest;
use crate::event::Event;
use crate::witness::book::TrailHead;

/// Set when log lines go to the journal itself, with their fields.
static JOURNAL: AtomicBool = AtomicBool::new(false);

fn is_journal() -> bool {
    JOURNAL.load(Ordering::Relaxed)
}

/// Whether standard error is the journal's: systemd says so by device and inode (systemd.exec(5), `JOURNAL_STREAM`).
fn of_journal() -> bool {
    let Some(said) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let own = rustix::fs::fstat(std::io::stderr()).ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    own.is_some_and(|own| said == *own)
}

/// Names a kind of message for ever (`journalctl MESSAGE_ID=…`): 128 bits of the digest of its name.
pub fn message_id(kind: &str) -> String {
    let digest = Digest::of(format!("keyrota message 1 {kind}").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    format!("{:032x}", u128::from_be_bytes(id))
}

fn to_journal(event: &Event) {
    let now = Reading::now().wall;
    let line = match event {
        Event::Changed { keyset, entry } => Some(Line::of_change(now, keyset, entry, false)),
        other => Line::of_event(now, other),
    };
    let Some(line) = line else {
        tracing::info!("{event}");
        return;
    };
    let text = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string).unwrap_or_default();
    let trigger = line.trigger.map(|trigger| format!("{trigger:?}").to_lowercase());
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                MESSAGE_ID = message_id(line.kind),
                KEYROTA_KIND = line.kind,
                KEYROTA_ENVIRONMENT = text(line.environment.as_ref().map(|v| v as _)),
                KEYROTA_KEYSET = text(line.keyset.as_ref().map(|v| v as _)),
                KEYROTA_KID = text(line.kid.as_ref().map(|v| v as _)),
                KEYROTA_FROM = text(line.from.as_ref().map(|v| v as _)),
                KEYROTA_TO = text(line.to.as_ref().map(|v| v as _)),
                KEYROTA_GENERATION = text(line.generation.as_ref().map(|v| v as _)),
                KEYROTA_TRIGGER = trigger.unwrap_or_default(),
                KEYROTA_ACTOR = line.actor.unwrap_or_default(),
                KEYROTA_REASON = line.reason.unwrap_or_default(),
                "{event}"
            )
        };
    }
    if event.is_trouble() { say!(warn) } else { say!(info) }
}

/// Starts logging to standard error; `RUST_LOG` narrows or widens it.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if format == LogFormat::Human && of_journal() {
        // Fields as they are named here, without a prefix: else MESSAGE_ID is none.
        if let Ok(journal) = tracing_journald::layer() {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
            let started = tracing_subscriber::registry().with(filter).with(journal.with_field_prefix(None)).try_init();
            JOURNAL.store(started.is_ok(), Ordering::Relaxed);
            return;
        }
    }
    // A second start (in tests that run two daemons in one process) keeps the first one's manner.
    let _ = match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

/// Tells the journal how far the audit trail reaches, so that one which is cut short shows there.
pub fn tell_head(head: &TrailHead) {
    if is_journal() {
        let id = message_id("audit-head");
        tracing::info!(
            MESSAGE_ID = id,
            KEYROTA_AUDIT_LINE = head.number,
            KEYROTA_AUDIT_MAC = head.code,
            "audit trail: line {}",
            head.number
        );
    }
}

/// Logs what happened.
pub fn tell(events: &[Event]) {
    for event in events {
        match event {
            // Known already, or told of by whoever did it.
            Event::Seen { .. } => {}
            _ if is_journal() => to_journal(event),
            Event::Changed { keyset, entry } => {
                tracing::info!(%keyset, generation = entry.generation.0, trigger = ?entry.trigger, "{event}");
            }
            _ if event.is_trouble() => tracing::warn!("{event}"),
            _ => tracing::info!("{event}"),
        }
    }
}
