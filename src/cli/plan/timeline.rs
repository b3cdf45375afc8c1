//! The timeline: one row per kid, columns of time, so that old and new kids can be *seen* to overlap.
//!
//! Every moment at which something changes stands between two columns, and no stretch between two such moments is narrower than a
//! column; what room is left is shared out by length. So the picture is not to scale around change-overs, where minutes stand beside
//! months, and in exchange each column tells the truth about each row: a key that signs is the only one that does.

use std::collections::BTreeSet;

use super::life::Life;
use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::document::StateName;
use crate::time::Timestamp;

/// What the characters mean.
pub const LEGEND: &str = "· announced   █ active: signs   ▒ retiring: still accepted   (stretched around change-overs)";

/// The most change-overs that are drawn; what comes later looks the same.
const MOST_CHANGE_OVERS: usize = 4;

/// The narrowest stretch between two moments, where there is room.
const COMFORTABLE: usize = 3;

/// The part of the whole before now, at most, as 1/nth.
const PAST: u64 = 6;

/// A stretch of time in which nothing changes, and its columns.
struct Stretch {
    from: Timestamp,
    columns: usize,
}

/// Draws `lives` from a little before `now` until `until` or the fourth change-over.
pub fn draw(lives: &[Life], now: Timestamp, until: Timestamp, shorts: &ShortKids, indent: usize, look: &Look) -> String {
    let Some((start, end)) = bounds(lives, now, until) else { return String::new() };
    let rows: Vec<&Life> = lives.iter().filter(|l| l.begins() < end && l.end.is_none_or(|gone| gone > start)).collect();
    let names: Vec<String> = rows.iter().map(|l| shorts.short(&l.kid)).collect();
    let name_width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let room = look.width.saturating_sub(indent + name_width + 2).max(20);
    let (stretches, end) = share(&moments(&rows, start, now, end), end, room);
    let margin = " ".repeat(indent + name_width + 2);

    let mut out = String::new();
    if let Some(column) = column_of(&stretches, now) {
        let marker =
            if column + 5 <= room { format!("{}▼ now", " ".repeat(column)) } else { format!("{}now ▼", " ".repeat(column - 4)) };
        out.push_str(&format!("{margin}{marker}\n"));
    }
    for (life, name) in rows.iter().zip(&names) {
        out.push_str(&format!(
            "{}{name}{}  {}\n",
            " ".repeat(indent),
            " ".repeat(name_width - name.chars().count()),
            row(life, &stretches, look)
        ));
    }
    let (ticks, labels) = axis(&rows, &stretches, start, end, room);
    out.push_str(&format!("{margin}{}\n{margin}{}\n", look.paint(Tone::Faint, &ticks), labels));
    out
}

/// From when to when there is something to draw.
fn bounds(lives: &[Life], now: Timestamp, until: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let mut activations: Vec<_> = lives.iter().filter_map(Life::activated_at).filter(|at| *at > now && *at < until).collect();
    activations.sort_unstable();
    let end = activations.get(MOST_CHANGE_OVERS).copied().unwrap_or(until);
    let first = lives.iter().map(Life::begins).min()?;
    let past = crate::time::Span::millis(end.since(now).as_millis() / PAST);
    let start = first.min(now).max(now.minus(past));
    (start < end).then_some((start, end))
}

/// Every moment at which a column must begin.
fn moments(rows: &[&Life], start: Timestamp, now: Timestamp, end: Timestamp) -> BTreeSet<Timestamp> {
    let of_life = |life: &&Life| {
        let mut at: Vec<Timestamp> = Vec::new();
        let mut last = None;
        for phase in &life.phases {
            if last != Some(glyph(phase.state)) {
                at.push(phase.from);
                last = Some(glyph(phase.state));
            }
        }
        at.extend(life.end);
        at
    };
    let inside = |at: &Timestamp| *at > start && *at < end;
    rows.iter().flat_map(of_life).chain([now]).filter(inside).chain([start]).collect()
}

/// Shares `room` columns out among the stretches between the moments. Where there are more moments than columns, the end comes earlier.
fn share(moments: &BTreeSet<Timestamp>, end: Timestamp, room: usize) -> (Vec<Stretch>, Timestamp) {
    let end = moments.iter().nth(room).copied().unwrap_or(end);
    let begins: Vec<Timestamp> = moments.iter().copied().filter(|at| *at < end).collect();
    let ends = begins.iter().copied().skip(1).chain([end]);
    let lengths: Vec<u64> = begins.iter().zip(ends).map(|(from, to)| to.since(*from).as_millis()).collect();
    let least = (room / lengths.len().max(1)).clamp(1, COMFORTABLE);
    let spare = room.saturating_sub(least * lengths.len());
    let total: u128 = lengths.iter().map(|l| u128::from(*l)).sum::<u128>().max(1);
    let mut given = 0;
    let mut so_far: u128 = 0;
    let mut stretches = Vec::with_capacity(begins.len());
    for (from, length) in begins.into_iter().zip(lengths) {
        // By the running total, so that nothing is lost to rounding.
        so_far += u128::from(length);
        let up_to = usize::try_from(so_far * spare as u128 / total).unwrap_or(spare);
        stretches.push(Stretch { from, columns: least + up_to - given });
        given = up_to;
    }
    (stretches, end)
}

const fn glyph(state: StateName) -> char {
    match state {
        StateName::Staged | StateName::Published => '·',
        StateName::Active => '█',
        StateName::Retiring => '▒',
        StateName::Retired | StateName::Revoked => ' ',
    }
}

const fn tone(state: StateName) -> Tone {
    match state {
        StateName::Staged | StateName::Published => Tone::New,
        StateName::Active => Tone::Good,
        StateName::Retiring => Tone::Warn,
        StateName::Retired | StateName::Revoked => Tone::Plain,
    }
}

fn row(life: &Life, stretches: &[Stretch], look: &Look) -> String {
    let mut row = String::new();
    for stretch in stretches {
        match life.state_at(stretch.from) {
            Some(state) => row.push_str(&look.paint(tone(state), &glyph(state).to_string().repeat(stretch.columns))),
            None => row.push_str(&" ".repeat(stretch.columns)),
        }
    }
    row.trim_end().to_owned()
}

/// The column that begins at `at`, if one does.
fn column_of(stretches: &[Stretch], at: Timestamp) -> Option<usize> {
    let index = stretches.iter().position(|s| s.from == at)?;
    Some(stretches.iter().take(index).map(|s| s.columns).sum())
}

/// Ticks and dates: the beginning first, then change-overs, then the rest, as far as there is room.
fn axis(rows: &[&Life], stretches: &[Stretch], start: Timestamp, end: Timestamp, room: usize) -> (String, String) {
    let change_overs = rows.iter().filter_map(|l| l.activated_at());
    let rest = stretches.iter().map(|s| s.from);
    let whole = end.since(start);
    let mut taken: Vec<(usize, String)> = Vec::new();
    for at in [start].into_iter().chain(change_overs).chain(rest) {
        let Some(column) = column_of(stretches, at) else { continue };
        let label = moment::on_axis(at, whole);
        let width = label.chars().count();
        let free = |(other, text): &(usize, String)| column > other + text.chars().count() + 1 || column + width + 1 < *other;
        if column + width <= room && taken.iter().all(free) {
            taken.push((column, label));
        }
    }
    taken.sort_unstable();
    let mut ticks: Vec<char> = vec!['─'; room];
    let mut labels = String::new();
    for (column, label) in taken {
        if let Some(tick) = ticks.get_mut(column) {
            *tick = '┬';
        }
        labels.push_str(&" ".repeat(column - labels.chars().count()));
        labels.push_str(&label);
    }
    (ticks.into_iter().collect(), labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plan::life::Phase;
    use crate::time::Span;

    fn life(kid: &str, announced: u64, active: u64, retiring: u64, end: u64) -> Life {
        let at = |hour: u64| Timestamp::EPOCH + Span::minutes(hour);
        let phase = |state, hour| Phase { state, from: at(hour) };
        let phases = vec![phase(StateName::Staged, announced), phase(StateName::Active, active), phase(StateName::Retiring, retiring)];
        Life { kid: kid.parse().unwrap(), phases, end: Some(at(end)) }
    }

    fn drawn(lives: &[Life], days: u64) -> Vec<String> {
        let until = Timestamp::EPOCH + Span::days(days);
        let shorts = ShortKids::of(lives.iter().map(|l| &l.kid));
        draw(lives, Timestamp::EPOCH, until, &shorts, 0, &Look::PLAIN).lines().map(ToOwned::to_owned).collect()
    }

    /// The columns in which a row shows a character.
    fn columns(row: &str, glyph: char) -> Vec<usize> {
        row.chars().enumerate().filter(|(_, c)| *c == glyph).map(|(i, _)| i).collect()
    }

    #[test]
    fn old_and_new_kids_are_seen_to_overlap_even_if_minutes_stand_beside_months() {
        let day = 24 * 60;
        let lives = [life("old", 0, 17, 30 * day, 30 * day + 67), life("new", 30 * day - 17, 30 * day, 60 * day, 60 * day + 67)];
        let picture = drawn(&lives, 60);
        let (old, new) = (&picture[1], &picture[2]);
        let announced = columns(new, '·');
        assert!(!announced.is_empty());
        assert!(announced.iter().all(|c| columns(old, '█').contains(c)), "the new one is announced while the old one signs");
        let retiring = columns(old, '▒');
        assert!(!retiring.is_empty());
        assert!(retiring.iter().all(|c| columns(new, '█').contains(c)), "the old one is accepted while the new one signs");
        assert!(columns(old, '█').iter().all(|c| !columns(new, '█').contains(c)), "never two sign");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_now_is_marked() {
        let day = 24 * 60;
        let lives: Vec<Life> =
            (0..12).map(|n| life(&format!("k{n}"), n * day, n * day + 20, (n + 1) * day + 20, (n + 1) * day + 90)).collect();
        let picture = drawn(&lives, 12);
        assert!(picture.iter().all(|l| l.chars().count() <= Look::PLAIN.width), "{picture:#?}");
        assert!(picture[0].contains("▼ now"));
        assert!(picture.len() < 12, "only the first change-overs are drawn");
    }

    #[test]
    fn nothing_to_draw_is_nothing() {
        assert_eq!(drawn(&[], 10), Vec::<String>::new());
    }
}
