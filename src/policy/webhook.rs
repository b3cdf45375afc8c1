//! Webhooks: addresses that are told what happens to a keyset. They gate nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Report;
use super::probe;
use super::raw::{RawTarget, RawWebhook};
use super::tree::{Content, Node};
use crate::event::EventKind;
use crate::time::Span;
use crate::url::{Trust, Url};

const DEFAULT_TIMEOUT: Span = Span::seconds(10);
const LONGEST_TIMEOUT: Span = Span::minutes(1);

/// An address that is told what happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Webhook {
    /// Where.
    pub url: Url,
    /// Where the secret stands with which messages are signed. Never the secret itself.
    pub secret: SecretPlace,
    /// What it is told of; `None`: of everything.
    pub events: Option<BTreeSet<EventKind>>,
    /// How long an attempt may take.
    pub timeout: Span,
    /// Whose word for the server's name is taken.
    pub trust: Trust,
}

/// Where somebody else's secret stands: a webhook's, an API key. It is read for every use, so it can be replaced without a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretPlace {
    /// A file, by its absolute path.
    File(PathBuf),
    /// A systemd credential, by its name.
    Credential(String),
}

impl Webhook {
    /// What logs and metrics call it.
    pub fn name(&self) -> String {
        format!("webhook {}", self.url)
    }

    /// Whether it is to be told of that.
    pub fn wants(&self, kind: &str) -> bool {
        self.events.as_ref().is_none_or(|events| events.iter().any(|event| event.as_str() == kind))
    }
}

/// Reads the webhooks under `publish:` of one keyset; faults go into the report.
pub(super) fn resolve(raw: &[RawTarget], node: Option<&Node>, report: &mut Report) -> Vec<Webhook> {
    let items: &[Node] = match node.map(|n| &n.content) {
        Some(Content::Sequence(items)) => items,
        _ => &[],
    };
    let mut found: Vec<Webhook> = Vec::new();
    // What is unsound was left out of the raw list, so the two go in step.
    for (raw, item) in raw.iter().zip(items.iter().filter(|item| item.sound)) {
        let RawTarget::Webhook(raw) = raw else { continue };
        let item = item.get("webhook").unwrap_or(item);
        let Some(webhook) = one(raw, item, report) else { continue };
        if found.iter().any(|other| other.url == webhook.url) {
            report.fault(&item.place_of("url"), format!("`{}` is told already", webhook.url), "name each address once");
        }
        found.push(webhook);
    }
    found
}

fn one(raw: &RawWebhook, item: &Node, report: &mut Report) -> Option<Webhook> {
    let before = report.faults.len();
    let timeout = raw.timeout.unwrap_or(DEFAULT_TIMEOUT);
    if !(Span::seconds(1)..=LONGEST_TIMEOUT).contains(&timeout) {
        report.fault(&item.place_of("timeout"), format!("{timeout} is not from 1s to {LONGEST_TIMEOUT}"), "for example 10s");
    }
    lawful_secret(&raw.secret, item, "secret", report);
    let url = probe::url(&raw.url, raw.allow_http == Some(true), item, "url", report);
    let trust = probe::trust(raw.ca_file.as_deref(), item, report);
    (report.faults.len() == before).then_some(())?;
    let events = raw.events.as_ref().map(|events| events.iter().copied().collect());
    Some(Webhook { url: url?, secret: raw.secret.clone(), events, timeout, trust: trust? })
}

/// Whether a secret can stand there; faults go into the report.
pub(super) fn lawful_secret(place: &SecretPlace, item: &Node, field: &str, report: &mut Report) {
    match place {
        SecretPlace::File(path) => {
            if !path.is_absolute() {
                let what = format!("`{}` is not absolute", path.display());
                report.fault(&item.place_of(field), what, "for example /etc/keyrota/webhook-secret");
            }
        }
        SecretPlace::Credential(name) => {
            let lawful = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if name.is_empty() || name.starts_with('.') || !name.bytes().all(lawful) {
                let hint = "letters, digits, `.`, `_`, `-`, as in systemd's LoadCredential=";
                report.fault(&item.place_of(field), format!("`{name}` is not the name of a credential"), hint);
            }
        }
    }
}
