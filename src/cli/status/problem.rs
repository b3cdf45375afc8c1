//! What is wrong, since when, and what to type.

use crate::cli::moment;
use crate::name::KeysetId;
use crate::status_report::{EnvironmentReport, KeysetReport, PendingReport, StatusReport, TlsReport};
use crate::time::Timestamp;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Overdue or broken: `status` exits with 3.
    Bad,
    /// Somebody may want to do something; nothing is late.
    Notice,
}

/// Something that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// With which environment or keyset.
    pub whose: String,
    /// What, as a sentence.
    pub what: String,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// What to do or type; may be empty.
    pub remedy: String,
}

/// Everything that is wrong, the worst first.
pub fn problems(report: &StatusReport) -> Vec<Problem> {
    let mut found: Vec<_> = report.tls.iter().flat_map(|tls| of_tls(tls, report.at)).collect();
    for environment in &report.environments {
        of_environment(environment, &mut found);
        for keyset in &environment.keysets {
            let id = KeysetId { environment: environment.name.clone(), keyset: keyset.name.clone() };
            of_keyset(&id, keyset, report.at, &mut found);
        }
    }
    found.sort_by_key(|problem| problem.severity);
    found
}

fn of_tls(tls: &TlsReport, now: Timestamp) -> impl Iterator<Item = Problem> {
    let add = |severity, sentence: &str, before: String| {
        let (why, remedy) = sentence.split_once("; hint: ").unwrap_or((sentence, "put a pair there that can be used"));
        Problem { severity, whose: "TLS of --listen".into(), what: before + why, since: None, remedy: remedy.to_owned() }
    };
    let refused = tls.refused.as_deref().map(|refused| {
        let taken_at = moment::full(tls.taken_at);
        add(Severity::Bad, refused, format!("another certificate is in its files and cannot be used, so that of {taken_at} is served on: "))
    });
    let severity = if tls.expires_at.is_some_and(|at| at <= now) { Severity::Bad } else { Severity::Notice };
    let expiry = tls.expiry(now).map(|says| add(severity, &says, String::new()));
    refused.into_iter().chain(expiry)
}

/// What it means that a replica does not speak for its store.
const NOT_FRESH: &str = "nothing rotates, signers are refused, verifiers get the last key sets";

fn of_environment(environment: &EnvironmentReport, found: &mut Vec<Problem>) {
    let name = environment.name.as_str();
    let mut add = |severity, what: String, since, remedy: &str| {
        found.push(Problem { severity, whose: name.to_owned(), what, since, remedy: remedy.to_owned() });
    };
    if !environment.policy.faults.is_empty() {
        let faults = environment.policy.faults.join("\n      ");
        let what = format!(
            "its policy file has faults, so the policy of {} stays in force:\n      {faults}",
            moment::full(environment.policy.taken_at)
        );
        add(Severity::Bad, what, None, "mend the file, then `keyrota check` and `keyrota reload --wait`");
    }
    let trouble = environment.store_trouble.as_ref();
    if let Some(trouble) = trouble {
        let (why, hint) = trouble.what.split_once("; hint: ").unwrap_or((&trouble.what, remedy_for("store")));
        let (severity, so) = if environment.fresh {
            (Severity::Notice, "until what was read last is too old, everybody is served as before")
        } else {
            (Severity::Bad, NOT_FRESH)
        };
        add(severity, format!("{why}; {so}"), trouble.since, hint);
    }
    if !environment.loaded {
        let what = "not every keyset has been looked at since the daemon began".to_owned();
        add(Severity::Notice, what, None, "it goes on by itself; the daemon's log shows how far it is");
    } else if !environment.fresh && trouble.is_none() {
        let what = format!("its store does not answer: {NOT_FRESH}");
        add(Severity::Bad, what, environment.confirmed_at, "`journalctl -u keyrota` says why; it goes on by itself once the store answers");
    }
}

fn of_keyset(id: &KeysetId, keyset: &KeysetReport, now: Timestamp, found: &mut Vec<Problem>) {
    let mut add = |severity, sentence: &str, since, remedy: &str| {
        let (what, hint) = sentence.split_once("; hint: ").unwrap_or((sentence, remedy));
        found.push(Problem { severity, whose: id.to_string(), what: what.to_owned(), since, remedy: hint.to_owned() });
    };
    let told = |because: &String| keyset.troubles.iter().any(|trouble| trouble.what == *because);
    for trouble in &keyset.troubles {
        // Replicas that take an edit one after the other differ for a while.
        let severity = if trouble.part == "policy" { Severity::Notice } else { Severity::Bad };
        add(severity, &trouble.what, trouble.since, remedy_for(&trouble.part));
    }
    let document = match keyset.document() {
        Ok(document) => document,
        Err(error) => return add(Severity::Bad, &error.to_string(), None, ""),
    };
    let active = document.as_ref().and_then(|d| d.active.as_ref());
    if let Some(overdue) = &keyset.overdue {
        // A vendor's keyset that nobody has begun yet is not late; nor is there a moment since when it would be.
        let begun = document.is_some();
        let severity = if overdue.label == "external" && !begun { Severity::Notice } else { Severity::Bad };
        let what = match active {
            None => "it has no active key",
            Some(_) if overdue.label == "uptake" => "a key that signs no more cannot leave",
            Some(_) => "its change-over is overdue",
        };
        let since = Some(overdue.since).filter(|_| begun);
        if told(&overdue.because) {
            add(severity, &format!("{what} because of that"), since, "");
        } else {
            add(severity, &format!("{what}: {}", overdue.because), since, remedy_for(&overdue.label));
        }
    }
    if let (Some(active), Some(rules)) = (active, &keyset.rules) {
        let stale_since = active.key.created_at + rules.max_age;
        if now > stale_since && !rules.orphaned {
            let age = now.since(active.key.created_at).rounded();
            let sentence = format!("its signing key is {age} old, more than max_age {}", rules.max_age);
            add(Severity::Bad, &sentence, Some(stale_since), "`keyrota plan` shows what comes next");
        }
    }
    if keyset.rules.as_ref().is_some_and(|r| r.orphaned) {
        let sentence = "it is in no policy any more: it is served with what it promised, and rotates no more";
        add(Severity::Notice, sentence, None, "put it back into the policy, or leave it to drain");
    }
    for signer in keyset.signers.iter().filter(|_| keyset.overdue.as_ref().is_none_or(|overdue| overdue.label != "uptake")) {
        if let Some(needed) = signer.lags_behind {
            let sentence =
                format!("signer {} still reports generation {}, and another key signs since {needed}", signer.name, signer.generation);
            add(Severity::Notice, &sentence, Some(signer.since), remedy_for("uptake"));
        }
    }
    if keyset.overdue.is_none() {
        for waiting in keyset.pending.iter().filter(|p| needs_somebody(p) && !told(&p.because)) {
            let sentence = format!("{} waits: {}", waiting.step, waiting.because);
            add(Severity::Notice, &sentence, None, remedy_for(&waiting.label));
        }
    }
}

/// Time alone does not bring it.
fn needs_somebody(pending: &PendingReport) -> bool {
    pending.at.is_none()
}

/// What to do about it, by the label of what is waited for or the part that is in trouble.
fn remedy_for(label: &str) -> &'static str {
    match label {
        "publish" | "target" => "look at the file's folder, its owner and the room on its disk; it is tried again by itself",
        "uptake" => "restart that signer, or look why it does not read its document; the key leaves without it when `uptake_bound` is over",
        "probe" => "ask the verifier why it does not see the key",
        "serving" | "propagation" | "window" | "retention" | "schedule" | "store-refresh" => {
            "it goes on by itself; `keyrota plan` shows when"
        }
        "store" => "`journalctl -u keyrota` says more; it is tried again by itself",
        "vendor" => "look at the vendor's status page and at the API key in the policy; it is asked again by itself",
        "keygen" => "`journalctl -u keyrota` says more; another key is made by itself",
        "clock" => "`timedatectl status`; it goes on once the clock is right",
        "policy" => "`keyrota plan --policies DIR` shows what the policy would change",
        "witness" => "was the store restored from a backup? `journalctl -u keyrota` says what was seen before",
        "full" => "`keyrota status` with the keyset's name shows its keys",
        _ => "",
    }
}
