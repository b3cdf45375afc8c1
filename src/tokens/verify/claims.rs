//! What a token claims (RFC 7519 §4.1), held against what is expected and against the clock.

use serde_json::Value;

use super::super::claim::Claim;
use super::super::claims_set::{ClaimsSet, Registered};
use super::super::shape::Shape;
use super::{CheckName, Expected, Findings, Rejection, shown};
use crate::policy::Profile;
use crate::time::{Span, Timestamp};

pub(super) fn judge(
    claims: &ClaimsSet<'_>,
    expected: &Expected,
    shape: Option<Shape>,
    (now, skew): (Timestamp, Span),
    findings: &mut Findings,
) {
    let registered = claims.registered();
    match &expected.issuer {
        Some(must) => findings.add(CheckName::Issuer, issued_by(registered.iss, must)),
        None => findings.skip(CheckName::Issuer),
    }
    match &expected.audience {
        Some(must) => findings.add(CheckName::Audience, meant_for(registered.aud, must)),
        None => findings.skip(CheckName::Audience),
    }
    findings.add(CheckName::Expiry, alive(registered.exp, skew, now));
    let not_yet = |at| Rejection::NotYet { at, skew };
    findings.add(CheckName::NotBefore, has_come("nbf", registered.nbf, skew, now, not_yet));
    let from_the_future = |at| Rejection::FromTheFuture { at, skew };
    findings.add(CheckName::IssuedAt, has_come("iat", registered.iat, skew, now, from_the_future));
    match expected.profile.as_ref().zip(shape) {
        Some((profile, shape)) => findings.add(CheckName::Claims, of_profile(claims, registered, profile, shape)),
        None => findings.skip(CheckName::Claims),
    }
}

fn issued_by(iss: Option<Claim<'_>>, must: &str) -> Result<(), Rejection> {
    if iss.and_then(Claim::as_text) == Some(must) {
        return Ok(());
    }
    Err(Rejection::Issuer { said: shown(iss), must: must.to_owned() })
}

/// A token that names somebody is for nobody else, even where nobody is expected to be named (RFC 7519 §4.1.3).
fn meant_for(aud: Option<Claim<'_>>, must: &[String]) -> Result<(), Rejection> {
    let ours = |one: &str| must.iter().any(|must| must == one);
    let accepted = match aud {
        None => must.is_empty(),
        Some(Claim::Text(one)) => ours(one),
        Some(Claim::Other(other)) => other
            .as_array()
            .is_some_and(|several| several.iter().all(Value::is_string) && several.iter().filter_map(Value::as_str).any(ours)),
        Some(Claim::Null | Claim::Bool(_) | Claim::Number(_)) => false,
    };
    if accepted {
        return Ok(());
    }
    let stated = if must.is_empty() { "whomever is verifying: nobody is expected to be named".to_owned() } else { must.join(" or ") };
    Err(Rejection::Audience { said: shown(aud), must: stated })
}

/// Whether it expires, and has not done so yet. A token that never expires would outlive its key.
fn alive(exp: Option<Claim<'_>>, skew: Span, now: Timestamp) -> Result<(), Rejection> {
    let at = exp.and_then(moment).ok_or(Rejection::Claim { claim: "exp", must: "a number of seconds since 1970" })?;
    if now < at + skew { Ok(()) } else { Err(Rejection::Expired { at, skew }) }
}

fn has_come(
    claim: &'static str,
    value: Option<Claim<'_>>,
    skew: Span,
    now: Timestamp,
    early: impl Fn(Timestamp) -> Rejection,
) -> Result<(), Rejection> {
    let Some(value) = value else { return Ok(()) };
    let at = moment(value).ok_or(Rejection::Claim { claim, must: "a number of seconds since 1970" })?;
    if at <= now + skew { Ok(()) } else { Err(early(at)) }
}

/// A `NumericDate` (RFC 7519 §2): whole seconds or a fraction. What lies beyond every calendar is clamped to its end.
#[allow(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
fn moment(claim: Claim<'_>) -> Option<Timestamp> {
    let millis = match claim {
        Claim::Number(seconds) => i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000),
        Claim::Other(value) => match value.as_i64() {
            Some(seconds) => seconds.saturating_mul(1000),
            None => (value.as_f64().filter(|seconds| seconds.is_finite())? * 1000.0) as i64,
        },
        Claim::Null | Claim::Bool(_) | Claim::Text(_) => return None,
    };
    Some(Timestamp::from_millis(millis))
}

fn of_profile(claims: &ClaimsSet<'_>, registered: Registered<'_>, profile: &Profile, shape: Shape) -> Result<(), Rejection> {
    let text = |value: Option<Claim<'_>>| value.and_then(Claim::as_text).is_some_and(|text| !text.is_empty());
    for claim in shape.required {
        let (lawful, must) = match *claim {
            "iat" => (registered.iat.and_then(moment).is_some(), "a number of seconds since 1970"),
            "aud" => (registered.aud.is_some(), "stated"),
            "iss" => (text(registered.iss), "a text"),
            "sub" => (text(registered.sub), "a text"),
            other => (text(claims.get(other)), "a text"),
        };
        if !lawful {
            return Err(Rejection::Claim { claim, must });
        }
    }
    if let Profile::Inkeep { integration_id } = profile
        && claims.get("integrationId").and_then(Claim::as_text) != Some(integration_id)
    {
        return Err(Rejection::Claim { claim: "integrationId", must: "the policy's integration" });
    }
    let life = |longest: Span| {
        let (from, to) = (moment(registered.iat?)?, moment(registered.exp?)?);
        (to.since(from) > longest).then_some(longest)
    };
    match profile.name().longest().and_then(life) {
        Some(longest) => Err(Rejection::TooLongLived(longest)),
        None => Ok(()),
    }
}
