//! What signers report of the generation they use: in memory alone, a bounded number of each keyset.
//!
//! A name belongs to the uid that first reported under it, for as long as its reports count. After a restart nothing is known: whoever
//! decides on reports waits until every signer has had the time to report again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::name::{Generation, SignerName};
use crate::observed::SignerReport;
use crate::time::{Span, Timestamp};

/// The most signers that may report on one keyset.
pub const MOST_REPORTERS: usize = 64;

/// The most of them that one uid may be, root and the daemon's own user excepted.
pub const MOST_OF_ONE_UID: usize = 32;

/// How many moves from one generation to another are remembered of a signer.
const MOST_MOVES: usize = 16;

/// The reports on one keyset.
#[derive(Default)]
pub struct Reports {
    held: Mutex<BTreeMap<SignerName, Held>>,
}

struct Held {
    uid: u32,
    report: SignerReport,
}

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reporter {
    /// Its uid.
    pub uid: u32,
    /// Whether it is root or the daemon's own user, who may take over a name.
    pub ours: bool,
}

/// For how long a report is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// As long as it counts: `signer_refresh`.
    pub live: Span,
    /// Until the last token of whoever was heard of no more is dead.
    pub remembered: Span,
}

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// Somebody else reports under that name.
    #[error("the name belongs to another user, who reported under it last at {heard_at}")]
    Foreign {
        /// When.
        heard_at: Timestamp,
    },
    /// There are too many.
    #[error("{count} signers report on this keyset already, the most there may be{}", if *own { " of one user" } else { "" })]
    Full {
        /// How many.
        count: usize,
        /// Whether it is the peer's own that fill the room.
        own: bool,
    },
}

impl Reports {
    /// Takes a report.
    ///
    /// # Errors
    /// If the name is another's, or there is no room for one more.
    pub fn take(&self, name: &SignerName, from: Reporter, generation: Generation, now: Timestamp, keep: Keep) -> Result<(), Untaken> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, held| now <= held.report.heard_at + keep.remembered);
        if let Some(known) = held.get_mut(name)
            && (known.uid == from.uid || from.ours || !known.report.is_live(now, keep.live))
        {
            if known.uid != from.uid {
                *known = Held::new(name, from.uid, generation, now);
                return Ok(());
            }
            known.report.heard_at = now;
            known.go_to(generation, now);
            return Ok(());
        }
        if let Some(known) = held.get(name) {
            return Err(Untaken::Foreign { heard_at: known.report.heard_at });
        }
        let own = held.values().filter(|held| held.uid == from.uid).count();
        if own >= MOST_OF_ONE_UID && !from.ours {
            return Err(Untaken::Full { count: own, own: true });
        }
        if held.len() >= MOST_REPORTERS {
            return Err(Untaken::Full { count: held.len(), own: false });
        }
        held.insert(name.clone(), Held::new(name, from.uid, generation, now));
        Ok(())
    }

    /// What is known, by name; some of it may not count any more ([`SignerReport::is_live`]).
    pub fn list(&self) -> Vec<SignerReport> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).values().map(|held| held.report.clone()).collect()
    }
}

impl Held {
    fn new(name: &SignerName, uid: u32, generation: Generation, now: Timestamp) -> Self {
        Self { uid, report: SignerReport { name: name.clone(), heard_at: now, moves: vec![(generation, now)] } }
    }

    fn go_to(&mut self, generation: Generation, now: Timestamp) {
        let moves = &mut self.report.moves;
        if moves.last().is_some_and(|(last, _)| *last == generation) {
            return;
        }
        moves.push((generation, now));
        let excess = moves.len().saturating_sub(MOST_MOVES);
        moves.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Reached;

    const KEEP: Keep = Keep { live: Span::minutes(5), remembered: Span::hours(1) };

    fn at(minute: u64) -> Timestamp {
        Timestamp::EPOCH + Span::days(20_000) + Span::minutes(minute)
    }

    fn app(uid: u32) -> Reporter {
        Reporter { uid, ours: uid == 0 }
    }

    fn report(reports: &Reports, name: &str, uid: u32, generation: u64, minute: u64) -> Result<(), Untaken> {
        reports.take(&name.parse().unwrap(), app(uid), Generation(generation), at(minute), KEEP)
    }

    #[test]
    fn a_name_is_its_users_until_it_is_heard_of_no_more() {
        let reports = Reports::default();
        report(&reports, "web", 1000, 7, 0).unwrap();
        assert_eq!(report(&reports, "web", 1001, 9, 5), Err(Untaken::Foreign { heard_at: at(0) }));
        report(&reports, "web", 1001, 9, 6).unwrap();
        assert_eq!(report(&reports, "web", 1000, 9, 7), Err(Untaken::Foreign { heard_at: at(6) }));
        report(&reports, "web", 0, 10, 8).unwrap();
        assert_eq!(report(&reports, "web", 1001, 10, 9), Err(Untaken::Foreign { heard_at: at(8) }), "taken over by root");
        assert_eq!(reports.list().len(), 1);
    }

    #[test]
    fn the_room_is_bounded_and_comes_free() {
        let reports = Reports::default();
        for n in 0..MOST_OF_ONE_UID {
            report(&reports, &format!("a{n}"), 1000, 1, 0).unwrap();
        }
        assert_eq!(report(&reports, "one-more", 1000, 1, 0), Err(Untaken::Full { count: MOST_OF_ONE_UID, own: true }));
        for n in MOST_OF_ONE_UID..MOST_REPORTERS {
            report(&reports, &format!("b{n}"), 0, 1, 0).unwrap();
        }
        assert_eq!(report(&reports, "one-more", 1001, 1, 0), Err(Untaken::Full { count: MOST_REPORTERS, own: false }));
        report(&reports, "a0", 1000, 2, 30).unwrap();
        report(&reports, "one-more", 1001, 1, 61).unwrap();
        let left: Vec<_> = reports.list().into_iter().map(|report| report.name.to_string()).collect();
        assert_eq!(left, ["a0", "one-more"]);
    }

    #[test]
    fn moves_are_remembered_and_what_went_back_lags() {
        let reports = Reports::default();
        for (generation, minute) in [(7, 0), (7, 1), (9, 2), (10, 3)] {
            report(&reports, "web", 1000, generation, minute).unwrap();
        }
        let web = &reports.list()[0];
        assert_eq!((web.generation(), web.since(), web.heard_at), (Generation(10), at(3), at(3)));
        assert_eq!(web.reached(Generation(7)), Reached::Always);
        assert_eq!(web.reached(Generation(8)), Reached::At(at(2)));
        assert_eq!(web.reached(Generation(11)), Reached::NotYet);
        report(&reports, "web", 1000, 7, 4).unwrap();
        assert_eq!(reports.list()[0].reached(Generation(8)), Reached::NotYet);
        for generation in 8..60 {
            report(&reports, "web", 1000, generation, generation).unwrap();
        }
        assert_eq!(reports.list()[0].moves.len(), MOST_MOVES);
    }
}
