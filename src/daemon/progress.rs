//! Long work shows how far it is: a bar on a terminal, a line now and then in logs, `STATUS=` under systemd.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::board::Board;
use crate::http::serve::Stop;

/// How often the bar moves.
const BEAT: Duration = Duration::from_millis(200);

/// A log line comes every so many beats.
const BEATS_PER_LINE: u32 = 25;

/// How far the start has come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    ready: usize,
    all: usize,
    loaded: bool,
}

/// Shows progress until every keyset has been looked at and has its key, or the daemon stops. Keysets that wait for somebody else to
/// hand in a key do not hold it up.
pub async fn show(board: Arc<Board>, mut stop: Stop) {
    let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style()));
    let mut beats = 0u32;
    loop {
        let standing = standing(&board);
        if standing.loaded && standing.ready >= standing.all {
            break;
        }
        let line = format!("{} of {} keysets are ready", standing.ready, standing.all);
        if let Some(bar) = &bar {
            bar.set_length(standing.all as u64);
            bar.set_position(standing.ready as u64);
        } else if beats % BEATS_PER_LINE == BEATS_PER_LINE - 1 {
            tracing::info!("{line}");
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&line)]);
        beats = beats.wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let all = standing(&board).all;
    tracing::info!("all {all} keysets are ready");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&format!("{all} keysets are ready"))]);
}

fn standing(board: &Board) -> Standing {
    let mut standing = Standing { ready: 0, all: 0, loaded: true };
    for environment in board.environments().values() {
        standing.loaded &= environment.loaded.load(Ordering::Relaxed);
        for cell in environment.keysets().values() {
            standing.all += 1;
            let status = cell.status();
            let waits_for_others = |s: &crate::reconcile::Status| s.document.is_none() && s.wait.until.is_none();
            let ready = status.is_some_and(|s| s.document.as_ref().is_some_and(|d| d.active.is_some()) || waits_for_others(&s));
            standing.ready += usize::from(ready);
        }
    }
    standing
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len} keysets are ready").unwrap_or_else(|_| ProgressStyle::default_bar())
}
