//! Operators' verbs: says first what will happen, asks, has it done, says what was done.

pub(super) mod import;
mod text;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

pub use text::{announced, reported};

use super::args::Output;
use super::args::verbs::VerbFlags;
use super::client::{Answer, Client};
use super::exit::Exit;
use super::style::Look;
use super::{say, status};
use crate::status_report::verbs::{VerbReport, VerbRequest};

/// The path on the control socket.
const VERBS: &str = "/v1/verbs";

/// How long a verb may take: a new RSA key is made for each keyset that it concerns.
const PATIENCE: Duration = Duration::from_mins(5);

/// Asks for a verb: what it would do, then, if that is agreed to, for the thing itself.
///
/// # Errors
/// If the daemon cannot be asked, or refuses the whole.
pub fn ask(request: &VerbRequest, flags: &VerbFlags) -> anyhow::Result<Exit> {
    let client = flags.daemon.client().patient(PATIENCE);
    let first = send(&client, request, true)?;
    let refused = exit_of(&first);
    let json = flags.output.output == Output::Json;
    if flags.dry_run || first.keysets.iter().all(|outcome| outcome.refused.is_some()) && !first.keysets.is_empty() {
        return if json { say(&to_json(&first)?, refused) } else { say(&announced(request, &first, &Look::of_stdout()), refused) };
    }
    // What will happen is for people; a program that reads the result finds it there.
    if json {
        eprint!("{}", announced(request, &first, &Look::PLAIN));
    } else {
        say(&announced(request, &first, &Look::of_stdout()), Exit::Done)?;
    }
    if !flags.yes && !agreed()? {
        eprintln!("nothing was changed");
        return Ok(Exit::Error);
    }
    let mut request = agreed_to(request, &first, !flags.yes);
    request.dry_run = false;
    let done = send(&client, &request, false)?;
    if json { say(&to_json(&done)?, exit_of(&done)) } else { say(&reported(&request, &done, &Look::of_stdout()), exit_of(&done)) }
}

/// The same request, bound to what was shown if somebody read it.
fn agreed_to(request: &VerbRequest, first: &VerbReport, bound: bool) -> VerbRequest {
    let shown = first.keysets.iter().filter_map(|o| Some((o.keyset.clone(), o.preview.as_ref()?.fingerprint)));
    VerbRequest { seen: if bound { shown.collect() } else { std::collections::BTreeMap::new() }, ..request.clone() }
}

fn send(client: &Client, request: &VerbRequest, dry_run: bool) -> anyhow::Result<VerbReport> {
    let request = VerbRequest { dry_run, ..request.clone() };
    // Imported keys are secret, so no half-written copy is left behind by a growing buffer.
    let mut body = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer(&mut *body, &request).context("the request cannot be written")?;
    let answer = client.post_json(VERBS, std::mem::take(&mut *body))?;
    read(&answer)
}

/// Refusals of single keysets come with an error status and a report; refusals of the whole with words only.
fn read(answer: &Answer) -> anyhow::Result<VerbReport> {
    if let Ok(report) = serde_json::from_slice(&answer.body) {
        return Ok(report);
    }
    status::accepted(answer)?;
    bail!("the daemon's answer cannot be read; hint: are daemon and command of the same version?")
}

fn exit_of(report: &VerbReport) -> Exit {
    let refused: Vec<_> = report.keysets.iter().filter_map(|outcome| outcome.refused.as_ref()).collect();
    match refused.as_slice() {
        [] => Exit::Done,
        some if some.iter().any(|refused| refused.is_unsafe()) => Exit::Refused,
        _ => Exit::Error,
    }
}

fn to_json(report: &VerbReport) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(report)?))
}

/// Asks whoever sits at the terminal.
pub(super) fn agreed() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("nobody can be asked, because standard input is no terminal; hint: --yes does it without asking; nothing was changed");
    }
    eprint!("Go on? [y/N] ");
    std::io::stderr().flush().ok();
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("the answer cannot be read")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
