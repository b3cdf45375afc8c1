//! The source `algolia`: an application at Algolia, whose Agent Studio makes the keys and checks the tokens.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Around;
use crate::key::Algorithm;
use crate::policy::fault::Report;
use crate::policy::probe;
use crate::policy::raw::RawAlgolia;
use crate::policy::tree::Node;
use crate::policy::webhook::{SecretPlace, lawful_secret};
use crate::time::Span;
use crate::url::{Scheme, Trust, Url};

const DEFAULT_TIMEOUT: Span = Span::seconds(10);
const TIMEOUTS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::minutes(1);
const DEFAULT_EVERY: Span = Span::minutes(1);
const LOOKS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::hours(24);

/// The longest application id: it is part of a host's name (RFC 1035 §2.3.4).
const LONGEST_APPLICATION: usize = 63;

/// The most agents of one key, and the longest id of one.
const MOST_AGENTS: usize = 64;
const LONGEST_AGENT: usize = 128;

/// The secret keys of one application at Algolia.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlgoliaTarget {
    /// The application's id.
    #[serde(rename = "algolia")]
    pub application_id: String,
    /// Where the API key stands. Never the key itself.
    pub admin_key: SecretPlace,
    /// The agents that new keys are made for.
    pub agents: BTreeSet<String>,
    /// The API's address, without a path.
    pub url: Url,
    /// How often it is looked at while nothing changes.
    pub every: Span,
    /// How long a call may take.
    pub timeout: Span,
    /// Whose word for the server's name is taken.
    pub trust: Trust,
}

impl fmt::Display for AlgoliaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "algolia:{}", self.application_id)
    }
}

/// Reads one; faults go into the report.
pub(super) fn resolve(raw: &RawAlgolia, node: &Node, around: &Around<'_>, report: &mut Report) -> Option<AlgoliaTarget> {
    let before = report.faults.len();
    if around.algorithm != Algorithm::HS256 {
        let what = format!("Algolia makes secrets for HS256, and this keyset is {}", around.algorithm);
        report.fault(&node.place, what, "algorithm: HS256");
    }
    let (timeout, every) = (raw.timeout.unwrap_or(DEFAULT_TIMEOUT), raw.every.unwrap_or(DEFAULT_EVERY));
    for (field, span, lawful) in [("timeout", timeout, TIMEOUTS), ("every", every, LOOKS)] {
        if !lawful.contains(&span) {
            let what = format!("{span} is not from {} to {}", lawful.start(), lawful.end());
            report.fault(&node.place_of(field), what, "leave it out for the default");
        }
    }
    lawful_secret(&raw.admin_key, node, "admin_key", report);
    let id = &raw.application_id;
    if !(1..=LONGEST_APPLICATION).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        let shown: String = id.chars().take(LONGEST_APPLICATION).collect();
        let hint = "letters and digits, as Algolia's dashboard shows it";
        report.fault(&node.place_of("application_id"), format!("`{shown}` is not the id of an application"), hint);
    }
    let agents = agents(&raw.agents, node, report);
    let url = if report.faults.len() == before { address(raw, node, report) } else { None };
    let trust = probe::trust(raw.ca_file.as_deref(), node, report);
    (report.faults.len() == before).then_some(())?;
    let (application_id, admin_key) = (id.clone(), raw.admin_key.clone());
    Some(AlgoliaTarget { application_id, admin_key, agents, url: url?, every, timeout, trust: trust? })
}

fn agents(stated: &[String], node: &Node, report: &mut Report) -> BTreeSet<String> {
    let at = node.place_of("agents");
    if !(1..=MOST_AGENTS).contains(&stated.len()) {
        let what = format!("names {} agents, and a key is for 1 to {MOST_AGENTS}", stated.len());
        report.fault(&at, what, "the ids of the agents whose users these tokens are about");
    }
    let mut agents = BTreeSet::new();
    for agent in stated {
        if !(1..=LONGEST_AGENT).contains(&agent.len()) || !agent.bytes().all(|b| b.is_ascii_graphic()) {
            let shown: String = agent.chars().take(LONGEST_AGENT).collect();
            report.fault(&at, format!("`{shown}` is not the id of an agent"), "as the address of the agent's page at Algolia shows it");
        } else if !agents.insert(agent.clone()) {
            report.fault(&at, format!("names the agent `{agent}` twice"), "name each once");
        }
    }
    agents
}

/// The API's address: an origin alone, because paths are the API's own.
fn address(raw: &RawAlgolia, node: &Node, report: &mut Report) -> Option<Url> {
    let at = node.place_of("url");
    let own = || format!("https://{}.algolia.net", raw.application_id);
    let url = match raw.url.clone().unwrap_or_else(own).parse::<Url>() {
        Ok(url) => url,
        Err(error) => {
            report.fault_from(&at, &error.to_string());
            return None;
        }
    };
    if url.scheme() == Scheme::Http && !url.is_loopback() {
        report.fault(&at, format!("`{url}` is plain http, and the API key would be read on the way"), "use https");
    }
    let beyond = url.as_str().split_once("://").and_then(|(_, rest)| rest.split_once(['/', '?']));
    if beyond.is_some_and(|(_, path)| !path.is_empty()) {
        report.fault(&at, format!("`{url}` has a path, and keyrota knows those of Algolia's API"), "write the scheme and the host alone");
    }
    Some(url)
}
