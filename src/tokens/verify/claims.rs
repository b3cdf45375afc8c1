//! What a token claims (RFC 7519 §4.1), held against what is expected and against the clock.

use serde_json::Value;

use super::super::claims_set::{Claim, ClaimsSet};
use super::super::shape::Shape;
use super::{CheckName, Expected, Rejection, Verdict, shown};
use crate::policy::Profile;
use crate::time::{Span, Timestamp};

pub(super) fn judge(claims: &ClaimsSet, expected: &Expected, skew: Span, now: Timestamp, verdict: &mut Verdict) {
    match &expected.issuer {
        Some(must) => verdict.add(CheckName::Issuer, issued_by(claims.get("iss"), must)),
        None => verdict.skip(CheckName::Issuer),
    }
    match &expected.audience {
        Some(must) => verdict.add(CheckName::Audience, meant_for(claims.get("aud"), must)),
        None => verdict.skip(CheckName::Audience),
    }
    verdict.add(CheckName::Expiry, alive(claims.get("exp").as_ref(), skew, now));
    let not_yet = |at| Rejection::NotYet { at, skew };
    verdict.add(CheckName::NotBefore, has_come(claims, "nbf", skew, now, not_yet));
    let issued = has_come(claims, "iat", skew, now, |at| Rejection::FromTheFuture { at, skew });
    verdict.add(CheckName::IssuedAt, issued);
    match &expected.profile {
        Some(profile) => verdict.add(CheckName::Claims, of_profile(claims, profile)),
        None => verdict.skip(CheckName::Claims),
    }
}

fn issued_by(iss: Option<Claim<'_>>, must: &str) -> Result<(), Rejection> {
    if iss.as_ref().and_then(Claim::as_text) == Some(must) {
        return Ok(());
    }
    Err(Rejection::Issuer { said: shown(iss), must: must.to_owned() })
}

/// A token that names somebody is for nobody else, even where nobody is expected to be named (RFC 7519 §4.1.3).
fn meant_for(aud: Option<Claim<'_>>, must: &[String]) -> Result<(), Rejection> {
    let ours = |one: &str| must.iter().any(|must| must == one);
    let accepted = match &aud {
        None => must.is_empty(),
        Some(Claim::Text(one)) => ours(one),
        Some(Claim::Other(other)) => other
            .as_array()
            .is_some_and(|several| several.iter().all(Value::is_string) && several.iter().filter_map(Value::as_str).any(ours)),
        Some(Claim::Number(_)) => false,
    };
    if accepted {
        return Ok(());
    }
    let stated = if must.is_empty() { "whomever is verifying: nobody is expected to be named".to_owned() } else { must.join(" or ") };
    Err(Rejection::Audience { said: shown(aud), must: stated })
}

/// Whether it expires, and has not done so yet. A token that never expires would outlive its key.
fn alive(exp: Option<&Claim<'_>>, skew: Span, now: Timestamp) -> Result<(), Rejection> {
    let at = exp.and_then(moment).ok_or(Rejection::Claim { claim: "exp", must: "a number of seconds since 1970" })?;
    if now < at + skew { Ok(()) } else { Err(Rejection::Expired { at, skew }) }
}

fn has_come(
    claims: &ClaimsSet,
    claim: &'static str,
    skew: Span,
    now: Timestamp,
    early: impl Fn(Timestamp) -> Rejection,
) -> Result<(), Rejection> {
    let Some(value) = claims.get(claim) else { return Ok(()) };
    let at = moment(&value).ok_or(Rejection::Claim { claim, must: "a number of seconds since 1970" })?;
    if at <= now + skew { Ok(()) } else { Err(early(at)) }
}

/// A `NumericDate` (RFC 7519 §2): whole seconds or a fraction. What lies beyond every calendar is clamped to its end.
#[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
fn moment(claim: &Claim<'_>) -> Option<Timestamp> {
    let millis = match claim {
        Claim::Number(seconds) => i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1000),
        Claim::Other(value) => match value.as_i64() {
            Some(seconds) => seconds.saturating_mul(1000),
            None => (value.as_f64().filter(|seconds| seconds.is_finite())? * 1000.0) as i64,
        },
        Claim::Text(_) => return None,
    };
    Some(Timestamp::from_millis(millis))
}

fn of_profile(claims: &ClaimsSet, profile: &Profile) -> Result<(), Rejection> {
    for claim in Shape::of(profile).required {
        let value = claims.get(claim);
        let (lawful, must) = match *claim {
            "iat" => (value.as_ref().and_then(moment).is_some(), "a number of seconds since 1970"),
            "aud" => (value.is_some(), "stated"),
            _ => (value.as_ref().and_then(Claim::as_text).is_some_and(|text| !text.is_empty()), "a text"),
        };
        if !lawful {
            return Err(Rejection::Claim { claim, must });
        }
    }
    if let Profile::Inkeep { integration_id } = profile
        && claims.get("integrationId").as_ref().and_then(Claim::as_text) != Some(integration_id)
    {
        return Err(Rejection::Claim { claim: "integrationId", must: "the policy's integration" });
    }
    let life = |longest: Span| {
        let (from, to) = (moment(&claims.get("iat")?)?, moment(&claims.get("exp")?)?);
        (to.since(from) > longest).then_some(longest)
    };
    match profile.name().longest().and_then(life) {
        Some(longest) => Err(Rejection::TooLongLived(longest)),
        None => Ok(()),
    }
}
