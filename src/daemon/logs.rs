//! Log lines: for people on a terminal, as JSON on request. Never a secret: what is logged are events and error sentences, and
//! neither has a way to one.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::journal::{self, Journal};
use crate::audit::Line;
use crate::cli::args::LogFormat;
use crate::clock::Reading;
use crate::event::Event;
use crate::witness::book::TrailHead;

/// The way to the journal, when log lines go there with their fields.
static JOURNAL: OnceLock<Journal> = OnceLock::new();

/// Whether standard error is the journal's: systemd says so by device and inode (systemd.exec(5), `JOURNAL_STREAM`).
fn of_journal() -> bool {
    let Some(said) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let own = rustix::fs::fstat(std::io::stderr()).ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    own.is_some_and(|own| said == *own)
}

/// Sends an event to the journal, as the trail tells of it; what is no business of the trail's as an ordinary log line.
pub(super) fn to_journal(journal: &Journal, event: &Event) {
    let now = Reading::now().wall;
    let line = match event {
        Event::Changed { keyset, entry } => Some(Line::of_change(now, keyset, entry, false)),
        other => Line::of_event(now, other),
    };
    let Some(line) = line else {
        tracing::info!("{event}");
        return;
    };
    // As everywhere in the log: with the keyset in front and the reason behind.
    let line = Line { says: event.to_string(), ..line };
    noted(journal.line(&line, event.is_trouble()));
}

fn noted(sent: std::io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!("the journal did not take an entry: {error}");
    }
}

/// Starts logging to standard error; `RUST_LOG` narrows or widens it.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if format == LogFormat::Human
        && of_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
        let started = tracing_subscriber::registry().with(filter).with(journal.with_field_prefix(None)).try_init();
        if let (Ok(()), Ok(journal)) = (started, Journal::open(Path::new(journal::SOCKET))) {
            let _ = JOURNAL.set(journal);
        }
        return;
    }
    // A second start (in tests that run two daemons in one process) keeps the first one's manner.
    let _ = match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

/// Tells the journal how far the audit trail reaches, so that one which is cut short shows there.
pub fn tell_head(head: &TrailHead) {
    if let Some(journal) = JOURNAL.get() {
        noted(journal.head(head));
    }
}

/// Tells the journal of lines that no event of this moment tells of: recovered ones, and those about the trail itself.
pub fn tell_lines(lines: &[Line]) {
    if let Some(journal) = JOURNAL.get() {
        for line in lines {
            noted(journal.line(line, false));
        }
    }
}

/// Logs what happened.
pub fn tell(events: &[Event]) {
    for event in events {
        match event {
            // Known already, or told of by whoever did it.
            Event::Seen { .. } => {}
            _ if let Some(journal) = JOURNAL.get() => to_journal(journal, event),
            Event::Changed { keyset, entry } => {
                tracing::info!(%keyset, generation = entry.generation.0, trigger = ?entry.trigger, "{event}");
            }
            _ if event.is_trouble() => tracing::warn!("{event}"),
            _ => tracing::info!("{event}"),
        }
    }
}
