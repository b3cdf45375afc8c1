//! `token:` of a keyset: what the tokens that keyrota mints with it look like, each field held to what the profile's verifiers take.

mod profile;
mod refresh;
mod serving;

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use profile::{Profile, ProfileName};
use refresh::RawRefresh;
pub use refresh::Refresh;
pub(super) use refresh::check_sealing;
use serving::RawCaller;
pub(super) use serving::check_callers;
pub use serving::{Caller, Rate, Serving, Subjects};

use super::fault::Report;
use super::tree::{Content, Node};
use crate::key::{Algorithm, KeyClass};
use crate::time::Span;

/// The longest template of claims, as JSON in bytes: a token travels in a header, and those are a few kilobytes at most.
const LONGEST_TEMPLATE: usize = 4096;

/// The longest issuer, audience or integration, in bytes.
const LONGEST_NAME: usize = 512;

/// The most audiences of one token.
const MOST_AUDIENCES: usize = 16;

/// What the tokens of a keyset look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPolicy {
    /// The shape that verifiers expect.
    pub profile: Profile,
    /// `iss` (RFC 7519 §4.1.1); `None`: tokens have none.
    pub issuer: Option<String>,
    /// `aud` (RFC 7519 §4.1.3); empty: tokens have none.
    pub audience: Vec<String>,
    /// How long a token lives if nobody says.
    pub default_ttl: Span,
    /// What every token says besides, by name.
    pub claims: BTreeMap<String, Value>,
    /// How they are served over the network; `None`: they are minted on the sockets alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// The refresh tokens that are given beside them; `None`: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// `token:` as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawToken {
    /// The shape that the verifiers expect. It settles header, claims and lawful algorithms.
    pub profile: ProfileName,
    /// The tokens' `iss`. Needed by at+jwt and inkeep; algolia tokens have none.
    pub issuer: Option<String>,
    /// The tokens' `aud`. Needed by at+jwt; of inkeep it is `https://api.inkeep.com` by default; algolia tokens have none.
    pub audience: Option<RawTokenAudience>,
    /// How long a token lives if nobody says. Default: 1h, of algolia, hyperspell and both inkeeps 24h; never more than `token_ttl`.
    #[schemars(with = "Option<super::leaf::SpanText>")]
    pub default_ttl: Option<Span>,
    /// Claims with constant values that every token bears besides those of the profile.
    pub claims: Option<BTreeMap<String, ClaimValue>>,
    /// The integration that the tokens are for; only for inkeep, which needs it.
    pub integration_id: Option<String>,
    /// Whether tokens are served on `--listen`, below `/<environment>/<keyset>`, to the `callers`. Default: false.
    pub serve: Option<bool>,
    /// With `serve: true`: who may ask.
    pub callers: Option<Vec<RawCaller>>,
    /// With `serve: true`: how often each API key may ask, of each replica. Default: 600/1m.
    #[schemars(with = "Option<super::leaf::RateText>")]
    pub rate: Option<String>,
    /// With `serve: true`, for generic and at+jwt: refresh tokens are given beside the tokens.
    pub refresh: Option<RawRefresh>,
}

/// Whom tokens are for.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum RawTokenAudience {
    One(String),
    Many(Vec<String>),
}

impl JsonSchema for RawTokenAudience {
    fn schema_name() -> Cow<'static, str> {
        "RawTokenAudience".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whom tokens are for.",
            "oneOf": [
                { "type": "string", "description": "One audience, as a text." },
                { "type": "array", "items": { "type": "string" }, "description": "Several. A verifier accepts a token that names one of them." },
            ],
        })
    }
}

/// Any JSON value.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct ClaimValue(Value);

impl JsonSchema for ClaimValue {
    fn schema_name() -> Cow<'static, str> {
        "ClaimValue".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// What of the rest of the keyset matters here.
pub(super) struct Around {
    pub algorithm: Algorithm,
    /// The longest life of a token, if it is known.
    pub token_ttl: Option<Span>,
    /// Whether its verifier holds one key, without a kid.
    pub single_key: bool,
}

/// Reads `token:` of one keyset; faults go into the report.
pub(super) fn resolve(raw: Option<&RawToken>, keyset: &Node, around: &Around, report: &mut Report) -> Option<TokenPolicy> {
    let (raw, node) = (raw?, keyset.get("token")?);
    let before = report.faults.len();
    if around.algorithm.class() == KeyClass::ApiKey {
        report.fault(&node.place, "API keys are presented, not minted: there are no tokens", "remove it, or choose another algorithm");
        return None;
    }
    let name = raw.profile;
    if !name.fits(around.algorithm) {
        let what = format!("`{name}` tokens are signed with {}, and this keyset is {}", name.algorithms(), around.algorithm);
        report.fault(&node.place_of("profile"), what, "change `algorithm` in a new keyset, or the profile");
    }
    if name == ProfileName::Inkeep && !around.single_key {
        let what = "an integration at Inkeep holds one public key, so old and new tokens cannot overlap there";
        report.warning(&node.place_of("profile"), what, "add `verifier: single-key` and `mode: approve`");
    }
    let issuer = issuer(raw, node, report);
    let audience = audience(raw, node, report);
    let profile = integration(raw, node, report);
    let default_ttl = default_ttl(raw, node, around, report);
    let claims = claims(raw, node, report);
    let serving = serving::resolve(raw, node, report);
    let refresh = refresh::resolve(raw, node, report);
    (report.faults.len() == before).then_some(())?;
    Some(TokenPolicy { profile: profile?, issuer, audience, default_ttl, claims, serving, refresh })
}

/// Whether a text can be an issuer, an audience or the like (`StringOrURI`, RFC 7519 §2).
fn lawful(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn held_to_form(text: &str, field: &str, node: &Node, report: &mut Report) {
    if !lawful(text) {
        let what = format!("is blank, longer than {LONGEST_NAME} bytes or has control characters");
        report.fault(&node.place_of(field), what, "write it exactly as the verifiers compare it, for example https://auth.example.com");
    }
}

fn issuer(raw: &RawToken, node: &Node, report: &mut Report) -> Option<String> {
    let (name, place) = (raw.profile, node.place_of("issuer"));
    match &raw.issuer {
        None if name.needs_issuer() && node.get("issuer").is_none() => {
            let what = format!("is missing, and `{name}` tokens name their issuer");
            report.fault(&place, what, "write it exactly as the verifiers compare it, for example https://auth.example.com");
        }
        Some(_) if name.is_closed() => report.fault(&place, format!("`{name}` tokens have exactly sub and exp"), "remove it"),
        Some(issuer) => held_to_form(issuer, "issuer", node, report),
        None => {}
    }
    raw.issuer.clone()
}

fn audience(raw: &RawToken, node: &Node, report: &mut Report) -> Vec<String> {
    let (name, place) = (raw.profile, node.place_of("audience"));
    let found = match raw.audience.clone() {
        Some(RawTokenAudience::One(one)) => vec![one],
        Some(RawTokenAudience::Many(many)) => many,
        None => name.usual_audience().map(str::to_owned).into_iter().collect(),
    };
    if raw.audience.is_some() && name.is_closed() {
        report.fault(&place, format!("`{name}` tokens have exactly sub and exp"), "remove it");
    } else if raw.audience.is_some() && found.is_empty() {
        report.fault(&place, "names nobody", "name one audience, or remove it");
    } else if found.is_empty() && name.needs_audience() && node.get("audience").is_none() {
        report.fault(&place, format!("is missing, and `{name}` tokens name their audience"), "name the services that accept them");
    } else if found.len() > MOST_AUDIENCES {
        report.fault(&place, format!("names {} audiences, more than {MOST_AUDIENCES}", found.len()), "mint for those that need it");
    }
    for one in &found {
        held_to_form(one, "audience", node, report);
    }
    found
}

fn integration(raw: &RawToken, node: &Node, report: &mut Report) -> Option<Profile> {
    let place = node.place_of("integration_id");
    match (&raw.integration_id, raw.profile) {
        (None, ProfileName::Inkeep) if node.get("integration_id").is_none() => {
            report.fault(&place, "is missing, and inkeep tokens name their integration", "copy it from the integration's page at Inkeep");
        }
        (Some(id), ProfileName::Inkeep) => held_to_form(id, "integration_id", node, report),
        (Some(_), other) => report.fault(&place, format!("belongs to inkeep, and this profile is {other}"), "remove it"),
        (None, _) => {}
    }
    raw.profile.with(raw.integration_id.as_deref())
}

fn default_ttl(raw: &RawToken, node: &Node, around: &Around, report: &mut Report) -> Span {
    let name = raw.profile;
    let longest = [around.token_ttl, name.longest()].into_iter().flatten().min();
    let usual = longest.map_or(name.usual_ttl(), |longest| longest.min(name.usual_ttl()));
    let Some(stated) = raw.default_ttl else { return usual };
    let place = node.place_of("default_ttl");
    if stated < Span::seconds(1) {
        report.fault(&place, format!("{stated} is less than 1s, and tokens count in seconds"), "for example 15m");
    }
    if let Some(ttl) = around.token_ttl.filter(|ttl| stated > *ttl) {
        let what = format!("{stated} is more than {ttl}, the `token_ttl` from which the waits are computed");
        report.fault(&place, what, format!("at most {ttl}, or raise token_ttl"));
    } else if let Some(most) = name.longest().filter(|most| stated > *most) {
        report.fault(&place, format!("{stated} is more than the {most} that verifiers of `{name}` accept"), format!("at most {most}"));
    }
    stated
}

fn claims(raw: &RawToken, node: &Node, report: &mut Report) -> BTreeMap<String, Value> {
    let template = node.get("claims");
    let stated = raw.claims.iter().flatten();
    let mut found = BTreeMap::new();
    for (claim, ClaimValue(value)) in stated {
        let place = template.map_or_else(|| node.place.clone(), |template| template.place_of(claim));
        if raw.profile.is_closed() {
            report.fault(&place, format!("`{}` tokens have exactly sub and exp", raw.profile), "remove it");
        } else if raw.profile.owns(claim) {
            let what = format!("is set by the profile `{}`, not by a template", raw.profile);
            report.fault(&place, what, format!("remove it; the profile's claims are {}", raw.profile.owned().join(", ")));
        } else if let Err(what) = raw.profile.suits(claim, value) {
            report.fault_from(&place, &what);
        }
        if template.and_then(|template| template.get(claim)).is_some_and(is_not_finite) {
            report.fault(&place, "has a number that JSON cannot write", "write a finite number");
        }
        found.insert(claim.clone(), value.clone());
    }
    let length = serde_json::to_vec(&found).map_or(usize::MAX, |json| json.len());
    if length > LONGEST_TEMPLATE {
        let what = format!("has {length} bytes as JSON, more than {LONGEST_TEMPLATE}: tokens travel in headers");
        report.fault(&node.place_of("claims"), what, "name things there, and look them up elsewhere");
    }
    found
}

/// Whether there is an infinity or a NaN in it, which YAML has and JSON has not.
fn is_not_finite(node: &Node) -> bool {
    match &node.content {
        Content::Scalar { value, .. } => value.as_f64().is_some_and(|number| !number.is_finite()),
        Content::Sequence(items) => items.iter().any(is_not_finite),
        Content::Mapping(entries) => entries.iter().any(|(_, entry)| is_not_finite(entry)),
    }
}
