//! `keyrota audit`: the trail for people, and the proof that it is as it was written.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

use super::args::Output;
use super::args::verbs::{TailArgs, TrailArgs, Until};
use super::exit::Exit;
use super::style::{Look, Tone};
use super::{moment, print, say, status};
use crate::audit::{self, TrailKey, Verified};
use crate::clock::Reading;
use crate::store::master_key::MasterKeySource;
use crate::store::master_key::change::next_key;
use crate::time::Timestamp;
use crate::witness::book::WitnessBook;

/// Proves the trail.
///
/// # Errors
/// If it cannot be read, or the daemon cannot be asked.
pub fn verify(args: &TrailArgs) -> anyhow::Result<Exit> {
    let verified = match &args.state_dir {
        None => {
            let answer = args.daemon.client().patient(std::time::Duration::from_mins(5)).get("/v1/audit/verify")?;
            status::accepted(&answer)?;
            serde_json::from_slice(&answer.body).context("the daemon's answer cannot be read")?
        }
        Some(state_dir) => {
            let source = args.master_key_file.clone().map_or(MasterKeySource::Default, MasterKeySource::File);
            let found = source.find(state_dir, false)?;
            let next = next_key(&found.path)?;
            let derived = [Some(found.key), next].into_iter().flatten().filter_map(|key| key.derived_key(audit::PURPOSE));
            let keys: Vec<TrailKey> = derived.map(TrailKey::new).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let head = runtime.block_on(async { WitnessBook::open(state_dir)?.trail_head().await })?;
            audit::verify(state_dir, &keys, head.as_ref()).map_err(|e| anyhow!(e))?
        }
    };
    let exit = if verified.flaws.is_empty() { Exit::Done } else { Exit::Broken };
    match args.output.output {
        Output::Table => say(&proof(&verified, &Look::of_stdout()), exit),
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&verified)?), exit),
    }
}

fn proof(verified: &Verified, look: &Look) -> String {
    let mut out = String::new();
    for flaw in &verified.flaws {
        let place = if flaw.file.is_empty() { "the end".to_owned() } else { format!("{}:{}", flaw.file, flaw.line) };
        let _ = writeln!(out, "{} {place}: {}", look.paint(Tone::Bad, "broken"), flaw.what);
    }
    let span = verified.span.map(|(first, last)| format!(", {} to {}", moment::full(first), moment::full(last))).unwrap_or_default();
    let lines = format!("{} lines, {} to {}{span}", verified.lines, verified.first, verified.last);
    let verdict = match verified.flaws.len() {
        0 => look.paint(Tone::Good, "the trail is as it was written"),
        n => look.paint(Tone::Bad, &format!("the trail was tampered with or damaged in {n} places")),
    };
    let _ = writeln!(out, "{verdict}: {lines}");
    out
}

/// Prints what happened.
///
/// # Errors
/// As [`verify`].
pub fn tail(args: &TailArgs) -> anyhow::Result<Exit> {
    let since = match args.since {
        Until::At(at) => at,
        Until::In(ago) => Reading::now().wall.minus(ago),
    };
    let text = match &args.state_dir {
        None => {
            let answer = args.daemon.client().get(&format!("/v1/audit?since={since}"))?;
            status::accepted(&answer)?;
            answer.body
        }
        Some(state_dir) => {
            let lines = audit::tail(state_dir, since, usize::MAX).map_err(|e| anyhow!(e))?;
            lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
        }
    };
    match args.output.output {
        Output::Json => print(&text, Exit::Done),
        Output::Table => say(&told(&String::from_utf8_lossy(&text), &Look::of_stdout()), Exit::Done),
    }
}

/// The lines for people: when, where, what, who, why.
fn told(text: &str, look: &Look) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            let _ = writeln!(out, "{}", look.paint(Tone::Bad, "(a line that cannot be read)"));
            continue;
        };
        let member = |name: &str| line[name].as_str().unwrap_or_default();
        let at = member("at").parse::<Timestamp>().map(moment::full).unwrap_or_default();
        let whose = match (member("environment"), member("keyset")) {
            ("", _) => String::new(),
            (environment, "") => format!("{environment}: "),
            (environment, keyset) => format!("{environment}/{keyset}: "),
        };
        let says = member("says");
        let says = says.strip_prefix(&whose).unwrap_or(says);
        let by = if member("actor").is_empty() { String::new() } else { format!(" by {}", member("actor")) };
        let why = if member("reason").is_empty() { String::new() } else { format!(" ({})", member("reason")) };
        let recovered = if line["recovered"] == true { look.paint(Tone::Warn, " recovered") } else { String::new() };
        let _ = writeln!(out, "{}  {whose}{says}{by}{why}{recovered}", look.paint(Tone::Faint, &at));
    }
    out
}
