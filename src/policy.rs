//! Policies: what an SRE states about an environment, one YAML file each, and everything that can be judged about it beforehand.
//!
//! [`parse`] is the one way in: text goes in, and out comes either a [`Policy`] in which every default is filled in and every law
//! holds, or *all* faults at once, each with its line and a hint. Inside: `tree` reads YAML with lines, `walk` holds it against the
//! schema of the `raw` types, `resolve` fills in defaults and profiles, `laws` does the sums.
//!
//! Invariant: nothing here reads a clock, a store or the system; only [`files`] does I/O. Invariant: nothing panics, whatever the text.

mod fault;
pub mod files;
mod laws;
mod leaf;
mod probe;
mod profile;
mod raw;
mod resolve;
mod schema;
mod spec;
mod store;
mod target;
mod token;
mod tree;
mod walk;
mod webhook;
mod window;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

pub use fault::{Fault, Warning};
pub use files::{Folder, load_folder};
pub use laws::{COMFORTABLE_LIVE_KEYS, RESERVED_FOR_REVOCATION, most_live_keys};
pub use probe::{Probe, Probed};
pub use profile::{LEAST_AWS_SIGNER_REFRESH, LEAST_VERIFIER_REFRESH, SignerProfile, VerifierProfile};
pub use schema::schema;
pub use store::{AwsStore, StoreConfig, Sweep};
pub use target::{AlgoliaTarget, Audience, AwsSecretTarget, ExecTarget, FileTarget, InkeepAgentsTarget, STATE_DIR, Target, TargetFormat};
pub use token::{Caller, Profile, ProfileName, Rate, Refresh, Serving, Subjects, TokenPolicy};
pub use webhook::{SecretPlace, Webhook};
pub use window::{Window, WindowError};

use crate::digest::Digest;
use crate::document::Facts;
use crate::key::KeySpec;
use crate::name::{EnvironmentName, KeysetName};
use crate::time::Span;
use fault::{Place, Report};
use tree::Node;

/// How often an environment is looked at where its policy says nothing.
pub const DEFAULT_RECONCILE: &str = "*/5 * * * * *";

/// The longest policy file, in bytes.
pub const LONGEST_FILE: usize = 16 * 1024 * 1024;

/// One environment's policy: defaults filled in, every law checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The environment.
    pub environment: EnvironmentName,
    /// How often it is looked at: a cron expression with seconds that the scheduler accepts.
    pub reconcile: String,
    /// Where its documents are kept.
    pub store: StoreConfig,
    /// Its keysets.
    pub keysets: BTreeMap<KeysetName, KeysetPolicy>,
    /// Names its meaning: comments, order and defaults that are spelled out do not change it.
    pub digest: Digest,
    /// The file it was read from.
    pub source: PathBuf,
}

/// One keyset's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeysetPolicy {
    /// What is asked of new keys.
    pub spec: KeySpec,
    /// Who makes them.
    pub source: Source,
    /// The facts, with the store's own.
    pub facts: Facts,
    /// How long a key signs.
    pub rotate_every: Span,
    /// The age beyond which the signing key is stale.
    pub max_age: Span,
    /// How long what signs is kept of a key that signs no more.
    pub rollback_window: Span,
    /// By how much a rotation may be moved, so that many keysets do not rotate at once.
    pub jitter: Span,
    /// Who starts a rotation.
    pub mode: Mode,
    /// When the signing key may change over by schedule; `None`: at any time.
    pub window: Option<Window>,
    /// What is written outside the store.
    pub publish: Vec<Target>,
    /// Who is told what happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
    /// Which key sets are looked at from outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// Who may read the document on the signer socket.
    pub signers: Vec<SignerAccess>,
    /// What is served while the store is out of reach.
    pub stale: Stale,
    /// Where the first key comes from.
    pub start: Start,
    /// The only day on which a keyset that is missing from the store is created without an operator's word.
    #[serde(serialize_with = "as_text")]
    pub inception: Option<chrono::NaiveDate>,
    /// Whether verifiers can hold old and new keys side by side.
    pub verifier: VerifierShape,
    /// How much longer a retiring key is kept at most for signers that lag behind; `None`: their reports hold nothing up.
    pub uptake_bound: Option<Span>,
    /// What the tokens look like that keyrota mints with it; `None`: it mints none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenPolicy>,
    /// Whether refresh tokens of other keysets are sealed with its keys: their policies say so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub seals: bool,
    /// Why figures that would otherwise be refused are accepted.
    pub unsafe_reason: Option<String>,
    /// Names the meaning of this keyset's policy, with the store's facts in it.
    #[serde(skip)]
    pub digest: Digest,
}

/// Who makes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// keyrota.
    Generated,
    /// A vendor or an operator; keys are handed in.
    External,
    /// Algolia, whenever keyrota asks for the next one.
    Algolia,
}

/// Who starts a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// keyrota, by schedule.
    Auto,
    /// keyrota by schedule, but each activation needs `keyrota approve`.
    Approve,
    /// An operator, by `keyrota rotate`.
    Manual,
}

/// Who, besides root and the daemon's user, may read a document on the signer socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignerAccess {
    /// A system user by name.
    User(String),
    /// Every member of a system group, by its name.
    Group(String),
}

/// What a key set is served with by a process that cannot reach its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stale {
    /// The last set, marked as stale.
    Serve,
    /// 503.
    Refuse,
}

/// Where a keyset's first key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// keyrota generates it.
    Generate,
    /// It is handed in: nothing is generated before.
    Import,
}

/// Whether verifiers can hold old and new keys side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifierShape {
    /// They can: the normal case.
    Overlapping,
    /// They hold one key without a kid, so tokens die at the change-over, which must be approved.
    SingleKey,
}

/// What signers' reports of the generation that they use are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Uptake {
    /// They are shown, and hold nothing up.
    Reported,
    /// A retiring key stays until every signer that reports uses its successor, within `uptake_bound`.
    Required,
}

impl KeysetPolicy {
    /// The longest that a scheduled change-over ever waits for its window; zero without one.
    pub fn max_window_wait(&self) -> Span {
        self.window.as_ref().map_or(Span::ZERO, Window::max_wait)
    }

    /// The most keys that this policy lets be alive at once.
    pub fn most_live_keys(&self) -> u64 {
        laws::most_live_keys(&self.facts, self.rotate_every, self.max_window_wait(), self.uptake_bound).unwrap_or(u64::MAX)
    }

    fn with_digest(self) -> Self {
        // Serializing our own plain types cannot fail; if it did, the digest would say "unknown", never "unchanged".
        let meaning = serde_json::to_vec(&self).unwrap_or_default();
        Self { digest: Digest::of(&meaning), ..self }
    }
}

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference to the field")]
fn as_text<S: Serializer>(date: &Option<chrono::NaiveDate>, serializer: S) -> Result<S::Ok, S::Error> {
    match date {
        Some(date) => serializer.collect_str(date),
        None => serializer.serialize_none(),
    }
}

/// Reads one policy file's text. `path` names it in faults, and its stem must be the environment's name.
///
/// # Errors
/// Every fault that is in it, in the order of its lines.
///
/// ```
/// let text = "version: 1\nenvironment: demo\nkeysets:\n  a: {algorithm: ES256, token_ttl: 15}\n";
/// let faults = keyrota::policy::parse("demo.yaml".as_ref(), text).unwrap_err();
/// assert!(faults[0].to_string().starts_with("demo.yaml:4: keysets.a.signer_refresh: is missing; hint: "));
/// assert!(faults[1].to_string().starts_with("demo.yaml:4: keysets.a.token_ttl: `15` has no unit; hint: "));
/// ```
pub fn parse(path: &Path, text: &str) -> Result<(Policy, Vec<Warning>), Vec<Fault>> {
    let mut report = Report::new(path);
    let policy = read(path, text, &mut report);
    let report = report.sorted();
    match policy {
        Some(policy) if report.faults.is_empty() => Ok((policy, report.warnings)),
        _ if report.faults.is_empty() => Err(vec![Fault::of_file(path, "cannot be read as a policy", "please report this as a bug")]),
        _ => Err(report.faults),
    }
}

fn read(path: &Path, text: &str, report: &mut Report) -> Option<Policy> {
    if text.len() > LONGEST_FILE {
        let at = Place { line: 1, field: String::new() };
        report.fault(&at, format!("has {} bytes, more than {LONGEST_FILE}", text.len()), "split the environment");
        return None;
    }
    let mut root = tree::read(text, report)?;
    walk::check(&mut root, report);
    let environment = environment(path, &root, report);
    let store_node = root.get("store");
    let raw_store = store_node.filter(|node| node.sound).and_then(|node| typed(node, report));
    // A name is needed even where the stated one has a fault, for the name of a secret.
    let name = environment.clone().or_else(|| "unnamed".parse().ok())?;
    let store = store::resolve(raw_store, store_node, &name, report);
    let keysets = keysets(&root, &store, report);
    let reconcile = root.get("reconcile").filter(|node| node.sound).and_then(|node| node.value().as_str().map(str::to_owned));
    let reconcile = reconcile.unwrap_or_else(|| DEFAULT_RECONCILE.to_owned());
    let environment = environment?;
    if report.faults.is_empty() && typed::<raw::RawPolicy>(&root, report).is_none() {
        return None;
    }
    let parts: Vec<_> = keysets.iter().map(|(name, keyset)| (name, keyset.digest)).collect();
    let meaning = serde_json::to_vec(&(&environment, &reconcile, &store, parts)).unwrap_or_default();
    Some(Policy { digest: Digest::of(&meaning), environment, reconcile, store, keysets, source: path.to_owned() })
}

/// The environment's name, which the file bears too.
fn environment(path: &Path, root: &Node, report: &mut Report) -> Option<EnvironmentName> {
    let node = root.get("environment").filter(|node| node.sound)?;
    let text = node.value().as_str()?.to_owned();
    match text.parse::<EnvironmentName>() {
        Ok(name) => {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if stem == name.as_str() {
                return Some(name);
            }
            let hint = format!("call the file {name}.yaml, or the environment {stem}");
            report.fault(&node.place, format!("is `{name}`, the file is called `{stem}`"), hint);
        }
        Err(error) => report.fault_from(&node.place, &error.to_string()),
    }
    None
}

fn keysets(root: &Node, store: &StoreConfig, report: &mut Report) -> BTreeMap<KeysetName, KeysetPolicy> {
    let defaults = root.get("defaults");
    let mut found = BTreeMap::new();
    let mut resolver = resolve::Resolver {
        store,
        defaults,
        report,
        taken: target::Taken::default(),
        windows: BTreeMap::new(),
        default_excuse_used: false,
    };
    let keysets = root.get("keysets").map(Node::entries).unwrap_or_default();
    for (name, node) in keysets {
        let Ok(name) = name.parse::<KeysetName>() else { continue };
        if let Some(keyset) = resolver.keyset(&name, node) {
            found.insert(name, keyset);
        }
    }
    token::check_callers(keysets, resolver.report);
    token::check_sealing(keysets, &mut found, resolver.report);
    let idle = !resolver.default_excuse_used;
    if let Some(excuse) = defaults.and_then(|d| d.get("unsafe")).filter(|excuse| idle && excuse.sound) {
        report.warning(&excuse.place, "excuses nothing: all figures are acceptable without it", "remove it");
    }
    if let Some(none) = root.get("keysets").filter(|node| node.sound && keysets.is_empty()) {
        report.warning(&none.place, "names no keysets, so nothing is rotated here", "add one, or remove the file");
    }
    found
}

/// The typed form of a node, by `serde_yaml`. The walk has found what can be wrong with it, so a failure here is a fault of its own.
fn typed<T: DeserializeOwned>(node: &Node, report: &mut Report) -> Option<T> {
    match serde_yaml::with::singleton_map_recursive::deserialize(node.value()) {
        Ok(typed) => Some(typed),
        Err(error) => {
            let error: serde_yaml::Error = error;
            report.fault(&node.place, format!("cannot be read: {error}"), "compare it with the schema that `keyrota schema` prints");
            None
        }
    }
}
