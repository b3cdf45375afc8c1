//! Reading: the version in force, judged by what was seen before. A lagging answer is asked for again, and never taken for news.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::calls::{CURRENT, CallFault, Calls, Described, MOST_AT_ONCE, Value, VersionId, Which};
use super::marks::Look;
use super::pace::Time;
use super::{Inner, TROUBLE_REST, unread};
use crate::document::Document;
use crate::name::{Generation, KeysetName};
use crate::policy::Sweep;
use crate::store::{Loaded, Revision, StoreError};
use crate::time::Span;

/// How often an answer that shows less than was seen before is asked for again.
const LOOKS: u32 = 4;

/// The wait before the first of these.
const LOOK_AGAIN: Span = Span::millis(100);

/// How far a read of one secret may be behind.
const READ_LAG: Span = Sweep::Read.lag();

/// How many batches are under way at once.
const BATCHES_AT_ONCE: usize = 8;

/// How a look ended.
enum Found {
    Document(Loaded),
    /// It shows less than was seen: nothing (`None`), or an older version.
    Less(Option<(Loaded, Generation, String)>),
}

impl<C: Calls, T: Time> Inner<C, T> {
    /// The document in force; `None` if there is no such secret.
    pub(super) async fn read_one(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        if let Some(trouble) = self.recent_trouble(keyset) {
            return Err(trouble);
        }
        let read = self.read_anew(keyset).await;
        self.note_trouble(keyset, read.as_ref().err());
        read
    }

    async fn read_anew(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        let secret = self.secret_name(keyset);
        let mut less = None;
        for look in 0..LOOKS {
            if look > 0 {
                self.rest(LOOK_AGAIN, look).await;
            }
            match self.calls.get(&secret, Which::Current).await {
                Ok(value) => match self.judge(keyset, value)? {
                    Found::Document(loaded) => return Ok(Some(loaded)),
                    Found::Less(older) => less = older,
                },
                Err(error) if error.fault == CallFault::NotFound => {
                    if !self.marks().is_there(keyset) {
                        self.marks().missing(keyset, self.time.boot(), READ_LAG);
                        return Ok(None);
                    }
                    less = None;
                }
                Err(error) if error.fault == CallFault::InvalidRequest => return self.unless_let_go(keyset, unread(error)).await,
                Err(error) => return Err(unread(error)),
            }
        }
        self.confirm_less(keyset, less).await
    }

    /// Several reads showed less than was seen before: what another kind of look says decides.
    async fn confirm_less(&self, keyset: &KeysetName, less: Option<(Loaded, Generation, String)>) -> Result<Option<Loaded>, StoreError> {
        let described = match self.calls.describe(&self.secret_name(keyset)).await {
            Ok(described) => Some(described),
            Err(error) if error.fault == CallFault::NotFound => None,
            Err(error) => return Err(unread(error)),
        };
        let lags = |seen: String| {
            let id = self.id(keyset);
            StoreError::Unavailable(format!(
                "keyset {id}: {seen} was seen, and Secrets Manager still shows an older state; it is asked again"
            ))
        };
        match (described, less) {
            (None, None) => {
                self.marks().gone(keyset);
                Ok(None)
            }
            (Some(described), _) if described.deleted_at.is_some() => self.let_go(keyset, &described),
            (Some(described), Some((loaded, _, arn))) if described.holder(CURRENT).is_some_and(|v| v.0 == loaded.revision.0) => {
                self.marks().put_back(keyset, &arn, &VersionId(loaded.revision.0.clone()), self.time.boot());
                Ok(Some(loaded))
            }
            (_, Some((_, seen, _))) => Err(lags(format!("generation {seen}"))),
            (_, None) => Err(lags("the secret".into())),
        }
    }

    /// The documents of many keysets, twenty a call. One that cannot be read has its own error.
    pub(super) async fn read_many(&self, keysets: &[KeysetName]) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        let batches: Vec<Vec<KeysetName>> = keysets.chunks(MOST_AT_ONCE).map(<[KeysetName]>::to_vec).collect();
        let mut under_way = stream::iter(batches.into_iter().map(|batch| self.read_batch(batch))).buffer_unordered(BATCHES_AT_ONCE);
        let mut found = BTreeMap::new();
        while let Some(batch) = under_way.next().await {
            found.append(&mut batch?);
        }
        Ok(found)
    }

    async fn read_batch(&self, batch: Vec<KeysetName>) -> Result<BTreeMap<KeysetName, Result<Loaded, StoreError>>, StoreError> {
        let names: Vec<String> = batch.iter().map(|keyset| self.secret_name(keyset)).collect();
        let mut answers = self.calls.get_many(&names).await.map_err(unread)?;
        let mut found = BTreeMap::new();
        for (keyset, name) in batch.into_iter().zip(names) {
            let read = match answers.remove(&name) {
                // Whatever else is wrong with such an answer, it is not what was asked for. (moto's batches forget moves of the label.)
                Some(Ok(value)) if !value.in_force => self.read_one(&keyset).await,
                Some(Ok(value)) => match self.judge(&keyset, value) {
                    Ok(Found::Document(loaded)) => Ok(Some(loaded)),
                    Ok(Found::Less(_)) => self.read_one(&keyset).await,
                    Err(error) => Err(error),
                },
                Some(Err(error)) if error.fault == CallFault::NotFound => self.read_missing(&keyset).await,
                None => self.read_missing(&keyset).await,
                Some(Err(error)) if error.fault == CallFault::InvalidRequest => self.unless_let_go(&keyset, unread(error)).await,
                Some(Err(error)) => Err(unread(error)),
            };
            self.note_trouble(&keyset, read.as_ref().err());
            if let Some(read) = read.transpose() {
                found.insert(keyset, read);
            }
        }
        Ok(found)
    }

    /// A batch did not show the secret: if it was seen before, that may be a lagging answer.
    async fn read_missing(&self, keyset: &KeysetName) -> Result<Option<Loaded>, StoreError> {
        if self.marks().is_there(keyset) {
            return self.read_one(keyset).await;
        }
        self.marks().missing(keyset, self.time.boot(), READ_LAG);
        Ok(None)
    }

    /// What an answer is worth.
    fn judge(&self, keyset: &KeysetName, value: Value) -> Result<Found, StoreError> {
        let document = self.parse(keyset, &value)?;
        let (generation, now) = (document.generation, self.time.boot());
        let look = self.marks().read(keyset, &value.arn, &value.version, generation, now, READ_LAG);
        let loaded = Loaded { document, revision: Revision(value.version.0) };
        Ok(match look {
            Look::Good => Found::Document(loaded),
            Look::Below { seen } => Found::Less(Some((loaded, seen, value.arn))),
        })
    }

    /// The document in a value, if it is this keyset's.
    pub(super) fn parse(&self, keyset: &KeysetName, value: &Value) -> Result<Document, StoreError> {
        let (id, secret, version) = (self.id(keyset), self.secret_name(keyset), &value.version);
        let foreign = |what: String| {
            StoreError::Invalid(format!(
                "keyset {id}: the secret `{secret}` holds {what} at version {version}, so it is not touched; hint: if somebody wrote over \
                 keyrota's document, move AWSCURRENT back to AWSPREVIOUS; if the secret is another's, choose another prefix or name"
            ))
        };
        let Some(text) = &value.text else { return Err(foreign("bytes and no text".into())) };
        let document = Document::from_stored(text.expose().as_bytes()).map_err(|error| foreign(error.to_string()))?;
        if document.id != id {
            return Err(foreign(format!("the document of {}", document.id)));
        }
        Ok(document)
    }

    /// The secret is not in a state to be read: gone, if it waits to be deleted and nobody here wants it.
    async fn unless_let_go(&self, keyset: &KeysetName, otherwise: StoreError) -> Result<Option<Loaded>, StoreError> {
        match self.calls.describe(&self.secret_name(keyset)).await {
            Ok(described) if described.deleted_at.is_some() => self.let_go(keyset, &described),
            _ => Err(otherwise),
        }
    }

    fn let_go(&self, keyset: &KeysetName, described: &Described) -> Result<Option<Loaded>, StoreError> {
        if self.watched().contains(keyset) {
            return Err(self.waits_to_be_deleted(keyset, described));
        }
        self.marks().removed(keyset, &described.arn, self.time.boot());
        Ok(None)
    }

    /// What is behind an answer that the secret is not in a state for the call.
    pub(super) async fn explain(&self, keyset: &KeysetName, otherwise: StoreError) -> StoreError {
        match self.calls.describe(&self.secret_name(keyset)).await {
            Ok(described) if described.deleted_at.is_some() => self.waits_to_be_deleted(keyset, &described),
            _ => otherwise,
        }
    }

    pub(super) fn waits_to_be_deleted(&self, keyset: &KeysetName, described: &Described) -> StoreError {
        let (id, secret) = (self.id(keyset), self.secret_name(keyset));
        let since = described.deleted_at.map(|at| format!(" (since {at})")).unwrap_or_default();
        StoreError::Invalid(format!(
            "keyset {id}: the secret `{secret}` is scheduled for deletion{since} and is not made anew; hint: to keep it, `aws \
             secretsmanager restore-secret --secret-id {secret}`; to let it go, take the keyset out of the policy"
        ))
    }

    fn recent_trouble(&self, keyset: &KeysetName) -> Option<StoreError> {
        self.marks().recent_trouble(keyset, self.time.boot())
    }

    /// A secret that cannot be used is not looked at in every pass: each look costs.
    fn note_trouble(&self, keyset: &KeysetName, error: Option<&StoreError>) {
        if let Some(error @ StoreError::Invalid(_)) = error {
            self.marks().trouble(keyset, error.clone(), self.time.boot() + TROUBLE_REST);
        }
    }
}
