//! Webhooks: one message, signed by the Standard Webhooks convention, sent once; and how long to wait before it is sent again.
//!
//! The convention (standardwebhooks.com, version 1.0.0): `webhook-id` names the message and stays the same in every attempt,
//! `webhook-timestamp` is the time of the attempt, and `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over
//! `<id>.<timestamp>.<body>`, one for each secret. It knows no queue: that is the daemon's.

use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::credential::{self, CredentialError};
use crate::digest::Digest;
use crate::https::{Ask, Fetch, FetchError, Request};
use crate::policy::{SecretPlace, Webhook};
use crate::time::{Span, Timestamp};

/// What stands in front of a secret's base64.
const SECRET_PREFIX: &str = "whsec_";

/// The fewest and the most bytes of a secret, as the convention has it.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// An answer longer than this is not read.
const LONGEST_ANSWER: usize = 64 * 1024;

const FIRST_DELAY: Span = Span::seconds(1);
const LONGEST_DELAY: Span = Span::minutes(5);

/// A message that is older than this is given up.
pub const LONGEST_AGE: Span = Span::days(1);

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name, the same in every attempt, by which a receiver knows that it has it already.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// What, as JSON.
    pub body: Bytes,
}

/// Why an attempt failed. Each is a sentence that goes on from "webhook URL: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// There was no answer.
    #[error(transparent)]
    Unreachable(#[from] FetchError),
    /// The receiver did not take it.
    #[error("it answers with status {0}; hint: its log says why")]
    Status(u16),
    /// The secret cannot be read.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// What stands there is no secret.
    #[error("{} holds no webhook secret; hint: `whsec_` and the base64 of 24 to 64 random bytes, one in each line", .0.display())]
    NoSecret(PathBuf),
    /// The message cannot be written as headers.
    #[error("the message cannot be sent: {0}")]
    Unwritable(String),
}

/// The secrets with which messages to one receiver are signed: more than one while it changes over.
pub struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Reads a text of one secret in each line: `whsec_` and base64.
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Option<Vec<_>> = lines.map(key).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// The header `webhook-signature`.
    ///
    /// ```
    /// use keyrota::time::Timestamp;
    /// let secrets = keyrota::webhook::Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    /// let at = Timestamp::from_millis(1_614_265_330_000);
    /// let signature = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
    /// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    /// ```
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let signed = [format!("{id}.{}.", seconds(at)).as_bytes(), body].concat();
        let signature = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &signed)));
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

fn key(line: &str) -> Option<hmac::Key> {
    let secret = Zeroizing::new(STANDARD.decode(line.strip_prefix(SECRET_PREFIX)?).ok()?);
    SECRET_BYTES.contains(&secret.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &secret))
}

fn seconds(at: Timestamp) -> i64 {
    at.as_millis() / 1000
}

/// Sends the message once. A receiver that answers 2xx has it.
///
/// # Errors
/// Why it may not have it.
pub async fn send<F: Fetch>(fetch: &F, webhook: &Webhook, message: &Message, now: Timestamp) -> Result<(), WebhookError> {
    let secrets = secrets(&webhook.secret).await?;
    let value = |text: String| HeaderValue::try_from(text).map_err(|e| WebhookError::Unwritable(e.to_string()));
    let headers = vec![
        (HeaderName::from_static("webhook-id"), value(message.id.clone())?),
        (HeaderName::from_static("webhook-timestamp"), value(seconds(now).to_string())?),
        (HeaderName::from_static("webhook-signature"), value(secrets.sign(&message.id, now, &message.body))?),
    ];
    let ask = Ask::Post(message.body.clone());
    let (within, at_most) = (webhook.timeout, LONGEST_ANSWER);
    let answer = fetch.fetch(Request { url: &webhook.url, trust: &webhook.trust, ask, headers, within, at_most }).await?;
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(WebhookError::Status(answer.status)) }
}

async fn secrets(place: &SecretPlace) -> Result<Secrets, WebhookError> {
    let text = credential::read(place).await?;
    match Secrets::parse(text.expose()) {
        Some(secrets) => Ok(secrets),
        None => Err(WebhookError::NoSecret(credential::path_of(place)?)),
    }
}

/// How long to wait after so many failed attempts (at least one): twice as long each time, and up to a quarter more, so that what
/// failed together does not come back together.
pub fn delay(message: &Message, failed: u32) -> Span {
    let doubled = FIRST_DELAY * (1_u64 << failed.saturating_sub(1).min(20));
    let delay = doubled.min(LONGEST_DELAY);
    let spread = Digest::of(format!("{} {failed}", message.id).as_bytes()).first_48_bits();
    delay + Span::millis(spread % (delay.as_millis() / 4 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_what_the_convention_says_and_may_be_several() {
        let (one, two) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let both = Secrets::parse(&format!("{one}\n\n{two}\n")).unwrap();
        let at = Timestamp::EPOCH;
        let alone = |text: &str| Secrets::parse(text).unwrap().sign("a", at, b"b");
        assert_eq!(both.sign("a", at, b"b"), format!("{} {}", alone(one), alone(two)));
        for wrong in ["", "\n", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_???", &format!("{one}\nother")] {
            assert!(Secrets::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn delays_grow_to_a_bound_and_differ() {
        let message = |id: &str| Message { id: id.to_owned(), at: Timestamp::EPOCH, body: Bytes::new() };
        let delays: Vec<Span> = (1..40).map(|failed| delay(&message("a"), failed)).collect();
        assert!(delays[0] >= FIRST_DELAY && delays[0] <= Span::millis(1250), "{delays:?}");
        assert!(delays[9..].iter().all(|d| (LONGEST_DELAY..=Span::seconds(375)).contains(d)), "{delays:?}");
        assert_ne!(delay(&message("a"), 12), delay(&message("b"), 12));
    }
}
