//! The target `inkeep_agents`: the public keys of an app at Inkeep, whose agents check the tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Around, Taken};
use crate::key::{Algorithm, KeyClass};
use crate::policy::fault::Report;
use crate::policy::probe;
use crate::policy::raw::RawInkeepAgents;
use crate::policy::tree::Node;
use crate::policy::webhook::{SecretPlace, lawful_secret};
use crate::time::Span;
use crate::url::{Scheme, Trust, Url};

const DEFAULT_TIMEOUT: Span = Span::seconds(10);
const TIMEOUTS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::minutes(1);
const DEFAULT_EVERY: Span = Span::minutes(1);
const LOOKS: std::ops::RangeInclusive<Span> = Span::seconds(1)..=Span::hours(24);

/// The algorithms that the vendor's checker takes keys of: RSA from 2048 bits, P-256, P-384, P-521, Ed25519; no RSA-PSS.
const ACCEPTED: [Algorithm; 7] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::EdDsa];

/// The longest that a token may live there, from `iat` to `exp`.
const LONGEST_TOKEN: Span = Span::hours(24);

/// The public keys of one app at Inkeep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InkeepAgentsTarget {
    /// The address of the app's keys.
    #[serde(rename = "inkeep_agents")]
    pub url: Url,
    /// Where the API key stands. Never the key itself.
    pub api_key: SecretPlace,
    /// How often it is looked at while nothing changes.
    pub every: Span,
    /// How long a call may take.
    pub timeout: Span,
    /// Whose word for the server's name is taken.
    pub trust: Trust,
}

impl fmt::Display for InkeepAgentsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inkeep-agents:{}", self.url)
    }
}

/// Reads one; faults go into the report.
pub(super) fn resolve(
    raw: &RawInkeepAgents,
    node: &Node,
    around: &Around<'_>,
    taken: &mut Taken,
    report: &mut Report,
) -> Option<InkeepAgentsTarget> {
    let before = report.faults.len();
    if around.class != KeyClass::Asymmetric {
        let what = "`inkeep_agents` holds public keys, and this keyset has none";
        report.fault(&node.place, what, "sign these tokens with a key pair, for example `algorithm: ES256`");
    } else if !ACCEPTED.contains(&around.algorithm) {
        let names: Vec<_> = ACCEPTED.iter().map(|algorithm| algorithm.as_str()).collect();
        let what = format!("Inkeep's agents take no {} keys", around.algorithm);
        report.fault(&node.place, what, format!("one of {}", names.join(", ")));
    }
    if let Some(ttl) = around.token_ttl.filter(|ttl| *ttl > LONGEST_TOKEN) {
        let what = format!("Inkeep's agents refuse tokens that live longer than {LONGEST_TOKEN}, and `token_ttl` is {ttl}");
        report.fault(&node.place, what, format!("token_ttl: {LONGEST_TOKEN} or less"));
    }
    let (timeout, every) = (raw.timeout.unwrap_or(DEFAULT_TIMEOUT), raw.every.unwrap_or(DEFAULT_EVERY));
    for (field, span, lawful) in [("timeout", timeout, TIMEOUTS), ("every", every, LOOKS)] {
        if !lawful.contains(&span) {
            let what = format!("{span} is not from {} to {}", lawful.start(), lawful.end());
            report.fault(&node.place_of(field), what, "leave it out for the default");
        }
    }
    lawful_secret(&raw.api_key, node, "api_key", report);
    let url = address(&raw.url, node, taken, report);
    let trust = probe::trust(raw.ca_file.as_deref(), node, report);
    (report.faults.len() == before).then_some(())?;
    Some(InkeepAgentsTarget { url: url?, api_key: raw.api_key.clone(), every, timeout, trust: trust? })
}

/// The address of an app's keys. Two keysets at one address would be in order, each leaving the other's keys alone; but a key of one
/// is nothing to the other's tokens, so it is more likely a slip.
fn address(text: &str, node: &Node, taken: &mut Taken, report: &mut Report) -> Option<Url> {
    let at = node.place_of("url");
    let url = match text.parse::<Url>() {
        Ok(url) => url,
        Err(error) => {
            report.fault_from(&at, &error.to_string());
            return None;
        }
    };
    if url.scheme() == Scheme::Http && !url.is_loopback() {
        report.fault(&at, format!("`{url}` is plain http, and the API key would be read on the way"), "use https");
    }
    if text.contains('?') {
        report.fault(&at, format!("`{url}` has a query, and each key has an address below this one"), "leave out what follows `?`");
    }
    if let Some(other) = taken.vendors.get(text) {
        let what = format!("`{url}` is the target of {} (line {}) already", other.field, other.line);
        report.fault(&at, what, "give every keyset an app of its own");
    } else {
        taken.vendors.insert(text.to_owned(), at);
    }
    Some(url)
}
