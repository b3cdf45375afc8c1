//! One keyset with every key.

use super::overview::one_problem;
use super::{Problem, when};
use crate::cli::kids::ShortKids;
use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::cli::table::{Cell, Table};
use crate::document::{Document, LiveKey, Stage, StateName};
use crate::event::Told;
use crate::name::KeysetId;
use crate::status_report::KeysetReport;
use crate::time::Timestamp;

/// The latest entries of the history that are shown.
const MOST_HISTORY: usize = 10;

/// The keyset's page.
pub fn text(id: &KeysetId, keyset: &KeysetReport, problems: &[Problem], now: Timestamp, look: &Look) -> String {
    let mut out = heading(id, keyset, look);
    for problem in problems.iter().filter(|p| p.whose == id.to_string() || p.whose == id.environment.as_str()) {
        out.push_str(&one_problem(problem, now, look));
    }
    let document = keyset.document().ok().flatten();
    match &document {
        None => out.push_str("\n  no key yet\n"),
        Some(document) => {
            out.push('\n');
            out.push_str(&keys(document, now).indented(2).render(look));
        }
    }
    let shorts = document.as_ref().map(ShortKids::of_document).unwrap_or_default();
    let pending = pending(keyset, &shorts, now);
    if !pending.is_empty() {
        out.push_str(&format!("\n  {}\n{}", look.paint(Tone::Faint, "to come"), pending.indented(4).render(look)));
    }
    if !keyset.probes.is_empty() {
        out.push_str(&format!("\n  {}\n{}", look.paint(Tone::Faint, "seen from outside"), probes(keyset, look)));
    }
    if !keyset.signers.is_empty() {
        out.push_str(&format!("\n  {}\n{}", look.paint(Tone::Faint, "signers that report"), signers(keyset, look)));
    }
    if let Some(document) = document.as_ref().filter(|document| !document.revoked_grants.is_empty()) {
        let title = look.paint(Tone::Faint, "refresh tokens that were revoked");
        out.push_str(&format!("\n  {title}\n{}", revoked_grants(document, look)));
    }
    if let Some(document) = &document {
        let history = history(document, &shorts, look);
        out.push_str(&format!("\n  {}\n{history}", look.paint(Tone::Faint, "lately")));
    }
    out
}

fn heading(id: &KeysetId, keyset: &KeysetReport, look: &Look) -> String {
    format!("{}  {}\n", look.paint(Tone::Strong, &id.to_string()), ruled(keyset))
}

/// By what the keyset is judged, in a line.
pub fn ruled(keyset: &KeysetReport) -> String {
    match &keyset.rules {
        None => "not looked at yet".to_owned(),
        Some(r) if r.orphaned => format!("{}, in no policy any more", r.algorithm),
        Some(r) => {
            let waits = format!("propagation {}, retention {}, max_age {}", r.propagation, r.retention, r.max_age);
            format!("{}, a new key every {}, {waits}", r.algorithm, r.rotate_every)
        }
    }
}

/// Every key that the document remembers.
pub fn keys(document: &Document, now: Timestamp) -> Table {
    let mut table = Table::with_headings(["kid", "state", "since", "age", "what follows"]);
    for live in document.live() {
        table.row([
            live.key.kid.as_str().into(),
            Cell::toned(tone(live.state), live.state.as_str()),
            moment::full(live.since).into(),
            now.since(live.key.created_at).rounded().into(),
            follows(document, &live).into(),
        ]);
    }
    for gone in &document.tombstones {
        table.row([
            Cell::toned(Tone::Faint, gone.kid.as_str()),
            Cell::toned(Tone::Faint, gone.end.state().as_str()),
            Cell::toned(Tone::Faint, moment::full(gone.ended_at)),
            Cell::from(""),
            Cell::toned(Tone::Faint, end(&gone.end)),
        ]);
    }
    table
}

const fn tone(state: StateName) -> Tone {
    match state {
        StateName::Staged | StateName::Published => Tone::New,
        StateName::Active => Tone::Good,
        StateName::Retiring => Tone::Warn,
        StateName::Retired | StateName::Revoked => Tone::Faint,
    }
}

fn follows(document: &Document, live: &LiveKey<'_>) -> String {
    let kid = &live.key.kid;
    let mut words = Vec::new();
    if let Some(Stage::Published { not_before_active, .. }) = document.incoming.iter().find(|i| i.key.kid == *kid).map(|i| i.stage) {
        words.push(format!("not active before {}", moment::full(not_before_active)));
    }
    if let Some(retiring) = document.retiring.iter().find(|r| r.key.kid == *kid) {
        words.push(format!("verified until {}", moment::full(retiring.verify_until)));
        if !live.key.can_sign() {
            words.push("private half erased".to_owned());
        }
    }
    if let Some(at) = live.key.expires_at {
        words.push(format!("its vendor accepts it until {}", moment::full(at)));
    }
    words.join(", ")
}

fn end(end: &crate::document::End) -> String {
    match end {
        crate::document::End::Retired => String::new(),
        crate::document::End::Discarded { why } => format!("discarded: {why}"),
        crate::document::End::Revoked { reason, .. } => reason.clone(),
    }
}

/// The steps to come, when, and what they wait for.
pub fn pending(keyset: &KeysetReport, shorts: &ShortKids, now: Timestamp) -> Table {
    let mut table = Table::default();
    for pending in &keyset.pending {
        let kid = pending.kid.as_ref().map(|kid| shorts.short(kid)).unwrap_or_default();
        table.row([pending.step.to_string().into(), kid.into(), when(keyset, pending, now).into(), pending.because.as_str().into()]);
    }
    table
}

fn probes(keyset: &KeysetReport, look: &Look) -> String {
    let mut table = Table::default().indented(4);
    for probe in &keyset.probes {
        let looked = probe.looked_at.map_or("not looked at yet".to_owned(), |at| format!("looked at {}", moment::full(at)));
        let shown = match (&probe.failure, probe.generation) {
            (Some(_), _) => Cell::toned(Tone::Bad, "cannot be seen"),
            (None, Some(generation)) => Cell::from(format!("has shown generation {generation}")),
            (None, None) => Cell::toned(Tone::Warn, "has not shown what is served"),
        };
        table.row([probe.url.as_str().into(), looked.into(), shown]);
    }
    table.render(look)
}

fn signers(keyset: &KeysetReport, look: &Look) -> String {
    let mut table = Table::default().indented(4);
    for signer in &keyset.signers {
        let behind = signer.lags_behind.map(|needed| format!("lags: another key signs since generation {needed}"));
        table.row([
            signer.name.as_str().into(),
            format!("generation {}", signer.generation).into(),
            format!("since {}", moment::full(signer.since)).into(),
            behind.map_or_else(|| Cell::toned(Tone::Good, "up to date"), |behind| Cell::toned(Tone::Warn, behind)),
        ]);
    }
    table.render(look)
}

fn revoked_grants(document: &Document, look: &Look) -> String {
    let mut table = Table::default().indented(4);
    for entry in &document.revoked_grants {
        let forgotten = format!("kept until {}, when all of them have expired", moment::full(entry.until));
        table.row([entry.whom.to_string().into(), format!("up to {}", moment::full(entry.before)).into(), forgotten.into()]);
    }
    table.render(look)
}

fn history(document: &Document, shorts: &ShortKids, look: &Look) -> String {
    let mut table = Table::default().indented(4);
    let kids: Vec<_> = document.live().map(|k| &k.key.kid).chain(document.tombstones.iter().map(|t| &t.kid)).collect();
    let shortened = |text: String| kids.iter().fold(text, |text, kid| text.replace(kid.as_str(), &shorts.short(kid)));
    for entry in document.history.iter().rev().take(MOST_HISTORY) {
        let by = entry.by.as_ref().map(|by| format!(" (by {by})")).unwrap_or_default();
        table.row([
            moment::full(entry.at).into(),
            shortened(Told(&entry.change).to_string()).into(),
            format!("{}{by}", entry.reason).into(),
        ]);
    }
    table.render(look)
}
