//! The swap: claim a place after the parent version, then move `AWSCURRENT` from the parent to it. The move is the commit point.
//!
//! Invariant: `AWSCURRENT` is moved only by [`Calls::move_current`] from the version that the decision rests on, so no update is lost,
//! whatever anybody reads, repeats or leaves behind. Claims only arrange who moves what:
//!
//! - Everybody who would succeed one version claims under the same derived token, so of two that race one meets the other's claim.
//! - A claim that a crashed replica left behind is carried through if it is our own step and fresh; otherwise the next place is taken.
//! - A generation is used once. Where somebody has put an earlier version back, the version before it is newer than the one in force,
//!   and nothing is claimed that does not go beyond both.
//!
//! After any failure the secret is looked at before anything is concluded, and once a claim may have landed, "nothing was changed" is
//! never said, because another replica may carry it through.

use super::calls::{CURRENT, CallError, CallFault, Calls, Described, NewSecret, PREVIOUS, STAGED, VersionId, Which};
use super::pace::Time;
use super::{Inner, MANAGED_BY, claim};
use crate::document::Document;
use crate::name::Generation;
use crate::secret::SecretText;
use crate::store::seal::RandomId;
use crate::store::{Revision, StoreError, SwapError, check_succession};
use crate::time::Span;

/// Derived places after one version; when all are taken, a random one is.
const PLACES: u64 = 8;

/// How often a call is sent again.
const TRIES: u32 = 4;

/// The wait before the first of these.
const TRY_AGAIN: Span = Span::millis(100);

/// A swap that has taken longer than this does not try again.
const LONGEST: Span = Span::seconds(20);

/// Where a change stands after a move of the label.
enum Stands {
    /// Our version is in force, or was.
    Committed,
    /// The parent is in force still, or the answer lags.
    NotYet,
    /// Another version is in force, and came straight after the parent.
    Overtaken,
    /// Another version is in force, and more may have happened in between.
    Elsewhere,
}

/// Whose claim is to be committed.
enum Claimed {
    /// Ours.
    Own(VersionId),
    /// Another replica's, of the same step.
    Adopted(VersionId, Generation),
}

/// The version that a swap succeeds.
struct Parent<'a> {
    arn: String,
    version: &'a VersionId,
}

impl<C: Calls, T: Time> Inner<C, T> {
    /// Makes the secret, if there is none of that name.
    pub(super) async fn create(&self, next: &Document, value: &SecretText) -> Result<Revision, SwapError> {
        let keyset = &next.id.keyset;
        let name = self.secret_name(keyset);
        let token = VersionId(random_token()?);
        let mut tags = self.tags.clone();
        tags.insert("keyset".into(), keyset.to_string());
        let description = format!("The keyset {} as keyrota keeps it. Do not edit: change the policy, or use `keyrota`.", next.id);
        let secret = NewSecret { name: &name, token: &token, value, description: &description, tags: &tags, manner: &self.manner };
        let mut unsure = false;
        for tries in 0..TRIES {
            if tries > 0 {
                self.rest(TRY_AGAIN, tries).await;
            }
            self.write_allowed().await;
            let error = match self.calls.create(&secret).await {
                Ok(made) => {
                    self.marks().wrote(keyset, &made.arn, &made.version, next.generation, self.time.boot());
                    return Ok(Revision(made.version.0));
                }
                Err(error) => error,
            };
            match error.fault {
                CallFault::Exists if !unsure => return Err(SwapError::Conflict),
                CallFault::InvalidRequest => return Err(self.not_creatable(next, error).await),
                CallFault::Unknown | CallFault::Exists => unsure = true,
                CallFault::Throttled => {}
                _ if unsure => {}
                fault => return Err(unchanged(fault, error)),
            }
            if unsure && let Ok(described) = self.calls.describe(&name).await {
                let ours = described.labels.contains_key(&token);
                if ours {
                    self.marks().wrote(keyset, &described.arn, &token, next.generation, self.time.boot());
                    return Ok(Revision(token.0));
                }
                return Err(SwapError::Indeterminate(error.sentence));
            }
            if tries + 1 == TRIES {
                return Err(if unsure { SwapError::Indeterminate(error.sentence) } else { SwapError::Unavailable(error.sentence) });
            }
        }
        Err(SwapError::Indeterminate(format!("the secret `{name}` could not be made in {TRIES} tries")))
    }

    async fn not_creatable(&self, next: &Document, error: CallError) -> SwapError {
        match self.explain(&next.id.keyset, StoreError::Invalid(error.sentence)).await {
            StoreError::Invalid(what) => SwapError::Invalid(what),
            StoreError::Unavailable(what) => SwapError::Unavailable(what),
        }
    }

    /// Puts `next` after `parent`, if that is in force.
    pub(super) async fn replace(&self, version: &VersionId, next: &Document, value: &SecretText) -> Result<Revision, SwapError> {
        let began = self.time.boot();
        let parent = self.may_succeed(version, next).await?;
        let claimed = self.claim(&parent, next, value, began).await?;
        let (to, generation, adopted) = match claimed {
            Claimed::Own(version) => (version, next.generation, false),
            Claimed::Adopted(version, generation) => (version, generation, true),
        };
        self.commit(&parent, &to, next, began, adopted).await?;
        self.marks().wrote(&next.id.keyset, &parent.arn, &to, generation, self.time.boot());
        // Somebody else's document is in force now, and the caller's is not: to be read again.
        if adopted { Err(SwapError::Conflict) } else { Ok(Revision(to.0)) }
    }

    /// Whether `next` may succeed `version` as far as can be seen. What is seen may lag; the commit is what counts.
    async fn may_succeed<'a>(&self, version: &'a VersionId, next: &Document) -> Result<Parent<'a>, SwapError> {
        let keyset = &next.id.keyset;
        let name = self.secret_name(keyset);
        let described = match self.calls.describe(&name).await {
            Ok(described) => described,
            Err(error) if error.fault == CallFault::NotFound => return Err(SwapError::Conflict),
            Err(error) => return Err(unchanged(error.fault, error)),
        };
        if described.deleted_at.is_some() {
            return Err(SwapError::Invalid(self.waits_to_be_deleted(keyset, &described).to_string()));
        }
        self.must_be_ours(next, &described)?;
        match described.holder(CURRENT) {
            Some(current) if current == version => {}
            // It was seen in force, and the answer shows what was before it. Had it been succeeded, it would bear AWSPREVIOUS.
            Some(current) if self.marks().is_older(keyset, current) && !described.bears(version, PREVIOUS) => {}
            _ => return Err(SwapError::Conflict),
        }
        check_succession(self.generation_of(next, version).await?, next)?;
        self.not_put_back(next, version, &described).await?;
        Ok(Parent { arn: described.arn, version })
    }

    /// Whether the version before the one in force is also the earlier one: if not, somebody put an earlier one back.
    async fn not_put_back(&self, next: &Document, version: &VersionId, described: &Described) -> Result<(), SwapError> {
        if let Some(previous) = described.holder(PREVIOUS).filter(|previous| *previous != version)
            && let Some(newest) = self.generation_before(next, previous).await?
            && newest >= next.generation
        {
            return Err(SwapError::Invalid(self.put_back_by_hand(next, version, previous, newest)));
        }
        Ok(())
    }

    /// A secret without our tags is somebody else's, whatever it holds.
    pub(super) fn must_be_ours(&self, next: &Document, described: &Described) -> Result<(), SwapError> {
        let keyset = next.id.keyset.as_str();
        let wanted = [MANAGED_BY, ("environment", self.environment.as_str()), ("keyset", keyset)];
        let Some((key, value)) = wanted.into_iter().find(|(key, value)| described.tags.get(*key).is_none_or(|found| found != value)) else {
            return Ok(());
        };
        let (id, name) = (&next.id, self.secret_name(&next.id.keyset));
        Err(SwapError::Invalid(format!(
            "keyset {id}: the secret `{name}` does not bear the tag {key}={value}, so it is not written to; hint: if it is keyrota's, \
             `aws secretsmanager tag-resource --secret-id {name} --tags Key={key},Value={value}`; if not, choose another prefix"
        )))
    }

    /// The generation of the version that the caller saw.
    async fn generation_of(&self, next: &Document, version: &VersionId) -> Result<Generation, SwapError> {
        let known = self.marks().generation(&next.id.keyset, version);
        if let Some(generation) = known {
            return Ok(generation);
        }
        match self.generation_before(next, version).await? {
            Some(generation) => Ok(generation),
            None => Err(SwapError::Conflict),
        }
    }

    /// The generation of a version, read if it is not known; `None` if it holds no document of this keyset, or is gone.
    async fn generation_before(&self, next: &Document, version: &VersionId) -> Result<Option<Generation>, SwapError> {
        let keyset = &next.id.keyset;
        let known = self.marks().generation(keyset, version);
        if known.is_some() {
            return Ok(known);
        }
        match self.calls.get(&self.secret_name(keyset), Which::Version(version)).await {
            Ok(value) => Ok(self.parse(keyset, &value).ok().map(|document| document.generation)),
            Err(error) if error.fault == CallFault::NotFound => Ok(None),
            Err(error) => Err(unchanged(error.fault, error)),
        }
    }

    fn put_back_by_hand(&self, next: &Document, version: &VersionId, previous: &VersionId, newest: Generation) -> String {
        let (id, name) = (&next.id, self.secret_name(&next.id.keyset));
        format!(
            "keyset {id}: somebody moved AWSCURRENT of `{name}` back to version {version}, while version {previous}, which is \
             AWSPREVIOUS, holds the later generation {newest}; nothing is changed until an operator decides; hint: move AWSCURRENT to \
             {previous} again, or `keyrota accept` what is in force now"
        )
    }

    /// Takes a place after the parent.
    async fn claim(&self, parent: &Parent<'_>, next: &Document, value: &SecretText, began: Span) -> Result<Claimed, SwapError> {
        let mut n = 0;
        let mut tries = 0;
        let mut unsure = false;
        loop {
            let number = if n < PLACES { n } else { u64::from_be_bytes(random_bytes()?) | PLACES };
            let token = claim::token(&parent.arn, parent.version, number);
            self.write_allowed().await;
            let error = match self.calls.put(&parent.arn, &token, value, STAGED).await {
                Ok(()) => return Ok(Claimed::Own(token)),
                Err(error) => error,
            };
            match error.fault {
                CallFault::Exists => {
                    if let Some(adopted) = self.meet(parent, &token, next, began).await.map_err(|error| unsettled(unsure, error))? {
                        return Ok(adopted);
                    }
                    n += 1;
                    continue;
                }
                CallFault::NotFound => return Err(SwapError::Conflict),
                CallFault::Unknown => unsure = true,
                CallFault::Throttled | CallFault::Unreachable => {}
                CallFault::InvalidRequest => return Err(self.not_creatable(next, error).await),
                fault if unsure => return Err(SwapError::Indeterminate(format!("{} ({})", error.sentence, fault.as_str()))),
                fault => return Err(unchanged(fault, error)),
            }
            tries += 1;
            if tries == TRIES || self.time.boot() > began + LONGEST {
                return Err(if unsure { SwapError::Indeterminate(error.sentence) } else { SwapError::Unavailable(error.sentence) });
            }
            self.rest(TRY_AGAIN, tries).await;
        }
    }

    /// The place is taken. `None`: the next one is to be tried.
    async fn meet(&self, parent: &Parent<'_>, token: &VersionId, next: &Document, began: Span) -> Result<Option<Claimed>, SwapError> {
        let keyset = &next.id.keyset;
        for look in 0..2 {
            let described = match self.calls.describe(&parent.arn).await {
                Ok(described) => described,
                Err(error) if error.fault == CallFault::NotFound => return Err(SwapError::Conflict),
                Err(error) => return Err(SwapError::Unavailable(error.sentence)),
            };
            let older = |current: &VersionId| self.marks().is_older(keyset, current);
            if described.bears(parent.version, PREVIOUS) || described.holder(CURRENT).is_some_and(|c| c != parent.version && !older(c)) {
                return Err(SwapError::Conflict);
            }
            self.not_put_back(next, parent.version, &described).await?;
            if !described.bears(token, STAGED) || described.bears(token, PREVIOUS) {
                return Ok(None);
            }
            let Ok(value) = self.calls.get(&parent.arn, Which::Version(token)).await else { return Ok(None) };
            let found = self.parse(keyset, &value).ok().filter(|found| claim::same_step(found, next));
            if let Some(found) = found.filter(|_| self.time.boot() <= began + claim::FRESH) {
                return Ok(Some(Claimed::Adopted(token.clone(), found.generation)));
            }
            if look == 0 {
                // Whoever claimed it is probably about to commit it. Waiting for that is cheaper than another version.
                self.rest(TRY_AGAIN, 0).await;
            }
        }
        Ok(None)
    }

    /// Moves `AWSCURRENT` from the parent to the claimed version.
    async fn commit(&self, parent: &Parent<'_>, to: &VersionId, next: &Document, began: Span, adopted: bool) -> Result<(), SwapError> {
        let mut last = String::new();
        for tries in 0..TRIES {
            if tries > 0 {
                if self.time.boot() > began + LONGEST {
                    break;
                }
                self.rest(TRY_AGAIN, tries).await;
            }
            self.write_allowed().await;
            let error = match self.calls.move_current(&parent.arn, parent.version, to).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            last = error.sentence;
            match self.stands(parent, to, next).await {
                Stands::Committed => return Ok(()),
                Stands::Overtaken => return Err(SwapError::Conflict),
                Stands::Elsewhere if adopted => return Err(SwapError::Conflict),
                Stands::Elsewhere => return self.was_committed(next).await,
                Stands::NotYet => {}
            }
            // The condition may have failed because an earlier try worked, which the labels will show. What else does not pass by
            // itself need not be tried again; but another replica may still carry the claim through.
            if error.fault != CallFault::InvalidParameter && !error.fault.passes() {
                break;
            }
        }
        Err(SwapError::Indeterminate(last))
    }

    /// What the labels say.
    async fn stands(&self, parent: &Parent<'_>, to: &VersionId, next: &Document) -> Stands {
        let Ok(described) = self.calls.describe(&parent.arn).await else { return Stands::NotYet };
        if described.bears(to, CURRENT) || described.bears(to, PREVIOUS) {
            return Stands::Committed;
        }
        match described.holder(CURRENT) {
            Some(current) if current == parent.version => Stands::NotYet,
            Some(current) if self.marks().is_older(&next.id.keyset, current) && !described.bears(parent.version, PREVIOUS) => {
                Stands::NotYet
            }
            Some(_) if described.bears(parent.version, PREVIOUS) => Stands::Overtaken,
            Some(_) => Stands::Elsewhere,
            None => Stands::NotYet,
        }
    }

    /// Another version is in force. If it descends from ours, ours was committed and has been succeeded since.
    async fn was_committed(&self, next: &Document) -> Result<(), SwapError> {
        let name = self.secret_name(&next.id.keyset);
        let value = self.calls.get(&name, Which::Current).await.map_err(|error| SwapError::Indeterminate(error.sentence))?;
        let found = self.parse(&next.id.keyset, &value).map_err(|error| SwapError::Indeterminate(error.to_string()))?;
        let then = if found.generation == next.generation {
            Some(found.digest())
        } else {
            found.lineage.iter().find(|(generation, _)| *generation == next.generation).map(|(_, digest)| *digest)
        };
        match then {
            Some(digest) if digest == next.digest() => Ok(()),
            Some(_) => Err(SwapError::Conflict),
            // An answer from before, or from so long after that it does not remember.
            None => {
                let (id, at) = (&next.id, next.generation);
                Err(SwapError::Indeterminate(format!("keyset {id}: what is in force does not tell what became of generation {at}")))
            }
        }
    }
}

/// A call failed before anything was claimed: nothing was changed.
fn unchanged(fault: CallFault, error: CallError) -> SwapError {
    match fault {
        CallFault::Denied
        | CallFault::Quota
        | CallFault::Kms
        | CallFault::Refused
        | CallFault::InvalidParameter
        | CallFault::InvalidRequest => SwapError::Invalid(error.sentence),
        _ => SwapError::Unavailable(error.sentence),
    }
}

/// Once a claim may have landed, nobody can say that nothing was changed.
fn unsettled(unsure: bool, error: SwapError) -> SwapError {
    match error {
        SwapError::Unavailable(what) if unsure => SwapError::Indeterminate(what),
        error => error,
    }
}

fn random_token() -> Result<String, SwapError> {
    let id = RandomId::new().map_err(SwapError::Unavailable)?;
    Ok(uuid::Builder::from_random_bytes(id.0).into_uuid().to_string())
}

fn random_bytes() -> Result<[u8; 8], SwapError> {
    let id = RandomId::new().map_err(SwapError::Unavailable)?;
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.0[..8]);
    Ok(bytes)
}
