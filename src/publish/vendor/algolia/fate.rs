//! What becomes of each key that Algolia lists: kept, adopted for an order, deleted now or later. Pure.

use std::collections::BTreeSet;

use super::api::Shown;
use super::naming::Naming;
use crate::digest::Digest;
use crate::document::{Document, StateName};
use crate::key::Origin;
use crate::name::{KeysetId, Kid};
use crate::publish::Amiss;
use crate::secret::SecretText;
use crate::time::{Span, Timestamp};

/// Whether keys are still made there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// They are.
    Stays,
    /// The policy has another source now. Tokens of the keys that live are still checked there.
    Source,
    /// The whole keyset is removed.
    Keyset,
}

/// What is to stand there of ours.
#[derive(Clone)]
pub struct Wanted {
    /// Without secrets.
    document: Document,
    naming: Naming,
    secrets: Vec<(Kid, SecretText)>,
    leaving: Leaving,
}

/// What becomes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is somebody else's.
    Left,
    /// It lives.
    Lives,
    /// The order that it was made for may not be over.
    Ordered,
    /// It is deleted.
    Dead,
    /// It is deleted then, because it was used when all its tokens should have been dead; later if it is used again.
    Held(Timestamp),
}

/// Everything that is listed, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    id: Option<KeysetId>,
    /// The ids of those to be deleted.
    pub dead: BTreeSet<String>,
    /// Those of them that were revoked.
    revoked: Vec<Kid>,
    held: Vec<(Kid, Timestamp, Span)>,
    /// Ours that cannot be deleted yet while we leave.
    staying: usize,
    /// Living keys that are not there, or not as they were.
    missing: Vec<(Kid, StateName)>,
    altered: Vec<Kid>,
    /// Keys for signing tokens that are there for other agents.
    for_others: Vec<Kid>,
}

impl Wanted {
    /// What `document` says.
    pub fn of(document: &Document, leaving: Leaving) -> Self {
        let secrets = document.live().filter(|live| live.key.origin == Origin::Imported);
        let secrets = secrets.filter_map(|live| Some((live.key.kid.clone(), live.key.secret()?.clone()))).collect();
        Self { document: document.without_secrets(), naming: Naming::of(&document.id), secrets, leaving }
    }

    /// Names what must be there: another generation may mean another fate.
    pub fn digest(&self) -> Digest {
        let live: Vec<&str> = self.document.live().map(|live| live.key.kid.as_str()).collect();
        Digest::of(format!("{:?} {} {live:?}", self.leaving, self.document.generation).as_bytes())
    }

    fn was_revoked(&self, kid: &Kid) -> bool {
        self.document.revoked_kids().contains(&Digest::of(kid.as_str().as_bytes()))
    }

    /// What becomes of this one.
    pub fn fate(&self, shown: &Shown, now: Timestamp) -> Fate {
        let made_for = self.naming.generation_of(&shown.name);
        let Ok(kid) = shown.id.parse::<Kid>() else { return Fate::Left };
        let lives = self.document.live_key(&kid).is_some();
        match (lives, made_for) {
            (true, Some(_)) if self.leaving == Leaving::Keyset => return Fate::Dead,
            (true, _) => return Fate::Lives,
            // Whoever revokes a key means that nothing takes its tokens any more, whoever made it.
            (false, _) if self.was_revoked(&kid) => return Fate::Dead,
            (false, None) => return Fate::Left,
            (false, Some(_)) => {}
        }
        let (generation, known) = (self.document.generation, self.document.knows(&kid));
        let pending = made_for.filter(|made_for| !known && *made_for > generation);
        match (self.leaving, pending) {
            (_, None) => {}
            (Leaving::Keyset, Some(made_for)) if made_for == generation.next() => return Fate::Dead,
            (_, Some(_)) => return Fate::Ordered,
        }
        if self.leaving == Leaving::Keyset {
            return Fate::Dead;
        }
        match self.used_too_late(&kid, shown.last_used_at, now) {
            Some(until) if now < until => Fate::Held(until),
            _ => Fate::Dead,
        }
    }

    /// If it was used when no token of it should have lived any more: until when one that was made at that moment may live.
    fn used_too_late(&self, kid: &Kid, used: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let facts = self.document.facts.promised(now);
        let tombstone = self.document.tombstones.iter().find(|gone| gone.kid == *kid);
        let over = tombstone.and_then(|gone| gone.retiring_at).map_or(Timestamp::EPOCH, |at| at + facts.retention());
        used.filter(|used| *used > over).map(|used| used + facts.token_ttl + facts.clock_skew * 2)
    }
}

/// The key that stands for an order: of that name, for those agents, and never recorded or used. If there are several, the same one for
/// whoever looks: the oldest.
pub fn adopted<'a>(document: &Document, name: &str, agents: &BTreeSet<String>, listed: &'a [Shown]) -> Option<&'a Shown> {
    let fits = |shown: &&Shown| {
        let recorded = shown.id.parse::<Kid>().is_ok_and(|kid| document.knows(&kid));
        shown.name == name && shown.agent_ids == *agents && shown.is_default != Some(true) && shown.last_used_at.is_none() && !recorded
    };
    listed.iter().filter(fits).min_by_key(|shown| (shown.created_at, &shown.id))
}

impl Findings {
    /// Sorts what is listed.
    pub fn of(wanted: &Wanted, agents: &BTreeSet<String>, listed: &[Shown], now: Timestamp) -> Self {
        let mut found = Self { id: Some(wanted.document.id.clone()), ..Self::default() };
        for shown in listed {
            let ours = wanted.naming.generation_of(&shown.name).is_some();
            match (wanted.fate(shown, now), shown.id.parse::<Kid>()) {
                (Fate::Dead, kid) => {
                    found.dead.insert(shown.id.clone());
                    found.revoked.extend(kid.ok().filter(|kid| wanted.was_revoked(kid)));
                }
                (Fate::Held(until), Ok(kid)) => {
                    found.held.push((kid, until, wanted.document.facts.promised(now).token_ttl));
                    found.staying += 1;
                }
                (Fate::Ordered, _) => found.staying += 1,
                (Fate::Lives, Ok(kid)) => {
                    found.staying += usize::from(ours);
                    let signs = wanted.document.live_key(&kid).is_some_and(|live| live.state != StateName::Retiring);
                    if signs && shown.agent_ids != *agents {
                        found.for_others.push(kid);
                    }
                }
                _ => {}
            }
        }
        for (kid, secret) in wanted.secrets.iter().filter(|_| wanted.leaving != Leaving::Keyset) {
            match (listed.iter().find(|shown| shown.id == kid.as_str()), wanted.document.live_key(kid)) {
                (None, Some(live)) => found.missing.push((kid.clone(), live.state)),
                (Some(shown), _) if shown.value != *secret => found.altered.push(kid.clone()),
                _ => {}
            }
        }
        if wanted.leaving == Leaving::Stays {
            found.staying = 0;
        } else {
            found.missing.clear();
            found.altered.clear();
            found.for_others.clear();
        }
        found
    }

    /// What is not as it should be; `failed` is what a call failed with.
    pub fn amiss(&self, failed: Option<String>) -> Option<Amiss> {
        let id = self.id.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut told: Vec<(String, String)> = Vec::new();
        let mut tell = |what: String, hint: String| told.push((what, hint));
        if let Some(failed) = failed.filter(|_| !self.dead.is_empty()) {
            let (what, hint) = failed.split_once("; hint: ").unwrap_or((&failed, "try it by hand"));
            tell(what.to_owned(), hint.to_owned());
        } else if !self.dead.is_empty() {
            let what = format!("{} keys that it was told to delete a moment ago are there still", self.dead.len());
            tell(what, "its status page may say more".to_owned());
        }
        for (kid, state) in &self.missing {
            let hint = format!("`keyrota revoke {id} {kid}` has another made in its place");
            tell(format!("{kid} ({state}) is not there any more, so its tokens are refused"), hint);
        }
        for kid in &self.altered {
            tell(format!("{kid} is another secret there than the one that was recorded"), format!("`keyrota revoke {id} {kid}`"));
        }
        for kid in &self.for_others {
            let hint = format!("`keyrota rotate {id}` has one made for these");
            tell(format!("{kid} is for other agents there than the policy names"), hint);
        }
        for (kid, until, life) in &self.held {
            let what = format!(
                "{kid} signs no more and was used when its last token should have been dead, so it is not deleted before {}",
                coarse(*until, *life)
            );
            tell(what, "who still signs with it? delete it there if its tokens may die at once".to_owned());
        }
        let expected = told.is_empty();
        if expected && self.staying > 0 {
            let what = format!("{} keys that it made are there, and are deleted when their tokens are dead", self.staying);
            told.push((what, format!("`keyrota rotate {id}` has the next one made by the new source")));
        }
        let (_, hint) = told.first().cloned()?;
        let what: Vec<String> = told.into_iter().map(|(what, _)| what).collect();
        let lacks = self.missing.iter().map(|(kid, _)| kid).chain(&self.altered).cloned().collect();
        Some(Amiss { what: format!("{}; hint: {hint}", what.join("; ")), lacks, still: self.revoked.clone(), expected })
    }
}

/// A moment as it is told: a little later, so that the sentence stays the same for a while though the key is used all the time.
fn coarse(until: Timestamp, life: Span) -> Timestamp {
    let grain = i64::try_from((life.as_millis() / 24).max(1000)).unwrap_or(i64::MAX);
    Timestamp::from_millis(until.as_millis().saturating_add(grain - 1) / grain * grain)
}

#[cfg(test)]
mod tests;
