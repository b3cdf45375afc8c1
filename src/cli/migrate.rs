//! `keyrota migrate`: says first how every keyset stands and what will happen, asks, has it done, says what was done.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::args::{MigrateArgs, Output};
use super::client::Client;
use super::exit::Exit;
use super::style::{Look, Tone};
use super::table::{Cell, Table};
use super::{check, say, status, verbs};
use crate::migrate::Standing;
use crate::policy::{StoreConfig, load_folder};
use crate::status_report::migrate::{MigrateReport, MigrateRequest, MigratedReport, Part};

/// How long the daemon may take for a part: every keyset takes some calls of its stores.
const PATIENCE: Duration = Duration::from_mins(15);

/// Takes an environment's keysets a part of their way.
///
/// # Errors
/// If the daemon cannot be asked, or refuses the whole.
pub fn migrate(args: &MigrateArgs) -> anyhow::Result<Exit> {
    let store = match other_store(args)? {
        Ok(store) => store,
        Err(faults) => return say(&faults, Exit::Error),
    };
    let part = match (args.to, args.back, args.erase_source) {
        (Some(_), ..) => Part::Go,
        (None, true, _) => Part::Back,
        (None, false, true) => Part::Erase,
        (None, false, false) => Part::Keep,
    };
    let (environment, reason, recovery) = (args.environment.clone(), args.reason.clone(), args.recovery_window);
    let mut request = MigrateRequest { environment, part, store, reason, recovery, dry_run: true };
    let client = args.flags.daemon.client().patient(PATIENCE);
    let first = send(&client, &request)?;
    let json = args.flags.output.output == Output::Json;
    if args.flags.dry_run || !first.is_good() {
        return if json {
            say(&to_json(&first)?, exit_of(&first))
        } else {
            say(&announced(args, &first, &Look::of_stdout()), exit_of(&first))
        };
    }
    if json {
        eprint!("{}", announced(args, &first, &Look::PLAIN));
    } else {
        say(&announced(args, &first, &Look::of_stdout()), Exit::Done)?;
    }
    if !args.flags.yes && !verbs::agreed()? {
        eprintln!("nothing was changed");
        return Ok(Exit::Error);
    }
    request.dry_run = false;
    let done = send(&client, &request)?;
    if json { say(&to_json(&done)?, exit_of(&done)) } else { say(&reported(args, &done, &Look::of_stdout()), exit_of(&done)) }
}

/// The store of the policy in `--policies`, or its faults as text.
fn other_store(args: &MigrateArgs) -> anyhow::Result<Result<Option<StoreConfig>, String>> {
    let Some(dir) = &args.policies else { return Ok(Ok(None)) };
    let mut folder = load_folder(dir, std::slice::from_ref(&args.environment));
    if !folder.is_sound() {
        return Ok(Err(check::text(&folder, &Look::of_stdout())));
    }
    let Some(Ok((policy, _))) = folder.environments.remove(&args.environment) else {
        bail!("{} holds no {}.yaml; hint: --policies names the folder with the edited policy", dir.display(), args.environment);
    };
    if let Some(to) = args.to.filter(|to| to.as_str() != policy.store.kind()) {
        let (found, wanted) = (policy.store.kind(), to.as_str());
        bail!("{}: store: it is {found}, and --to says {wanted}; hint: name the folder with the edited policy", policy.source.display());
    }
    Ok(Ok(Some(policy.store)))
}

fn send(client: &Client, request: &MigrateRequest) -> anyhow::Result<MigrateReport> {
    let answer = client.post_json("/v1/migrate", serde_json::to_vec(request)?)?;
    if let Ok(report) = serde_json::from_slice(&answer.body) {
        return Ok(report);
    }
    status::accepted(&answer)?;
    bail!("the daemon's answer cannot be read; hint: are daemon and command of the same version?")
}

fn exit_of(report: &MigrateReport) -> Exit {
    if report.is_good() { Exit::Done } else { Exit::Refused }
}

fn to_json(report: &MigrateReport) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(report).context("the report cannot be written")?))
}

/// How everything stands, and what will happen.
pub fn announced(args: &MigrateArgs, report: &MigrateReport, look: &Look) -> String {
    let mut out = heading(args, report, look);
    if !report.is_good() {
        out.push_str("  nothing is changed: every keyset goes, or none\n");
        return out;
    }
    let environment = &args.environment;
    let steps: &[String] = match report.part {
        Part::Go | Part::Back => &[
            format!("each keyset is sealed in the {}: served on, changed no more", report.source),
            format!("then copied to the {} and read back; a copy that has moved on is left alone", report.target),
            if report.part == Part::Go {
                format!("then you merge the policy that names the {}, and `keyrota reload --wait` on every replica", report.target)
            } else {
                "the policy in force stays as it is".to_owned()
            },
            format!("last, `keyrota migrate {environment} --erase-source`; until then nothing scheduled begins"),
        ],
        Part::Erase | Part::Keep => &[
            format!("you say that no replica, signer or verifier reads the {} any more", report.source),
            "scheduled rotations begin again".to_owned(),
            if report.part == Part::Erase {
                format!("then what the {} holds of these keysets is erased", report.source)
            } else {
                format!("what the {} holds of them stays, sealed", report.source)
            },
        ],
    };
    for step in steps {
        out.push_str(&format!("  · {step}\n"));
    }
    out
}

/// What was done.
pub fn reported(args: &MigrateArgs, report: &MigrateReport, look: &Look) -> String {
    let mut out = heading(args, report, look);
    report.notes.iter().for_each(|note| out.push_str(&format!("  {note}\n")));
    let environment = &args.environment;
    out.push_str(&match (report.is_good(), report.part) {
        (false, _) => {
            format!("  {}: not every keyset is there; ask again, it goes on where it stopped\n", look.paint(Tone::Bad, "unfinished"))
        }
        (true, Part::Go) => format!(
            "  {}; now merge the policy and `keyrota reload --wait`; last `keyrota migrate {environment} --erase-source`\n",
            look.paint(Tone::Good, "all are there")
        ),
        (true, Part::Back) => format!(
            "  {}; last `keyrota migrate {environment} --erase-source --policies DIR`, with the policy that named the {}\n",
            look.paint(Tone::Good, "all are back"),
            report.source
        ),
        (true, Part::Erase | Part::Keep) => format!("  {}\n", look.paint(Tone::Good, "done: rotations go on")),
    });
    out
}

fn heading(args: &MigrateArgs, report: &MigrateReport, look: &Look) -> String {
    let title = look.paint(Tone::Strong, &format!("migrate {}", args.environment));
    let mut out = format!("{title}  from the {} to the {}\n", report.source, report.target);
    let mut table = Table::default().indented(2);
    for keyset in report.keysets.iter().filter(|keyset| keyset.standing != Some(Standing::Absent)) {
        table.row(row(keyset));
    }
    out.push_str(&table.render(look));
    out
}

fn row(keyset: &MigratedReport) -> [Cell; 3] {
    let (tone, says) = match (&keyset.stopped, keyset.standing) {
        (Some(stopped), _) => (Tone::Bad, format!("stopped: {}; hint: {}", stopped.error, stopped.hint)),
        (None, Some(Standing::Here)) => (Tone::Plain, "to be sealed and copied".to_owned()),
        (None, Some(Standing::Sealed)) => (Tone::Plain, "sealed, to be copied".to_owned()),
        (None, Some(Standing::Stranded)) => (Tone::Plain, "sealed towards nothing: the seal is to be lifted".to_owned()),
        (None, Some(Standing::There)) => (Tone::Good, "there".to_owned()),
        (None, Some(Standing::Both)) => (Tone::Plain, "there, and to be ended".to_owned()),
        (None, Some(Standing::Settled)) => (Tone::Good, "settled".to_owned()),
        (None, Some(Standing::Absent) | None) => (Tone::Faint, "nowhere".to_owned()),
    };
    let generation = if keyset.stopped.is_some() { String::new() } else { format!("generation {}", keyset.generation) };
    [keyset.keyset.as_str().into(), generation.into(), Cell::toned(tone, says)]
}
