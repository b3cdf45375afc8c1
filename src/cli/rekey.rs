//! `keyrota rekey`: says what it means, asks, has it done, and shows how far it is.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Output;
use super::args::verbs::RekeyArgs;
use super::client::{Answer, Client};
use super::exit::Exit;
use super::style::{Look, Tone};
use super::verbs::agreed;
use super::{say, status};
use crate::status_report::rekey::{RekeyPhase, RekeyReport, RekeyRequest};

const REKEY: &str = "/v1/rekey";

/// Between two looks at how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Changes the master key.
///
/// # Errors
/// If the daemon cannot be asked, or refuses.
pub fn rekey(args: &RekeyArgs) -> anyhow::Result<Exit> {
    let client = args.flags.daemon.client().patient(Duration::from_mins(2));
    let json = args.flags.output.output == Output::Json;
    let shown = |report: &RekeyReport, text: String, exit: Exit| {
        if json { say(&format!("{}\n", serde_json::to_string_pretty(report)?), exit) } else { say(&text, exit) }
    };
    let first = ask(&client, &args.reason, true)?;
    if args.flags.dry_run {
        return shown(&first, announced(&first, &Look::of_stdout()), Exit::Done);
    }
    if json {
        eprint!("{}", announced(&first, &Look::PLAIN));
    } else {
        say(&announced(&first, &Look::of_stdout()), Exit::Done)?;
    }
    if !args.flags.yes && !agreed()? {
        eprintln!("nothing was changed");
        return Ok(Exit::Error);
    }
    let mut report = ask(&client, &args.reason, false)?;
    let bar = bar();
    while !report.phase.is_over() {
        bar.set_length(report.values);
        bar.set_position(report.sealed);
        std::thread::sleep(LOOK_AGAIN);
        report = read(&client.get(REKEY)?)?;
    }
    bar.finish_and_clear();
    let exit = if report.phase == RekeyPhase::Done { Exit::Done } else { Exit::Error };
    shown(&report, reported(&report, &Look::of_stdout()), exit)
}

fn ask(client: &Client, reason: &str, dry_run: bool) -> anyhow::Result<RekeyReport> {
    let request = RekeyRequest { reason: reason.to_owned(), dry_run };
    read(&client.post_json(REKEY, serde_json::to_vec(&request)?)?)
}

fn read(answer: &Answer) -> anyhow::Result<RekeyReport> {
    status::accepted(answer)?;
    serde_json::from_slice(&answer.body).context("the daemon's answer cannot be read; hint: are daemon and command of the same version?")
}

fn bar() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} values").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, target).with_style(style)
}

/// What will happen.
pub fn announced(report: &RekeyReport, look: &Look) -> String {
    let (file, values) = (&report.key_file, report.values);
    let mut out = format!("{}  the master key {} in {file}\n", look.paint(Tone::Strong, "rekey"), report.master_key);
    match &report.next_key {
        Some(next) => out.push_str(&format!("  a change to key {next} was interrupted, and goes on\n")),
        None => out.push_str(&format!("  a new key is made as {file}.next\n")),
    }
    out.push_str(&format!("  {values} sealed documents are sealed anew under it, while everything goes on\n"));
    out.push_str(&format!("  then it takes the place of {file}, and the old key opens nothing any more\n"));
    out.push_str("  no signing key changes state, no token dies, signers and verifiers notice nothing\n");
    let note = look.paint(Tone::Warn, "note:");
    out.push_str(&format!("  {note} both files are needed until it is done; if it is interrupted, `keyrota rekey` goes on\n"));
    out.push_str(&format!(
        "  {note} copies of keysets.db made before need the old key: keep it with them, or take a `keyrota backup` after\n"
    ));
    out
}

/// What was done.
pub fn reported(report: &RekeyReport, look: &Look) -> String {
    let mut out = String::new();
    match (&report.phase, &report.refused) {
        (RekeyPhase::Done, _) => {
            let done = look.paint(Tone::Good, "done");
            let by = &report.by;
            out.push_str(&format!("rekey: {done}, master key {} in {}, in the name of {by}\n", report.master_key, report.key_file));
        }
        (_, Some(refused)) => {
            let bad = look.paint(Tone::Bad, "not finished");
            out.push_str(&format!("rekey: {bad}: {}; hint: {}\n", refused.said.error, refused.said.hint));
        }
        (_, None) => out.push_str("rekey: the daemon was started anew meanwhile; hint: `keyrota rekey` goes on where it stopped\n"),
    }
    report.notes.iter().for_each(|note| out.push_str(&format!("  {note}\n")));
    out
}
