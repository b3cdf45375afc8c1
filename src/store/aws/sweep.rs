//! Sweeps: how foreign changes are noticed, on a timer of their own, so that a keyset with nothing due costs no call.
//!
//! A sweep that *lists* asks for names, versions and tags, a hundred secrets a call; the list may be five minutes behind, and
//! `store_refresh` counts that in. A sweep that *reads* asks for every keyset itself, twenty a call, and is seconds behind at most.
//! See docs/adr/0008.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{Calls, Listed};
use super::pace::Time;
use super::{Inner, MANAGED_BY, unread};
use crate::name::KeysetName;
use crate::policy::Sweep;
use crate::store::StoreError;
use crate::time::Span;

/// How far a list may be behind what was written.
const LIST_LAG: Span = Sweep::List.lag();

/// After a sweep that failed the next one is tried so much later.
const TRY_AGAIN: Span = Span::seconds(5);

/// In sweeps that read, the list, which only finds secrets that nobody here wants, is asked for this often at most.
const LIST_AT_MOST: Span = Span::minutes(1);

/// When was swept last.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// When the last good sweep began.
    began: Option<Span>,
    /// When the list was last asked for.
    listed: Option<Span>,
    /// What the last sweep died of, and when the next one may be tried.
    failed: Option<(Span, StoreError)>,
}

impl<C: Calls, T: Time> Inner<C, T> {
    /// Sweeps, if it is time; answers when the last sweep began (boot time).
    pub(super) async fn keep_swept(&self) -> Result<Span, StoreError> {
        let mut swept = self.swept.lock().await;
        let now = self.time.boot();
        if let Some(began) = swept.began.filter(|began| now < *began + self.sweep_every) {
            return Ok(began);
        }
        if let Some((_, error)) = swept.failed.as_ref().filter(|(until, _)| now < *until) {
            return Err(error.clone());
        }
        match self.sweep(&mut swept, now).await {
            Ok(()) => {
                swept.began = Some(now);
                swept.failed = None;
                Ok(now)
            }
            Err(error) => {
                swept.failed = Some((self.time.boot() + TRY_AGAIN.min(self.sweep_every), error.clone()));
                Err(error)
            }
        }
    }

    async fn sweep(&self, swept: &mut Swept, began: Span) -> Result<(), StoreError> {
        let list_every = if self.sweep == Sweep::Read { self.sweep_every.max(LIST_AT_MOST) } else { Span::ZERO };
        let mut to_read = BTreeSet::new();
        if swept.listed.is_none_or(|listed| began >= listed + list_every) {
            let (listed, key_sets) = self.list_all().await?;
            self.key_sets().listed(&key_sets, began, LIST_LAG);
            to_read.extend(self.marks().listed(&listed, began, LIST_LAG));
            swept.listed = Some(began);
        }
        if self.sweep == Sweep::Read {
            to_read.extend(self.watched().iter().cloned());
            to_read.extend(self.marks().names().cloned());
        }
        if to_read.is_empty() {
            return Ok(());
        }
        let to_read: Vec<_> = to_read.into_iter().collect();
        // What these reads show goes into the marks, and from there to whoever asks for changes.
        self.read_many(&to_read).await.map(drop)
    }

    /// The secrets whose names are those of keysets and that are tagged as ours, or are known to be.
    /// And those that hold public key sets, by name.
    async fn list_all(&self) -> Result<(BTreeMap<KeysetName, Listed>, BTreeMap<String, Listed>), StoreError> {
        let (mut found, mut key_sets) = (BTreeMap::new(), BTreeMap::new());
        let mut next = None;
        loop {
            let page = self.calls.list(&self.prefix, next.as_deref()).await.map_err(unread)?;
            for secret in page.secrets {
                if self.key_sets().knows(&secret.name) {
                    key_sets.insert(secret.name.clone(), secret);
                    continue;
                }
                let Some(keyset) = secret.name.strip_prefix(&self.prefix).and_then(|rest| rest.parse::<KeysetName>().ok()) else {
                    continue;
                };
                // One that waits to be deleted is gone, unless somebody here wants it.
                if secret.deleted && !self.watched().contains(&keyset) {
                    continue;
                }
                let ours = secret.tags.get(MANAGED_BY.0).is_some_and(|by| by == MANAGED_BY.1);
                if ours || self.marks().is_there(&keyset) || self.watched().contains(&keyset) {
                    found.insert(keyset, secret);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok((found, key_sets));
            }
        }
    }
}
