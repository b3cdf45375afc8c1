//! Everything on one screen: problems first, then a table for each environment.

use super::{Problem, Severity, problems, when};
use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::cli::table::{Cell, Table};
use crate::document::{Document, StateName};
use crate::status_report::{EnvironmentReport, KeysetReport, PendingReport, StatusReport};
use crate::time::Timestamp;

/// The screen.
pub fn text(report: &StatusReport, look: &Look) -> String {
    let problems = problems(report);
    let mut out = verdict(report, &problems, look);
    for problem in &problems {
        out.push_str(&one_problem(problem, report.at, look));
    }
    for environment in &report.environments {
        out.push('\n');
        out.push_str(&one_environment(environment, report.at, look));
    }
    out
}

fn verdict(report: &StatusReport, problems: &[Problem], look: &Look) -> String {
    let Cell { text, tone } = in_a_word(problems);
    format!("{}: {}\n", look.paint(tone, &text), of_what(report))
}

/// `all is well`, or how many problems there are.
pub fn in_a_word(problems: &[Problem]) -> Cell {
    match problems.iter().filter(|p| p.severity == Severity::Bad).count() {
        0 => Cell::toned(Tone::Good, "all is well"),
        bad => Cell::toned(Tone::Bad, counted(bad, "problem")),
    }
}

/// How much the report is about, of when, and by whom.
pub fn of_what(report: &StatusReport) -> String {
    let keysets: usize = report.environments.iter().map(|e| e.keysets.len()).sum();
    let size = format!("{}, {}", counted(keysets, "keyset"), counted(report.environments.len(), "environment"));
    format!("{size}, at {} (keyrota {})", moment::full(report.at), report.version)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// One problem, with what to type below it.
pub fn one_problem(problem: &Problem, now: Timestamp, look: &Look) -> String {
    let (sign, tone) = match problem.severity {
        Severity::Bad => ("✗", Tone::Bad),
        Severity::Notice => ("!", Tone::Warn),
    };
    let since = since(problem, now);
    let mut out = format!("  {} {}: {}{since}\n", look.paint(tone, sign), look.paint(Tone::Strong, &problem.whose), problem.what);
    if !problem.remedy.is_empty() {
        out.push_str(&format!("    → {}\n", problem.remedy));
    }
    out
}

/// ` (since …, 3h ago)`; empty if that is not known.
pub fn since(problem: &Problem, now: Timestamp) -> String {
    problem.since.map(|at| format!(" (since {}, {})", moment::full(at), moment::relative(now, at))).unwrap_or_default()
}

fn one_environment(environment: &EnvironmentReport, now: Timestamp, look: &Look) -> String {
    let mut out = format!("{}  {}\n", look.paint(Tone::Strong, environment.name.as_str()), standing(environment, now));
    if environment.keysets.is_empty() {
        out.push_str("  no keysets\n");
    } else {
        out.push_str(&table(environment, now).indented(2).render(look));
    }
    out
}

/// Of when the policy is, and how long ago the store was read.
pub fn standing(environment: &EnvironmentReport, now: Timestamp) -> String {
    let store = match environment.confirmed_at {
        Some(at) if environment.fresh => format!("store read {}", moment::relative(now, at.min(now))),
        _ => "store not read".to_owned(),
    };
    format!("policy of {}, {store}", moment::full(environment.policy.taken_at))
}

/// The keysets of an environment, a row each.
pub fn table(environment: &EnvironmentReport, now: Timestamp) -> Table {
    let mut table = Table::with_headings(["keyset", "algorithm", "active kid", "age", "keys", "next"]);
    for keyset in &environment.keysets {
        table.row(row(keyset, now));
    }
    table
}

fn row(keyset: &KeysetReport, now: Timestamp) -> [Cell; 6] {
    let document = keyset.document().ok().flatten();
    let algorithm = keyset.rules.as_ref().map_or("?", |r| r.algorithm.as_str());
    let active = document.as_ref().and_then(|d| d.active.as_ref());
    let shorts = document.as_ref().map(ShortKids::of_document).unwrap_or_default();
    let kid = active.map_or_else(|| Cell::toned(Tone::Warn, "none"), |a| shorts.short(&a.key.kid).into());
    let stale = active.zip(keyset.rules.as_ref()).is_some_and(|(a, r)| now > a.key.created_at + r.max_age);
    let age = active.map(|a| now.since(a.key.created_at).rounded()).unwrap_or_default();
    [
        keyset.name.as_str().into(),
        algorithm.into(),
        kid,
        Cell::toned(if stale { Tone::Bad } else { Tone::Plain }, age),
        document.as_ref().map(counts).unwrap_or_default().into(),
        next(keyset, &shorts, now),
    ]
}

/// `1 active, 1 published, 2 retiring`.
fn counts(document: &Document) -> String {
    let count = |state: StateName| document.live().filter(|k| k.state == state).count();
    let parts = [StateName::Active, StateName::Staged, StateName::Published, StateName::Retiring]
        .map(|state| (count(state), state))
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, state)| format!("{n} {state}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// The step that comes next; before it, one that is blocked.
fn next(keyset: &KeysetReport, shorts: &ShortKids, now: Timestamp) -> Cell {
    if keyset.looked_at.is_none() {
        return Cell::toned(Tone::Warn, "not looked at yet");
    }
    let words = |pending: &PendingReport| {
        let kid = pending.kid.as_ref().map(|kid| format!(" {}", shorts.short(kid))).unwrap_or_default();
        format!("{}{kid}", pending.step)
    };
    let blocked = keyset.pending.iter().find(|p| p.at.is_none());
    let next = keyset.pending.iter().filter(|p| p.at.is_some()).min_by_key(|p| p.at);
    let blocked = blocked.map(|p| format!("{} blocked ({})", words(p), p.label));
    let next = next.map(|p| format!("{} {}", words(p), when(keyset, p, now)));
    let tone = if blocked.is_some() { Tone::Warn } else { Tone::Plain };
    let text: Vec<String> = blocked.into_iter().chain(next).collect();
    Cell::toned(tone, if text.is_empty() { "nothing".to_owned() } else { text.join("; ") })
}
