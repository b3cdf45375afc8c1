//! The page's words and tags. Pure: a status report in, HTML out.

use std::fmt::Write as _;

use super::{MOST_DRAWN, plans, style};
use crate::cli::kids::ShortKids;
use crate::cli::plan::KeysetPlan;
use crate::cli::status::{Problem, Severity, detail, overview as screen, problems};
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};
use crate::name::KeysetId;
use crate::picture::markup::escaped;
use crate::picture::{PATTERNS, Picture};
use crate::status_report::{EnvironmentReport, KeysetReport, StatusReport};

const LEGEND: &str = concat!(
    r#"<p class="legend" aria-hidden="true"><span class="key announced-key"></span> announced <span class="key active-key"></span> "#,
    r#"active: signs <span class="key retiring-key"></span> retiring: still accepted <span>(stretched around change-overs)</span></p>"#
);

/// Everything.
pub fn overview(report: &StatusReport) -> String {
    let found = problems(report);
    let count: usize = report.environments.iter().map(|e| e.keysets.len()).sum();
    let drawn = if count <= MOST_DRAWN { plans(report) } else { Vec::new() };
    let mut main = listed(&found, report);
    for environment in &report.environments {
        main.push_str(&one_environment(environment, report, &drawn));
    }
    document(report, &found, &main)
}

/// One keyset on a page of its own.
pub fn alone(report: &StatusReport, id: &KeysetId, keyset: &KeysetReport) -> String {
    let found = problems(report);
    let plans = plans(report);
    let mut main = r#"<p><a href="/">all keysets</a></p>"#.to_owned();
    main.push_str(&listed(&found, report));
    main.push_str(LEGEND);
    main.push_str(&article(id, keyset, plans.first(), report, true));
    document(report, &found, &main)
}

fn document(report: &StatusReport, found: &[Problem], main: &str) -> String {
    let Cell { text, tone } = screen::in_a_word(found);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><link rel=\"icon\" href=\"data:,\"><title>keyrota: {text}</title><style>{}</style></head>\n<body>{PATTERNS}<header>\
         <h1>keyrota</h1><p><strong class=\"{}\">{text}</strong>: {}</p></header>\n<main>{main}</main></body></html>\n",
        style(),
        class(tone),
        escaped(&screen::of_what(report)),
    )
}

fn listed(found: &[Problem], report: &StatusReport) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut out = "<section aria-label=\"problems\"><h2>Problems</h2><ul class=\"problems\">".to_owned();
    for problem in found {
        let (class, word) = match problem.severity {
            Severity::Bad => ("bad", "broken"),
            Severity::Notice => ("warn", "to know"),
        };
        let remedy = if problem.remedy.is_empty() { String::new() } else { format!("<br>→ {}", coded(&problem.remedy)) };
        let _ = write!(
            out,
            "<li class=\"{class}\"><span class=\"badge\">{word}</span> <b>{}</b>: {}{}{remedy}</li>",
            escaped(&problem.whose),
            coded(&problem.what),
            escaped(&screen::since(problem, report.at)),
        );
    }
    out.push_str("</ul></section>");
    out
}

fn one_environment(environment: &EnvironmentReport, report: &StatusReport, drawn: &[KeysetPlan]) -> String {
    let name = environment.name.as_str();
    let standing = screen::standing(environment, report.at);
    let mut out = format!("<section aria-label=\"environment {name}\"><h2>{name}</h2><p class=\"faint\">{}</p>", escaped(&standing));
    if environment.keysets.is_empty() {
        out.push_str("<p>no keysets</p>");
    }
    if drawn.is_empty() {
        let table = screen::table(environment, report.at);
        out.push_str(&tabled(&table, |keyset| Some(link(&format!("{name}/{keyset}"), keyset))));
    } else {
        out.push_str(LEGEND);
        for keyset in &environment.keysets {
            let id = KeysetId { environment: environment.name.clone(), keyset: keyset.name.clone() };
            out.push_str(&article(&id, keyset, drawn.iter().find(|plan| plan.id == id), report, false));
        }
    }
    out.push_str("</section>");
    out
}

fn link(id: &str, words: &str) -> String {
    format!("<a href=\"/?keyset={}\">{}</a>", escaped(id), escaped(words))
}

fn article(id: &KeysetId, keyset: &KeysetReport, plan: Option<&KeysetPlan>, report: &StatusReport, alone: bool) -> String {
    let name = id.to_string();
    let (heading, below) = if alone { ("h2", "h3") } else { ("h3", "h4") };
    let ruled = escaped(&detail::ruled(keyset)).to_string();
    let mut out = format!("<article><{heading}>{}</{heading}><p class=\"faint\">{ruled}</p>", link(&name, &name));
    if let Some(picture) = plan.and_then(Picture::of) {
        out.push_str(&picture.element(&format!("keys of {name} over time; the table below says the same")));
    }
    let document = keyset.document().ok().flatten();
    let shorts = document.as_ref().map(ShortKids::of_document).unwrap_or_default();
    let pending = detail::pending(keyset, &shorts, report.at);
    if !pending.is_empty() {
        let _ = write!(out, "<{below} class=\"next\">What comes next</{below}>");
        out.push_str(&tabled(&pending, |_| None));
    }
    let keys = document.as_ref().map(|document| detail::keys(document, report.at)).unwrap_or_default();
    if keys.is_empty() {
        out.push_str("<p>no key yet</p>");
    } else {
        let open = if alone { " open" } else { "" };
        let _ = write!(out, "<details{open}><summary>Keys of {}</summary>{}</details>", escaped(&name), tabled(&keys, |_| None));
    }
    out.push_str("</article>");
    out
}

/// A table of text as one of HTML; `first` may say something else for what stands in the first column.
fn tabled(table: &Table, first: impl Fn(&str) -> Option<String>) -> String {
    let mut out = "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"table\"><table>".to_owned();
    if !table.headings().is_empty() {
        out.push_str("<thead><tr>");
        for cell in table.headings() {
            let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(&cell.text.to_lowercase()));
        }
        out.push_str("</tr></thead>");
    }
    out.push_str("<tbody>");
    for row in table.rows() {
        out.push_str("<tr>");
        for (n, cell) in row.iter().enumerate() {
            let content = if n == 0 { first(&cell.text) } else { None }.unwrap_or_else(|| escaped(&cell.text).to_string());
            let _ = write!(out, "<td class=\"{}\">{content}</td>", class(cell.tone));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A sentence with what stands between backquotes as code.
fn coded(sentence: &str) -> String {
    let mut out = String::new();
    for (n, part) in sentence.split('`').enumerate() {
        let _ = if n % 2 == 1 { write!(out, "<code>{}</code>", escaped(part)) } else { write!(out, "{}", escaped(part)) };
    }
    out
}

const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Strong => "strong",
        Tone::Faint => "faint",
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
        Tone::New => "new",
    }
}
