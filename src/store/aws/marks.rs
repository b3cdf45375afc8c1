//! What this process has seen of every secret: the high-water marks below which an answer is stale, and the numbered changes that
//! [`crate::store::Store::changes`] tells of. All of it can be lost.
//!
//! Every answer of the service may show an older state than one that was seen before. So nothing here is taken back because an
//! answer shows less; only a look that had time to catch up, or a second one of another kind, may do that.

use std::collections::{BTreeMap, VecDeque};

use super::calls::{Listed, VersionId};
use crate::name::{Generation, KeysetName};
use crate::store::{Changes, Mark, Revision, StoreError};
use crate::time::Span;

/// How many versions of a secret are remembered by generation.
const VERSIONS: usize = 48;

/// What is remembered of one secret.
#[derive(Debug, Default)]
struct Known {
    /// The number of the change that its reported revision came with.
    change: u64,
    arn: String,
    /// The version that is reported; `None`: the secret is gone.
    reported: Option<VersionId>,
    /// Since when a version is reported that only the list has shown.
    hearsay_since: Option<Span>,
    /// The latest version that was read or written, with its generation.
    high: Option<(Generation, VersionId)>,
    /// When the high-water mark was last seen to hold, or set.
    confirmed: Span,
    /// Versions by generation, the latest last; without one: known to be superseded.
    versions: VecDeque<(VersionId, Option<Generation>)>,
    /// A version below the mark that is in force nevertheless: somebody put it back.
    put_back: Option<VersionId>,
    /// The secret that was here and waits to be deleted, and since when (boot time) that is known: lists may go on showing it.
    removed: Option<(String, Span)>,
    /// What was wrong with it, and until when nobody needs to look again.
    trouble: Option<(Span, StoreError)>,
}

/// What a direct look means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is at the mark, or beyond.
    Good,
    /// It shows less than was seen before.
    Below {
        /// What was seen.
        seen: Generation,
    },
}

/// The marks of all secrets of one environment.
#[derive(Debug)]
pub(super) struct Marks {
    instance: String,
    last: u64,
    by_name: BTreeMap<KeysetName, Known>,
}

impl Known {
    fn generation_of(&self, version: &VersionId) -> Option<Generation> {
        self.versions.iter().find(|(known, _)| known == version).and_then(|(_, generation)| *generation)
    }

    fn remember(&mut self, version: &VersionId, generation: Option<Generation>) {
        if let Some(known) = self.versions.iter_mut().find(|(known, _)| known == version) {
            known.1 = known.1.or(generation);
            return;
        }
        self.versions.push_back((version.clone(), generation));
        if self.versions.len() > VERSIONS {
            self.versions.pop_front();
        }
    }
}

impl Marks {
    /// Nothing is known. `instance` tells this process's marks from those of others.
    pub fn new(instance: String) -> Self {
        Self { instance, last: 0, by_name: BTreeMap::new() }
    }

    /// The entry of a secret, begun anew if it is another secret of the same name.
    fn known(&mut self, keyset: &KeysetName, arn: &str) -> &mut Known {
        let known = self.by_name.entry(keyset.clone()).or_default();
        if known.arn != arn {
            *known = Known { arn: arn.to_owned(), change: known.change, reported: known.reported.take(), ..Known::default() };
        }
        known
    }

    fn report(&mut self, keyset: &KeysetName, version: Option<VersionId>) {
        let Some(known) = self.by_name.get_mut(keyset) else { return };
        known.hearsay_since = None;
        if known.reported != version {
            self.last += 1;
            known.change = self.last;
            known.reported = version;
        }
    }

    /// A version was read that is said to be in force.
    pub fn read(&mut self, keyset: &KeysetName, arn: &str, version: &VersionId, generation: Generation, now: Span, read_lag: Span) -> Look {
        let known = self.known(keyset, arn);
        known.remember(version, Some(generation));
        known.trouble = None;
        match &known.high {
            Some((_, high)) if high == version => known.put_back = None,
            Some((seen, _)) if *seen >= generation => {
                if known.put_back.as_ref() != Some(version) {
                    return Look::Below { seen: *seen };
                }
            }
            _ => {
                known.high = Some((generation, version.clone()));
                known.put_back = None;
            }
        }
        if let (Some(listed), Some(since)) = (known.reported.clone().filter(|listed| listed != version), known.hearsay_since) {
            // The list told of a version that this read does not show: one of them lags, and reads do not do so for long.
            if now < since + read_lag {
                return Look::Good;
            }
            known.remember(&listed, None);
        }
        known.confirmed = now;
        self.report(keyset, Some(version.clone()));
        Look::Good
    }

    /// A version of ours is in force now.
    pub fn wrote(&mut self, keyset: &KeysetName, arn: &str, version: &VersionId, generation: Generation, now: Span) {
        let known = self.known(keyset, arn);
        known.remember(version, Some(generation));
        known.trouble = None;
        if known.high.as_ref().is_none_or(|(seen, _)| *seen < generation) {
            known.high = Some((generation, version.clone()));
            known.confirmed = now;
            known.put_back = None;
            self.report(keyset, Some(version.clone()));
        }
    }

    /// A version below the mark is in force: two kinds of looks say so, so it was put back.
    pub fn put_back(&mut self, keyset: &KeysetName, arn: &str, version: &VersionId, now: Span) {
        let known = self.known(keyset, arn);
        known.put_back = Some(version.clone());
        known.confirmed = now;
        self.report(keyset, Some(version.clone()));
    }

    /// The secret is not there.
    pub fn gone(&mut self, keyset: &KeysetName) {
        if let Some(known) = self.by_name.get_mut(keyset) {
            *known = Known { change: known.change, reported: known.reported.take(), ..Known::default() };
            self.report(keyset, None);
        }
    }

    /// The secret waits to be deleted, and nobody wants it.
    pub fn removed(&mut self, keyset: &KeysetName, arn: &str, now: Span) {
        self.gone(keyset);
        self.by_name.entry(keyset.clone()).or_default().removed = Some((arn.to_owned(), now));
    }

    /// A read did not show a secret that only a list has told of: one of them lags, and reads do not do so for long.
    pub fn missing(&mut self, keyset: &KeysetName, now: Span, read_lag: Span) {
        let told_lately = |known: &Known| known.hearsay_since.is_some_and(|since| now < since + read_lag);
        if !self.by_name.get(keyset).is_some_and(told_lately) {
            self.gone(keyset);
        }
    }

    /// The secret cannot be used: nobody needs to look again before `until`.
    pub fn trouble(&mut self, keyset: &KeysetName, error: StoreError, until: Span) {
        self.by_name.entry(keyset.clone()).or_default().trouble = Some((until, error));
    }

    /// What was wrong with it lately.
    pub fn recent_trouble(&self, keyset: &KeysetName, now: Span) -> Option<StoreError> {
        self.by_name.get(keyset)?.trouble.as_ref().filter(|(until, _)| now < *until).map(|(_, error)| error.clone())
    }

    /// Whether the secret is known to be there.
    pub fn is_there(&self, keyset: &KeysetName) -> bool {
        self.by_name.get(keyset).is_some_and(|known| known.high.is_some() && known.reported.is_some())
    }

    /// The generation of a version, if it was seen.
    pub fn generation(&self, keyset: &KeysetName, version: &VersionId) -> Option<Generation> {
        self.by_name.get(keyset)?.generation_of(version)
    }

    /// Whether this answer is known to show less than was seen.
    pub fn is_older(&self, keyset: &KeysetName, version: &VersionId) -> bool {
        let Some(known) = self.by_name.get(keyset) else { return false };
        let remembered = known.versions.iter().any(|(known, _)| known == version);
        remembered && known.high.as_ref().is_some_and(|(_, high)| high != version)
    }

    /// Takes a whole list; answers the keysets that must be looked at themselves, because the list contradicts what was seen.
    /// `list_lag`: how far a list may be behind.
    pub fn listed(&mut self, listed: &BTreeMap<KeysetName, Listed>, now: Span, list_lag: Span) -> Vec<KeysetName> {
        let mut doubtful = Vec::new();
        for (keyset, secret) in listed {
            let Some(version) = &secret.current else {
                // Made, and without a version yet; or the list does not know.
                doubtful.push(keyset.clone());
                continue;
            };
            let before = self.by_name.get(keyset);
            if before.is_some_and(|known| known.removed.as_ref().is_some_and(|(arn, at)| *arn == secret.arn && now < *at + list_lag)) {
                continue;
            }
            let same_secret = before.is_some_and(|known| known.arn == secret.arn);
            let settled = before.is_some_and(|known| now >= known.confirmed + list_lag);
            if before.is_some_and(|known| known.reported.as_ref() == Some(version)) {
                continue;
            }
            let remembered = same_secret && before.is_some_and(|known| known.versions.iter().any(|(seen, _)| seen == version));
            match (remembered, settled) {
                // The list is behind, as it may be.
                (true, false) => {}
                (true, true) => doubtful.push(keyset.clone()),
                (false, _) => {
                    if before.is_some_and(|known| !known.arn.is_empty() && !same_secret && known.high.is_some()) {
                        // Another secret of the same name, or a list that still shows the one before.
                        doubtful.push(keyset.clone());
                        continue;
                    }
                    let known = self.known(keyset, &secret.arn);
                    let since = known.hearsay_since.filter(|_| known.reported.as_ref() == Some(version));
                    self.report(keyset, Some(version.clone()));
                    if let Some(known) = self.by_name.get_mut(keyset) {
                        known.hearsay_since = Some(since.unwrap_or(now));
                    }
                }
            }
        }
        let unlisted = self.by_name.iter().filter(|(name, known)| known.reported.is_some() && !listed.contains_key(*name));
        doubtful.extend(unlisted.filter(|(_, known)| now >= known.confirmed + list_lag || known.high.is_none()).map(|(n, _)| n.clone()));
        doubtful
    }

    /// The names of all secrets that are there.
    pub fn names(&self) -> impl Iterator<Item = &KeysetName> {
        self.by_name.iter().filter(|(_, known)| known.reported.is_some()).map(|(name, _)| name)
    }

    /// What has changed since a mark.
    pub fn changes(&self, mark: &Mark) -> Changes {
        let seen = mark.0.strip_prefix(self.instance.as_str()).and_then(|rest| rest.strip_prefix('-')).and_then(|n| n.parse().ok());
        let since = seen.filter(|seen| *seen <= self.last).unwrap_or(0);
        let mut changes = Changes { mark: Mark(format!("{}-{}", self.instance, self.last)), ..Changes::default() };
        for (keyset, known) in self.by_name.iter().filter(|(_, known)| known.change > since) {
            match &known.reported {
                Some(version) => changes.written.push((keyset.clone(), Revision(version.0.clone()))),
                None => changes.removed.push(keyset.clone()),
            }
        }
        changes
    }
}
