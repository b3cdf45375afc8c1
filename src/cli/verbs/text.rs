//! What a verb will do and what it did, for people. Pure.

use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::cli::table::{Cell, Table};
use crate::document::StateName;
use crate::name::KeysetId;
use crate::operator::Preview;
use crate::status_report::verbs::{Refused, VerbAsked, VerbOutcome, VerbReport, VerbRequest};
use crate::time::Timestamp;

/// What will happen.
pub fn announced(request: &VerbRequest, report: &VerbReport, look: &Look) -> String {
    let mut out = String::new();
    for note in &report.notes {
        out.push_str(&format!("{note}\n"));
    }
    for outcome in &report.keysets {
        let id = id(request, outcome);
        match (&outcome.preview, &outcome.refused) {
            (_, Some(refused)) => out.push_str(&refusal(&id, refused, look)),
            (Some(preview), None) => out.push_str(&foretold(&id, request, preview, report.at, look)),
            (None, None) => {}
        }
    }
    out
}

/// What was done.
pub fn reported(request: &VerbRequest, report: &VerbReport, look: &Look) -> String {
    let mut out = String::new();
    for note in &report.notes {
        out.push_str(&format!("{note}\n"));
    }
    for outcome in &report.keysets {
        let id = id(request, outcome);
        match (&outcome.generation, &outcome.refused) {
            (_, Some(refused)) => out.push_str(&refusal(&id, refused, look)),
            (Some(generation), None) => {
                let done = look.paint(Tone::Good, "done");
                out.push_str(&format!("{id}: {done}, generation {generation}, in the name of {}\n", report.by));
            }
            (None, None) => {}
        }
    }
    out
}

fn id(request: &VerbRequest, outcome: &VerbOutcome) -> KeysetId {
    KeysetId { environment: request.environment.clone(), keyset: outcome.keyset.clone() }
}

fn refusal(id: &KeysetId, refused: &Refused, look: &Look) -> String {
    let word = if refused.is_unsafe() { "refused as unsafe" } else { "refused" };
    format!("{id}: {}: {}; hint: {}\n", look.paint(Tone::Bad, word), refused.said.error, refused.said.hint)
}

fn foretold(id: &KeysetId, request: &VerbRequest, preview: &Preview, now: Timestamp, look: &Look) -> String {
    let heading = look.paint(Tone::Strong, &format!("{} {id}", request.verb.name()));
    let mut out = format!("{heading}  at generation {}\n", preview.generation);
    if !preview.moves.is_empty() {
        out.push_str(&section("at once", look));
        let mut table = Table::default().indented(4);
        for change in &preview.moves {
            let from = change.from.map_or("new", StateName::as_str);
            table.row([change.kid.as_str().into(), from.into(), "→".into(), Cell::toned(tone(change.to), change.to.as_str())]);
        }
        out.push_str(&table.render(look));
    }
    if !preview.later.is_empty() || !preview.stuck.is_empty() {
        out.push_str(&section("what follows by itself", look));
        let mut table = Table::default().indented(4);
        for step in &preview.later {
            let kid = step.kid.as_ref().map(ToString::to_string).unwrap_or_default();
            table.row([when(now, step.at).into(), step.step.as_str().into(), kid.into(), step.why.as_str().into()]);
        }
        out.push_str(&table.render(look));
        preview.stuck.iter().for_each(|stuck| out.push_str(&format!("    {stuck}\n")));
    }
    if !preview.deaths.is_empty() {
        out.push_str(&section("tokens that die", look));
        for death in &preview.deaths {
            let cached = format!("verifiers may accept it out of their caches until {}", when(now, death.cached_until));
            let from = preview.moves.iter().find(|change| change.kid == death.kid).and_then(|change| change.from);
            let tokens = match (death.tokens_until, from) {
                (Some(until), _) => format!("its last token would have lived until {}", when(now, until)),
                (None, Some(StateName::Staged | StateName::Published)) => "none, it has never signed".to_owned(),
                (None, _) => "none, its last token is dead".to_owned(),
            };
            out.push_str(&format!("    {}: {tokens}; {cached}\n", look.paint(Tone::Bad, death.kid.as_str())));
        }
    }
    if !preview.unheard.is_empty() {
        out.push_str(&section("tokens that may be refused", look));
        for unheard in &preview.unheard {
            let kid = look.paint(Tone::Warn, unheard.kid.as_str());
            let until = when(now, unheard.until);
            out.push_str(&format!("    {kid} signs before every verifier has fetched it: some may refuse its tokens until {until}\n"));
        }
    }
    // An approval is for a change-over that may be a cut-over, and refresh tokens may die of their own: the notes say so.
    let noted = matches!(request.verb, VerbAsked::Approve { .. } | VerbAsked::RevokeGrants { .. });
    if preview.deaths.is_empty() && preview.unheard.is_empty() && !noted {
        out.push_str(&format!("  {}\n", look.paint(Tone::Good, "no token dies")));
    }
    preview.notes.iter().for_each(|note| out.push_str(&format!("  {} {note}\n", look.paint(Tone::Warn, "note:"))));
    out
}

fn section(name: &str, look: &Look) -> String {
    format!("  {}\n", look.paint(Tone::Faint, name))
}

fn when(now: Timestamp, at: Timestamp) -> String {
    if at <= now { "at once".to_owned() } else { format!("{} ({})", moment::full(at), moment::relative(now, at)) }
}

const fn tone(state: StateName) -> Tone {
    match state {
        StateName::Staged | StateName::Published => Tone::New,
        StateName::Active => Tone::Good,
        StateName::Retiring => Tone::Warn,
        StateName::Retired => Tone::Faint,
        StateName::Revoked => Tone::Bad,
    }
}
