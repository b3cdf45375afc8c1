//! The calendar: what happens on which day, to which key, and why.

use super::KeysetPlan;
use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::cli::table::{Cell, Table};
use crate::forecast::{Foretold, MOST_FORETOLD};
use crate::lifecycle::StepKind;
use crate::policy::VerifierShape;
use crate::time::Timestamp;

/// The most lines for one keyset; `--output json` has all.
const MOST_LINES: usize = 30;

/// The calendar of one keyset.
pub fn text(plan: &KeysetPlan, now: Timestamp, shorts: &ShortKids, look: &Look) -> String {
    let steps = &plan.forecast.steps;
    let mut table = Table::default().indented(4);
    for step in steps.iter().take(MOST_LINES) {
        let kid = step.kid.as_ref().map(|kid| shorts.short(kid)).unwrap_or_default();
        table.row([
            moment::full(step.at).into(),
            Cell::toned(Tone::Faint, moment::relative(now, step.at)),
            Cell::toned(tone(step.step), words(step.step)),
            kid.into(),
            why(plan, step).into(),
        ]);
    }
    let mut out = table.render(look);
    if steps.is_empty() {
        out.push_str("    nothing within the horizon\n");
    }
    if let Some(next) = steps.get(MOST_LINES) {
        let more = steps.len() - MOST_LINES;
        let least = if steps.len() >= MOST_FORETOLD { "at least " } else { "" };
        out.push_str(&format!("    … and {least}{more} more from {} on; --output json has them\n", moment::full(next.at)));
    }
    out
}

/// What waits for more than time, at the end of the forecast.
pub fn stuck(plan: &KeysetPlan, shorts: &ShortKids) -> Vec<String> {
    let line = |pending: &crate::lifecycle::Pending| {
        let kid = pending.kid.as_ref().map(|kid| format!(" {}", shorts.short(kid))).unwrap_or_default();
        format!("{}{kid} waits: {}", words(pending.step), pending.because)
    };
    plan.forecast.stuck.iter().map(line).collect()
}

/// A step as a verb.
pub const fn words(step: StepKind) -> &'static str {
    match step {
        StepKind::Generate => "generate",
        StepKind::ConfirmPublished => "publish",
        StepKind::Activate => "ACTIVATE",
        StepKind::ErasePrivate => "erase private half",
        StepKind::Retire => "retire",
        StepKind::Discard => "discard",
        StepKind::Forget => "forget tombstones",
        StepKind::AdoptFacts => "adopt facts",
        StepKind::Any => "everything",
    }
}

const fn tone(step: StepKind) -> Tone {
    match step {
        StepKind::Generate | StepKind::ConfirmPublished => Tone::New,
        StepKind::Activate => Tone::Good,
        StepKind::Retire | StepKind::Discard => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn why(plan: &KeysetPlan, step: &Foretold) -> String {
    let mut why = step.reason.text.clone();
    if step.step == StepKind::Activate {
        if let Some(window) = &plan.rules.window {
            why.push_str(&format!(" ({})", window.local(step.at)));
        }
        if plan.rules.verifier == VerifierShape::SingleKey {
            why.push_str("; tokens of the key before die");
        }
    }
    why
}
