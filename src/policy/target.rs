//! Targets: the places outside the store that keyrota writes for verifiers and signers.

mod algolia;
mod aws_secret;
mod exec;
mod inkeep_agents;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use algolia::AlgoliaTarget;
pub use aws_secret::AwsSecretTarget;
pub use exec::ExecTarget;
pub use inkeep_agents::InkeepAgentsTarget;

use super::fault::{Place, Report};
use super::raw::{RawFile, RawSource, RawTarget};
use super::tree::{Content, Node};
use super::{Source, StoreConfig, leaf};
use crate::key::{Algorithm, KeyClass};
use crate::name::KeysetName;
use crate::time::Span;

/// What a path may begin with instead of `/`: the daemon's own state directory.
pub const STATE_DIR: &str = "{state_dir}/";

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetFormat {
    /// The public key set (RFC 7517). Only for key pairs.
    Jwks,
    /// A directory with `public_key.pem` and, for signers, `private_key.pem` of the active key. Only for key pairs.
    Pem,
    /// Lines of `NAME=value` with the active secret. Only for HMAC secrets and API keys.
    Env,
    /// The whole keyset document, private material included.
    Document,
}

/// Who reads a target: it decides which wait its read-back belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// Whoever checks tokens.
    Verifiers,
    /// Whoever mints tokens or presents API keys.
    Signers,
}

/// A place outside the store. One kind each; what is the same for all of them is asked of this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)] // the witness remembers targets, and those of earlier versions were all files
pub enum Target {
    /// A file of this host.
    File(FileTarget),
    /// A secret in AWS Secrets Manager.
    AwsSecret(AwsSecretTarget),
    /// A program that takes the content.
    Exec(ExecTarget),
    /// The public keys of an app at Inkeep.
    InkeepAgents(InkeepAgentsTarget),
    /// The secret keys of an application at Algolia, which makes them.
    Algolia(AlgoliaTarget),
}

impl Target {
    /// What logs, metrics and the witness call it. No two targets of a keyset have the same name.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => file.name(),
            Self::AwsSecret(secret) => secret.to_string(),
            Self::Exec(exec) => exec.to_string(),
            Self::InkeepAgents(app) => app.to_string(),
            Self::Algolia(application) => application.to_string(),
        }
    }

    /// Who reads it.
    pub const fn audience(&self) -> Audience {
        match self {
            Self::File(file) => file.audience,
            Self::AwsSecret(_) | Self::InkeepAgents(_) | Self::Algolia(_) => Audience::Verifiers,
            Self::Exec(exec) => exec.audience,
        }
    }

    /// Whether it is one place that all replicas write, so that what is taken away there cannot be put back by one of them.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::AwsSecret(_) | Self::InkeepAgents(_) | Self::Algolia(_))
    }

    /// The same target as it is for a daemon with this state directory.
    #[must_use]
    pub fn beside(&self, state_dir: &Path) -> Self {
        match self {
            Self::File(file) => Self::File(file.beside(state_dir)),
            Self::AwsSecret(_) | Self::Exec(_) | Self::InkeepAgents(_) | Self::Algolia(_) => self.clone(),
        }
    }
}

impl From<FileTarget> for Target {
    fn from(file: FileTarget) -> Self {
        Self::File(file)
    }
}

/// A file (for `pem` a directory) that keyrota writes and reads back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTarget {
    /// The path as the policy states it: absolute, or beginning with [`STATE_DIR`]. [`FileTarget::beside`] resolves it.
    pub path: PathBuf,
    /// What is written.
    pub format: TargetFormat,
    /// Who reads it.
    pub audience: Audience,
    /// Its permissions, such as `0o640`.
    pub mode: u32,
    /// The group that owns it; `None`: the daemon's.
    pub group: Option<String>,
    /// Whether a file may be overwritten that holds keys which keyrota does not know.
    pub replace: bool,
}

impl FileTarget {
    /// The same target with the path that it has for a daemon with this state directory.
    ///
    /// ```
    /// # use keyrota::policy::{Audience, FileTarget, TargetFormat};
    /// # let mut target = FileTarget { path: "{state_dir}/jwks/a.json".into(), format: TargetFormat::Jwks,
    /// #     audience: Audience::Verifiers, mode: 0o644, group: None, replace: false };
    /// assert_eq!(target.beside("/var/lib/keyrota".as_ref()).path, std::path::Path::new("/var/lib/keyrota/jwks/a.json"));
    /// target.path = "/etc/app/a.json".into();
    /// assert_eq!(target.beside("/var/lib/keyrota".as_ref()), target);
    /// ```
    #[must_use]
    pub fn beside(&self, state_dir: &Path) -> Self {
        let path = self.path.strip_prefix(STATE_DIR).map_or_else(|_| self.path.clone(), |rest| state_dir.join(rest));
        Self { path, ..self.clone() }
    }

    /// What logs, metrics and the witness call it: its path.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Whether what is written there includes something secret.
    pub const fn is_secret(&self) -> bool {
        match self.format {
            TargetFormat::Jwks => false,
            TargetFormat::Pem => matches!(self.audience, Audience::Signers),
            TargetFormat::Env | TargetFormat::Document => true,
        }
    }
}

/// What targets of this environment have taken, with the place of the field that says so.
#[derive(Debug, Default)]
pub(super) struct Taken {
    paths: BTreeMap<PathBuf, Place>,
    secrets: BTreeMap<String, Place>,
    vendors: BTreeMap<String, Place>,
}

/// What a target is judged by besides what it says itself.
pub(super) struct Around<'a> {
    pub keyset: &'a KeysetName,
    pub class: KeyClass,
    pub algorithm: Algorithm,
    pub token_ttl: Option<Span>,
    pub store: &'a StoreConfig,
}

impl TargetFormat {
    /// Who reads it, unless the policy says otherwise.
    const fn usual_audience(self) -> Audience {
        match self {
            Self::Jwks => Audience::Verifiers,
            Self::Pem | Self::Env | Self::Document => Audience::Signers,
        }
    }
}

/// Reads `publish:` of one keyset; faults go into the report.
pub(super) fn resolve(raw: &[RawTarget], node: Option<&Node>, around: &Around<'_>, taken: &mut Taken, report: &mut Report) -> Vec<Target> {
    let items: &[Node] = match node.map(|n| &n.content) {
        Some(Content::Sequence(items)) => items,
        _ => &[],
    };
    // What is unsound was left out of the raw list, so the two go in step.
    let sound = items.iter().filter(|item| item.sound);
    let mut names: BTreeMap<String, Place> = BTreeMap::new();
    let mut targets = Vec::new();
    for (raw, item) in raw.iter().zip(sound) {
        let within = |field: &str| item.get(field).unwrap_or(item);
        let target = match raw {
            RawTarget::File(raw) => file(raw, within("file"), around.class, taken, report).map(Target::File),
            RawTarget::AwsSecret(raw) => aws_secret::resolve(raw, within("aws_secret"), around, taken, report).map(Target::AwsSecret),
            RawTarget::Exec(raw) => exec::resolve(raw, within("exec"), around, report).map(Target::Exec),
            RawTarget::InkeepAgents(raw) => {
                inkeep_agents::resolve(raw, within("inkeep_agents"), around, taken, report).map(Target::InkeepAgents)
            }
            RawTarget::Webhook(_) => None, // it holds nothing: `webhook` reads it
        };
        let Some(target) = target else { continue };
        if let Some(other) = names.get(&target.name()) {
            let what = format!("is the same as {} (line {})", other.field, other.line);
            report.fault(&item.place, what, "remove one of them, or give it another argument");
            continue;
        }
        names.insert(target.name(), item.place.clone());
        targets.push(target);
    }
    targets
}

/// The place that `source:` of one keyset names, if it names one.
pub(super) fn of_source(source: &RawSource, node: &Node, around: &Around<'_>, taken: &mut Taken, report: &mut Report) -> Option<Target> {
    let within = |field: &str| node.get("source").and_then(|source| source.get(field)).unwrap_or(node);
    match source {
        RawSource::Generated | RawSource::External => None,
        RawSource::InkeepAgents(raw) => {
            inkeep_agents::resolve(raw, within("inkeep_agents"), around, taken, report).map(Target::InkeepAgents)
        }
        RawSource::Algolia(raw) => algolia::resolve(raw, within("algolia"), around, report).map(Target::Algolia),
    }
}

impl RawSource {
    /// Who makes the keys.
    pub(super) const fn maker(&self) -> Source {
        match self {
            Self::Generated | Self::InkeepAgents(_) => Source::Generated,
            Self::External => Source::External,
            Self::Algolia(_) => Source::Algolia,
        }
    }
}

fn file(raw: &RawFile, node: &Node, class: KeyClass, taken: &mut Taken, report: &mut Report) -> Option<FileTarget> {
    let audience = raw.audience.unwrap_or_else(|| raw.format.usual_audience());
    let default_mode = if raw.format == TargetFormat::Jwks && audience == Audience::Verifiers { 0o644 } else { 0o600 };
    let mode = raw.mode.as_deref().and_then(|text| leaf::octal(text).ok()).unwrap_or(default_mode);
    let before = report.faults.len();
    if let Err((what, hint)) = lawful_path(&raw.path) {
        report.fault(&node.place_of("path"), what, hint);
    } else {
        take(&raw.path, node, taken, report);
    }
    misfit(raw.format, audience, class, node, report);
    let group = raw.group.clone().filter(|group| {
        let named = !group.is_empty() && group.bytes().all(|b| b.is_ascii_graphic() && !b":/,".contains(&b));
        if !named {
            report.fault(&node.place_of("group"), format!("`{group}` is not a group"), "write the name of a system group");
        }
        named
    });
    let target =
        FileTarget { path: PathBuf::from(&raw.path), format: raw.format, audience, mode, group, replace: raw.replace.unwrap_or(false) };
    if target.is_secret() && mode & 0o007 != 0 {
        let what = format!("{mode:04o} lets everybody on the machine at a secret");
        report.fault(&node.place_of("mode"), what, "use \"0600\", or \"0640\" with a group");
    }
    (report.faults.len() == before).then_some(target)
}

/// What cannot be written in a format, or must not be handed to those who read it.
fn misfit(format: TargetFormat, audience: Audience, class: KeyClass, node: &Node, report: &mut Report) {
    let asymmetric = class == KeyClass::Asymmetric;
    let wrong = match format {
        TargetFormat::Jwks if !asymmetric => Some("`jwks` holds public keys, and this keyset has none"),
        TargetFormat::Pem if !asymmetric => Some("`pem` holds key pairs, and this keyset has none"),
        TargetFormat::Env if asymmetric => Some("`env` holds one-line secrets, and this keyset has key pairs"),
        _ => None,
    };
    if let Some(what) = wrong {
        let hint = if asymmetric { "use jwks, pem or document" } else { "use env or document" };
        report.fault(&node.place_of("format"), what, hint);
    }
    if format == TargetFormat::Document && audience == Audience::Verifiers && asymmetric {
        let hint = "give verifiers `jwks`; `document` is for signers";
        report.fault(&node.place_of("for"), "a document holds private keys, which verifiers must not have", hint);
    }
}

fn lawful_path(path: &str) -> Result<(), (String, &'static str)> {
    let hint = "write an absolute path such as /etc/app/jwks.json, or {state_dir}/jwks.json";
    let Some(rest) = path.strip_prefix(STATE_DIR).or_else(|| path.strip_prefix('/')) else {
        return Err((format!("`{path}` is not absolute"), hint));
    };
    if path.len() > 4000 || path.chars().any(char::is_control) {
        return Err(("is longer than 4000 bytes or has control characters".to_owned(), hint));
    }
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err((format!("`{path}` has an empty part, `.` or `..` in it"), "write the path out, without a slash at its end"));
    }
    Ok(())
}

/// Notes that `path` is taken; a fault if it, a folder above it or a file below it already is.
fn take(path: &str, node: &Node, taken: &mut Taken, report: &mut Report) {
    let taken = &mut taken.paths;
    let at = node.place_of("path");
    let path = PathBuf::from(path);
    let above = path.ancestors().find_map(|ancestor| taken.get_key_value(ancestor));
    let below = || taken.range(path.clone()..).next().filter(|(other, _)| other.starts_with(&path));
    if let Some((other, place)) = above.or_else(below) {
        let what =
            format!("`{}` and `{}` of {} (line {}) are in each other's way", path.display(), other.display(), place.field, place.line);
        report.fault(&at, what, "give every target a path of its own");
        return;
    }
    taken.insert(path, at);
}
