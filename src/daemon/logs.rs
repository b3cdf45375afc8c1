//! Log lines: for people on a terminal, as JSON on request. Never a secret: what is logged are events and error sentences, and
//! neither has a way to one.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::args::LogFormat;
use crate::event::Event;

/// Starts logging to standard error; `RUST_LOG` narrows or widens it.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start (in tests that run two daemons in one process) keeps the first one's manner.
    let _ = match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

/// Logs what happened.
pub fn tell(events: &[Event]) {
    for event in events {
        match event {
            Event::Changed { keyset, entry } => {
                tracing::info!(%keyset, generation = entry.generation.0, trigger = ?entry.trigger, "{event}");
            }
            _ if event.is_trouble() => tracing::warn!("{event}"),
            _ => tracing::info!("{event}"),
        }
    }
}
