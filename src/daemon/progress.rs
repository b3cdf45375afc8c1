//! Long work shows how far it is: a bar on a terminal, a line now and then in logs, `STATUS=` under systemd.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{House, standing};
use crate::board::Board;
use crate::clock::Reading;
use crate::http::serve::Stop;
use crate::systemd;

/// How often the bar moves.
const BEAT: Duration = Duration::from_millis(200);

/// A log line comes every so many beats.
const BEATS_PER_LINE: u32 = 25;

/// How far the start has come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Come {
    ready: usize,
    all: usize,
    loaded: bool,
}

/// Shows progress until every keyset has been looked at and has its key, or the daemon stops. Keysets that wait for somebody else to
/// hand in a key do not hold it up.
pub async fn show(house: Arc<House>, mut stop: Stop) {
    let board = &house.board;
    let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style()));
    let mut beats = 0u32;
    loop {
        let come = come(board);
        if come.loaded && come.ready >= come.all {
            break;
        }
        let line = format!("{} of {} keysets are ready", come.ready, come.all);
        if let Some(bar) = &bar {
            bar.set_length(come.all as u64);
            bar.set_position(come.ready as u64);
        } else if beats % BEATS_PER_LINE == BEATS_PER_LINE - 1 {
            tracing::info!("{line}");
        }
        systemd::status(&line);
        beats = beats.wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    tracing::info!("all {} keysets are ready", come(board).all);
    let _ = house.started.set(());
    systemd::ready(&standing::line(board, Reading::now()));
}

fn come(board: &Board) -> Come {
    let mut come = Come { ready: 0, all: 0, loaded: true };
    for environment in board.environments().values() {
        come.loaded &= environment.loaded.initialized();
        for cell in environment.keysets().values() {
            come.all += 1;
            let status = cell.status();
            let waits_for_others = |s: &crate::reconcile::Status| s.document.is_none() && s.wait.until.is_none();
            let ready = status.is_some_and(|s| s.document.as_ref().is_some_and(|d| d.active.is_some()) || waits_for_others(&s));
            come.ready += usize::from(ready);
        }
    }
    come
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} keysets are ready").unwrap_or_else(|_| ProgressStyle::default_bar())
}
