//! The timeline in characters: one row per kid, columns of time, so that old and new kids can be *seen* to overlap.

use super::life::Life;
use super::stretch::{Shown, Stretches, View};
use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::time::Timestamp;

/// What the characters mean.
pub const LEGEND: &str = "· announced   █ active: signs   ▒ retiring: still accepted   (stretched around change-overs)";

/// Four change-overs, because what comes later looks the same; a sixth of the whole before now.
const VIEW: View = View { change_overs: 4, past: 6, least: 3 };

/// Draws `lives` from a little before `now` until `until` or the fourth change-over.
pub fn draw(lives: &[Life], now: Timestamp, until: Timestamp, shorts: &ShortKids, indent: usize, look: &Look) -> String {
    let Some((start, end)) = VIEW.bounds(lives, now, until) else { return String::new() };
    let rows: Vec<&Life> = lives.iter().filter(|l| l.is_within(start, end)).collect();
    let names: Vec<String> = rows.iter().map(|l| shorts.short(&l.kid)).collect();
    let name_width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let room = look.width.saturating_sub(indent + name_width + 2).max(20);
    let stretches = Stretches::share(&rows, (start, now, end), room, VIEW.least);
    let margin = " ".repeat(indent + name_width + 2);

    let mut out = String::new();
    if let Some(column) = stretches.place_of(now) {
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
    let (ticks, labels) = axis(&rows, &stretches, room);
    out.push_str(&format!("{margin}{}\n{margin}{}\n", look.paint(Tone::Faint, &ticks), labels));
    out
}

const fn glyph(shown: Shown) -> (char, Tone) {
    match shown {
        Shown::Announced => ('·', Tone::New),
        Shown::Active => ('█', Tone::Good),
        Shown::Retiring => ('▒', Tone::Warn),
    }
}

fn row(life: &Life, stretches: &Stretches, look: &Look) -> String {
    let mut row = String::new();
    for stretch in &stretches.all {
        match life.state_at(stretch.from).and_then(Shown::of) {
            Some(shown) => {
                let (glyph, tone) = glyph(shown);
                row.push_str(&look.paint(tone, &glyph.to_string().repeat(stretch.room)));
            }
            None => row.push_str(&" ".repeat(stretch.room)),
        }
    }
    row.trim_end().to_owned()
}

/// Ticks and dates: the beginning first, then change-overs, then the rest, as far as there is room.
fn axis(rows: &[&Life], stretches: &Stretches, room: usize) -> (String, String) {
    let mut taken: Vec<(usize, String)> = Vec::new();
    for at in stretches.worth_a_date(rows) {
        let Some(column) = stretches.place_of(at) else { continue };
        let label = moment::on_axis(at, stretches.whole());
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
    use crate::document::StateName;
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
