//! A plan for people.

use super::{Change, KeysetPlan, Plan, Standing, arithmetic, calendar, lives, timeline};
use crate::cli::kids::ShortKids;
use crate::cli::style::{Look, Tone};

/// The whole plan.
pub fn text(plan: &Plan, look: &Look) -> String {
    let mut out = format!("{}\n", plan.basis);
    for note in &plan.notes {
        out.push_str(&format!("{} {note}\n", look.paint(Tone::Warn, "note:")));
    }
    if plan.keysets.is_empty() {
        out.push_str("\nno keysets\n");
    }
    for keyset in &plan.keysets {
        out.push('\n');
        out.push_str(&one(plan, keyset, look));
    }
    if plan.keysets.iter().any(|k| !k.forecast.steps.is_empty()) {
        out.push_str(&format!("\n{}\n", look.paint(Tone::Faint, timeline::LEGEND)));
    }
    out
}

fn one(plan: &Plan, keyset: &KeysetPlan, look: &Look) -> String {
    let mut out = heading(keyset, look);
    if let Standing::Refused { why } = &keyset.standing {
        out.push_str(&format!("  {} {why}\n", look.paint(Tone::Bad, "refused:")));
        return out;
    }
    for trouble in &keyset.troubles {
        out.push_str(&format!("  {} {trouble}\n", look.paint(Tone::Bad, "trouble:")));
    }
    if plan.is_edit {
        out.push_str(&section("changes", &changes(&keyset.changes, look), look));
    }
    let shorts = shorts(keyset);
    out.push_str(&section("waits", &arithmetic::text(keyset, look), look));
    let mut calendar = calendar::text(keyset, plan.now, &shorts, look);
    for line in calendar::stuck(keyset, &shorts) {
        calendar.push_str(&format!("    {line}\n"));
    }
    out.push_str(&section("calendar", &calendar, look));
    let lives = lives(&keyset.document, &keyset.forecast.steps);
    let drawn = timeline::draw(&lives, plan.now, keyset.until, &shorts, 4, look);
    if !drawn.is_empty() {
        out.push_str(&section("timeline", &drawn, look));
    }
    out
}

fn heading(keyset: &KeysetPlan, look: &Look) -> String {
    let standing = match keyset.standing {
        Standing::New => ", new",
        Standing::Kept if !keyset.document.is_stored() => ", without a key yet",
        Standing::Kept | Standing::Refused { .. } => "",
        Standing::Orphaned => ", in no policy any more",
    };
    let rotates = if keyset.rules.is_orphaned() { String::new() } else { format!(", a new key every {}", keyset.rules.rotate_every) };
    let algorithm = match &keyset.document.active {
        Some(active) if keyset.rules.is_orphaned() => active.key.algorithm,
        _ => keyset.rules.spec.algorithm(),
    };
    format!("{}  {algorithm}{rotates}{standing}\n", look.paint(Tone::Strong, &keyset.id.to_string()))
}

fn section(name: &str, body: &str, look: &Look) -> String {
    format!("  {}\n{body}", look.paint(Tone::Faint, name))
}

fn changes(changes: &[Change], look: &Look) -> String {
    if changes.is_empty() {
        return "    none\n".to_owned();
    }
    let width = changes.iter().map(|c| c.what.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for change in changes {
        let mut line = |sign: &str, tone: Tone, value: &str, note: &str| {
            let line = format!("{sign} {:width$}  {value}", change.what);
            let note = if note.is_empty() { String::new() } else { format!("   ({note})") };
            out.push_str(&format!("    {}{note}\n", look.paint(tone, line.trim_end())));
        };
        let ends = change.new.is_none();
        if let Some(old) = &change.old {
            line("-", Tone::Bad, old, if ends { &change.note } else { "" });
        }
        if let Some(new) = &change.new {
            line("+", Tone::Good, new, &change.note);
        }
    }
    out
}

/// Short forms for every kid that is or will be.
pub fn shorts(keyset: &KeysetPlan) -> ShortKids {
    let there = keyset.document.live().map(|k| &k.key.kid);
    ShortKids::of(there.chain(keyset.forecast.steps.iter().filter_map(|s| s.kid.as_ref())))
}
