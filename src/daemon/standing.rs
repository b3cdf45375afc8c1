//! One line that says how the service stands, for `systemctl status`: sent when it changes, so that it is true for as long as it stands
//! there.

use std::sync::Arc;
use std::time::Duration;

use super::House;
use crate::board::Board;
use crate::clock::Reading;
use crate::http::serve::Stop;
use crate::lifecycle::StepKind;
use crate::name::KeysetId;
use crate::reconcile::Status;
use crate::systemd;
use crate::time::Timestamp;

/// The shortest time between two looks, whatever happens.
const SHORTEST: Duration = Duration::from_secs(1);

/// What the line tells of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    environments: usize,
    keysets: usize,
    /// Keysets whose change-over is late, or of which something does not work.
    troubled: usize,
    /// Environments whose policy file is not in force.
    refused: Vec<String>,
    /// Environments whose store does not answer.
    unread: Vec<String>,
    next: Option<(Timestamp, StepKind, KeysetId)>,
}

/// Says how the service stands after every pass, once it has started, until the daemon stops.
pub async fn keep_true(house: Arc<House>, mut stop: Stop) {
    let mut said = String::new();
    // Until then the progress of the start stands there.
    house.started.wait().await;
    loop {
        tokio::select! {
            () = house.changed.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let line = line(&house.board, Reading::now());
        if line != said {
            systemd::status(&line);
            said = line;
        }
        tokio::time::sleep(SHORTEST).await;
    }
}

/// The line.
pub fn line(board: &Board, now: Reading) -> String {
    Standing::of(board, now).to_string()
}

impl Standing {
    fn of(board: &Board, now: Reading) -> Self {
        let mut standing = Self::default();
        for environment in board.environments().values() {
            standing.environments += 1;
            if !environment.policy.load().faults.is_empty() {
                standing.refused.push(environment.name.to_string());
            }
            if environment.loaded.initialized() && !environment.freshness.is_fresh(now) {
                standing.unread.push(environment.name.to_string());
            }
            for (name, cell) in environment.keysets().iter() {
                standing.keysets += 1;
                if let Some(status) = cell.status() {
                    standing.look_at(&status, || environment.id(name));
                }
            }
        }
        standing
    }

    fn look_at(&mut self, status: &Status, id: impl FnOnce() -> KeysetId) {
        self.troubled += usize::from(status.overdue.is_some() || !status.troubles.is_empty());
        let dated = status.wait.pending.iter().filter_map(|pending| Some((pending.at?, pending.step)));
        if let Some((at, step)) = dated.min_by_key(|(at, _)| *at)
            && self.next.as_ref().is_none_or(|(earliest, ..)| at < *earliest)
        {
            self.next = Some((at, step, id()));
        }
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}, ", counted(self.keysets, "keyset"), counted(self.environments, "environment"))?;
        let mut troubles = Vec::new();
        if !self.unread.is_empty() {
            troubles.push(format!("the store of {} does not answer", self.unread.join(", ")));
        }
        if !self.refused.is_empty() {
            troubles.push(format!("the policy file of {} is refused", self.refused.join(", ")));
        }
        if self.troubled > 0 {
            troubles.push(format!("{} in trouble", counted(self.troubled, "keyset")));
        }
        if troubles.is_empty() {
            f.write_str("all is well; ")?;
        } else {
            write!(f, "{} (`keyrota status`); ", troubles.join(", "))?;
        }
        match &self.next {
            Some((at, step, id)) => write!(f, "next: {} {id} at {}", step.as_str(), at.to_utc().format("%Y-%m-%dT%H:%M:%SZ")),
            None => f.write_str("nothing is scheduled"),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_wrong_before_what_is_next() {
        let id = KeysetId { environment: "demo".parse().unwrap(), keyset: "user-sessions".parse().unwrap() };
        let at = "2026-03-03T02:00:05.400Z".parse().unwrap();
        let well = Standing { environments: 1, keysets: 5, next: Some((at, StepKind::Activate, id)), ..Standing::default() };
        let next = "next: activate demo/user-sessions at 2026-03-03T02:00:05Z";
        assert_eq!(well.to_string(), format!("5 keysets of 1 environment, all is well; {next}"));
        let ill = Standing { troubled: 1, refused: vec!["demo".into()], unread: vec!["demo".into()], ..well };
        let wrong = "the store of demo does not answer, the policy file of demo is refused, 1 keyset in trouble (`keyrota status`)";
        assert_eq!(ill.to_string(), format!("5 keysets of 1 environment, {wrong}; {next}"));
        assert_eq!(Standing::default().to_string(), "0 keysets of 0 environments, all is well; nothing is scheduled");
    }
}
