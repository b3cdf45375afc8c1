//! Probes: addresses at which a policy wants verifiers' key sets to be looked at from outside.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fault::Report;
use super::raw::RawProbe;
use super::tree::{Content, Node};
use crate::key::KeyClass;
use crate::time::Span;
use crate::url::{Scheme, Trust, Url};

const DEFAULT_EVERY: Span = Span::seconds(30);
const DEFAULT_TIMEOUT: Span = Span::seconds(5);
const SHORTEST: Span = Span::seconds(1);
const LONGEST_TIMEOUT: Span = Span::minutes(1);
const LONGEST_EVERY: Span = Span::days(1);

/// More places than this are not looked at for one keyset.
const MOST_PROBES: usize = 16;

/// A key set to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Where verifiers fetch it.
    pub jwks_url: Url,
    /// How long after one look the next one comes.
    pub every: Span,
    /// How long a look may take.
    pub timeout: Span,
    /// Whose word for the server's name is taken.
    pub trust: Trust,
}

/// What the probes of a keyset mean for its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Probed {
    /// How many places are looked at.
    pub places: usize,
    /// The longest until each of them has been looked at once more, if no look fails.
    pub within: Span,
}

impl Probed {
    /// What these mean.
    pub fn by(probes: &[Probe]) -> Self {
        Self { places: probes.len(), within: probes.iter().map(Probe::look_within).max().unwrap_or_default() }
    }
}

impl Probe {
    /// What people, metrics and the witness call it.
    pub fn name(&self) -> &str {
        self.jwks_url.as_str()
    }

    /// The longest from one good look to the next if none fails.
    pub fn look_within(&self) -> Span {
        self.every + self.timeout
    }

    /// Two good looks farther apart than this say nothing of the time between them. One look in between may have failed.
    pub fn longest_gap(&self) -> Span {
        self.look_within() * 2
    }
}

/// Reads `probe:` of one keyset; faults go into the report.
pub(super) fn resolve(raw: &[RawProbe], node: &Node, class: KeyClass, report: &mut Report) -> Vec<Probe> {
    let Some(list) = node.get("probe") else { return Vec::new() };
    if class != KeyClass::Asymmetric {
        let what = "a probe looks at a public key set, and this keyset has none";
        report.fault(&list.place, what, "remove it; what verifiers of shared secrets read is a `document` target");
        return Vec::new();
    }
    let items: &[Node] = if let Content::Sequence(items) = &list.content { items } else { &[] };
    if items.len() > MOST_PROBES {
        report.fault(&list.place, format!("names {} probes, more than {MOST_PROBES}", items.len()), "look where verifiers really fetch");
    }
    let mut probes: Vec<Probe> = Vec::new();
    // What is unsound was left out of the raw list, so the two go in step.
    for (raw, item) in raw.iter().zip(items.iter().filter(|item| item.sound)) {
        let Some(probe) = one(raw, item, report) else { continue };
        if probes.iter().any(|other| other.jwks_url == probe.jwks_url) {
            let what = format!("`{}` is looked at already", probe.jwks_url);
            report.fault(&item.place_of("jwks_url"), what, "name each address once");
            continue;
        }
        probes.push(probe);
    }
    probes
}

fn one(raw: &RawProbe, item: &Node, report: &mut Report) -> Option<Probe> {
    let before = report.faults.len();
    let every = raw.every.unwrap_or(DEFAULT_EVERY);
    let timeout = raw.timeout.unwrap_or_else(|| DEFAULT_TIMEOUT.min(every));
    if !(SHORTEST..=LONGEST_EVERY).contains(&every) {
        report.fault(&item.place_of("every"), format!("{every} is not from {SHORTEST} to {LONGEST_EVERY}"), "for example 30s");
    }
    if !(SHORTEST..=LONGEST_TIMEOUT).contains(&timeout) || timeout > every.max(SHORTEST) {
        let what = format!("{timeout} is not from {SHORTEST} to {LONGEST_TIMEOUT}, or is longer than `every`, {every}");
        report.fault(&item.place_of("timeout"), what, "for example 5s");
    }
    let url = url(&raw.jwks_url, raw.allow_http == Some(true), item, "jwks_url", report);
    let trust = trust(raw.ca_file.as_deref(), item, report);
    (report.faults.len() == before).then_some(())?;
    Some(Probe { jwks_url: url?, every, timeout, trust: trust? })
}

/// An address that may be spoken to: over TLS, or in the clear where nobody is in between or the policy says so.
pub(super) fn url(text: &str, allow_http: bool, item: &Node, field: &str, report: &mut Report) -> Option<Url> {
    match text.parse::<Url>() {
        Err(error) => report.fault_from(&item.place_of(field), &error.to_string()),
        Ok(url) if url.scheme() == Scheme::Http && !url.is_loopback() && !allow_http => {
            let what = format!("`{url}` is plain http: whoever is in between can answer instead");
            report.fault(&item.place_of(field), what, "use https; or say `allow_http: true` if that network is yours");
        }
        Ok(url) => return Some(url),
    }
    None
}

/// Whom to believe.
pub(super) fn trust(ca_file: Option<&str>, item: &Node, report: &mut Report) -> Option<Trust> {
    match ca_file {
        None => Some(Trust::System),
        Some(path) if path.starts_with('/') && !path.chars().any(char::is_control) => Some(Trust::File(PathBuf::from(path))),
        Some(path) => {
            report.fault(&item.place_of("ca_file"), format!("`{path}` is not absolute"), "for example /etc/ssl/our-ca.pem");
            None
        }
    }
}
