//! The second secret of a keyset: its public key set alone, for verifiers who must not reach private keys.
//!
//! Every replica derives it from the document and writes it, so what must be settled is which of them is the newest. The *version id*
//! says it: `keyrota-<generation>-<digest>`, derived from the version that it succeeds, the generation and the content. So:
//!
//! - Replicas of the same generation write the same version: whoever comes second changes nothing.
//! - A replica that lags sees a later generation on the secret and leaves it alone. If it does not see it (reads are eventually
//!   consistent), its move of `AWSCURRENT` is bound to the version that it saw, as in `swap`, and fails.
//! - A generation never goes back: the marker label stays on the version that was claimed last, so even where somebody else has written
//!   over the secret it is known how far it was.
//!
//! What is known of a secret holds until a sweep's list contradicts it, so one with nothing due costs no call of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};

use uuid::Uuid;

use super::calls::{CURRENT, CallError, CallFault, Calls, Described, Listed, NewSecret, STAGED, VersionId, Which};
use super::pace::Time;
use super::{AwsStore, Inner, MANAGED_BY};
use crate::digest::Digest;
use crate::name::{Generation, KeysetName};
use crate::secret::SecretText;
use crate::store::RECOVERY;
use crate::time::Span;

/// How often a call is sent again, and the wait before the first of these.
const TRIES: u32 = 4;
const TRY_AGAIN: Span = Span::millis(100);

/// How many superseded versions of a secret are remembered, for lists that lag.
const VERSIONS: usize = 16;

const PREFIX: &str = "keyrota-";
const DIGITS: usize = 20;

/// Which secret.
#[derive(Debug, Clone, Copy)]
pub struct KeySetSecret<'a> {
    /// Whose public keys it holds.
    pub keyset: &'a KeysetName,
    /// Its name.
    pub name: &'a str,
}

/// What stands in a secret.
#[derive(Clone)]
pub enum Shown {
    /// There is no such secret.
    Nothing,
    /// This version is in force.
    Value {
        /// Which.
        version: VersionId,
        /// The generation that it was written for, if keyrota wrote it.
        generation: Option<Generation>,
        /// Its content; `None` if it is bytes and no text.
        text: Option<SecretText>,
    },
}

/// What came of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrote {
    /// It is in force, as far as the service said.
    InForce,
    /// The secret has been at that later generation.
    Ahead(Generation),
    /// It is not as it was when it was looked at: to be looked at again.
    Changed,
}

/// Why a secret could not be read or written, as a sentence with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeySetError(pub String);

/// What is remembered of one secret, while nothing contradicts it.
#[derive(Debug)]
struct Known {
    version: VersionId,
    generation: Option<Generation>,
    content: Option<Digest>,
    /// When that was last seen, or written.
    confirmed: Span,
    older: VecDeque<VersionId>,
    /// A list contradicts it.
    doubtful: bool,
}

/// What is remembered of all of them, by name.
#[derive(Debug, Default)]
pub(super) struct KeySets(BTreeMap<String, Known>);

/// The id of the version that brings `content` for `generation` after `parent` of the secret `whose` (its ARN, or its name before it
/// has one).
fn version_id(whose: &str, parent: &str, generation: Generation, content: &Digest) -> VersionId {
    let name = format!("{whose}|{parent}|{}|{content}", generation.0);
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    VersionId(format!("{PREFIX}{:0DIGITS$}-{}", generation.0, digest.simple()))
}

/// The generation in a version's id, if it is of our form.
fn generation_in(version: &VersionId) -> Option<Generation> {
    let (digits, digest) = version.0.strip_prefix(PREFIX)?.split_once('-')?;
    let sound = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) && digest.len() == 32;
    digits.parse().ok().filter(|_| sound).map(Generation)
}

fn digest_of(text: &SecretText) -> Digest {
    Digest::of(text.expose().as_bytes())
}

impl KeySets {
    /// Takes what a list shows of the secrets that are known.
    pub fn listed(&mut self, listed: &BTreeMap<String, Listed>, now: Span, list_lag: Span) {
        for (name, known) in &mut self.0 {
            let may_lag = now < known.confirmed + list_lag;
            known.doubtful |= match listed.get(name).filter(|secret| !secret.deleted) {
                Some(Listed { current: Some(current), .. }) if *current == known.version => false,
                Some(Listed { current: Some(current), .. }) => !(may_lag && known.older.contains(current)),
                Some(_) | None => !may_lag,
            };
        }
    }

    /// Whether anything is remembered of this secret.
    pub fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn confirm(&mut self, name: &str, version: &VersionId, content: Option<Digest>, now: Span) {
        let mut older = self.0.remove(name).map_or_else(VecDeque::new, |known| {
            let mut older = known.older;
            if known.version != *version {
                older.push_back(known.version);
            }
            older
        });
        older.retain(|seen| seen != version);
        while older.len() > VERSIONS {
            older.pop_front();
        }
        let generation = generation_in(version);
        let known = Known { version: version.clone(), generation, content, confirmed: now, older, doubtful: false };
        self.0.insert(name.to_owned(), known);
    }
}

impl<C: Calls, T: Time> Inner<C, T> {
    pub(super) fn key_sets(&self) -> MutexGuard<'_, KeySets> {
        self.key_sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Calls, T: Time> AwsStore<C, T> {
    /// Whether the secret is known to hold this content for this generation. Calls nothing.
    pub fn holds_key_set(&self, at: KeySetSecret<'_>, generation: Generation, text: &SecretText) -> bool {
        let key_sets = self.0.key_sets();
        let known = key_sets.0.get(at.name).filter(|known| !known.doubtful);
        known.is_some_and(|known| known.generation == Some(generation) && known.content == Some(digest_of(text)))
    }

    /// The version that is known to be in force, if nothing contradicts that. Calls nothing.
    pub fn known_key_set(&self, at: KeySetSecret<'_>) -> Option<(VersionId, Option<Generation>)> {
        let key_sets = self.0.key_sets();
        let known = key_sets.0.get(at.name).filter(|known| !known.doubtful);
        known.map(|known| (known.version.clone(), known.generation))
    }

    /// Waits before the next look at what others change at the same time, or what a copy that lags shows.
    pub async fn rest_before_look(&self, looks: u32) {
        self.0.rest(TRY_AGAIN, looks).await;
    }

    /// Looks at the secret itself: one call.
    ///
    /// # Errors
    /// If the service does not answer, or the secret is scheduled for deletion.
    pub async fn look_at_key_set(&self, at: KeySetSecret<'_>) -> Result<Shown, KeySetError> {
        match self.0.calls.get(at.name, Which::Current).await {
            Ok(value) => {
                let content = value.text.as_ref().map(digest_of);
                self.0.key_sets().confirm(at.name, &value.version, content, self.0.time.boot());
                Ok(Shown::Value { generation: generation_in(&value.version), version: value.version, text: value.text })
            }
            Err(error) if error.fault == CallFault::NotFound => {
                self.0.key_sets().0.remove(at.name);
                Ok(Shown::Nothing)
            }
            Err(error) => Err(self.explained(at, error).await),
        }
    }

    /// Brings `text` into force for `generation`, in the place of the version `over` that was seen (`None`: there was no secret).
    ///
    /// # Errors
    /// If the secret is not ours, or scheduled for deletion, or the service does not do it.
    pub async fn put_key_set(
        &self,
        at: KeySetSecret<'_>,
        generation: Generation,
        text: &SecretText,
        over: Option<&VersionId>,
    ) -> Result<Wrote, KeySetError> {
        let Some(over) = over else { return self.make_key_set(at, generation, text).await };
        let described = match self.0.calls.describe(at.name).await {
            Ok(described) => described,
            Err(error) if error.fault == CallFault::NotFound => return Ok(self.changed(at)),
            Err(error) => return Err(KeySetError(error.sentence)),
        };
        self.may_be_written(at, &described)?;
        if let Some(newest) = newest(&described).filter(|newest| *newest > generation) {
            return Ok(Wrote::Ahead(newest));
        }
        if described.holder(CURRENT) != Some(over) {
            return Ok(self.changed(at));
        }
        let token = version_id(&described.arn, &over.0, generation, &digest_of(text));
        self.claim_key_set(&described.arn, &token, text).await?;
        self.move_key_set(at, &described.arn, over, &token, generation).await
    }

    /// The version is added, and takes effect with the move of the label only. The same again changes nothing, so it may be repeated.
    async fn claim_key_set(&self, arn: &str, token: &VersionId, text: &SecretText) -> Result<(), KeySetError> {
        let mut tries = 1;
        loop {
            self.0.write_allowed().await;
            match self.0.calls.put(arn, token, text, STAGED).await {
                Ok(()) => return Ok(()),
                Err(error) if error.fault.passes() && tries < TRIES => self.0.rest(TRY_AGAIN, tries).await,
                Err(error) => return Err(KeySetError(error.sentence)),
            }
            tries += 1;
        }
    }

    async fn move_key_set(
        &self,
        at: KeySetSecret<'_>,
        arn: &str,
        from: &VersionId,
        to: &VersionId,
        generation: Generation,
    ) -> Result<Wrote, KeySetError> {
        let mut tries = 1;
        loop {
            self.0.write_allowed().await;
            let Err(error) = self.0.calls.move_current(arn, from, to).await else { return Ok(Wrote::InForce) };
            // The condition may have failed because an earlier try worked, or another replica wrote the same: the labels tell.
            if let Ok(described) = self.0.calls.describe(arn).await {
                if described.bears(to, CURRENT) {
                    return Ok(Wrote::InForce);
                }
                if let Some(newest) = newest(&described).filter(|newest| *newest > generation) {
                    return Ok(Wrote::Ahead(newest));
                }
                if described.holder(CURRENT) != Some(from) {
                    return Ok(self.changed(at));
                }
            }
            let in_vain = error.fault != CallFault::InvalidParameter && !error.fault.passes();
            if in_vain || tries == TRIES {
                return Err(KeySetError(error.sentence));
            }
            self.0.rest(TRY_AGAIN, tries).await;
            tries += 1;
        }
    }

    async fn make_key_set(&self, at: KeySetSecret<'_>, generation: Generation, text: &SecretText) -> Result<Wrote, KeySetError> {
        let token = version_id(at.name, "none", generation, &digest_of(text));
        let mut tags = self.0.tags.clone();
        tags.insert("keyset".into(), at.keyset.to_string());
        let whose = self.0.id(at.keyset);
        let description = format!("The public key set of {whose}, for verifiers, as keyrota keeps it. Do not edit: it is written over.");
        let manner = &self.0.manner;
        let secret = NewSecret { name: at.name, token: &token, value: text, description: &description, tags: &tags, manner };
        let mut tries = 1;
        loop {
            self.0.write_allowed().await;
            match self.0.calls.create(&secret).await {
                Ok(_) => return Ok(Wrote::InForce),
                Err(error) if error.fault == CallFault::Exists => return Ok(self.changed(at)),
                Err(error) if error.fault.passes() && tries < TRIES => self.0.rest(TRY_AGAIN, tries).await,
                Err(error) => return Err(self.explained(at, error).await),
            }
            tries += 1;
        }
    }

    /// Schedules the secret to be deleted; whether there was one that was not scheduled already.
    ///
    /// # Errors
    /// If it is not ours, or may not be deleted: then the sentence says what somebody has to do.
    pub async fn delete_key_set(&self, at: KeySetSecret<'_>) -> Result<bool, KeySetError> {
        self.0.key_sets().0.remove(at.name);
        let described = match self.0.calls.describe(at.name).await {
            Ok(described) if described.deleted_at.is_some() => return Ok(false),
            Ok(described) => described,
            Err(error) if error.fault == CallFault::NotFound => return Ok(false),
            Err(error) => return Err(KeySetError(error.sentence)),
        };
        self.may_be_written(at, &described)?;
        self.0.write_allowed().await;
        match self.0.calls.delete(at.name, RECOVERY).await {
            Ok(()) => Ok(true),
            Err(error) => {
                let what = format!("the secret `{}` was not deleted: {}", at.name, without_hint(&error.sentence));
                let by_hand = format!("`aws secretsmanager delete-secret --secret-id {}` by somebody who may", at.name);
                Err(KeySetError(format!("{what}; hint: {by_hand}")))
            }
        }
    }

    /// What was known does not hold: it is looked at before anything else.
    fn changed(&self, at: KeySetSecret<'_>) -> Wrote {
        if let Some(known) = self.0.key_sets().0.get_mut(at.name) {
            known.doubtful = true;
        }
        Wrote::Changed
    }

    /// A secret that waits to be deleted is not made anew, and one without our tags is somebody else's.
    fn may_be_written(&self, at: KeySetSecret<'_>, described: &Described) -> Result<(), KeySetError> {
        let name = at.name;
        if let Some(since) = described.deleted_at {
            return Err(KeySetError(format!(
                "the secret `{name}` is scheduled for deletion (since {since}) and is not made anew; hint: `aws secretsmanager \
                 restore-secret --secret-id {name}`, or take the target out of the policy"
            )));
        }
        let wanted = [MANAGED_BY, ("environment", self.0.environment.as_str()), ("keyset", at.keyset.as_str())];
        match wanted.into_iter().find(|(key, value)| described.tags.get(*key).is_none_or(|found| found != value)) {
            None => Ok(()),
            Some((key, value)) => Err(KeySetError(format!(
                "the secret `{name}` does not bear the tag {key}={value}, so it is somebody else's and is not written to; hint: give the \
                 target another `name`; if it is keyrota's, `aws secretsmanager tag-resource --secret-id {name} --tags \
                 Key={key},Value={value}`"
            ))),
        }
    }

    /// What is behind an answer that the secret is not in a state for the call.
    async fn explained(&self, at: KeySetSecret<'_>, error: CallError) -> KeySetError {
        if error.fault == CallFault::InvalidRequest
            && let Ok(described) = self.0.calls.describe(at.name).await
            && let Err(deleted) = self.may_be_written(at, &described)
        {
            return deleted;
        }
        KeySetError(error.sentence)
    }
}

/// The latest generation that any labelled version was written for.
fn newest(described: &Described) -> Option<Generation> {
    described.labels.keys().filter_map(generation_in).max()
}

fn without_hint(sentence: &str) -> &str {
    sentence.split_once("; hint: ").map_or(sentence, |(what, _)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_the_service_takes_and_tell_their_generation() {
        let content = Digest::of(b"{}");
        let one = version_id("arn:1", "none", Generation(7), &content);
        assert_eq!(one, version_id("arn:1", "none", Generation(7), &content));
        assert!((32..=64).contains(&one.0.len()), "{one}");
        assert_eq!(generation_in(&one), Some(Generation(7)));
        assert_eq!(generation_in(&version_id("a", "b", Generation(u64::MAX), &content)), Some(Generation(u64::MAX)));
        let others = [("arn:2", "none", 7, content), ("arn:1", "x", 7, content), ("arn:1", "none", 8, content)];
        for (whose, parent, generation, content) in others {
            assert_ne!(one, version_id(whose, parent, Generation(generation), &content));
        }
        assert_ne!(one, version_id("arn:1", "none", Generation(7), &Digest::of(b"[]")));
        for foreign in ["terraform-20260101000000000000000000000001", "keyrota-7-00000000000000000000000000000000", "keyrota-", ""] {
            assert_eq!(generation_in(&VersionId(foreign.into())), None, "{foreign}");
        }
    }
}
