//! `keyrota check`: every fault and warning of the policies, or what they say in a table.

use serde::Serialize;

use super::style::{Look, Tone};
use super::table::Table;
use crate::policy::{COMFORTABLE_LIVE_KEYS, Fault, Folder, KeysetPolicy, Policy, Warning};

/// A fault or warning for programs.
#[derive(Serialize)]
struct Found<'a> {
    file: String,
    line: usize,
    field: &'a str,
    what: &'a str,
    hint: &'a str,
}

/// A keyset for programs.
#[derive(Serialize)]
struct Keyset<'a> {
    environment: &'a str,
    #[serde(rename = "keyset")]
    name: &'a str,
    algorithm: &'a str,
    rotate_every: String,
    propagation: String,
    retention: String,
    max_window_wait: String,
    most_live_keys: u64,
}

#[derive(Serialize)]
struct Verdict<'a> {
    sound: bool,
    faults: Vec<Found<'a>>,
    warnings: Vec<Found<'a>>,
    keysets: Vec<Keyset<'a>>,
}

/// The verdict for people.
pub fn text(folder: &Folder, look: &Look) -> String {
    let mut out = String::new();
    for fault in folder.all_faults() {
        out.push_str(&format!("{} {fault}\n", look.paint(Tone::Bad, "fault:")));
    }
    for warning in warnings(folder) {
        out.push_str(&format!("{} {warning}\n", look.paint(Tone::Warn, "warning:")));
    }
    for policy in sound(folder) {
        if !out.is_empty() {
            out.push('\n');
        }
        let count = policy.keysets.len();
        let plural = if count == 1 { "" } else { "s" };
        let heading = format!("{}: {count} keyset{plural}, all in order", policy.environment);
        out.push_str(&format!("{}\n", look.paint(Tone::Strong, &heading)));
        out.push_str(&keysets(policy, look));
    }
    let faults = folder.all_faults().count();
    if faults > 0 {
        let plural = if faults == 1 { "" } else { "s" };
        out.push_str(&format!("\n{}\n", look.paint(Tone::Bad, &format!("{faults} fault{plural}"))));
    }
    out
}

/// The verdict for programs.
///
/// # Errors
/// None that writing to memory could make.
pub fn json(folder: &Folder) -> serde_json::Result<String> {
    let verdict = Verdict {
        sound: folder.is_sound(),
        faults: folder.all_faults().map(Found::from).collect(),
        warnings: warnings(folder).map(Found::from).collect(),
        keysets: sound(folder).flat_map(|policy| policy.keysets.iter().map(|(name, k)| row(policy, name.as_str(), k))).collect(),
    };
    serde_json::to_string_pretty(&verdict).map(|text| text + "\n")
}

fn sound(folder: &Folder) -> impl Iterator<Item = &Policy> {
    folder.environments.values().filter_map(|loaded| loaded.as_ref().ok()).map(|(policy, _)| policy)
}

fn warnings(folder: &Folder) -> impl Iterator<Item = &Warning> {
    let of_files = folder.environments.values().filter_map(|loaded| loaded.as_ref().ok()).flat_map(|(_, warnings)| warnings);
    folder.warnings.iter().chain(of_files)
}

fn keysets(policy: &Policy, look: &Look) -> String {
    let headings = ["keyset", "algorithm", "rotate_every", "propagation", "retention", "max live keys"];
    let mut table = Table::with_headings(headings).indented(2);
    for (name, keyset) in &policy.keysets {
        let row = row(policy, name.as_str(), keyset);
        let tone = if row.most_live_keys > COMFORTABLE_LIVE_KEYS { Tone::Warn } else { Tone::Plain };
        table.row([
            row.name.into(),
            row.algorithm.into(),
            row.rotate_every.into(),
            row.propagation.into(),
            row.retention.into(),
            super::table::Cell::toned(tone, row.most_live_keys.to_string()),
        ]);
    }
    table.render(look)
}

fn row<'a>(policy: &'a Policy, name: &'a str, keyset: &'a KeysetPolicy) -> Keyset<'a> {
    Keyset {
        environment: policy.environment.as_str(),
        name,
        algorithm: keyset.spec.algorithm().as_str(),
        rotate_every: keyset.rotate_every.to_string(),
        propagation: keyset.facts.propagation().to_string(),
        retention: keyset.facts.retention().to_string(),
        max_window_wait: keyset.max_window_wait().to_string(),
        most_live_keys: keyset.most_live_keys(),
    }
}

impl<'a> From<&'a Fault> for Found<'a> {
    fn from(f: &'a Fault) -> Self {
        Self { file: f.file.display().to_string(), line: f.line, field: &f.field, what: &f.what, hint: &f.hint }
    }
}

impl<'a> From<&'a Warning> for Found<'a> {
    fn from(w: &'a Warning) -> Self {
        Self { file: w.file.display().to_string(), line: w.line, field: &w.field, what: &w.what, hint: &w.hint }
    }
}
