//! The command line: reads what was asked, does it or asks the daemon, and says how it went.
//!
//! What is printed is made by pure functions from data to text ([`check`], [`plan`], [`status`]), so that golden files can hold it;
//! this file and [`client`] do the rest. It knows nothing of keys and stores: those belong to the daemon behind the socket.

#![allow(clippy::format_push_string, reason = "an allocation a line is nothing to a command that prints one screen")]

pub mod args;
mod audit;
mod backup;
pub mod check;
pub mod client;
pub mod doctor;
pub mod exit;
mod export;
pub mod kids;
pub mod migrate;
pub mod moment;
mod online;
pub mod paths;
pub mod plan;
pub mod rekey;
pub mod status;
pub mod style;
pub mod table;
mod teach;
mod token;
pub mod verbs;

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;

use crate::clock::Reading;
use crate::picture;
use crate::policy;
use crate::status_report::ReloadReport;
use crate::status_report::verbs::VerbAsked;
use args::verbs::AuditCommand;
use args::{CheckArgs, Cli, Command, JwksArgs, Output, PlanArgs, ReloadArgs, StatusArgs};
use exit::Exit;
use plan::source::Outcome;
use style::Look;

/// How long `reload --wait` waits.
const RELOAD_WAIT: Duration = Duration::from_mins(2);

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(wrong) => {
            // Help and version are "errors" of clap's, with the status of success.
            let _ = wrong.print();
            return if wrong.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("keyrota: {error:#}");
            Exit::Error.into()
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => crate::daemon::run(&args),
        Command::Check(args) => check(&args),
        Command::Plan(args) => plan(&args),
        Command::Status(args) => status(&args),
        Command::Schema => {
            let text = serde_json::to_string_pretty(&policy::schema())?;
            say(&format!("{text}\n"), Exit::Done)
        }
        Command::Jwks(args) => jwks(&args),
        Command::Reload(args) => reload(&args),
        Command::Rotate(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Revoke(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Compromise(args) => verbs::ask(&args.asked(VerbAsked::Compromise), &args.flags),
        Command::Rollback(args) => verbs::ask(&args.asked(VerbAsked::Rollback), &args.flags),
        Command::Freeze(args) => verbs::ask(&args.asked(Reading::now().wall), &args.flags),
        Command::Unfreeze(args) => verbs::ask(&args.asked(VerbAsked::Unfreeze), &args.flags),
        Command::Approve(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Accept(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Init(args) => verbs::ask(&args.asked(VerbAsked::Init), &args.flags),
        Command::Remove(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Restored(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Import(args) => verbs::ask(&verbs::import::asked(&args)?, &args.flags),
        Command::Export(args) => export::export(&args),
        Command::Token { command } => token::token(&command),
        Command::Purge(args) => verbs::ask(&args.asked(), &args.flags),
        Command::Migrate(args) => migrate::migrate(&args),
        Command::Rekey(args) => rekey::rekey(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Audit { command: AuditCommand::Verify(args) } => audit::verify(&args),
        Command::Audit { command: AuditCommand::Tail(args) } => audit::tail(&args),
        Command::Completions { shell } => print(&teach::completions(shell), Exit::Done),
        Command::Man { dir: None } => print(&teach::manual()?, Exit::Done),
        Command::Man { dir: Some(dir) } => {
            teach::write_manuals(&dir).with_context(|| format!("cannot write manual pages into {}", dir.display()))?;
            Ok(Exit::Done)
        }
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    let folder = policy::load_folder(&args.policies.folder(), &args.policies.environments);
    let exit = if folder.is_sound() { Exit::Done } else { Exit::Error };
    if args.online && folder.is_sound() {
        let findings = online::findings(&folder)?;
        if args.output.output == Output::Table {
            say(&format!("{}\n", check::text(&folder, &Look::of_stdout())), exit)?;
        }
        return doctor::shown(&findings, false, args.output.output);
    }
    match args.output.output {
        Output::Table => say(&check::text(&folder, &Look::of_stdout()), exit),
        Output::Json => say(&check::json(&folder)?, exit),
    }
}

fn plan(args: &PlanArgs) -> anyhow::Result<Exit> {
    let plan = match plan::source::plan(args)? {
        Outcome::Plan(plan) => plan,
        Outcome::Faults(folder) => {
            return match args.output.output {
                Output::Table => say(&check::text(&folder, &Look::of_stdout()), Exit::Error),
                Output::Json => say(&check::json(&folder)?, Exit::Error),
            };
        }
    };
    let exit = if plan.is_refused() { Exit::Refused } else { Exit::Done };
    if let Some(file) = &args.svg {
        std::fs::write(file, picture::file(&plan)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    match args.output.output {
        Output::Table => say(&plan::text(&plan, &Look::of_stdout()), exit),
        Output::Json => say(&plan::json(&plan)?, exit),
    }
}

fn status(args: &StatusArgs) -> anyhow::Result<Exit> {
    let client = args.daemon.client();
    let query = match (&args.keyset, args.environments.as_slice()) {
        (Some(id), _) => format!("?environment={}&keyset={}", id.environment, id.keyset),
        (None, [environment]) => format!("?environment={environment}"),
        (None, _) => String::new(),
    };
    let answer = client.get(&format!("/v1/status{query}"))?;
    let mut report = status::parse(&answer)?;
    status::only(&mut report, &args.environments);
    let problems = status::problems(&report);
    let bad = problems.iter().any(|p| p.severity == status::Severity::Bad);
    let exit = if bad { Exit::Broken } else { Exit::Done };
    if args.output.output == Output::Json {
        // As the daemon wrote it, unless something is to be left out of it.
        let body = if args.environments.len() > 1 { serde_json::to_vec(&report)? } else { answer.body };
        return print(&body, exit);
    }
    let look = Look::of_stdout();
    let Some(id) = &args.keyset else { return say(&status::overview::text(&report, &look), exit) };
    let keyset = status::find(&report, id).with_context(|| format!("there is no keyset {id}; hint: `keyrota status` lists them"))?;
    say(&status::detail::text(id, keyset, &problems, report.at, &look), exit)
}

fn jwks(args: &JwksArgs) -> anyhow::Result<Exit> {
    let id = &args.keyset;
    if args.url {
        let base = args.base.trim_end_matches('/');
        return say(&format!("{base}/{}/{}/.well-known/jwks.json\n", id.environment, id.keyset), Exit::Done);
    }
    let answer = args.daemon.client().get(&format!("/v1/status?environment={}&keyset={}", id.environment, id.keyset))?;
    let report = status::parse(&answer)?;
    let keyset = status::find(&report, id).with_context(|| format!("there is no keyset {id}; hint: `keyrota status` lists them"))?;
    let Some(document) = keyset.document()? else {
        bail!("{id} has no key yet; hint: `keyrota status {id}` says what it waits for");
    };
    let set = document.jwks();
    if set.keys.is_empty() {
        bail!("{id} has no key set: its keys are secrets, which are never published; hint: signers and verifiers read its document");
    }
    say(&format!("{}\n", serde_json::to_string_pretty(&set)?), Exit::Done)
}

fn reload(args: &ReloadArgs) -> anyhow::Result<Exit> {
    let wait = if args.wait { format!("?wait={}s", RELOAD_WAIT.as_secs()) } else { String::new() };
    let client = args.daemon.client().patient(RELOAD_WAIT + Duration::from_secs(10));
    let answer = client.post(&format!("/v1/reload{wait}"))?;
    status::accepted(&answer)?;
    let report: ReloadReport = serde_json::from_slice(&answer.body).context("the daemon's answer cannot be read")?;
    let exit = if report.all_in_force() || !args.wait { Exit::Done } else { Exit::Error };
    say(&reloaded(&report, args.wait), exit)
}

/// What became of a reload, for people.
fn reloaded(report: &ReloadReport, waited: bool) -> String {
    match (report.done, waited) {
        (true, _) => {}
        (false, false) => return "the daemon reads its policies again; `keyrota status` shows what became of it\n".to_owned(),
        (false, true) => return format!("the daemon is not done after {RELOAD_WAIT:?}; hint: `keyrota status` shows what became of it\n"),
    }
    let mut out = String::new();
    for environment in &report.environments {
        if environment.in_force {
            out.push_str(&format!("{}: in force\n", environment.name));
        } else {
            out.push_str(&format!("{}: refused, the policy that was in force stays\n", environment.name));
            environment.faults.iter().for_each(|fault| out.push_str(&format!("  {fault}\n")));
        }
    }
    out
}

fn say(text: &str, exit: Exit) -> anyhow::Result<Exit> {
    print(text.as_bytes(), exit)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
fn print(bytes: &[u8], exit: Exit) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(exit),
    }
}
