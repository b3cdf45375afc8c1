//! `token.refresh`: refresh tokens beside the access tokens, sealed with the keys of a keyset that does nothing else.
//!
//! That keyset rotates by the laws of any other: its `token_ttl` is the longest life of a refresh token, from which it is computed how long
//! an old key goes on opening what it sealed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::fault::{Report, nearest};
use super::super::leaf::{NameText, SpanText};
use super::super::tree::Node;
use super::super::{KeysetPolicy, Source};
use super::{ProfileName, RawToken};
use crate::key::KeyClass;
use crate::name::KeysetName;
use crate::time::Span;

/// The refresh tokens of a keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// How long each lives, counted from when it was given; using it does not prolong it.
    pub ttl: Span,
    /// The keyset whose keys seal them, in the same environment.
    pub sealed_by: KeysetName,
}

/// `token.refresh` as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawRefresh {
    /// How long a refresh token lives from the day it was given. At most the `token_ttl` of the keyset that seals it.
    #[schemars(with = "SpanText")]
    ttl: Span,
    /// The keyset whose keys seal them: `algorithm: HS256`, of this environment, for nothing else.
    #[schemars(with = "NameText")]
    sealed_by: String,
}

/// Reads `refresh`; faults go into the report. Whether the keyset is there and fit for it is seen when all are known.
pub(super) fn resolve(raw: &RawToken, token: &Node, report: &mut Report) -> Option<Refresh> {
    let (stated, node) = (raw.refresh.as_ref()?, token.get("refresh")?);
    if !matches!(raw.profile, ProfileName::Generic | ProfileName::AtJwt) {
        let what = format!("clients of `{}` know no refresh tokens: they ask again with their API key", raw.profile);
        report.fault(&node.place, what, "remove it; refresh tokens are for generic and at+jwt");
    }
    if raw.serve != Some(true) {
        report.fault(&node.place, "says how tokens are served, and they are not", "add `serve: true`, or remove it");
    }
    if stated.ttl < Span::seconds(1) {
        report.fault(&node.place_of("ttl"), format!("{} is less than 1s", stated.ttl), "for example 30d");
    }
    Some(Refresh { ttl: stated.ttl, sealed_by: stated.sealed_by.parse().ok()? })
}

/// Holds every `sealed_by` against the keysets that there are, and marks those that seal.
pub(in super::super) fn check_sealing(nodes: &[(String, Node)], found: &mut BTreeMap<KeysetName, KeysetPolicy>, report: &mut Report) {
    let wishes: Vec<(KeysetName, Refresh)> =
        found.iter().filter_map(|(name, keyset)| Some((name.clone(), keyset.token.as_ref()?.refresh.clone()?))).collect();
    for (name, Refresh { ttl, sealed_by }) in wishes {
        let node = nodes.iter().find(|(known, _)| *known == name.as_str()).map(|(_, node)| node);
        let Some(node) = node.and_then(|node| node.get("token")?.get("refresh")) else { continue };
        let place = node.place_of("sealed_by");
        let Some(sealing) = found.get_mut(&sealed_by) else {
            // One with faults of its own is none of this field's.
            if !nodes.iter().any(|(known, _)| *known == sealed_by.as_str()) {
                let near = nearest(sealed_by.as_str(), nodes.iter().map(|(known, _)| known.as_str()));
                let hint = near.map_or_else(|| "add one with `algorithm: HS256`".to_owned(), |near| format!("did you mean {near}?"));
                report.fault(&place, format!("there is no keyset `{sealed_by}` in this environment"), hint);
            }
            continue;
        };
        if let Err((what, hint)) = fit(sealing) {
            report.fault(&place, format!("`{sealed_by}` {what}"), hint);
        } else if ttl > sealing.facts.token_ttl {
            let longest = sealing.facts.token_ttl;
            let what = format!("{ttl} is more than {longest}, the `token_ttl` of `{sealed_by}`, whose keys are kept for no longer");
            report.fault(&node.place_of("ttl"), what, format!("at most {longest}, or `token_ttl: {ttl}` at `{sealed_by}`"));
        } else if !sealing.seals {
            *sealing = KeysetPolicy { seals: true, ..sealing.clone() }.with_digest();
        }
    }
}

/// Whether nobody but keyrota has the keys of a keyset, and for nothing else.
fn fit(sealing: &KeysetPolicy) -> Result<(), (String, &'static str)> {
    let algorithm = sealing.spec.algorithm();
    if algorithm.class() != KeyClass::Hmac {
        return Err((
            format!("is {algorithm}, and refresh tokens are sealed with a shared secret"),
            "name a keyset with `algorithm: HS256`",
        ));
    }
    if sealing.source == Source::External {
        return Err((
            "gets its keys from elsewhere, and whoever has them can make refresh tokens".to_owned(),
            "name one that keyrota makes",
        ));
    }
    let shared = [
        (sealing.token.is_some(), "mints tokens", "name a keyset of its own, without `token`"),
        (!sealing.signers.is_empty(), "has signers", "say `signers: []` there: whoever reads its keys can make refresh tokens"),
        (!sealing.publish.is_empty(), "is published", "remove `publish` there: whoever reads its keys can make refresh tokens"),
    ];
    match shared.into_iter().find(|(is, ..)| *is) {
        Some((_, what, hint)) => Err((format!("{what}, and its keys are for refresh tokens alone"), hint)),
        None => Ok(()),
    }
}
