//! Where a plan's state and rules come from: a running daemon, a file with its status, or nothing at all; and the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use anyhow::{Context as _, bail};

use super::{Known, Plan, Wish, lay_out};
use crate::cli::args::PlanArgs;
use crate::cli::client::ClientError;
use crate::cli::status;
use crate::clock::Reading;
use crate::name::{EnvironmentName, KeysetId};
use crate::policy::{Folder, Target, load_folder};
use crate::status_report::{EnvironmentReport, KeysetReport, StatusReport};

/// The state a plan begins with.
struct State {
    /// As half a sentence.
    from: String,
    report: Option<StatusReport>,
    notes: Vec<String>,
}

/// What came of a wish for a plan.
pub enum Outcome {
    /// Here it is.
    Plan(Plan),
    /// The policies have faults.
    Faults(Folder),
}

/// Makes the plan that was asked for.
///
/// # Errors
/// If state or policies cannot be had.
pub fn plan(args: &PlanArgs) -> anyhow::Result<Outcome> {
    let now = args.now.unwrap_or_else(|| Reading::now().wall);
    let State { from, report, mut notes } = state(args)?;
    let only = &args.policies.environments;
    let mut known = known(report.as_ref(), only, &mut notes);
    let edited = args.policies.policies.is_some() || report.is_none();
    let wishes = if edited {
        let folder = load_folder(&args.policies.folder(), only);
        if !folder.is_sound() {
            return Ok(Outcome::Faults(folder));
        }
        without_file(&mut known, &folder, &mut notes);
        without_read_back(&folder, &args.keysets, &mut notes);
        made_elsewhere(&folder, &args.keysets, &mut notes);
        Some(wishes(&folder))
    } else {
        without_rules(&known, &mut notes);
        None
    };
    let by =
        if edited { format!("by the policies in {}", args.policies.folder().display()) } else { "by the policies in force".to_owned() };
    let basis = format!("plan from {} on, {} ahead, {from}, {by}", crate::cli::moment::full(now), args.horizon);
    let mut keysets = lay_out(&known, wishes.as_ref(), now, args.horizon);
    if let Some(missing) = args.keysets.iter().find(|id| keysets.iter().all(|k| k.id != **id)) {
        bail!("there is nothing to plan for {missing}; hint: look at its spelling, and at --policies");
    }
    keysets.retain(|k| args.keysets.is_empty() || args.keysets.contains(&k.id));
    Ok(Outcome::Plan(Plan { now, horizon: args.horizon, basis, notes, is_edit: edited && report.is_some(), keysets }))
}

fn state(args: &PlanArgs) -> anyhow::Result<State> {
    let fresh = |notes| State { from: "from a fresh start".to_owned(), report: None, notes };
    if args.fresh {
        return Ok(fresh(Vec::new()));
    }
    if let Some(file) = &args.state {
        let mut text = Vec::new();
        let read = if file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut text).map(|_| ())
        } else {
            std::fs::read(file).map(|bytes| text = bytes)
        };
        read.with_context(|| format!("cannot read {}", file.display()))?;
        let report: StatusReport = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no status; hint: it is made by `keyrota status --output json`", file.display()))?;
        let from = format!("with the keys of {} (as of {})", file.display(), crate::cli::moment::full(report.at));
        return Ok(State { from, report: Some(report), notes: Vec::new() });
    }
    let client = args.daemon.client();
    match client.get("/v1/status") {
        Ok(answer) => {
            let report = status::parse(&answer)?;
            Ok(State {
                from: format!("with the keys of the daemon at {}", client.socket().display()),
                report: Some(report),
                notes: Vec::new(),
            })
        }
        Err(ClientError::NoSocket(socket) | ClientError::NobodyListens(socket)) => {
            Ok(fresh(vec![format!("no daemon answers on {}, so this is planned as if no keyset had a key yet", socket.display())]))
        }
        Err(error) => bail!(error),
    }
}

/// What a status tells of each keyset of these environments; notes say of which it tells too little.
pub(crate) fn known(report: Option<&StatusReport>, only: &[EnvironmentName], notes: &mut Vec<String>) -> BTreeMap<KeysetId, Known> {
    let mut known = BTreeMap::new();
    for environment in report.into_iter().flat_map(|r| &r.environments).filter(|e| only.is_empty() || only.contains(&e.name)) {
        for keyset in &environment.keysets {
            let id = KeysetId { environment: environment.name.clone(), keyset: keyset.name.clone() };
            match one(environment, keyset) {
                Ok(told) => drop(known.insert(id, told)),
                Err(why) => notes.push(format!("{id} is not planned: {why}")),
            }
        }
    }
    known
}

fn one(environment: &EnvironmentReport, keyset: &KeysetReport) -> Result<Known, String> {
    let document = keyset.document().map_err(|e| e.to_string())?;
    if let Some(trouble) = keyset.troubles.iter().find(|t| document.is_none() && t.part == "store") {
        return Err(trouble.what.clone());
    }
    let rules = keyset.rules.as_ref().and_then(|rules| rules.stated.clone());
    let troubles = keyset.troubles.iter().map(|t| t.what.clone()).collect();
    Ok(Known { document, rules, serving_since: environment.serving_since, troubles })
}

/// An environment without a file is left alone: a folder may hold only some of them.
fn without_file(known: &mut BTreeMap<KeysetId, Known>, folder: &Folder, notes: &mut Vec<String>) {
    let missing: BTreeSet<_> = known.keys().map(|id| id.environment.clone()).filter(|e| !folder.environments.contains_key(e)).collect();
    for environment in missing {
        notes.push(format!("there is no {environment}.yaml, so the environment {environment} is not planned"));
        known.retain(|id, _| id.environment != environment);
    }
}

/// Programs whose word is taken for it that a key is published.
fn without_read_back(folder: &Folder, only: &[KeysetId], notes: &mut Vec<String>) {
    for (policy, _) in folder.environments.values().filter_map(|loaded| loaded.as_ref().ok()) {
        for (name, keyset) in &policy.keysets {
            let id = KeysetId { environment: policy.environment.clone(), keyset: name.clone() };
            let unread = keyset.publish.iter().filter(|target| matches!(target, Target::Exec(exec) if exec.read_back.is_none()));
            for target in unread.filter(|_| only.is_empty() || only.contains(&id)) {
                notes.push(format!("{id}: nothing reads back {}: that the program ends with 0 counts as published", target.name()));
            }
        }
    }
}

/// Vendors that must answer for a new key to come.
fn made_elsewhere(folder: &Folder, only: &[KeysetId], notes: &mut Vec<String>) {
    for (policy, _) in folder.environments.values().filter_map(|loaded| loaded.as_ref().ok()) {
        for (name, keyset) in &policy.keysets {
            let id = KeysetId { environment: policy.environment.clone(), keyset: name.clone() };
            let makers = keyset.publish.iter().filter(|target| matches!(target, Target::Algolia(_)));
            for maker in makers.filter(|_| only.is_empty() || only.contains(&id)) {
                notes.push(format!("{id}: each new key is made by {}, and is late if that is away then", maker.name()));
            }
        }
    }
}

fn without_rules(known: &BTreeMap<KeysetId, Known>, notes: &mut Vec<String>) {
    let silent = known.values().filter(|k| k.rules.is_none()).count();
    if silent > 0 {
        notes.push(format!("the state does not tell the rules of {silent} keysets; hint: name the policies with --policies"));
    }
}

fn wishes(folder: &Folder) -> BTreeMap<KeysetId, Wish> {
    let policies = folder.environments.values().filter_map(|loaded| loaded.as_ref().ok());
    policies
        .flat_map(|(policy, _)| {
            policy.keysets.iter().map(|(name, keyset)| {
                let id = KeysetId { environment: policy.environment.clone(), keyset: name.clone() };
                (id, Wish::of(keyset, &policy.store))
            })
        })
        .collect()
}
