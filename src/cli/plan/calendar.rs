//! The calendar: what happens on which day, to which key, and why.

use super::KeysetPlan;
use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::cli::table::{Cell, Table};
use crate::forecast::Foretold;
use crate::lifecycle::StepKind;
use crate::policy::VerifierShape;
use crate::time::Timestamp;

/// The most lines for one keyset; `--output json` has all.
const MOST_LINES: usize = 20;

/// The calendar of one keyset.
pub fn text(plan: &KeysetPlan, now: Timestamp, shorts: &ShortKids, look: &Look) -> String {
    let steps = entries(&plan.forecast.steps);
    let mut table = Table::default().indented(4);
    for (step, and_published) in steps.iter().take(MOST_LINES) {
        let kid = step.kid.as_ref().map(|kid| shorts.short(kid)).unwrap_or_default();
        table.row([
            moment::full(step.at).into(),
            Cell::toned(Tone::Faint, moment::relative(now, step.at)),
            Cell::toned(tone(step.step), if *and_published { "generate, publish" } else { words(step.step) }),
            kid.into(),
            why(plan, step).into(),
        ]);
    }
    let mut out = table.render(look);
    let until = moment::full(plan.until);
    if steps.is_empty() {
        out.push_str(&format!("    nothing until {until}\n"));
    }
    if let Some((next, _)) = steps.get(MOST_LINES) {
        let more = steps.len() - MOST_LINES;
        out.push_str(&format!("    … and {more} more from {} until {until}; --output json has them\n", moment::full(next.at)));
    }
    out
}

/// The steps, each key that is generated and published in the same moment as one.
fn entries(steps: &[Foretold]) -> Vec<(&Foretold, bool)> {
    let mut entries: Vec<(&Foretold, bool)> = Vec::with_capacity(steps.len());
    for step in steps {
        match entries.last_mut() {
            Some((made, published))
                if made.step == StepKind::Generate
                    && step.step == StepKind::ConfirmPublished
                    && (made.at, &made.kid) == (step.at, &step.kid) =>
            {
                *published = true;
            }
            _ => entries.push((step, false)),
        }
    }
    entries
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
        StepKind::ConfirmRevoked => "confirm that it is gone",
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
