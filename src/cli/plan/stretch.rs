//! How time is laid out in a picture: every moment at which something changes stands between two stretches, and no stretch is
//! narrower than can be seen; what room is left is shared out by length.
//!
//! So a picture is not to scale around change-overs, where minutes stand beside months, and in exchange each stretch tells the truth
//! about each key: one that signs is the only one that does.

use std::collections::BTreeSet;

use super::life::Life;
use crate::document::StateName;
use crate::time::{Span, Timestamp};

/// What a picture tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Staged or published: verifiers get to know it.
    Announced,
    /// It signs.
    Active,
    /// It signs no more, and is still accepted.
    Retiring,
}

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The most change-overs to come.
    pub change_overs: usize,
    /// The part before now, at most: this many times shorter than what comes.
    pub past: u64,
    /// The narrowest stretch, where there is room.
    pub least: usize,
}

/// A stretch of time in which nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// From when.
    pub from: Timestamp,
    /// Its share of the room.
    pub room: usize,
}

/// The whole breadth of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretches {
    /// In order, without gaps.
    pub all: Vec<Stretch>,
    /// Where the last one ends.
    pub end: Timestamp,
}

impl Shown {
    /// How a key in this state is shown; not at all once it is gone.
    pub const fn of(state: StateName) -> Option<Self> {
        match state {
            StateName::Staged | StateName::Published => Some(Self::Announced),
            StateName::Active => Some(Self::Active),
            StateName::Retiring => Some(Self::Retiring),
            StateName::Retired | StateName::Revoked => None,
        }
    }
}

impl View {
    /// From when to when there is something to draw.
    pub fn bounds(&self, lives: &[Life], now: Timestamp, until: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let mut activations: Vec<_> = lives.iter().filter_map(Life::activated_at).filter(|at| *at > now && *at < until).collect();
        activations.sort_unstable();
        let end = activations.get(self.change_overs).copied().unwrap_or(until);
        let first = lives.iter().map(Life::begins).min()?;
        let past = Span::millis(end.since(now).as_millis() / self.past);
        let start = first.min(now).max(now.minus(past));
        (start < end).then_some((start, end))
    }
}

impl Stretches {
    /// Shares `room` out among the stretches between the moments at which something changes in these lives from `start` to `end`.
    /// Where there are more moments than room, the end comes earlier.
    pub fn share(lives: &[&Life], (start, now, end): (Timestamp, Timestamp, Timestamp), room: usize, comfortable: usize) -> Self {
        let moments = moments(lives, start, now, end);
        let end = moments.iter().nth(room).copied().unwrap_or(end);
        let begins: Vec<Timestamp> = moments.iter().copied().filter(|at| *at < end).collect();
        let ends = begins.iter().copied().skip(1).chain([end]);
        let lengths: Vec<u64> = begins.iter().zip(ends).map(|(from, to)| to.since(*from).as_millis()).collect();
        let least = (room / lengths.len().max(1)).clamp(1, comfortable);
        let spare = room.saturating_sub(least * lengths.len());
        let total: u128 = lengths.iter().map(|l| u128::from(*l)).sum::<u128>().max(1);
        let mut given = 0;
        let mut so_far: u128 = 0;
        let mut all = Vec::with_capacity(begins.len());
        for (from, length) in begins.into_iter().zip(lengths) {
            // By the running total, so that nothing is lost to rounding.
            so_far += u128::from(length);
            let up_to = usize::try_from(so_far * spare as u128 / total).unwrap_or(spare);
            all.push(Stretch { from, room: least + up_to - given });
            given = up_to;
        }
        Self { all, end }
    }

    /// Where the stretch begins that begins at `at`, if one does.
    pub fn place_of(&self, at: Timestamp) -> Option<usize> {
        let index = self.all.iter().position(|s| s.from == at)?;
        Some(self.all.iter().take(index).map(|s| s.room).sum())
    }

    /// How long it is in all.
    pub fn whole(&self) -> Span {
        self.all.first().map_or(Span::ZERO, |first| self.end.since(first.from))
    }

    /// The moments that a date may stand at, those first that say most: the beginning, change-overs, the rest.
    pub fn worth_a_date<'a>(&'a self, lives: &'a [&Life]) -> impl Iterator<Item = Timestamp> + 'a {
        let change_overs = lives.iter().filter_map(|life| life.activated_at());
        self.all.first().map(|s| s.from).into_iter().chain(change_overs).chain(self.all.iter().map(|s| s.from))
    }

    /// One life as bars: how it is shown, where the bar begins, how broad it is, and from when to when it is so.
    pub fn bars(&self, life: &Life) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        let mut place = 0;
        let ends = self.all.iter().skip(1).map(|s| s.from).chain([self.end]);
        for (stretch, end) in self.all.iter().zip(ends) {
            if let Some(shown) = life.state_at(stretch.from).and_then(Shown::of) {
                match bars.last_mut() {
                    Some(bar) if bar.shown == shown && bar.place + bar.room == place => {
                        bar.room += stretch.room;
                        bar.until = end;
                    }
                    _ => bars.push(Bar { shown, place, room: stretch.room, from: stretch.from, until: end }),
                }
            }
            place += stretch.room;
        }
        bars
    }
}

/// A piece of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// How it is shown.
    pub shown: Shown,
    /// Where it begins.
    pub place: usize,
    /// How broad it is.
    pub room: usize,
    /// Since when, within the picture.
    pub from: Timestamp,
    /// Until when, within the picture.
    pub until: Timestamp,
}

/// Every moment at which a stretch must begin.
fn moments(lives: &[&Life], start: Timestamp, now: Timestamp, end: Timestamp) -> BTreeSet<Timestamp> {
    let of_life = |life: &&Life| {
        let mut at: Vec<Timestamp> = Vec::new();
        let mut last = None;
        for phase in &life.phases {
            let shown = Shown::of(phase.state);
            if last != Some(shown) {
                at.push(phase.from);
                last = Some(shown);
            }
        }
        at.extend(life.end);
        at
    };
    let inside = |at: &Timestamp| *at > start && *at < end;
    lives.iter().flat_map(of_life).chain([now]).filter(inside).chain([start]).collect()
}
