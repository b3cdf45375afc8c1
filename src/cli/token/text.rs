//! What is known of a token, for people.

use serde_json::{Map, Value};

use crate::cli::moment;
use crate::cli::style::{Look, Tone};
use crate::cli::table::{Cell, Table};
use crate::document::StateName;
use crate::key::Algorithm;
use crate::status_report::tokens::VerifyReport;
use crate::time::{Span, Timestamp};

/// Every check, and what the token claims if it passed them all.
pub(super) fn report(report: &VerifyReport, unusable: &[String], look: &Look) -> String {
    let (tone, word) = if report.valid { (Tone::Good, "accepted") } else { (Tone::Bad, "not accepted") };
    let mut out = look.paint(tone, word);
    if let Some(kid) = &report.kid {
        out.push_str(&format!(": key {kid}"));
        let about = [report.algorithm.map(Algorithm::as_str), report.state.map(StateName::as_str)];
        let about: Vec<_> = about.into_iter().flatten().collect();
        out.push_str(&format!(" ({})", about.join(", ")));
    }
    out.push_str("\n\n");
    let mut table = Table::default();
    for check in &report.checks {
        let (tone, word) = match check.outcome.as_str() {
            "passed" => (Tone::Good, "ok"),
            "failed" => (Tone::Bad, "FAILED"),
            _ => (Tone::Warn, "not made"),
        };
        let says = check.says.as_deref().unwrap_or_default();
        table.row([Cell::toned(tone, word), check.check.as_str().into(), says.into()]);
    }
    if let Some(said) = &report.second_opinion {
        let agrees = (said == "accepted") == signature_holds(report);
        let tone = if agrees { Tone::Good } else { Tone::Warn };
        table.row([Cell::toned(tone, "second"), "jsonwebtoken".into(), said.as_str().into()]);
    }
    out.push_str(&table.render(look));
    for why in unusable {
        out.push_str(&format!("\nnot used: {why}"));
    }
    if !unusable.is_empty() {
        out.push('\n');
    }
    if let Some(claims) = &report.claims {
        out.push('\n');
        out.push_str(&members(claims, report.at));
    }
    out
}

/// Whether what the second opinion is about holds: everything but form, type, times and the profile's own claims.
fn signature_holds(report: &VerifyReport) -> bool {
    let judged = ["key", "algorithm", "signature", "issuer", "audience"];
    report.checks.iter().all(|check| !judged.contains(&check.check.as_str()) || check.outcome != "failed")
}

/// What a token says, and that nobody vouches for it.
pub(super) fn inspected(header: &Value, claims: &Map<String, Value>, now: Timestamp) -> String {
    let mut out = "NOT VERIFIED: anybody can write this. `keyrota token verify` says whether it holds.\n\nheader\n".to_owned();
    if let Some(header) = header.as_object() {
        out.push_str(&members(header, now));
    }
    out.push_str("\nclaims\n");
    out.push_str(&members(claims, now));
    out
}

fn members(members: &Map<String, Value>, now: Timestamp) -> String {
    let mut out = String::new();
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        out.push_str(&format!("  {}: {}", plain(name), plain(&value.to_string())));
        if ["exp", "iat", "nbf"].contains(&name.as_str())
            && let Some(seconds) = value.as_i64()
        {
            let at = Timestamp::EPOCH + Span::seconds(seconds.try_into().unwrap_or(0));
            out.push_str(&format!("  ({at}, {})", moment::relative(now, at)));
        }
        out.push('\n');
    }
    out
}

/// Without what would move a terminal's cursor: a stranger wrote it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
