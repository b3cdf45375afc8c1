//! From what a file says to what it means: defaults and profiles filled in, one keyset at a time, every law applied.
//!
//! Whatever is wrong is reported with the line of the field that states it, be it the keyset's own or one under `defaults:`.

use std::collections::BTreeMap;

use super::fault::Report;
use super::laws::{self, Figures, Weight};
use super::raw::{RawKeyset, RawSource, RawWindow};
use super::target::Taken;
use super::tree::{Content, Node};
use super::window::{Window, WindowError};
use super::{
    KeysetPolicy, Mode, Probed, SignerAccess, Source, Start, StoreConfig, Uptake, VerifierShape, leaf, probe, spec, store, target, token,
    webhook,
};
use crate::document::Facts;
use crate::key::{KeyClass, KeySpec};
use crate::name::KeysetName;
use crate::time::Span;

const DEFAULT_ROTATE_EVERY: Span = Span::days(30);
const DEFAULT_ROLLBACK: Span = Span::hours(1);
const DEFAULT_RETRY: Span = Span::minutes(2);
const DEFAULT_SKEW: Span = Span::seconds(60);
const DEFAULT_CACHE: Span = Span::seconds(60);
const DEFAULT_MARGIN: Span = Span::minutes(1);

/// What the laws judge together: where one of these has a fault of its own, the sums would be about something else.
const JUDGED: [&str; 21] = [
    "algorithm",
    "token_ttl",
    "verifier_refresh",
    "signer_refresh",
    "rsa_bits",
    "hmac_bytes",
    "certificate",
    "rotate_every",
    "verifier_profile",
    "signer_profile",
    "verifier_retry",
    "clock_skew",
    "margin",
    "cache_max_age",
    "jitter",
    "max_age",
    "rollback_window",
    "rotation_window",
    "uptake",
    "uptake_bound",
    "unsafe",
];

/// Resolves the keysets of one environment.
pub(super) struct Resolver<'p> {
    pub store: &'p StoreConfig,
    pub defaults: Option<&'p Node>,
    pub report: &'p mut Report,
    /// Paths and secrets of targets, which are unique within the environment.
    pub taken: Taken,
    /// Windows by what states them: the same one is often stated for many keysets, and enumerating its openings takes a while.
    pub windows: BTreeMap<(String, Span, String), Result<Window, WindowError>>,
    /// Whether the reason under `defaults:` excused anything, or might have if all were sound.
    pub default_excuse_used: bool,
}

impl Resolver<'_> {
    /// One keyset; `None` if a fault leaves nothing to be made of it.
    pub(super) fn keyset(&mut self, name: &KeysetName, own: &Node) -> Option<KeysetPolicy> {
        let node = &inherit(own, self.defaults);
        if !node.sound {
            self.default_excuse_used = true;
            return None;
        }
        let raw: RawKeyset = super::typed(node, self.report)?;
        store::check_name(self.store, name, node, self.report);
        let spec = spec::resolve(name, &raw, node, self.report);
        let window = match &raw.rotation_window {
            None => Some(None),
            Some(window) => self.window(window, node).map(Some),
        };
        let facts = self.facts(&raw, &spec, node);
        let publish = raw.publish.as_deref().unwrap_or_default();
        let webhooks = webhook::resolve(publish, node.get("publish"), self.report);
        let around =
            target::Around { keyset: name, class: spec.class(), algorithm: spec.algorithm(), token_ttl: raw.token_ttl, store: self.store };
        let mut publish = target::resolve(publish, node.get("publish"), &around, &mut self.taken, self.report);
        publish.extend(raw.source.as_ref().and_then(|source| target::of_source(source, node, &around, &mut self.taken, self.report)));
        let probes = probe::resolve(raw.probe.as_deref().unwrap_or_default(), node, spec.class(), self.report);
        let single_key = raw.verifier == Some(VerifierShape::SingleKey);
        let around = token::Around { algorithm: raw.algorithm, token_ttl: facts.map(|facts| facts.token_ttl), single_key };
        let token = token::resolve(raw.token.as_ref(), node, &around, self.report);
        self.shape(&raw, &spec, node);
        let reason = self.reason(raw.excuse.as_ref().map(|e| e.reason.as_str()), node);
        let rotate_every = raw.rotate_every.unwrap_or(DEFAULT_ROTATE_EVERY);
        let unsound = JUDGED.iter().any(|field| node.get(field).is_some_and(|n| !n.sound));
        let (Some(facts), Some(window), false) = (facts, window, unsound) else {
            self.default_excuse_used = true;
            return None;
        };
        let uptake_bound = (raw.uptake == Some(Uptake::Required)).then(|| raw.uptake_bound.unwrap_or_else(|| facts.retention()));
        let figures = Figures {
            spec: &spec,
            facts,
            rotate_every,
            max_window_wait: window.as_ref().map_or(Span::ZERO, Window::max_wait),
            look_within: Probed::by(&probes).within,
            max_age: raw.max_age,
            rollback_window: raw.rollback_window,
            jitter: raw.jitter.unwrap_or_default(),
            uptake_bound,
            on_aws: self.store.is_shared(),
            value_limit: self.store.value_limit(),
        };
        self.laws(&figures, reason.is_some(), node);
        let lead = figures.lead();
        let policy = KeysetPolicy {
            source: raw.source.as_ref().map_or(Source::Generated, RawSource::maker),
            facts,
            rotate_every,
            max_age: raw.max_age.unwrap_or(rotate_every + lead),
            rollback_window: raw.rollback_window.unwrap_or_else(|| DEFAULT_ROLLBACK.min(facts.retention())),
            jitter: figures.jitter,
            mode: raw.mode.unwrap_or(Mode::Auto),
            window,
            publish,
            webhooks,
            probes,
            signers: raw.signers.unwrap_or_default(),
            stale: raw.stale.unwrap_or(super::Stale::Serve),
            start: raw.start.unwrap_or(Start::Generate),
            inception: raw.inception.and_then(|text| leaf::date(&text).ok()),
            verifier: raw.verifier.unwrap_or(VerifierShape::Overlapping),
            uptake_bound,
            token,
            seals: false,
            unsafe_reason: reason,
            digest: crate::digest::Digest::of(b""),
            spec,
        };
        self.certificate(&policy, node);
        Some(policy.with_digest())
    }

    fn window(&mut self, raw: &RawWindow, node: &Node) -> Option<Window> {
        let zone = raw.timezone.clone().unwrap_or_else(|| "UTC".to_owned());
        let key = (raw.cron.clone(), raw.duration, zone);
        let found = self.windows.entry(key).or_insert_with_key(|(cron, duration, zone)| Window::parse(cron, *duration, zone));
        match found {
            Ok(window) => Some(window.clone()),
            Err(error) => {
                let field = match error {
                    WindowError::Cron(_) => "cron",
                    WindowError::TimeZone(_) => "timezone",
                    WindowError::Duration(_) => "duration",
                };
                let at = node.get("rotation_window").map_or_else(|| node.place.clone(), |window| window.place_of(field));
                self.report.fault_from(&at, &error.to_string());
                None
            }
        }
    }

    /// The facts, if all are known. Three of them have no default: a false one would break the promise without a sign.
    fn facts(&mut self, raw: &RawKeyset, spec: &KeySpec, node: &Node) -> Option<Facts> {
        let token_ttl = if spec.class() == KeyClass::ApiKey { Some(Span::ZERO) } else { raw.token_ttl };
        let verifier = raw.verifier_refresh.or_else(|| raw.verifier_profile.map(super::VerifierProfile::refresh));
        let signer = raw.signer_refresh.or_else(|| raw.signer_profile.map(super::SignerProfile::refresh));
        for (field, profile, known, hint) in [
            (
                "token_ttl",
                "token_ttl",
                token_ttl.is_some(),
                "state the longest life of any token signed here; there is no default, because one that is too short would break tokens",
            ),
            (
                "verifier_refresh",
                "verifier_profile",
                verifier.is_some(),
                "state the longest that a verifier goes on using what it fetched, or a `verifier_profile`; there is no default, because one that is too short would break tokens",
            ),
            (
                "signer_refresh",
                "signer_profile",
                signer.is_some(),
                "state the longest that a signer goes on using what it read, or a `signer_profile`; there is no default, because one that is too short would break tokens",
            ),
        ] {
            if !known && node.get(field).is_none() && node.get(profile).is_none() {
                self.report.fault(&node.place_of(field), "is missing", hint);
            }
        }
        Some(Facts {
            token_ttl: token_ttl?,
            verifier_refresh: verifier?,
            signer_refresh: signer?,
            verifier_retry: raw.verifier_retry.unwrap_or(DEFAULT_RETRY),
            clock_skew: raw.clock_skew.unwrap_or(DEFAULT_SKEW),
            cache_max_age: raw.cache_max_age.unwrap_or(DEFAULT_CACHE),
            store_refresh: self.store.store_refresh(),
            margin: raw.margin.unwrap_or(DEFAULT_MARGIN),
        })
    }

    /// Fields that must go together.
    fn shape(&mut self, raw: &RawKeyset, spec: &KeySpec, node: &Node) {
        let external = matches!(raw.source, Some(RawSource::External));
        if external && spec.class() == KeyClass::Asymmetric && raw.start != Some(Start::Import) {
            let what = "`external` key pairs must be handed in before anything is signed";
            self.report.fault(&node.place_of("source"), what, "add `start: import`, or let keyrota generate them");
        }
        if raw.verifier == Some(VerifierShape::SingleKey) && raw.mode != Some(Mode::Approve) {
            let what = "a verifier with a single key cannot overlap: tokens die at the change-over, so it must be approved";
            self.report.fault(&node.place_of("verifier"), what, "add `mode: approve`");
        }
        if raw.rotate_every == Some(Span::ZERO) {
            self.report.fault(&node.place_of("rotate_every"), "is 0s", "for example 30d");
        }
        let bound = node.place_of("uptake_bound");
        if raw.uptake_bound == Some(Span::ZERO) {
            self.report.fault(&bound, "is 0s, so reports would hold nothing up", "for example 1h; or remove `uptake: required`");
        } else if raw.uptake_bound.is_some() && raw.uptake != Some(Uptake::Required) && !bound.field.starts_with("defaults.") {
            self.report.fault(&bound, "bounds nothing without `uptake: required`", "add `uptake: required`, or remove it");
        }
        let named = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b":/,".contains(&b));
        for access in raw.signers.iter().flatten() {
            let (SignerAccess::User(text) | SignerAccess::Group(text)) = access;
            if !named(text) {
                let what = format!("`{text}` is not a user or group");
                self.report.fault(&node.place_of("signers"), what, "write the name of a system user or group");
            }
        }
    }

    fn reason(&mut self, stated: Option<&str>, node: &Node) -> Option<String> {
        let reason = stated?.trim();
        if reason.is_empty() {
            let at = node.get("unsafe").map_or_else(|| node.place.clone(), |excuse| excuse.place_of("reason"));
            self.report.fault(&at, "is blank", "say why it is acceptable here, for whoever reads this in a year");
        }
        Some(reason.to_owned())
    }

    fn laws(&mut self, figures: &Figures<'_>, excused: bool, node: &Node) {
        let mut used = false;
        for broken in laws::broken(figures) {
            let profile = broken.field.strip_suffix("_refresh").map(|who| format!("{who}_profile"));
            let stated = profile.as_deref().filter(|p| node.get(broken.field).is_none() && node.get(p).is_some());
            let at = node.place_of(stated.unwrap_or(broken.field));
            match broken.weight {
                Weight::Warned => self.report.warning(&at, broken.what, broken.hint),
                Weight::Excusable if excused => used = true,
                Weight::Excusable | Weight::Refused => self.report.fault(&at, broken.what, broken.hint),
            }
        }
        let at = node.place_of("unsafe");
        if excused && at.field.starts_with("defaults.") {
            self.default_excuse_used |= used;
        } else if excused && !used {
            self.report.warning(&at, "excuses nothing: all figures are acceptable without it", "remove it");
        }
    }

    fn certificate(&mut self, policy: &KeysetPolicy, node: &Node) {
        let KeySpec::Pair { certificate: Some(certificate), .. } = &policy.spec else { return };
        let life = policy.rotate_every + policy.facts.propagation() + policy.max_window_wait() + policy.facts.retention();
        if certificate.validity < life {
            let what = format!("certificates end after {}, before their keys, which may live for {life}", certificate.validity);
            self.report.warning(&node.place_of("certificate"), what, format!("make them valid for {life} or longer"));
        }
    }
}

/// The keyset with what it inherits from `defaults:`. Its own profile beats an inherited figure: it says more about this keyset.
fn inherit(own: &Node, defaults: Option<&Node>) -> Node {
    let mut node = own.clone();
    let api_key = own.get("algorithm").is_some_and(|a| matches!(&a.content, Content::Scalar { text, .. } if text == "api-key"));
    let Content::Mapping(entries) = &mut node.content else { return node };
    for (name, field) in defaults.map(Node::entries).unwrap_or_default() {
        let beaten = match name.as_str() {
            "token_ttl" => api_key,
            "verifier_refresh" => own.get("verifier_profile").is_some(),
            "signer_refresh" => own.get("signer_profile").is_some(),
            _ => false,
        };
        if !beaten && own.get(name).is_none() {
            entries.push((name.clone(), field.clone()));
        }
    }
    node
}
