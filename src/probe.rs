//! Looking at key sets from outside, as verifiers fetch them: one look, and what is remembered of many.
//!
//! [`look`] asks over the port [`Fetch`] and answers a [`Look`], which is a value; [`Watch`] is what the looks at one place amount to.
//! Nothing here decides or waits: the reconciler is handed looks, and what it asks of a [`Watch`] is since when the place has agreed.

mod watch;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{AGE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

pub use watch::{ProbeMemory, ProbeStanding, Shown, Watch};

use crate::clock::Reading;
use crate::digest::Digest;
use crate::https::{Answer, Ask, Fetch, FetchError, Request};
use crate::jwk::PublicNumbers;
use crate::name::Kid;
use crate::policy::Probe;
use crate::time::{Span, Timestamp};

/// A key set longer than this is not read.
pub const LONGEST_KEY_SET: usize = 512 * 1024;

/// Nor is one with more keys.
const MOST_KEYS: usize = 500;

/// What was seen at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When it was done.
    pub at: Timestamp,
    /// The keys that were shown, or why none could be seen.
    pub seen: Result<Sight, LookError>,
}

/// A key set that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The moment whose state it shows at the latest: when it was asked for, less the `Age` with which a cache answered (RFC 9111 §5.1).
    pub as_of: Timestamp,
    /// Each kid with the thumbprint (RFC 7638) of its public key; `None` for one that keyrota cannot read.
    pub keys: BTreeMap<Kid, Option<Digest>>,
}

/// Why nothing could be seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// There was no answer.
    #[error(transparent)]
    Unreachable(#[from] FetchError),
    /// It was answered with another status than 200.
    #[error("it answers with status {0}; hint: open it as your verifiers do")]
    Status(u16),
    /// What was answered is no key set.
    #[error("what it answers is no JSON Web Key Set: {0}; hint: is that the right address?")]
    NotAKeySet(String),
}

/// What was answered last, to ask only whether it is still so (RFC 9110 §13.1.2).
#[derive(Debug, Clone, Default)]
pub struct LastAnswer(Option<(HeaderValue, BTreeMap<Kid, Option<Digest>>)>);

/// Looks once.
pub async fn look<F: Fetch>(fetch: &F, probe: &Probe, last: &mut LastAnswer, clock: impl Fn() -> Reading) -> Look {
    let began = clock();
    let conditions = last.0.iter().map(|(tag, _)| (IF_NONE_MATCH, tag.clone())).collect();
    let request = Request {
        url: &probe.jwks_url,
        trust: &probe.trust,
        ask: Ask::Get,
        headers: conditions,
        within: probe.timeout,
        at_most: LONGEST_KEY_SET,
    };
    let seen = match fetch.fetch(request).await {
        Ok(answer) => keys_of(&answer, last).map(|keys| Sight { as_of: began.wall.minus(age(&answer.headers)), keys }),
        Err(error) => Err(error.into()),
    };
    if seen.is_err() {
        *last = LastAnswer::default();
    }
    Look { at: clock().wall, seen }
}

fn keys_of(answer: &Answer, last: &mut LastAnswer) -> Result<BTreeMap<Kid, Option<Digest>>, LookError> {
    match (answer.status, &last.0) {
        (304, Some((_, keys))) => Ok(keys.clone()),
        (200, _) => {
            let keys = read(&answer.body)?;
            *last = LastAnswer(answer.headers.get(ETAG).map(|tag| (tag.clone(), keys.clone())));
            Ok(keys)
        }
        (status, _) => Err(LookError::Status(status)),
    }
}

/// For how long a cache had held what it answered. One that says nothing of it has just asked.
fn age(headers: &HeaderMap) -> Span {
    let seconds = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    Span::seconds(seconds.unwrap_or(0).min(u64::from(u32::MAX)))
}

/// Reads a key set: of each key its name, and what its public half is.
fn read(body: &Bytes) -> Result<BTreeMap<Kid, Option<Digest>>, LookError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let wrong = |why: String| LookError::NotAKeySet(why);
    let set: Set = serde_json::from_slice(body).map_err(|e| wrong(format!("line {}, column {}", e.line(), e.column())))?;
    if set.keys.len() > MOST_KEYS {
        return Err(wrong(format!("it has {} keys, more than {MOST_KEYS}", set.keys.len())));
    }
    let mut keys: BTreeMap<Kid, Option<Digest>> = BTreeMap::new();
    for jwk in &set.keys {
        let thumbprint = thumbprint(jwk);
        // A key without a name goes by its thumbprint, which is what keyrota calls its own.
        let named = jwk.get("kid").and_then(Value::as_str).and_then(|kid| kid.parse::<Kid>().ok());
        if let Some(kid) = named.or_else(|| thumbprint?.to_string().parse().ok()) {
            // Two keys of one name: no verifier can tell which is meant.
            keys.entry(kid).and_modify(|known| *known = known.filter(|known| Some(*known) == thumbprint)).or_insert(thumbprint);
        }
    }
    Ok(keys)
}

fn thumbprint(jwk: &Value) -> Option<Digest> {
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "RSA" => &["kty", "n", "e"],
        "EC" => &["kty", "crv", "x", "y"],
        "OKP" => &["kty", "crv", "x"],
        _ => return None,
    };
    let bare = members.iter().map(|name| Some(((*name).to_owned(), jwk.get(*name)?.clone()))).collect::<Option<_>>()?;
    serde_json::from_value::<PublicNumbers>(Value::Object(bare)).ok().map(|numbers| numbers.thumbprint())
}

#[cfg(test)]
mod tests;
